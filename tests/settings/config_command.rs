//! What `config show | validate | default` print.

use super::*;

#[test]
fn show_prints_toml_that_loads_to_the_same_settings() {
    let mut sources = sound();
    sources.set.extend(texts(&["topics.k8s-pods.config.\"segment.ms\"=7", "watch.namespaces.shop=true"]));
    let before = loaded(&sources);
    let file = File::with(&config_cmd::show_text(&before, true));
    let after = loaded(&Sources { files: vec![file.path()], ..Sources::default() });
    assert_eq!(after.settings, before.settings);
}

#[test]
fn show_with_origin_says_for_each_value_which_layer_it_came_from() {
    let mut sources = sound();
    sources.env = env(&[("AGENT_EVENTS__CHAOS__ENABLED", "true")]);
    let shown = config_cmd::show_text(&loaded(&sources), true);
    assert!(shown.starts_with("data_dir = \".agent-events\" # default\n\n[chaos]\n"), "{shown}");
    for line in [
        "enabled = true # AGENT_EVENTS__CHAOS__ENABLED",
        "name = \"c\" # --set",
        "linger = \"50ms\" # default",
        "[topics.\"agent-events.dlq\".config]",
        "\"retention.ms\" = 1209600000 # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    assert!(!config_cmd::show_text(&loaded(&sources), false).contains('#'));
}

#[test]
fn show_as_json_gives_settings_and_origins() {
    let json = config_cmd::show_json(&loaded(&sound()));
    assert_eq!(json["settings"]["publisher"]["linger"], "50ms");
    assert_eq!(json["settings"]["publisher"]["lane_bytes"], "4MiB");
    assert_eq!(json["settings"]["watch"]["namespaces"]["default"], true);
    assert_eq!(json["origins"]["cluster.name"], "--set");
}

#[test]
fn validate_says_so_when_all_is_well_and_default_is_the_file() {
    assert_eq!(config_cmd::validate_text(load(&sound())).unwrap(), "settings are valid\n");
    assert_eq!(config_cmd::default_text(), include_str!("../../config/default.toml"));
}
