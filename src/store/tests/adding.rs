use super::*;

fn without_pods() -> StoreOptions {
    let mut options = options();
    options.tables.retain(|(kind, _)| *kind != pods());
    options
}

#[test]
fn a_kind_that_joins_later_is_held_like_the_others_and_joins_once() {
    let store = Store::new(without_pods());
    let everything = Filter::default();
    let mut subscription = store.subscribe(everything, None);
    let mut source = Pods::default();
    let first = source.put(1, &[]);
    assert_eq!(store.apply(std::slice::from_ref(&first)).foreign, 1, "nobody knows its topic");
    assert!(store.kind("pods").is_none() && store.missing(&pods()).is_none());
    assert!(store.add(&pods(), &"k8s-pods".into()));
    assert!(store.missing(&pods()).is_some(), "it answers nothing before its log was read");
    assert_eq!(store.apply(&[first]).live, 1);
    store.complete(&pods());
    assert!(!store.add(&pods(), &"k8s-pods".into()), "it is there already");
    assert_eq!((all(&store, &pods()).len(), store.missing(&pods())), (1, None));
    assert_eq!(store.kinds().len(), 3);
    assert!(subscription.try_next().expect("not behind").is_some(), "who asked for every kind sees it, too");
    assert_eq!(store.subscribe(Filter::default(), None).take_snapshot().len(), 1);
}
