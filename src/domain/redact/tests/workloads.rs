//! Pods and what has a pod template: literal environment values go, references and everything else stay.

use super::*;

fn spec_with(env: &str) -> String {
    format!(
        concat!(
            r#"{{"initContainers":[{{"name":"i","env":{e}}}],"containers":[{{"image":"x:1","env":{e},"ports":[80]}},{{"name":"b"}}],"#,
            r#""ephemeralContainers":[{{"env":{e}}}],"nodeName":"n1"}}"#
        ),
        e = env
    )
}

const BEFORE: &str = concat!(
    r#"[{"name":"A","value":"c4n4ry"},{"name":"LOG_LEVEL","value":"debug"},{"value":"c4n4ry","name":"LOG_LEVEL"},"#,
    r#"{"name":"R","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},{"name":"E"}]"#
);
const AFTER: &str = concat!(
    r#"[{"name":"A","value":"[redacted]"},{"name":"LOG_LEVEL","value":"debug"},{"value":"[redacted]","name":"LOG_LEVEL"},"#,
    r#"{"name":"R","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}},{"name":"E"}]"#
);

#[test]
fn a_pod_loses_literal_values_in_every_sort_of_container() {
    let pod =
        |env: &str| format!(r#""metadata":{{{IDENTITY}}},"spec":{},"status":{{"phase":"Running"}}}}"#, spec_with(env));
    assert_eq!(
        json("pods", &format!("{{{}", pod(BEFORE))),
        format!(r#"{{"kind":"Pod","apiVersion":"v1",{}"#, pod(AFTER))
    );
}

#[test]
fn a_pod_template_loses_literal_values_and_the_annotations_that_every_object_loses() {
    for (plural, name) in [("deployments", "Deployment"), ("statefulsets", "StatefulSet")] {
        let body = |env: &str, denied: &str| {
            format!(
                concat!(
                    r#""metadata":{{{i}}},"spec":{{"replicas":3,"template":{{"metadata":{{"labels":{{"a":"b"}},"#,
                    r#""annotations":{{{d}"kept":"1"}}}},"spec":{s}}},"strategy":{{}}}}}}"#
                ),
                i = IDENTITY,
                d = denied,
                s = spec_with(env)
            )
        };
        let denied = format!(
            r#""kubectl.kubernetes.io/last-applied-configuration":"{CANARY}","example.com/denied":"{CANARY}","#
        );
        assert_eq!(
            json(plural, &format!("{{{}", body(BEFORE, &denied))),
            format!(r#"{{"kind":"{name}","apiVersion":"apps/v1",{}"#, body(AFTER, ""))
        );
    }
}

const VOLUMES: &str = concat!(
    r#""volumes":[{"name":"a","csi":{"driver":"d","volumeAttributes":{"share":"SHARE","n":null},"#,
    r#""nodePublishSecretRef":{"name":"s"}}},"#,
    r#"{"name":"b","flexVolume":{"driver":"f","options":{"password":"PASSWORD"},"secretRef":{"name":"s"}}},"#,
    r#"{"name":"c","configMap":{"name":"m"}}]"#
);

fn volumes(share: &str, password: &str) -> String {
    VOLUMES.replace("SHARE", share).replace("PASSWORD", password)
}

#[test]
fn what_is_said_to_a_volumes_driver_goes_and_its_keys_stay() {
    let (before, after) = (volumes(CANARY, CANARY), volumes("[redacted]", "[redacted]"));
    let pod = |volumes: &str| format!(r#""metadata":{{{IDENTITY}}},"spec":{{{volumes},"nodeName":"n1"}}}}"#);
    assert_eq!(
        json("pods", &format!("{{{}", pod(&before))),
        format!(r#"{{"kind":"Pod","apiVersion":"v1",{}"#, pod(&after))
    );
    let set = |volumes: &str| format!(r#""metadata":{{{IDENTITY}}},"spec":{{"template":{{"spec":{{{volumes}}}}}}}}}"#);
    let shown = json("deployments", &format!("{{{}", set(&before)));
    assert!(shown.ends_with(&set(&after)), "{shown}");
    for wrong in [
        format!(r#""volumes":[{{"csi":{{"volumeAttributes":"{CANARY}"}}}}]"#),
        format!(r#""volumes":[{{"csi":{{"volumeAttributes":["{CANARY}"]}}}}]"#),
        format!(r#""volumes":[{{"csi":{{"volume\u0041ttributes":{{"a":"{CANARY}"}}}}}}]"#),
        format!(r#""volumes":[{{"flexVolume":{{"options":{{"a":["{CANARY}"]}}}}}}]"#),
    ] {
        let shown = json("pods", &format!("{{{}", pod(&wrong)));
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

#[test]
fn wrong_shapes_on_the_way_to_a_value_are_replaced() {
    let c = CANARY;
    for spec in [
        format!(r#""{c}""#),
        format!(r#"["{c}"]"#),
        format!(r#"{{"containers":"{c}"}}"#),
        format!(r#"{{"containers":{{"env":"{c}"}}}}"#),
        format!(
            r#"{{"containers":["{c}",["{c}"],{{"env":"{c}"}},{{"env":{{"name":"{c}"}}}},{{"env":["{c}",["{c}"]]}}]}}"#
        ),
        format!(r#"{{"initContainers":[{{"env":[{{"name":"A","value":["{c}"]}}]}}]}}"#),
        format!(r#"{{"containers":[{{"env":[{{"name":["{c}"],"value":"{c}"}}]}}],"containers":"{c}"}}"#),
    ] {
        let pod = json("pods", &format!(r#"{{"metadata":{{{IDENTITY}}},"spec":{spec}}}"#));
        assert!(!pod.contains(c), "{pod}");
        for template in [format!(r#"{{"spec":{spec}}}"#), format!(r#"{{"metadata":{{"annotations":"{c}"}}}}"#)] {
            let raw = format!(r#"{{"metadata":{{{IDENTITY}}},"spec":{{"template":{template}}}}}"#);
            let set = json("statefulsets", &raw);
            assert!(!set.contains(c), "{set}");
        }
    }
}

#[test]
fn other_kinds_have_no_containers_and_keep_what_looks_like_them() {
    let body = format!(r#""metadata":{{{IDENTITY}}},"spec":{}}}"#, spec_with(BEFORE));
    assert!(json("services", &format!("{{{body}")).ends_with(&body));
}
