//! Reading scenario files.

use super::*;

fn faults(text: &str) -> Vec<String> {
    Scenario::parse("s.toml", text).expect_err("it is faulty").0
}

#[test]
fn the_shipped_scenarios_are_read() {
    for name in ["screenshots", "small"] {
        let path = format!("{}/config/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let scenario = Scenario::read(Path::new(&path)).expect("a sound file");
        assert!(scenario.steps().len() > 3 && scenario.steps().is_sorted_by_key(|s| s.at));
    }
}

#[test]
fn every_kind_of_step_is_in_the_reference() {
    let path = format!("{}/config/scenarios/README.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(path).expect("the reference");
    for (kind, must, may) in KINDS {
        let row = page.lines().find(|l| l.starts_with(&format!("| `{kind}` |")));
        let row = row.unwrap_or_else(|| panic!("{kind} is not in the reference"));
        assert!(must.iter().chain(*may).all(|key| row.contains(&format!("`{key}`"))), "{row}");
    }
}

#[test]
fn every_fault_of_a_file_is_named_with_its_line_and_the_remedy() {
    let text = r#"
[[step]]
at = "soon"
do = "rollout"
target = "shop"

[[step]]
at = "2s"
do = "explode"

[[step]]
do = "scale"
target = "shop/cart"
value = "3"
colour = "red"

[[step]]
at = 3
do = "create"
manifest = { kind = "ConfigMap" }
"#;
    let all = faults(text);
    let starts = [
        "s.toml:3: at: \"soon\" is no time",
        "s.toml:5: target: \"shop\" is no namespace/name; write it like \"shop/checkout\"",
        "s.toml:9: do: \"explode\" is nothing that can be done; the words are rollout, rollback,",
        "s.toml:11: at: missing; say when",
        "s.toml:15: colour: `do = \"scale\"` has no such key; it has at, do, target, value, manager",
        "s.toml:14: value: \"3\" is no number of replicas; expected 0 to 1000, without quotes",
        "s.toml:18: at: expected a text, found integer; write it in quotes",
        "s.toml:20: manifest: apiVersion is missing",
        "s.toml:20: manifest: metadata.name is missing",
    ];
    for (fault, start) in all.iter().zip(starts) {
        assert!(fault.starts_with(start), "{fault}\nexpected {start}");
    }
    assert_eq!(all.len(), starts.len(), "{all:#?}");
}

#[test]
fn what_is_no_scenario_at_all_says_so() {
    assert!(faults("step = 3")[0].starts_with("s.toml:1: this is not TOML with steps"));
    assert!(faults("[[step]\nat =")[0].starts_with("s.toml:1: this is not TOML"));
    assert_eq!(faults(""), ["s.toml: there is no step; write at least one, headed [[step]]"]);
    assert!(
        faults("seed = 3")
            .contains(&"s.toml: seed: unknown; a scenario has only steps, each headed [[step]]".to_owned())
    );
    let gone = Scenario::read(Path::new("/nowhere/s.toml")).expect_err("it is not there").to_string();
    assert!(gone.starts_with("/nowhere/s.toml: the scenario cannot be read: No such file"), "{gone}");
}
