//! Deliberate breaks of history: a revision that leaps ahead, and a cluster that is restored from a backup.

use super::State;
use super::data::Entry;
use crate::sandbox::object::Object;
use crate::sandbox::resource::{self, DEFINITIONS};
use crate::sandbox::status::Status;
use std::sync::Arc;

impl State {
    /// The revision leaps ahead by so much, as when others write a lot. Gives the new one.
    pub fn jump(&self, by: u64) -> Result<u64, Status> {
        let mut data = self.lock();
        let revision =
            data.revision.checked_add(by).ok_or_else(|| Status::bad_request("the revision would overflow"))?;
        data.write_down(Entry { revision, resource: "", key: "", json: None })?;
        data.revision = revision;
        data.latest.send_replace(revision);
        Ok(revision)
    }

    /// Takes back everything after `revision`, as a cluster whose etcd was restored from a backup. Who follows the state
    /// has to begin anew. Refused where history does not reach back so far.
    pub fn rewind(&self, revision: u64) -> Result<(), Status> {
        let mut data = self.lock();
        if revision >= data.revision {
            let why = format!("cannot rewind to {revision}: the revision is {}; name a lower one", data.revision);
            return Err(Status::bad_request(why));
        }
        let oldest = data.tables.values().map(|t| t.floor).max().unwrap_or_default();
        if revision < oldest {
            return Err(Status::expired(format!("cannot rewind to {revision}: history begins at {oldest}")));
        }
        let names: Vec<Arc<str>> = data.tables.keys().cloned().collect();
        for name in names {
            while let Some(change) = data.tables.get_mut(&name).and_then(|t| t.pop_newer(revision)) {
                let before = change.before.as_ref().map(|b| Arc::new(Object::new(b.value())));
                let place = (name.clone(), change.key.clone());
                let undone = (!change.deleted).then_some(&*change.after);
                data.relate(&place, undone, change.before.as_deref());
                if let Some(table) = data.tables.get_mut(&name) {
                    match &before {
                        Some(before) => drop(table.objects.insert(change.key.clone(), before.clone())),
                        None => drop(table.objects.remove(&change.key)),
                    }
                }
                if name.as_ref() == DEFINITIONS {
                    match before.and_then(|b| resource::from_definition(b.value())) {
                        Some(resource) => data.define(resource),
                        None => drop(data.tables.remove(&change.key)),
                    }
                }
            }
        }
        data.chores.clear();
        data.revision = revision;
        data.rewinds += 1;
        data.start_over()?;
        for table in data.tables.values() {
            table.latest.send_replace(revision);
        }
        data.latest.send_replace(revision);
        drop(data);
        self.find_chores();
        self.0.chores.notify_one();
        Ok(())
    }
}
