//! Addresses of services, from kubeadm's range 10.96.0.0/12.

use crate::sandbox::object::{Object, text_at};
use crate::sandbox::origin::Origin;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Gives a service that needs one an address of its own.
pub(super) fn assign_cluster_ip(service: &mut Value, others: &BTreeMap<Arc<str>, Arc<Object>>, origin: &Origin) {
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("type").and_then(Value::as_str) == Some("ExternalName") {
        return;
    }
    let given = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
    let address = if given.is_empty() {
        let taken = |address: &str| others.values().any(|o| text_at(o.value(), "/spec/clusterIP") == address);
        let draws = std::iter::repeat_with(|| {
            let bits = origin.random();
            format!("10.{}.{}.{}", 96 + (bits & 0xf), (bits >> 8) & 0xff, 1 + (bits >> 16) % 254)
        });
        let mut free = draws.take(64).filter(|address| !taken(address));
        free.next().unwrap_or_default()
    } else {
        given
    };
    spec.insert("clusterIPs".into(), json!([address]));
    spec.insert("clusterIP".into(), address.into());
    if spec["clusterIP"] != "None" {
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| "SingleStack".into());
    }
}
