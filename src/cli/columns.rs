//! Columns of `get` and `watch`, kind by kind, after kubectl's printers (k8s.io/kubernetes, pkg/printers/internalversion).

use super::pod_columns;
use serde_json::Value;

const NONE: &str = "<none>";

/// The headings of a kind's table, without the namespace.
pub fn headings(kind: &str, wide: bool) -> Vec<&'static str> {
    let (normal, more): (&[&str], &[&str]) = match kind {
        "pods" => (&["NAME", "READY", "STATUS", "RESTARTS", "AGE"], &["IP", "NODE"]),
        "services" => (&["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"], &["SELECTOR"]),
        "deployments" => (&["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"], &["CONTAINERS", "IMAGES", "SELECTOR"]),
        "statefulsets" => (&["NAME", "READY", "AGE"], &["CONTAINERS", "IMAGES"]),
        "configmaps" => (&["NAME", "DATA", "AGE"], &[]),
        "events" => (&["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], &["SOURCE", "FIRST SEEN", "COUNT", "NAME"]),
        _ => (&["NAME", "AGE"], &[]),
    };
    if wide { [normal, more].concat() } else { normal.to_vec() }
}

/// One object's cells under [`headings`]; `now_ms` is what ages are counted from. Whatever a field holds, there is a cell.
pub fn cells(kind: &str, wide: bool, object: &Value, now_ms: i64) -> Vec<String> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let name = text(&object["metadata"]["name"]);
    let age = age(&object["metadata"]["creationTimestamp"], now_ms);
    let count = |value: &Value| value.as_i64().unwrap_or(0);
    let (mut cells, more) = match kind {
        "pods" => {
            let pod = pod_columns::of(object, now_ms);
            let more = vec![or_none(&status["podIP"]), or_none(&spec["nodeName"])];
            (vec![name, pod.ready, pod.status, pod.restarts, age], more)
        }
        "services" => {
            let cells =
                vec![name, text(&spec["type"]), or_none(&spec["clusterIP"]), external(object), ports(spec), age];
            (cells, vec![pairs(&spec["selector"])])
        }
        "deployments" => {
            let ready = format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"]));
            let updated = count(&status["updatedReplicas"]).to_string();
            let available = count(&status["availableReplicas"]).to_string();
            let [names, images] = containers(spec);
            (vec![name, ready, updated, available, age], vec![names, images, pairs(&spec["selector"]["matchLabels"])])
        }
        "statefulsets" => {
            let ready = format!("{}/{}", count(&status["readyReplicas"]), count(&spec["replicas"]));
            (vec![name, ready, age], containers(spec).to_vec())
        }
        "configmaps" => {
            let size = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
            (vec![name, (size("data") + size("binaryData")).to_string(), age], vec![])
        }
        "events" => event(object, name, now_ms),
        _ => (vec![name, age], vec![]),
    };
    if wide {
        cells.extend(more);
    }
    cells
}

fn event(object: &Value, name: String, now_ms: i64) -> (Vec<String>, Vec<String>) {
    let first_of = |candidates: &[&Value]| {
        let known = candidates.iter().find(|value| value.as_str().is_some_and(|text| !text.is_empty()));
        known.map_or_else(|| "<unknown>".to_owned(), |value| age(value, now_ms))
    };
    let (first, last, at) = (&object["firstTimestamp"], &object["lastTimestamp"], &object["eventTime"]);
    let series = &object["series"];
    let about = &object["involvedObject"];
    let about = format!("{}/{}", text(&about["kind"]).to_lowercase(), text(&about["name"]));
    let component = first_text(&[&object["source"]["component"], &object["reportingComponent"]]);
    let source = first_text(&[&object["source"]["host"], &object["reportingInstance"]]);
    let source = if source.is_empty() { component } else { format!("{component}, {source}") };
    let count = [&series["count"], &object["count"]].iter().find_map(|c| c.as_i64()).unwrap_or(1);
    let cells = vec![
        first_of(&[&series["lastObservedTime"], last, at, first]),
        text(&object["type"]),
        text(&object["reason"]),
        about,
        text(&object["message"]).trim().to_owned(),
    ];
    (cells, vec![source, first_of(&[first, at]), count.to_string(), name])
}

fn external(object: &Value) -> String {
    let spec = &object["spec"];
    let mut addresses: Vec<String> = Vec::new();
    if spec["type"] == "ExternalName" {
        return or_none(&spec["externalName"]);
    }
    if spec["type"] == "LoadBalancer" {
        for ingress in items(&object["status"]["loadBalancer"]["ingress"]) {
            addresses.push(first_text(&[&ingress["ip"], &ingress["hostname"]]));
        }
    }
    addresses.extend(items(&spec["externalIPs"]).map(text));
    match addresses.is_empty() {
        false => addresses.join(","),
        true if spec["type"] == "LoadBalancer" => "<pending>".to_owned(),
        true => NONE.to_owned(),
    }
}

fn ports(spec: &Value) -> String {
    let port = |port: &Value| {
        let number = port["port"].as_i64().unwrap_or_default();
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        match port["nodePort"].as_i64().unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node => format!("{number}:{node}/{protocol}"),
        }
    };
    let ports: Vec<String> = items(&spec["ports"]).map(port).collect();
    if ports.is_empty() { NONE.to_owned() } else { ports.join(",") }
}

fn containers(spec: &Value) -> [String; 2] {
    let all = &spec["template"]["spec"]["containers"];
    ["name", "image"].map(|field| items(all).map(|c| text(&c[field])).collect::<Vec<_>>().join(","))
}

fn pairs(labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={}", text(value))).collect();
    if labels.is_empty() { NONE.to_owned() } else { labels.join(",") }
}

/// The elements of a list, or none where there is no list.
pub fn items(value: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Text as it is, anything else as JSON, nothing for null.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn first_text(candidates: &[&Value]) -> String {
    candidates.iter().map(|value| text(value)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn or_none(value: &Value) -> String {
    let text = text(value);
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// An RFC 3339 time as its distance from now.
pub fn age(time: &Value, now_ms: i64) -> String {
    let parsed = time.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    parsed.map_or_else(|| "<unknown>".to_owned(), |time| human((now_ms.saturating_sub(time.as_millisecond())) / 1000))
}

/// Seconds in at most two units, as apimachinery's `duration.HumanDuration` does it.
fn human(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds {
        // Clocks differ by seconds.
        i64::MIN..=-2 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s % HOUR / MINUTE, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s % DAY / HOUR, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s % YEAR / DAY, "d"),
        s => format!("{}y", s / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (190_800, "2d5h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (-1, "0s"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn every_kind_has_as_many_cells_as_headings_whatever_the_object_holds() {
        let odd = [json!({}), json!(null), json!([1]), json!({"metadata": 3, "spec": {"ports": {}}, "status": "x"})];
        for kind in ["pods", "services", "deployments", "statefulsets", "configmaps", "secrets", "events", "x.y"] {
            for wide in [false, true] {
                for object in &odd {
                    let cells = cells(kind, wide, object, 0);
                    assert_eq!(cells.len(), headings(kind, wide).len(), "{kind} {object}");
                }
            }
        }
    }

    #[test]
    fn a_service_shows_where_it_is_reached() {
        let service = json!({"metadata": {"name": "web", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "selector": {"app": "web"},
                     "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
            "status": {"loadBalancer": {}}});
        let shown = cells("services", true, &service, 60_000);
        assert_eq!(shown, ["web", "LoadBalancer", "10.0.0.1", "<pending>", "80:30080/TCP,53/UDP", "60s", "app=web"]);
    }
}
