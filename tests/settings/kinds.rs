//! Any kind can be named, by itself, by its group or by `*`, and the most specific table decides.

use agent_events::domain::target::Target;
use agent_events::settings::{KindSettings, WATCHES_A_KIND, WatchSettings};

use super::*;

fn watch(file: &str) -> WatchSettings {
    let file = File::with(file);
    loaded(&Sources { files: vec![file.path()], ..sound() }).settings.watch
}

fn certificates() -> Kind {
    Kind::custom("cert-manager.io", "v1", "certificates", "Certificate", true)
}

fn ids(targets: &[Target]) -> Vec<String> {
    targets.iter().map(Target::id).collect()
}

#[test]
fn a_kind_by_group_gets_a_table_from_a_file_the_command_line_and_the_environment() {
    let file = File::with("[watch.\"certificates.cert-manager.io\"]\npolicy = \"metadata\"\nlabel_selector = \"a=b\"");
    let mut sources = Sources { files: vec![file.path()], ..sound() };
    sources.set.push("watch.\"certificates.cert-manager.io\".policy=full".to_owned());
    sources.env = env(&[("AGENT_EVENTS__WATCH__WIDGETS_EXAMPLE_COM__NAMESPACES__SHOP_A", "true")]);
    let loaded = loaded(&sources);
    let table = &loaded.settings.watch.others["certificates.cert-manager.io"];
    let want = KindSettings {
        policy: Some("full".to_owned()),
        label_selector: Some("a=b".to_owned()),
        ..KindSettings::default()
    };
    assert_eq!(*table, want, "a table that is written is enabled");
    assert_eq!(loaded.origin(&["watch", "certificates.cert-manager.io", "policy"]), Origin::Set);
    let label = loaded.origin(&["watch", "certificates.cert-manager.io", "label_selector"]);
    assert_eq!(label, Origin::File { path: file.path(), line: 3 });
    assert_eq!(loaded.settings.watch.others["widgets.example.com"].namespaces, ["shop-a".to_owned()].into());
    let shown = config_cmd::show_text(&loaded, true);
    assert!(shown.contains("[watch.\"certificates.cert-manager.io\"]\nlabel_selector = \"a=b\" # "), "{shown}");
    assert!(shown.contains("policy = \"full\" # --set\n"), "{shown}");
}

#[test]
fn a_kind_that_nobody_may_serve_is_taken_since_only_the_api_server_knows() {
    let watch = watch("[watch.podz]\nenabled = true");
    assert!(watch.needs_discovery());
    assert!(watch.enabled_kinds().any(|kind| kind == "podz"));
    assert_eq!(watch.captured().len(), 7);
}

#[test]
fn resources_names_kinds_groups_and_everything_and_switches_all_else_off() {
    let file = File::with(
        "[watch.\"certificates.cert-manager.io\"]\npolicy = \"full\"\n\
         [watch.\"a.example.com\"]\npolicy = \"keys\"\n[watch.\"*\"]\nenabled = true",
    );
    let enabled = |kinds: &str| {
        let flags = vec![FlagOverride::resources(texts(&[kinds]))];
        let watch = loaded(&Sources { files: vec![file.path()], flags, ..sound() }).settings.watch;
        (watch.enabled_kinds().map(str::to_owned).collect::<Vec<_>>().join(" "), watch.captured().len())
    };
    assert_eq!(enabled("pods,deployments.apps"), ("pods deployments".to_owned(), 2));
    assert_eq!(enabled("*.example.com, nodes"), ("*.example.com a.example.com nodes".to_owned(), 0));
    assert_eq!(enabled("*.apps"), ("deployments statefulsets *.apps".to_owned(), 2));
    let all = "pods services deployments statefulsets configmaps secrets events * a.example.com \
               certificates.cert-manager.io";
    assert_eq!(enabled("*"), (all.to_owned(), 7));
    assert_eq!(enabled("namespaces").0, "namespaces.core");
}

#[test]
fn the_most_specific_table_that_says_something_decides() {
    let watch = watch(
        "[watch.\"*\"]\nlabel_selector = \"team=a\"\npolicy = \"metadata\"\n\
         [watch.\"*.cert-manager.io\"]\npolicy = \"keys\"\n[watch.\"*.cert-manager.io\".namespaces]\nshop = true\n\
         [watch.\"certificates.cert-manager.io\"]\nfield_selector = \"metadata.name=x\"\n\
         [watch.\"*.gone.io\"]\nenabled = false\n[watch.pods]\nenabled = false",
    );
    let said = watch.settings_of(&certificates());
    assert_eq!(said.policy.as_deref(), Some("keys"));
    assert_eq!(said.label_selector.as_deref(), Some("team=a"));
    assert_eq!(said.field_selector.as_deref(), Some("metadata.name=x"));
    assert_eq!(ids(&watch.targets_of(&certificates())), ["certificates.cert-manager.io@shop"]);
    assert!(watch.wants("any.io", "things") && !watch.wants("gone.io", "things") && !watch.wants("", "pods"));
    assert_eq!(watch.captured().len(), 6);
    let target = &watch.targets_of(&certificates())[0];
    assert_eq!(target.selectors.label.as_deref(), Some("team=a"));
    assert_eq!(target.selectors.field.as_deref(), Some("metadata.name=x"));
}

#[test]
fn up_to_twenty_namespaces_are_watched_each_and_more_by_one_filtered_watch() {
    let names = |count: usize| (0..count).map(|i| format!("n{i} = true\n")).collect::<String>();
    let pods = Kind::builtin("pods").unwrap();
    let few = watch(&format!("[watch.namespaces]\n{}", names(WATCHES_A_KIND)));
    assert_eq!(few.targets_of(&pods).len(), WATCHES_A_KIND);
    let many = watch(&format!("[watch.namespaces]\n{}", names(WATCHES_A_KIND + 1)));
    let targets = many.targets_of(&pods);
    assert_eq!(ids(&targets), ["pods"]);
    assert_eq!(targets[0].only.as_ref().unwrap().len(), WATCHES_A_KIND + 1);
    let nodes = Kind::custom("", "v1", "nodes", "Node", false);
    assert_eq!(many.targets_of(&nodes), [Target::all(nodes.clone())], "what has no namespace is watched whole");
}

#[test]
fn a_kind_without_a_topic_table_gets_the_topic_of_other_kinds() {
    let mut sources = sound();
    sources.set.push("topics.other-kinds.partitions=3".to_owned());
    let topics = loaded(&sources).settings.topics;
    let specs = topics.specs(&[Kind::builtin("pods").unwrap(), certificates()]);
    let other = specs.iter().find(|spec| spec.name == "k8s-certificates.cert-manager.io").unwrap();
    assert_eq!((other.partitions, other.config["cleanup.policy"].as_str()), (3, "compact"));
    assert_eq!(specs.len(), 7);
    assert_eq!(topics.spec_of(&Kind::builtin("pods").unwrap()).partitions, 12);
}
