//! A sandbox, a product and a script between them: what most trials of a fault are made of.

use crate::checker::{Record, fold, last_offsets, violations};
use crate::control::Stock;
use crate::front::Front;
use crate::kit::{Parts, Product, within};
use crate::losses::{Commits, gaps, silent_losses};
use agent_events::sandbox::{Fault, Faults, Rule};
use agent_events::testing;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Waits pass so many times as fast: 150 s of silence are 5 s, 60 s of backoff 2 s.
const PACE: u32 = 30;
/// How long anything may take here before the trial fails: real seconds, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(20);
/// Everything but what a trial is about.
const OTHERS: &[&str] = &["pods", "services", "deployments", "statefulsets", "secrets", "events", "configmaps"];
/// A prefix is needed to tell topics apart only where several products share a log.
const PREFIX: &str = "scene";

/// Who captures.
enum Subject {
    Ours(Option<Product>),
    Stock(Stock),
}

pub struct Scene {
    pub parts: Parts,
    subject: Subject,
    kind: &'static str,
    more: Vec<String>,
    commits: RefCell<Commits>,
    /// Name → uid and version of what is there.
    live: RefCell<HashMap<String, (String, String)>>,
    turn: RefCell<u64>,
    /// Versions have 40 digits.
    pub long: bool,
}

impl Drop for Scene {
    fn drop(&mut self) {
        testing::hurry(1);
        testing::shift_wall_clock(0);
    }
}

impl Scene {
    /// ConfigMaps of namespace default, captured.
    pub fn new() -> Self {
        Self::with(PACE, "configmaps", &[])
    }

    /// A kind, waits that pass so many times as fast, and more settings.
    pub fn with(pace: u32, kind: &'static str, more: &[&str]) -> Self {
        let mut scene = Self::unstarted(pace, kind, more);
        scene.start();
        scene
    }

    /// The same before the product starts.
    pub fn unstarted(pace: u32, kind: &'static str, more: &[&str]) -> Self {
        testing::hurry(pace);
        let others = OTHERS.iter().filter(|other| **other != kind);
        let mut settings: Vec<String> = others.map(|other| format!("watch.{other}.enabled=false")).collect();
        settings.push("embedded.sync=\"process\"".into());
        settings.extend(more.iter().map(|set| (*set).to_owned()));
        Self::of(Subject::Ours(None), kind, settings)
    }

    /// kube's own watcher in the product's place.
    pub fn stock() -> Self {
        let mut scene = Self::of(Subject::Stock(Stock::default()), "configmaps", Vec::new());
        scene.start();
        scene
    }

    fn of(subject: Subject, kind: &'static str, more: Vec<String>) -> Self {
        let (commits, live, turn) = Default::default();
        let parts = Parts::laptop();
        parts.sandbox().hurry();
        Self { parts, subject, kind, more, commits, live, turn, long: false }
    }

    /// What starts from now on goes through a front.
    pub fn behind_a_front(&mut self) -> Front {
        let front = self.parts.front(PREFIX);
        self.more.push(front.set());
        front
    }

    /// Starts what captures, and waits until it is ready.
    pub fn start(&mut self) {
        self.begin();
        if let Subject::Ours(Some(product)) = &self.subject
            && let Err(missing) = product.running.ready(PATIENCE)
        {
            panic!("not ready: {missing:?}");
        }
    }

    /// Starts what captures, ready or not.
    pub fn begin(&mut self) {
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        match &mut self.subject {
            Subject::Ours(product) => *product = Some(self.parts.product_unready(PREFIX, &more)),
            Subject::Stock(stock) => stock.start(&self.parts.kubeconfig(), "default"),
        }
    }

    /// Ends it, in order.
    pub fn stop(&mut self) {
        match &mut self.subject {
            Subject::Ours(product) => {
                let product = product.take().expect("it runs");
                product.shutdown();
            }
            Subject::Stock(stock) => stock.stop(),
        }
    }

    pub fn product(&self) -> &Product {
        match &self.subject {
            Subject::Ours(Some(product)) => product,
            _ => panic!("the product does not run"),
        }
    }

    pub fn faults(&self) -> Faults {
        self.parts.sandbox().faults()
    }

    /// From now on, or so often: a fault of this kind's watches (or lists).
    pub fn fault(&self, verb: &str, fault: Fault, times: Option<u32>) {
        self.faults().inject(Rule { times, ..Rule::new(fault).of(self.kind).verb(verb) });
    }

    /// Whether every fault that was counted has happened.
    pub fn spent(&self) {
        within(PATIENCE, "every fault has happened", || {
            self.faults().rules().iter().all(|r| r.times.is_none()).then_some(())
        });
    }

    /// Waits until the watch has been given up and opened again.
    pub fn reopened(&self) {
        let before = self.faults().watches();
        within(PATIENCE, "the watch is opened again", || (self.faults().watches() > before).then_some(()));
    }

    fn path(&self) -> String {
        format!("/api/v1/namespaces/default/{}", self.kind)
    }

    pub fn create(&self, name: &str) {
        self.create_with(name, json!({"n": "MQ=="}));
    }

    pub fn create_with(&self, name: &str, data: Value) {
        let body = json!({"metadata": {"name": name}, "data": data});
        self.wrote(name, &self.parts.api("POST", &self.path(), &body));
    }

    /// `m-0` to `m-<n - 1>`.
    pub fn create_many(&self, n: usize) {
        (0..n).for_each(|i| self.create(&format!("m-{i}")));
    }

    pub fn change(&self, name: &str) {
        *self.turn.borrow_mut() += 1;
        let turn = json!({"metadata": {"labels": {"turn": self.turn.borrow().to_string()}}});
        self.patch(name, &turn);
    }

    pub fn patch(&self, name: &str, change: &Value) {
        self.wrote(name, &self.parts.api("PATCH", &format!("{}/{name}", self.path()), change));
    }

    pub fn delete(&self, name: &str) {
        self.parts.api("DELETE", &format!("{}/{name}", self.path()), &Value::Null);
        let (uid, _) = self.live.borrow_mut().remove(name).expect("it was there");
        self.commits.borrow_mut().deleted.push(uid);
    }

    fn wrote(&self, name: &str, object: &Value) {
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] =
            self.version(object["metadata"]["resourceVersion"].as_str().unwrap_or_default()).into();
        let mut commits = self.commits.borrow_mut();
        let uid = commits.wrote(&object);
        let rv = commits.versions.last().expect("just noted").1.clone();
        self.live.borrow_mut().insert(name.to_owned(), (uid, rv));
    }

    fn version(&self, rv: &str) -> String {
        if self.long { format!("1{rv:0>39}") } else { rv.to_owned() }
    }

    /// What happens while no watch can be opened and those that were are cut.
    pub fn while_cut_off(&self, act: impl FnOnce(&Self)) {
        let away = Fault::Refuse { code: 503, retry_after: None };
        self.fault("watch", away, None);
        self.faults().cut_watches(None);
        act(self);
        self.faults().lift(away);
    }

    /// Three of the ten that are expected change, one goes, one comes.
    pub fn some_changes(&self) {
        let turn = *self.turn.borrow();
        for i in 0..3 {
            self.change(&format!("m-{i}"));
        }
        self.delete(&format!("m-{}", 9 - turn / 3));
        self.create(&format!("n-{turn}"));
    }

    /// Everything that stands in the kind's topic.
    pub fn records(&self) -> Vec<Record> {
        match &self.subject {
            Subject::Ours(_) => self.parts.dump(&format!("{PREFIX}.k8s-{}", self.kind)),
            Subject::Stock(stock) => stock.records(),
        }
    }

    /// Waits until the newest version of an object is in the log.
    pub fn seen(&self, name: &str) {
        let (uid, rv) = self.live.borrow()[name].clone();
        within(PATIENCE, &format!("{name} is in the log at {rv}"), || {
            self.records().iter().any(|r| r.source("uid") == Some(&uid) && r.source("rv") == Some(&rv)).then_some(())
        });
    }

    /// Waits until the product says that this is wrong.
    pub fn named(&self, what: &str) {
        within(PATIENCE, &format!("{what:?} is said"), || {
            let said = self.product().get("/api/v1/pipeline").1;
            (said["degraded"].to_string() + &said["watchers"].to_string()).contains(what).then_some(())
        });
    }

    /// The record that a stub is, by the object's name.
    pub fn stub_of(&self, name: &str) -> Option<Value> {
        let key = format!("/default/{name}");
        let records = self.records();
        let value = records.iter().rfind(|r| r.key.ends_with(&key) && r.value.is_some())?.value.clone()?;
        value["source"].get("stub").filter(|stub| !stub.is_null()).cloned()
    }

    fn truth(&self, without: &[&str]) -> BTreeMap<String, String> {
        let mut truth = self.parts.sandbox().versions(self.kind, "default");
        truth.retain(|uid, _| without.iter().all(|name| self.live.borrow().get(*name).is_none_or(|(u, _)| u != uid)));
        truth.into_iter().map(|(uid, rv)| (uid, self.version(&rv))).collect()
    }

    /// Every promise that is broken once all is well again, in words. `without`: objects that a fault still hides.
    pub fn findings(&self, patience: Duration, without: &[&str]) -> Vec<String> {
        let truth = self.truth(without);
        let hidden: Vec<String> =
            without.iter().filter_map(|name| Some(self.live.borrow().get(*name)?.0.clone())).collect();
        let known = |mut table: BTreeMap<String, String>| {
            table.retain(|uid, _| !hidden.contains(uid));
            table
        };
        let mut records = Vec::new();
        let mut found = Vec::new();
        let agreed = testbed::wait_until(patience, || {
            records = self.records();
            let log = known(fold(&records)) == truth && known(last_offsets(&records)) == truth;
            let store = match &self.subject {
                Subject::Ours(Some(product)) => known(product.state(self.kind, "default")) == truth,
                _ => true,
            };
            Ok::<_, std::convert::Infallible>((log && store).then_some(()))
        });
        if !matches!(agreed, Ok(Some(()))) {
            let log = known(fold(&records));
            let differ = truth.iter().filter(|(uid, rv)| log.get(*uid) != Some(*rv)).count();
            let ghosts = log.keys().filter(|uid| !truth.contains_key(*uid)).count();
            found.push(format!("fold, store and API server do not agree: {differ} missing or older, {ghosts} ghosts"));
        }
        found.extend(violations(&records));
        let mut commits = self.commits.borrow_mut();
        commits.versions.retain(|(uid, _)| !hidden.contains(uid));
        found.extend(silent_losses(&commits, &records));
        found
    }

    /// All is well again: fold, store and API server agree, no promise is broken, nothing is lost in silence.
    pub fn settle(self) {
        self.settle_without(&[]);
    }

    /// The same, but for objects that a fault still hides.
    pub fn settle_without(mut self, without: &[&str]) {
        let found = self.findings(PATIENCE, without);
        assert!(found.is_empty(), "{found:#?}\ngaps: {:#?}", gaps(&self.records()));
        self.stop();
    }

    pub fn gaps(&self) -> usize {
        gaps(&self.records()).len()
    }
}
