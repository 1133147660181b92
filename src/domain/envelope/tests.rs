//! Pins the record contract to its exact text (what readers outside this program rely on) and proves that it reads back.

use super::*;
use crate::domain::redact::{self, Identity, Policy, Redactor, too_large};

const WALL_MS: i64 = 1_767_225_600_123;

fn pods() -> Kind {
    Kind::builtin("pods").expect("built in")
}

fn writer() -> Writer {
    Writer::new(pods(), "t-k8s-pods".into(), 12, "c1", 5)
}

fn pod(rv: &str) -> Redacted<Object> {
    let raw = format!(
        concat!(
            r#"{{"metadata":{{"name":"a","namespace":"n","uid":"u1","resourceVersion":"{}","#,
            r#""managedFields":[{{"manager":"kubelet","operation":"Update","time":"t"}}]}},"x":1.50}}"#
        ),
        rv
    );
    Redactor::new(pods(), Arc::new(Policy::default())).redact(&raw).expect("a pod")
}

fn change(op: Op, observed: Observed, object: Redacted<Object>) -> Change {
    Change { op, observed, snapshot: false, list_rv: None, inference: None, history_epoch: 2, before: None, object }
}

fn value(record: &OutRecord) -> &str {
    std::str::from_utf8(record.value.as_deref().expect("has a value")).expect("UTF-8")
}

fn header<'r>(record: &'r OutRecord, name: &str) -> &'r str {
    let (_, value) = record.headers.iter().find(|(n, _)| *n == name).expect("has the header");
    std::str::from_utf8(value).expect("UTF-8")
}

fn read_back(record: &OutRecord) -> InRecord {
    InRecord {
        topic: record.topic.clone(),
        partition: record.partition,
        offset: 0,
        timestamp_ms: record.timestamp_ms,
        key: Some(record.key.clone()),
        value: record.value.clone(),
        headers: record.headers.iter().map(|(n, v)| ((*n).into(), Some(v.clone()))).collect(),
    }
}

fn golden(source: &str, op: &str, before: &str, after: &str) -> String {
    format!(
        concat!(
            r#"{{"op":"{op}","ts_ms":1767225600123,"source":{{"version":"{v}","connector":"agent-events","cluster":"c1","#,
            r#""kind":"pods","namespace":"n","name":"a","uid":"u1",{source}}},"before":{before},"after":{after}}}"#
        ),
        op = op,
        v = env!("CARGO_PKG_VERSION"),
        source = source,
        before = before,
        after = after
    )
}

const POD_7: &str = concat!(
    r#"{"kind":"Pod","apiVersion":"v1","#,
    r#""metadata":{"name":"a","namespace":"n","uid":"u1","resourceVersion":"7"},"x":1.50}"#
);

#[test]
fn a_create_reads_like_this() {
    let record = writer().record(&change(Op::Create, Observed::Watch, pod("7")), WALL_MS);
    let source =
        r#""rv":"7","writerEpoch":5,"historyEpoch":2,"observed":"watch","manager":"kubelet","operation":"Update""#;
    assert_eq!(value(&record), golden(source, "c", "null", POD_7));
    assert_eq!((&*record.topic, &record.key[..], record.timestamp_ms), ("t-k8s-pods", &b"c1/pods/n/a"[..], WALL_MS));
    assert_eq!(record.partition, partition_of(b"c1/pods/n/a", 12));
    let headers: Vec<_> = record.headers.iter().map(|(n, v)| (*n, std::str::from_utf8(v).expect("UTF-8"))).collect();
    assert_eq!(
        headers,
        [
            ("ce_specversion", "1.0"),
            ("ce_source", "/clusters/c1"),
            ("content-type", "application/json"),
            ("ce_id", "u1:2.7:c"),
            ("ce_type", "io.k8s.core.v1.pod.created"),
            ("ce_time", "2026-01-01T00:00:00.123Z"),
            ("ce_writerepoch", "5"),
        ]
    );
}

#[test]
fn an_update_carries_the_old_version_and_a_snapshot_says_that_it_is_one() {
    let old = Bytes::from_static(br#"{"old":true}"#);
    let update = Change { before: Some(old), ..change(Op::Update, Observed::Relist, pod("7")) };
    let record = writer().record(&update, WALL_MS);
    let source = |observed: &str, rest: &str| {
        format!(
            r#""rv":"7","writerEpoch":5,"historyEpoch":2,"observed":"{observed}","manager":"kubelet","operation":"Update"{rest}"#
        )
    };
    assert_eq!(value(&record), golden(&source("relist", ""), "u", r#"{"old":true}"#, POD_7));
    assert_eq!((header(&record, "ce_id"), header(&record, "ce_type")), ("u1:2.7:u", "io.k8s.core.v1.pod.updated"));

    let read = Change { snapshot: true, ..change(Op::Read, Observed::Relist, pod("7")) };
    let record = writer().record(&read, WALL_MS);
    assert_eq!(value(&record), golden(&source("relist", r#","snapshot":true"#), "r", "null", POD_7));
    assert_eq!((header(&record, "ce_id"), header(&record, "ce_type")), ("u1:2.7:r", "io.k8s.core.v1.pod.read"));
}

#[test]
fn a_delete_carries_the_last_known_state() {
    let reported = writer().record(&change(Op::Delete, Observed::Watch, pod("7")), WALL_MS);
    let source =
        r#""rv":"7","writerEpoch":5,"historyEpoch":2,"observed":"watch","manager":"kubelet","operation":"Update""#;
    assert_eq!(value(&reported), golden(source, "d", POD_7, "null"));
    assert_eq!(header(&reported, "ce_type"), "io.k8s.core.v1.pod.deleted");

    let last = Rv::new("6");
    let identity = Identity { namespace: "n", name: "a", uid: "u1", rv: &last };
    let object = redact::last_known(&pods(), &identity, None);
    let inferred = Change { list_rv: Some(Rv::new("9")), ..change(Op::Delete, Observed::Inferred, object) };
    let inferred = writer().record(&inferred, WALL_MS);
    let source = r#""rv":"6","listRv":"9","writerEpoch":5,"historyEpoch":2,"observed":"inferred""#;
    let stub =
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"n","uid":"u1","resourceVersion":"6"}}"#;
    assert_eq!(value(&inferred), golden(source, "d", stub, "null"));
    assert_eq!((header(&inferred, "ce_id"), header(&reported, "ce_id")), ("u1:2.9:d", "u1:2.7:d"));
}

fn id(change: &Change) -> String {
    header(&writer().record(change, WALL_MS), "ce_id").to_owned()
}

#[test]
fn a_repeat_has_the_id_that_it_had_and_everything_else_another_one() {
    let reported = |op, rv: &str| Change { history_epoch: 0, ..change(op, Observed::Watch, pod(rv)) };
    let listed = |op, observed, rv: &str, list: &str| Change {
        list_rv: Some(Rv::new(list)),
        history_epoch: 0,
        ..change(op, observed, pod(rv))
    };
    // Taken for dead, found alive at the same version, and dead in the end: reported, or concluded once more.
    let life = [
        reported(Op::Create, "6"),
        listed(Op::Delete, Observed::Inferred, "6", "9"),
        listed(Op::Create, Observed::Relist, "6", "12"),
        listed(Op::Delete, Observed::Inferred, "6", "15"),
        listed(Op::Create, Observed::Relist, "6", "18"),
        reported(Op::Delete, "21"),
    ];
    let ids: Vec<_> = life.iter().map(id).collect();
    assert_eq!(ids, ["u1:6:c", "u1:9:d", "u1:12:c", "u1:15:d", "u1:18:c", "u1:21:d"]);
    let later = Writer::new(pods(), "t-k8s-pods".into(), 12, "c1", 6);
    for (change, id) in life.iter().zip(&ids) {
        assert_eq!(header(&later.record(change, WALL_MS + 1), "ce_id"), id, "whichever process sends it again");
    }
    assert_eq!(id(&listed(Op::Delete, Observed::Inferred, "8", "9")), ids[1], "from one list, however much was known");

    let descoped = Change { history_epoch: 0, ..change(Op::Delete, Observed::Descoped, pod("6")) };
    let repaired = Change { history_epoch: 0, ..change(Op::Read, Observed::Resume, pod("6")) };
    assert_eq!((id(&descoped), id(&repaired)), ("u1:6~5:d".into(), "u1:6~5:r".into()), "by no list: by this process");
    assert_eq!(
        id(&listed(Op::Read, Observed::Relist, "9", "9")),
        "u1:9~5:r",
        "the list speaks for a version of its own"
    );

    let rewound = |change: &Change| id(&Change { history_epoch: 1, ..change.clone() });
    assert_eq!((rewound(&life[0]), rewound(&life[5])), ("u1:1.6:c".into(), "u1:1.21:d".into()));
}

#[test]
fn a_tombstone_has_no_value_and_says_in_headers_who_died() {
    let record = writer().tombstone("n", "a", "u1", &Rv::new("7"), 2, WALL_MS);
    assert_eq!((&record.key[..], &record.value, record.partition), {
        (&b"c1/pods/n/a"[..], &None, partition_of(b"c1/pods/n/a", 12))
    });
    let headers: Vec<_> = record.headers.iter().map(|(n, v)| (*n, &v[..])).collect();
    assert_eq!(headers, [("ce_uid", &b"u1"[..]), ("ce_rv", b"7"), ("ce_historyepoch", b"2"), ("ce_writerepoch", b"5")]);
}

#[test]
fn a_stub_says_why_and_how_large_the_object_was() {
    let object = pod("7");
    let stub = too_large(&object, &pods());
    let record = writer().record(&change(Op::Read, Observed::Watch, stub), WALL_MS);
    let expected = format!(r#""stub":{{"reason":"too_large","bytes":{}}}"#, object.get().json.len());
    assert!(value(&record).contains(&expected), "{}", value(&record));
}

#[test]
fn kinds_of_a_group_have_their_group_in_the_type_and_cluster_scoped_objects_no_namespace() {
    let kind = Kind::builtin("deployments").expect("built in");
    let writer = Writer::new(kind.clone(), "t".into(), 6, "c1", 1);
    let rv = Rv::new("1");
    let identity = Identity { namespace: "", name: "a", uid: "u", rv: &rv };
    let object = redact::last_known(&kind, &identity, None);
    let record = writer.record(&change(Op::Read, Observed::Watch, object), 0);
    assert_eq!(header(&record, "ce_type"), "io.k8s.apps.v1.deployment.read");
    assert_eq!(&record.key[..], b"c1/deployments/_/a");
    assert!(!value(&record).contains("\"namespace\""), "{}", value(&record));
    assert_eq!(record.key, writer.key("", "a").as_bytes());
}

#[test]
fn what_was_written_reads_back() {
    let old = Bytes::from_static(br#"{"old":true}"#);
    let update = Change { before: Some(old), ..change(Op::Update, Observed::Watch, pod("7")) };
    let record = read_back(&writer().record(&update, WALL_MS));
    let Ok(Table::Change(read)) = read_table(&record) else { panic!("a change") };
    assert_eq!((read.op, read.ts_ms), (Op::Update, WALL_MS));
    assert_eq!((read.before.map(RawValue::get), read.after.map(RawValue::get)), {
        (Some(r#"{"old":true}"#), Some(POD_7))
    });
    let expected = Source {
        kind: "pods".into(),
        namespace: "n".into(),
        name: "a".into(),
        uid: "u1".into(),
        rv: "7".into(),
        list_rv: None,
        history_epoch: 2,
        observed: Observed::Watch,
        reason: None,
        window: None,
        manager: Some("kubelet".into()),
        snapshot: false,
        stub: None,
    };
    assert_eq!(read.source, expected);

    let gone = Change { list_rv: Some(Rv::new("9")), ..change(Op::Delete, Observed::Inferred, pod("7")) };
    let record = read_back(&writer().record(&gone, WALL_MS));
    let Ok(Table::Change(read)) = read_table(&record) else { panic!("a change") };
    assert_eq!((read.op, read.before.map(RawValue::get), read.after.is_none()), (Op::Delete, Some(POD_7), true));
    assert_eq!((read.source.list_rv.as_deref(), read.source.observed), (Some("9"), Observed::Inferred));

    let record = read_back(&writer().tombstone("n", "a", "u1", &Rv::new("7"), 2, WALL_MS));
    let Ok(Table::Tombstone { uid, rv, history_epoch }) = read_table(&record) else { panic!("a tombstone") };
    assert_eq!((uid, rv, history_epoch), (Some("u1"), Some(Rv::new("7")), 2));
}

#[test]
fn markers_are_told_apart_from_tombstones_by_their_key() {
    let mut record = read_back(&writer().tombstone("n", "a", "u1", &Rv::new("7"), 2, WALL_MS));
    record.key = Some(Bytes::from_static(b"~writer/3"));
    assert!(matches!(read_table(&record), Ok(Table::WriterMarker(5))));
    record.key = Some(Bytes::from_static(b"~gap/3"));
    assert!(matches!(read_table(&record), Ok(Table::OtherMarker)));
}

#[test]
fn a_foreign_record_is_refused_in_words_that_quote_nothing_of_it() {
    let good = read_back(&writer().record(&change(Op::Create, Observed::Watch, pod("7")), WALL_MS));
    let foreign = |change: &dyn Fn(&mut InRecord)| {
        let mut record = good.clone();
        change(&mut record);
        read_table(&record).expect_err("refused").to_string()
    };
    assert_eq!(foreign(&|r| r.key = None), "it has no UTF-8 key");
    assert_eq!(foreign(&|r| r.key = Some(Bytes::from_static(b"\xffcanary"))), "it has no UTF-8 key");
    assert_eq!(foreign(&|r| r.headers.clear()), "it has no ce_writerepoch header");
    for text in ["canary", "{\"op\":\"canary\"}", "[\"canary\"]", "", "{}", "{\"op\":\"c\",\"ts_ms\":\"canary\"}"] {
        let value = Some(Bytes::from(text));
        let said = foreign(&|r| r.value.clone_from(&value));
        assert!(said.starts_with("its value is not an envelope (byte ") && !said.contains("canary"), "{said}");
    }
}

#[test]
fn debug_output_of_changes_shows_no_bytes_of_objects() {
    let before = Some(Bytes::from_static(b"{\"canary\":1}"));
    let change = Change { before, ..change(Op::Update, Observed::Watch, pod("7")) };
    assert_eq!(
        format!("{change:?}"),
        format!("Change(u Watch Redacted(Object(n/a uid=u1 rv=7 {} bytes)) before=12 bytes)", POD_7.len())
    );
    let record = read_back(&writer().record(&change, WALL_MS));
    let read = format!("{:?}", read_table(&record).expect("ours"));
    assert!(read.contains("uid: \"u1\"") && !read.contains("canary") && !read.contains("1.50"), "{read}");
}

#[test]
fn times_are_rfc_3339_in_utc_with_milliseconds_and_out_of_range_gives_the_epoch() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
    assert_eq!(rfc3339(WALL_MS), "2026-01-01T00:00:00.123Z");
    assert_eq!((rfc3339(i64::MAX), rfc3339(i64::MIN)), (rfc3339(0), rfc3339(0)));
}
