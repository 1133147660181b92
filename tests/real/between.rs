//! What stands between the product and a real API server: whoever holds its pages, resets its connections or speaks for it
//! under another authority. A front does it ([`crate::front`]).

use super::kit::{PATIENCE, Parts, Product, Trial, Where::Real, eventually, within};
use super::losses::{Commits, gaps};
use super::server::{Hurry, change, create, delete, product, product_unready, settled};
use std::time::Duration;

/// On an API server that forgets its history within a minute.
pub const TRIALS: &[Trial] = &[
    ("a_list_held_up_until_its_token_has_expired_goes_on_with_the_servers_own_and_loses_nothing", Real, slow_pages),
    ("connections_that_are_reset_are_resumed_and_nothing_is_lost", Real, resets),
    ("an_authority_that_is_rotated_is_trusted_once_it_stands_in_the_file_and_nothing_is_lost", Real, authority),
];

fn slow_pages(parts: &Parts) {
    const NAME: &str = "slow-pages";
    parts.namespace(NAME);
    // What is there before the first list is owed as it is then, not as it was.
    let mut before = Commits::default();
    let uids: Vec<String> = (10..50).map(|n| create(parts, NAME, &format!("m-{n}"), &mut before)).collect();
    let front = parts.front(NAME);
    front.hold(Some("continue="));
    let product = product_unready(parts, NAME, &[&front.set(), "watch.page_size=10"]);
    let page = eventually("the second page is asked for", || front.held().first().cloned());
    let mut commits = Commits::default();
    delete(parts, NAME, "m-10", &uids[0], &mut commits);
    delete(parts, NAME, "m-48", &uids[38], &mut before);
    for n in [11, 12, 30, 31, 49] {
        change(parts, NAME, &format!("m-{n}"), 1, &mut commits);
        change(parts, NAME, &format!("m-{n}"), 2, &mut commits);
    }
    ["a-first", "z-last"].iter().for_each(|name| drop(create(parts, NAME, name, &mut commits)));
    let began = testbed::Stopwatch::start();
    within(Duration::from_secs(120), "the API server knows the token no more", || {
        (parts.ask("GET", &page, &serde_json::Value::Null).0 == 410).then_some(())
    });
    println!("{NAME}: the token of the second page expired after {:.0} s", began.elapsed().as_secs_f64());
    front.hold(None);
    if let Err(missing) = product.running.ready(PATIENCE) {
        panic!("not ready: {missing:?}");
    }
    let answers = front.answers();
    let token = |path: &str| path.split(['?', '&']).find_map(|p| p.strip_prefix("continue=")).map(str::to_owned);
    let refused = answers.iter().position(|(path, status)| token(path).is_some() && *status == 410);
    let refused = refused.unwrap_or_else(|| panic!("no page was refused: {answers:?}"));
    let goes_on = |(path, status): &&(String, u16)| {
        *status == 200 && token(path).is_some_and(|other| Some(other) != token(&answers[refused].0))
    };
    assert!(answers[refused..].iter().find(goes_on).is_some(), "another token was taken: {answers:?}");
    change(parts, NAME, "m-11", 3, &mut commits);
    let records = settled(parts, &product, NAME, &commits);
    let reasons: Vec<String> = gaps(&records).into_iter().map(|gap| gap.reason).collect();
    assert!(reasons.iter().any(|reason| reason == "page_inconsistent"), "{reasons:?}");
    product.shutdown();
}

fn resets(parts: &Parts) {
    const NAME: &str = "resets";
    let _hurry = Hurry::times(8);
    let mut commits = Commits::default();
    parts.namespace(NAME);
    let front = parts.front(NAME);
    let product = product(parts, NAME, &[&front.set()]);
    let uid = create(parts, NAME, "m-0", &mut commits);
    seen(parts, &product, &uid);
    for n in 0..5 {
        let watches = || front.answers().iter().filter(|(path, _)| path.contains("watch=true")).count();
        let before = watches();
        front.reset();
        change(parts, NAME, "m-0", n, &mut commits);
        create(parts, NAME, &format!("n-{n}"), &mut commits);
        eventually("a watch is opened again", || (watches() > before).then_some(()));
    }
    delete(parts, NAME, "m-0", &uid, &mut commits);
    settled(parts, &product, NAME, &commits);
    product.shutdown();
}

fn seen(parts: &Parts, product: &Product, uid: &str) {
    let topic = product.topic("k8s-configmaps");
    eventually("it is in the log", || parts.dump(&topic).iter().any(|r| r.source("uid") == Some(uid)).then_some(()));
}

fn authority(parts: &Parts) {
    const NAME: &str = "authority";
    let mut commits = Commits::default();
    parts.namespace(NAME);
    let front = parts.front(NAME);
    let product = product(parts, NAME, &[&front.set()]);
    let uid = create(parts, NAME, "before", &mut commits);
    seen(parts, &product, &uid);
    front.become_another("two");
    let refused = front.refused();
    front.cut();
    eventually("the new server is not trusted", || (front.refused() > refused).then_some(()));
    create(parts, NAME, "meanwhile", &mut commits);
    delete(parts, NAME, "before", &uid, &mut commits);
    let asked = front.requests();
    let refused = front.refused();
    eventually("nor at the next try", || (front.refused() > refused).then_some(()));
    assert_eq!(front.requests(), asked, "nobody asks a server that is not trusted");
    front.write_authority("two");
    settled(parts, &product, NAME, &commits);
    product.shutdown();
}
