mod adding;
mod applying;
mod events;
mod listing;
mod saving;
mod subscribing;

use super::*;
use crate::domain::fold::kit;
use crate::domain::record::InRecord;
use std::collections::BTreeMap;

const EVENTS: &str = "k8s-events";

fn kind(id: &str) -> Kind {
    Kind::builtin(id).expect("built in")
}

fn pods() -> Kind {
    kind("pods")
}

fn options() -> StoreOptions {
    let tables = ["pods", "services", "events"].map(|id| (kind(id), format!("k8s-{id}").as_str().into())).to_vec();
    StoreOptions { instance: 7, shards: 4, ..StoreOptions::new(kit::CLUSTER, tables) }
}

fn store() -> Arc<Store> {
    Store::new(options())
}

/// Everything that can be read of a kind: name, uid, version, bytes, offset, version of the store.
type Rows = BTreeMap<Name, (String, String, Bytes, i64)>;

fn rows(objects: &[Object]) -> Rows {
    let row = |o: &Object| (o.at().clone(), (o.uid().to_string(), o.rv().to_string(), o.json(), o.record().1));
    objects.iter().map(row).collect()
}

fn all(store: &Store, kind: &Kind) -> Vec<Object> {
    store.list(kind, &Filter::default(), None, usize::MAX).items
}

/// Pods with labels, written one behind the other.
#[derive(Default)]
struct Pods {
    next: i64,
    rv: u64,
    live: BTreeMap<Name, (String, BTreeMap<String, String>)>,
}

impl Pods {
    fn numbered(&mut self, record: InRecord) -> InRecord {
        self.next += 1;
        InRecord { offset: self.next - 1, ..record }
    }

    fn put(&mut self, number: u8, labels: &[(&str, &str)]) -> InRecord {
        let at = kit::name(number);
        self.rv += 1;
        let labels: BTreeMap<String, String> = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let (op, uid) = match self.live.get(&at) {
            Some((uid, _)) => ("u", uid.clone()),
            None => ("c", format!("uid-{}", self.rv)),
        };
        let object = kit::object(&at, &uid, self.rv, &labels);
        let record = kit::change(1, op, &at, &uid, self.rv, &object);
        self.live.insert(at, (uid, labels));
        self.numbered(record)
    }

    fn delete(&mut self, number: u8) -> Vec<InRecord> {
        let at = kit::name(number);
        self.rv += 1;
        let Some((uid, labels)) = self.live.remove(&at) else { return Vec::new() };
        let object = kit::object(&at, &uid, self.rv, &labels);
        let delete = kit::change(1, "d", &at, &uid, self.rv, &object);
        let tombstone = kit::tombstone(1, &at, &uid, self.rv);
        vec![self.numbered(delete), self.numbered(tombstone)]
    }
}
