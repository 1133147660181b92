//! Proves how reports become changes: no repeat, no loss, and every death before its successor (G2, G3, G4).

use super::*;
use crate::domain::redact::{Policy, Redactor};

fn pods() -> Kind {
    Kind::builtin("pods").expect("built in")
}

fn object(name: &str, uid: &str, rv: &str) -> Redacted<Object> {
    let raw = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"n","uid":"{uid}","resourceVersion":"{rv}"}},"x":"{rv}"}}"#
    );
    Redactor::new(pods(), Arc::new(Policy::default())).redact(&raw).expect("an object")
}

/// Old versions that are at hand: all of them, or none.
struct AtHand(bool);

impl Before for AtHand {
    fn before(&self, _: &Name, uid: &str, rv: &Rv) -> Option<Bytes> {
        self.0.then(|| Bytes::from(format!("{{\"old\":\"{uid}@{rv}\"}}")))
    }
}

struct Kit {
    index: Index,
    at_hand: AtHand,
    list: Option<ListContext>,
    history_epoch: u64,
    selected: bool,
    suspect: bool,
    position: Rv,
}

impl Kit {
    fn new() -> Self {
        Self {
            index: Index::default(),
            at_hand: AtHand(true),
            list: None,
            history_epoch: 0,
            selected: false,
            suspect: false,
            position: Rv::default(),
        }
    }

    /// A report, applied; what it writes in short: `c u1@5`, `d u1@5 (listRv) before`, `t u1@5`.
    fn report(&mut self, wire: Wire, name: &str, uid: &str, rv: &str) -> Vec<String> {
        let seen = Seen {
            list: self.list.as_ref(),
            position: &self.position,
            history_epoch: self.history_epoch,
            wall_ms: 0,
            selected: self.selected,
            suspect: self.suspect,
        };
        let Outcome { writes, notes, filtered, .. } =
            self.index.reported(&pods(), wire, object(name, uid, rv), seen, &self.at_hand);
        assert_eq!(writes.is_empty(), filtered.is_some(), "what is not written has a reason");
        notes.into_iter().for_each(|note| self.index.note(note));
        writes.iter().map(short).collect()
    }

    fn list(&mut self, rv: &str, first: bool) {
        self.list = Some(ListContext { rv: Rv::new(rv), first, reason: "expired" });
        self.index.begin_pass();
    }

    fn missing(&self) -> Vec<String> {
        let newest = Rv::new("9999999");
        self.index.missing_as_of(&newest, self.history_epoch).iter().map(|uid| uid.to_string()).collect()
    }

    fn listed(&mut self, name: &str, uid: &str, rv: &str) -> Vec<String> {
        self.report(Wire::Listed, name, uid, rv)
    }

    fn added(&mut self, name: &str, uid: &str, rv: &str) -> Vec<String> {
        self.report(Wire::Added, name, uid, rv)
    }

    fn modified(&mut self, name: &str, uid: &str, rv: &str) -> Vec<String> {
        self.report(Wire::Modified, name, uid, rv)
    }

    fn deleted(&mut self, name: &str, uid: &str, rv: &str) -> Vec<String> {
        self.report(Wire::Deleted, name, uid, rv)
    }
}

fn short(write: &Write) -> String {
    match write {
        Write::Change(c) => {
            let o = c.object.get();
            let mut text = format!("{} {}@{}", c.op.letter(), o.uid, o.rv);
            if c.observed != Observed::Watch {
                text += &format!(" {:?}", c.observed).to_lowercase();
            }
            if let Some(rv) = &c.list_rv {
                text += &format!(" ({rv})");
            }
            if c.snapshot {
                text += " snapshot";
            }
            match (c.op, &c.before) {
                (Op::Delete, None) => text += if o.json.starts_with(b"{\"old\"") { " old" } else { "" },
                (_, Some(before)) => text += &format!(" {}", String::from_utf8_lossy(before)),
                _ => {}
            }
            text
        }
        Write::Tombstone { uid, rv, namespace, name, .. } => format!("t {uid}@{rv} {namespace}/{name}"),
    }
}

const NONE: [&str; 0] = [];

#[test]
fn a_life_is_told_as_create_update_delete_and_tombstone() {
    let mut kit = Kit::new();
    assert_eq!(kit.added("a", "u1", "5"), ["c u1@5"]);
    assert_eq!(kit.modified("a", "u1", "7"), [r#"u u1@7 {"old":"u1@5"}"#]);
    assert_eq!(kit.deleted("a", "u1", "9"), ["d u1@9", "t u1@9 n/a"]);
    assert!(kit.index.is_empty() && kit.index.live(&Name { namespace: "n".into(), name: "a".into() }).is_none());
}

#[test]
fn a_report_that_is_not_newer_than_what_is_known_is_a_repeat() {
    let mut kit = Kit::new();
    kit.added("a", "u1", "10");
    for rv in ["10", "9", "5"] {
        assert_eq!(kit.added("a", "u1", rv), NONE);
        assert_eq!(kit.modified("a", "u1", rv), NONE);
    }
    assert_eq!(kit.deleted("a", "u1", "9"), NONE, "left a selector before it came back");
    assert_eq!(kit.modified("a", "u1", "11"), [r#"u u1@11 {"old":"u1@10"}"#], "11 is newer than 10 and than 9");
}

#[test]
fn a_delete_without_a_version_of_its_own_is_still_a_delete() {
    let mut kit = Kit::new();
    kit.added("a", "u1", "10");
    assert_eq!(kit.deleted("a", "u1", "10"), ["d u1@10", "t u1@10 n/a"]);
}

#[test]
fn without_the_old_version_a_change_is_a_read_never_an_update() {
    let mut kit = Kit::new();
    kit.added("a", "u1", "5");
    kit.at_hand = AtHand(false);
    assert_eq!(kit.modified("a", "u1", "7"), ["r u1@7"]);
    assert_eq!(kit.modified("b", "u2", "8"), ["r u2@8"], "modified, but never seen before");
    assert_eq!(kit.added("a", "u1", "9"), ["r u1@9"], "added, but seen before");
}

#[test]
fn a_delete_that_was_missed_is_written_before_the_successor() {
    let mut kit = Kit::new();
    kit.added("a", "u1", "5");
    assert_eq!(kit.added("a", "u2", "9"), ["d u1@5 inferred (9) old", "t u1@5 n/a", "c u2@9"]);
    kit.at_hand = AtHand(false);
    assert_eq!(kit.modified("a", "u3", "11"), ["d u2@9 inferred (11)", "t u2@9 n/a", "r u3@11"]);
    assert_eq!(kit.deleted("a", "u4", "15"), ["d u3@11 inferred (15)", "t u3@11 n/a", "d u4@15", "t u4@15 n/a"]);
    assert!(kit.index.is_empty());
}

#[test]
fn what_a_stale_report_says_of_a_predecessor_does_not_harm_its_successor() {
    let mut kit = Kit::new();
    kit.added("a", "u2", "20");
    assert_eq!(kit.added("a", "u1", "5"), NONE);
    assert_eq!(kit.modified("a", "u1", "20"), NONE);
    assert_eq!(kit.deleted("a", "u1", "15"), NONE);
    assert_eq!(kit.modified("a", "u2", "21"), [r#"u u2@21 {"old":"u2@20"}"#]);
}

#[test]
fn replays_of_the_dead_are_skipped_until_the_position_has_passed_their_death() {
    let mut kit = Kit::new();
    kit.index.restore_dead("u1".into(), Rv::new("9"), 0);
    kit.index.bury(&Rv::new("8"));
    assert_eq!(kit.added("a", "u1", "5"), NONE);
    assert_eq!(kit.modified("a", "u1", "9"), NONE);
    assert_eq!(kit.deleted("a", "u1", "9"), NONE);
    assert_eq!(kit.deleted("a", "u1", "10"), NONE, "it dies once, whatever the version says");
    kit.index.bury(&Rv::new("9"));
    assert_eq!(kit.added("a", "u1", "5"), ["c u1@5"], "forgotten: no watch can replay it any more");
}

#[test]
fn who_died_in_this_life_of_the_process_is_remembered_too() {
    let mut kit = Kit::new();
    kit.added("a", "u1", "5");
    kit.added("b", "u2", "6");
    kit.list("20", false);
    let (mut writes, mut notes) = (Vec::new(), Vec::new());
    let loss =
        Loss { seen_at: "20".into(), history_epoch: 0, wall_ms: 9, observed: Observed::Inferred, reason: "expired" };
    kit.index.gone(&pods(), &"u1".into(), &loss, &AtHand(true), &mut writes, &mut notes);
    assert_eq!(writes.iter().map(short).collect::<Vec<_>>(), ["d u1@5 inferred (20) old", "t u1@5 n/a"]);
    notes.into_iter().for_each(|note| kit.index.note(note));
    // The watcher dies before the list is complete, and its successor resumes from before the list.
    kit.list = None;
    assert_eq!(kit.modified("a", "u1", "8"), NONE);
    assert_eq!(kit.deleted("a", "u1", "10"), NONE);
    assert_eq!(kit.added("a", "u3", "15"), ["c u3@15"]);
    assert_eq!(kit.modified("b", "u2", "16"), [r#"u u2@16 {"old":"u2@6"}"#]);
}

#[test]
fn who_was_wrongly_taken_for_dead_comes_back_with_the_next_list_or_report() {
    let mut kit = Kit::new();
    kit.index.restore_dead("u1".into(), Rv::new("20"), 0);
    kit.index.restore_dead("u2".into(), Rv::new("20"), 0);
    kit.list("19", false);
    assert_eq!(kit.listed("a", "u1", "5"), NONE, "a list from before the death proves nothing");
    // As of that very version it lives: what left the scope is dead by its own last version, and a cluster may be quiet.
    kit.list("20", false);
    assert_eq!(kit.listed("a", "u1", "5"), ["c u1@5 relist"]);
    kit.list = None;
    assert_eq!(kit.modified("b", "u2", "22"), ["r u2@22"]);
    assert_eq!(kit.deleted("b", "u2", "23"), ["d u2@23", "t u2@23 n/b"], "alive again, so it can die again");
}

#[test]
fn what_comes_back_at_a_version_from_before_the_position_names_the_list_that_shows_it() {
    let mut kit = Kit::new();
    kit.position = Rv::new("20");
    kit.list("30", false);
    assert_eq!(kit.listed("a", "u1", "5"), ["c u1@5 relist (30)"], "it stood in the log before");
    assert_eq!(kit.listed("b", "u2", "25"), ["c u2@25 relist"], "it cannot have");
}

#[test]
fn while_what_the_log_holds_is_not_trusted_nothing_of_it_is_written_again() {
    let mut kit = Kit::new();
    let at = |name: &str| Name { namespace: "n".into(), name: name.into() };
    for (name, uid) in [("a", "u1"), ("b", "u2"), ("c", "u3")] {
        kit.index.restore_live(at(name), uid.into(), Rv::new("5"), 0);
    }
    kit.index.distrust();
    kit.list("9", false);
    assert_eq!(kit.listed("a", "u1", "5"), ["r u1@5 relist (9)"]);
    let gone = |kit: &Kit, uid: &str| {
        let (mut writes, mut notes) = (Vec::new(), Vec::new());
        let loss = Loss {
            seen_at: Rv::new("9"),
            history_epoch: 0,
            wall_ms: 0,
            observed: Observed::Inferred,
            reason: "rebase",
        };
        kit.index.gone(&pods(), &uid.into(), &loss, &AtHand(true), &mut writes, &mut notes);
        writes
            .iter()
            .any(|write| matches!(write, Write::Change(change) if change.object.get().json.starts_with(b"{\"old\"")))
    };
    assert!(!gone(&kit, "u2"), "by its identity alone");
    assert!(gone(&kit, "u1"), "it was written anew");
    kit.index.rebased();
    assert!(gone(&kit, "u3") && kit.index.is_trusted());
}

#[test]
fn the_death_of_someone_never_heard_of_is_still_reported() {
    assert_eq!(Kit::new().deleted("a", "u1", "9"), ["d u1@9", "t u1@9 n/a"]);
}

#[test]
fn a_first_list_is_a_snapshot_and_a_later_one_a_diff() {
    let mut kit = Kit::new();
    kit.list("10", true);
    assert_eq!(kit.listed("a", "u1", "5"), ["r u1@5 relist snapshot"]);
    assert_eq!(kit.listed("b", "u2", "6"), ["r u2@6 relist snapshot"]);
    assert_eq!(kit.listed("c", "u3", "7"), ["r u3@7 relist snapshot"]);
    assert_eq!(kit.missing(), NONE);

    kit.list("20", false);
    assert_eq!(kit.listed("a", "u1", "5"), NONE, "unchanged");
    assert_eq!(kit.listed("b", "u2", "15"), [r#"u u2@15 relist {"old":"u2@6"}"#]);
    assert_eq!(kit.listed("d", "u4", "16"), ["c u4@16 relist"]);
    assert_eq!(kit.missing(), ["u3"]);
    assert_eq!(kit.listed("c", "u5", "17"), ["d u3@7 inferred (20) old", "t u3@7 n/c", "c u5@17 relist"]);
    assert_eq!(kit.missing(), NONE);
}

#[test]
fn a_list_that_shows_an_older_version_still_shows_that_the_object_is_there() {
    let mut kit = Kit::new();
    kit.added("a", "u1", "9");
    kit.list("20", false);
    assert_eq!(kit.listed("a", "u1", "5"), NONE);
    assert_eq!(kit.missing(), NONE);
}

#[test]
fn what_is_known_to_be_newer_than_a_list_is_not_missing_from_it() {
    let mut kit = Kit::new();
    kit.added("a", "u1", "9");
    kit.added("b", "u2", "25");
    kit.list("20", false);
    assert_eq!(kit.missing(), ["u1", "u2"]);
    let missing: Vec<_> = kit.index.missing_as_of(&Rv::new("20"), 0).iter().map(ToString::to_string).collect();
    assert_eq!(missing, ["u1"]);
}

#[test]
fn the_missing_are_told_in_the_order_of_their_names() {
    let mut kit = Kit::new();
    for (name, uid) in [("c", "u1"), ("a", "u3"), ("b", "u2")] {
        kit.added(name, uid, "5");
    }
    kit.list("9", false);
    assert_eq!(kit.missing(), ["u3", "u2", "u1"]);
    kit.index.note(Note::Seen("u2".into(), 0));
    kit.index.note(Note::Seen("unheard of".into(), 0));
    assert_eq!(kit.missing(), ["u3", "u1"]);
}

#[test]
fn the_rows_of_a_fold_count_as_known() {
    let mut kit = Kit::new();
    let at = Name { namespace: "n".into(), name: "a".into() };
    kit.index.restore_live(at.clone(), "u1".into(), Rv::new("9"), 0);
    assert_eq!((kit.index.len(), kit.index.live(&at)), (1, Some((&"u1".into(), &Rv::new("9")))));
    assert_eq!(kit.added("a", "u1", "9"), NONE);
    assert_eq!(kit.modified("a", "u1", "12"), [r#"u u1@12 {"old":"u1@9"}"#]);
    kit.list("20", true);
    assert_eq!(kit.missing(), ["u1"], "died while nobody looked");
}

fn event(wire: Wire, rv: &str, position: &str, list: Option<bool>) -> Vec<String> {
    let list = list.map(|first| ListContext { rv: Rv::new("99"), first, reason: "expired" });
    let (list, position) = (list.as_ref(), &Rv::new(position));
    let seen = Seen { list, position, history_epoch: 0, wall_ms: 0, selected: false, suspect: false };
    streamed(wire, object("a", "e1", rv), seen).writes.iter().map(short).collect()
}

#[test]
fn of_a_stream_only_what_is_newer_than_the_position_is_written_and_no_disappearance() {
    assert_eq!(event(Wire::Added, "11", "10", None), ["c e1@11"]);
    assert_eq!(event(Wire::Modified, "11", "10", None), ["r e1@11"]);
    assert_eq!(event(Wire::Added, "10", "10", None), NONE);
    assert_eq!(event(Wire::Deleted, "11", "10", None), NONE);
    assert_eq!(event(Wire::Listed, "9", "10", Some(false)), NONE);
    assert_eq!(event(Wire::Listed, "11", "10", Some(false)), ["r e1@11 relist"]);
    assert_eq!(event(Wire::Listed, "9", "", Some(true)), ["r e1@9 relist snapshot"]);
}
