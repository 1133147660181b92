//! G10, read from outside: what a process says became of every change that was reported to it.

use std::collections::BTreeMap;

/// One kind's account, from `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    pub received: i64,
    pub inferred: i64,
    pub published: i64,
    pub filtered: i64,
    pub coalesced: i64,
    pub dead_lettered: i64,
    pub in_flight: i64,
}

impl Account {
    /// What came in, and what became of it.
    pub fn sides(&self) -> (i64, i64) {
        let out = self.published + self.filtered + self.coalesced + self.dead_lettered + self.in_flight;
        (self.received + self.inferred, out)
    }
}

/// The accounts of all kinds in a scrape.
pub fn accounts(metrics: &str) -> BTreeMap<String, Account> {
    let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("agent_events_changes_")) {
        let label = |name: &str| Some(line.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned());
        let value: i64 = line.rsplit(' ').next().and_then(|v| v.parse().ok()).expect(line);
        let account = accounts.entry(label("kind").expect(line)).or_default();
        let stage = label("stage").unwrap_or_else(|| "in_flight".into());
        *match stage.as_str() {
            "received" => &mut account.received,
            "inferred" => &mut account.inferred,
            "published" => &mut account.published,
            "filtered" => &mut account.filtered,
            "coalesced" => &mut account.coalesced,
            "dead_lettered" => &mut account.dead_lettered,
            "in_flight" => &mut account.in_flight,
            other => panic!("stage {other} is in no account: {line}"),
        } += value;
    }
    accounts
}

/// Fails unless received + inferred = published + filtered + coalesced + dead-lettered + in flight, kind by kind. Holds at
/// any moment, so also at the end of a trial whose process is still busy. Gives the sum over the kinds.
#[track_caller]
pub fn assert_balanced(metrics: &str) -> Account {
    let mut sum = Account::default();
    for (kind, account) in accounts(metrics) {
        let (came, became) = account.sides();
        assert_eq!(came, became, "{kind}: changes that are in no account (G10): {account:?}");
        sum.received += account.received;
        sum.inferred += account.inferred;
        sum.published += account.published;
        sum.filtered += account.filtered;
        sum.coalesced += account.coalesced;
        sum.dead_lettered += account.dead_lettered;
        sum.in_flight += account.in_flight;
    }
    sum
}
