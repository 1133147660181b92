//! Tidying up behind deletions: dependents of owners that are gone, contents of namespaces and of definitions.

use super::data::{Chore, Data, Place, has_finalizer};
use super::deletion::{self, Deletion, disown};
use super::{State, managers};
use crate::sandbox::origin::text_of;
use crate::sandbox::resource::DEFINITIONS;
use crate::sandbox::status::Status;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;

/// Chores done in one critical section.
const AT_A_TIME: usize = 16;
/// How long Events are kept, as by a real API server.
const EVENTS_LIVE: SignedDuration = SignedDuration::from_hours(1);
/// How long changes are kept for watches: an API server compacts etcd every five minutes.
const HISTORY_MINUTES: usize = 5;

impl State {
    /// Does what deletions left to be done, until nothing is left that can be done now. Whoever runs the state without
    /// [`State::tidy_up`] calls this himself.
    pub fn collect_garbage(&self) {
        loop {
            let now = self.origin().now();
            let mut data = self.lock();
            for _ in 0..AT_A_TIME {
                let Some(chore) = data.chores.pop_first() else { return };
                if let Err(status) = chore_done(&mut data, &chore, now) {
                    tracing::warn!(?chore, %status, "the sandbox could not tidy up");
                }
            }
        }
    }

    /// Collects garbage as it appears, and Events that are too old; never ends.
    pub(in crate::sandbox) async fn tidy_up(self) {
        let mut minute = tokio::time::interval(std::time::Duration::from_secs(60));
        let mut minutes = VecDeque::new();
        loop {
            self.collect_garbage();
            tokio::select! {
                () = self.0.chores.notified() => {}
                _ = minute.tick() => {
                    self.expire_events();
                    self.forget_history(&mut minutes);
                }
            }
        }
    }

    /// Called each minute, with the revisions of the last ones: what is older than [`HISTORY_MINUTES`] is forgotten.
    pub(super) fn forget_history(&self, minutes: &mut VecDeque<u64>) {
        let mut data = self.lock();
        minutes.push_back(data.revision);
        // Behind a rewind what was noted means nothing.
        minutes.retain(|revision| *revision <= data.revision);
        if minutes.len() > HISTORY_MINUTES
            && let Some(revision) = minutes.pop_front()
        {
            data.tables.values_mut().for_each(|table| table.forget(revision));
        }
    }

    /// Looks through all objects for chores: after a restart nobody else remembers them.
    pub(in crate::sandbox) fn find_chores(&self) {
        let mut data = self.lock();
        let mut chores = Vec::new();
        for (name, table) in &data.tables {
            for (key, object) in &table.objects {
                let place = (name.clone(), key.clone());
                if object.is_terminating() {
                    match name.as_ref() {
                        "namespaces" => chores.push(Chore::Namespace(key.clone())),
                        DEFINITIONS => chores.push(Chore::Definition(key.clone())),
                        _ => {}
                    }
                    if has_finalizer(object.value(), "foregroundDeletion") {
                        chores.push(Chore::Foreground(place.clone()));
                    }
                }
                if !object.encoded().owners.is_empty() {
                    chores.push(Chore::Owned(place));
                }
            }
        }
        data.chores.extend(chores);
    }

    fn expire_events(&self) {
        let oldest = text_of(self.origin().now() - EVENTS_LIVE);
        let Ok(events) = self.list("events", "") else { return };
        let last_seen = |e: &super::Object| {
            let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
            // The newest: a server's hour counts from the write, whatever time the Event itself tells.
            times.iter().map(|t| e.text(t)).max().unwrap_or_default().to_owned()
        };
        for event in events.objects.iter().filter(|e| last_seen(e) < oldest) {
            // Somebody else may have been faster; then it is gone all the same.
            self.delete("events", event.namespace(), event.name(), &Deletion::now()).ok();
        }
    }
}

fn chore_done(data: &mut Data, chore: &Chore, now: Timestamp) -> Result<(), Status> {
    match chore {
        Chore::Dependents(owner) => {
            for place in data.dependents.get(&**owner).cloned().unwrap_or_default() {
                unowned(data, &place, now)?;
            }
        }
        Chore::Owned(place) => unowned(data, place, now)?,
        Chore::Foreground(place) => foreground(data, place, now)?,
        Chore::Namespace(name) => namespace(data, name, now)?,
        Chore::Definition(name) => definition(data, name, now)?,
    }
    Ok(())
}

/// An object of which an owner may be gone: goes if all are, else forgets the dead ones.
fn unowned(data: &mut Data, (resource, key): &Place, now: Timestamp) -> Result<(), Status> {
    let Ok(object) = data.object(resource, key).cloned() else { return Ok(()) };
    let owners = &object.encoded().owners;
    let dead: Vec<&str> = owners.iter().map(|o| &**o).filter(|o| !data.uids.contains_key(*o)).collect();
    if dead.is_empty() {
        return Ok(());
    }
    if dead.len() == owners.len() {
        if !object.is_terminating() {
            deletion::delete(data, resource, key, &Deletion::default(), now)?;
        }
        return Ok(());
    }
    let mut value = object.value().clone();
    disown(&mut value, &dead, now);
    data.put(resource, key, value)?;
    Ok(())
}

fn foreground(data: &mut Data, (resource, key): &Place, now: Timestamp) -> Result<(), Status> {
    let Ok(owner) = data.object(resource, key).cloned() else { return Ok(()) };
    for (resource, key) in data.dependents.get(owner.uid()).cloned().unwrap_or_default() {
        let terminating = data.object(&resource, &key).is_ok_and(|o| o.is_terminating());
        if !terminating {
            deletion::delete(data, &resource, &key, &Deletion::default(), now)?;
        }
    }
    if data.dependents.get(owner.uid()).is_none_or(|d| d.is_empty()) {
        without_finalizer(data, (resource, key), "foregroundDeletion", now)?;
    }
    Ok(())
}

fn namespace(data: &mut Data, name: &Arc<str>, now: Timestamp) -> Result<(), Status> {
    if !data.object("namespaces", name).is_ok_and(|n| n.is_terminating()) {
        return Ok(());
    }
    let (mut left, mut first) = (false, Ok(()));
    for resource in data.tables.keys().cloned().collect::<Vec<_>>() {
        let table = data.table(&resource)?;
        if !table.resource.namespaced {
            continue;
        }
        let inside: Vec<_> = table.within(name).map(|(k, o)| (k.clone(), o.is_terminating())).collect();
        for (key, terminating) in inside {
            let gone = if terminating {
                false
            } else {
                match deletion::delete(data, &resource, &key, &Deletion::default(), now) {
                    Ok(deleted) => matches!(deleted, deletion::Deleted::Gone(_)),
                    Err(status) => {
                        first = first.and(Err(status));
                        false
                    }
                }
            };
            left |= !gone;
        }
    }
    let mut value = data.object("namespaces", name)?.value().clone();
    let held = value.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
    if !left && !held {
        // The content's end put this very chore on the list again.
        data.chores.remove(&Chore::Namespace(name.clone()));
        if value["spec"].as_object_mut().and_then(|s| s.remove("finalizers")).is_some() {
            data.put("namespaces", name, value)?;
        }
        data.remove("namespaces", name)?;
    }
    first
}

fn definition(data: &mut Data, name: &Arc<str>, now: Timestamp) -> Result<(), Status> {
    if !data.object(DEFINITIONS, name).is_ok_and(|d| d.is_terminating()) {
        return Ok(());
    }
    let objects: Vec<_> = data.tables.get(name).into_iter().flat_map(|t| t.objects.keys().cloned()).collect();
    for key in objects {
        if !data.object(name, &key)?.is_terminating() {
            deletion::delete(data, name, &key, &Deletion::default(), now)?;
        }
    }
    if data.tables.get(name).is_none_or(|t| t.objects.is_empty()) {
        let cleanup = "customresourcecleanup.apiextensions.k8s.io";
        without_finalizer(data, (&Arc::from(DEFINITIONS), name), cleanup, now)?;
    }
    Ok(())
}

fn without_finalizer(
    data: &mut Data,
    (resource, key): (&Arc<str>, &Arc<str>),
    finalizer: &str,
    now: Timestamp,
) -> Result<(), Status> {
    let before = data.object(resource, key)?.value().clone();
    let mut value = before.clone();
    if let Some(finalizers) = value.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|f| f != finalizer);
        if finalizers.is_empty() {
            value["metadata"].as_object_mut().map(|m| m.remove("finalizers"));
        }
    }
    managers::enter(Some(&before), &mut value, &super::Write::by("kube-controller-manager"), &text_of(now));
    let over = deletion::is_over(&value);
    data.put(resource, key, value)?;
    if over {
        data.remove(resource, key)?;
    }
    Ok(())
}
