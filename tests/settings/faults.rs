//! Every sort of fault, with the full text that a person reads.

use proptest::prelude::*;
use proptest::sample::select;

use agent_events::settings::dotted;

use super::*;

#[test]
fn an_unknown_setting_is_named_with_the_one_that_was_meant() {
    assert_faults(&[
        (
            "[watch.pods]\nenabld = true",
            "error: watch.pods.enabld (x.toml:2): unknown setting; did you mean watch.pods.enabled?",
        ),
        (
            "[watch.podz]\nenabld = true",
            "error: watch.podz.enabld (x.toml:2): unknown setting; did you mean watch.podz.enabled?",
        ),
        ("[watch]\nmax_kind = 5", "error: watch.max_kind (x.toml:2): unknown setting; did you mean watch.max_kinds?"),
        (
            "[watch.certificates.cert-manager.io]\npolicy = \"full\"",
            "error: watch.certificates.cert-manager (x.toml:1): unknown setting; \
             a kind with a group is quoted: [watch.\"certificates.cert-manager.io\"]",
        ),
        (
            "[watch.namespace]\nshop = true",
            "error: watch.namespace.shop (x.toml:2): unknown setting; did you mean watch.namespaces?",
        ),
        (
            "[watch.\"Certificates.cert-manager.io\"]\nenabled = true",
            "error: watch.\"Certificates.cert-manager.io\" (x.toml:1): unknown setting; \
             `agent-events config default` prints every setting there is",
        ),
        (
            "[watch.\"deployments.apps\"]\nenabled = true\n[watch.deployments]\npolicy = \"full\"",
            "error: watch.deployments (x.toml:3): this kind has two tables, under two of its names; make them one",
        ),
        ("[kafak]\nbootstrap = \"b:1\"", "error: kafak (x.toml:1): unknown setting; did you mean kafka?"),
        ("linger = \"5ms\"", "error: linger (x.toml:1): unknown setting; did you mean publisher.linger?"),
        (
            "[kafka]\nbootstrap_servers = \"b:1\"",
            "error: kafka.bootstrap_servers (x.toml:2): unknown setting; did you mean kafka.bootstrap?",
        ),
        (
            "[topics.k8s_pods]\npartitions = 3",
            "error: topics.k8s_pods (x.toml:1): unknown setting; did you mean topics.k8s-pods?",
        ),
        (
            "[topics.\"agent.events.dlq\"]\npartitions = 3",
            "error: topics.\"agent.events.dlq\" (x.toml:1): unknown setting; \
             did you mean topics.\"agent-events.dlq\"?",
        ),
        (
            "zebra = \"hunter2\"",
            "error: zebra (x.toml:1): unknown setting; `agent-events config default` prints every setting there is",
        ),
    ]);
}

#[test]
fn a_wrong_type_is_named_with_what_was_expected() {
    assert_faults(&[
        (
            "[watch.pods]\nenabled = \"yes\"",
            "error: watch.pods.enabled = \"yes\" (x.toml:2): expected true or false, got a string",
        ),
        (
            "[watch.pods]\nenabled = 1",
            "error: watch.pods.enabled = 1 (x.toml:2): expected true or false, got a whole number",
        ),
        (
            "[publisher]\nbatch_events = \"lots\"",
            "error: publisher.batch_events = \"lots\" (x.toml:2): expected a whole number, got a string",
        ),
        (
            "[publisher]\nbatch_events = 1.5",
            "error: publisher.batch_events = 1.5 (x.toml:2): expected a whole number, got a number with a fraction",
        ),
        (
            "[publisher]\nbatch_events = -1",
            "error: publisher.batch_events = -1 (x.toml:2): expected a whole number that is not negative",
        ),
        (
            "[topics.k8s-pods]\npartitions = 70000",
            "error: topics.k8s-pods.partitions = 70000 (x.toml:2): expected a whole number from 0 to 65535",
        ),
        (
            "[publisher]\nlinger = 50",
            "error: publisher.linger = 50 (x.toml:2): \
             expected a duration with its unit, such as \"250ms\", \"30s\" or \"1h\"",
        ),
        (
            "[publisher]\nlinger = \"soon\"",
            "error: publisher.linger = \"soon\" (x.toml:2): \
             expected a duration with its unit, such as \"250ms\", \"30s\" or \"1h\"",
        ),
        (
            "[publisher]\nlinger = true",
            "error: publisher.linger = true (x.toml:2): \
             expected a duration with its unit, such as \"250ms\", \"30s\" or \"1h\", got true or false",
        ),
        (
            "[publisher]\nbatch_bytes = \"1MB\"",
            "error: publisher.batch_bytes = \"1MB\" (x.toml:2): \
             expected a size such as \"4MiB\", \"64KiB\" or a whole number of bytes",
        ),
        ("[cluster]\nid = 5", "error: cluster.id = 5 (x.toml:2): expected a string, got a whole number"),
        (
            "[cluster]\nmode = \"kubeconfg\"",
            "error: cluster.mode = \"kubeconfg\" (x.toml:2): \
             expected one of `auto`, `in-cluster`, `kubeconfig`, `sandbox`",
        ),
        ("[watch]\nlist = \"stream\"", "error: watch.list = \"stream\" (x.toml:2): expected `paged` or `watch-list`"),
        ("[log]\nengine = \"memory\"", "error: log.engine = \"memory\" (x.toml:2): expected `kafka` or `embedded`"),
        (
            "[http]\napi = \"localhost:8080\"",
            "error: http.api = \"localhost:8080\" (x.toml:2): \
             expected an IP address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
        ),
        ("watch = 5", "error: watch = 5 (x.toml:1): expected a table, got a whole number"),
        (
            "[watch]\nnamespaces = [\"a\", \"b\"]",
            "error: watch.namespaces (x.toml:2): expected a table, got a list; \
             write [watch.namespaces] and below it name = true",
        ),
        ("[cluster.name]\na = 1", "error: cluster.name (x.toml:1): expected a string, got a table"),
        (
            "[watch.namespaces]\nshop = \"on\"",
            "error: watch.namespaces.shop = \"on\" (x.toml:2): expected true or false, got a string",
        ),
        (
            "[kafka.librdkafka]\n\"debug\" = [\"broker\"]",
            "error: kafka.librdkafka.debug (x.toml:2): expected a string, a number, true or false, got a list",
        ),
    ]);
}

#[test]
fn a_value_out_of_range_or_of_the_wrong_form_is_named() {
    assert_faults(&[
        ("data_dir = \"\"", "error: data_dir = \"\" (x.toml:1): expected a directory; \".\" is the working directory"),
        ("[watch]\npage_size = 0", "error: watch.page_size = 0 (x.toml:2): expected 1 to 10000"),
        (
            "[watch]\npoll_interval = \"10ms\"",
            "error: watch.poll_interval = \"10ms\" (x.toml:2): expected at least 100ms",
        ),
        ("[watch]\nmax_kinds = 0", "error: watch.max_kinds = 0 (x.toml:2): expected 1 to 10000"),
        (
            "[watch.\"x.example.com\"]\npolicy = \"all\"",
            "error: watch.\"x.example.com\".policy = \"all\" (x.toml:2): expected `metadata`, `keys` or `full`",
        ),
        ("[watch.pods]\npolicy = 5", "error: watch.pods.policy = 5 (x.toml:2): expected a string, got a whole number"),
        (
            "[watch.secrets]\npolicy = \"full\"",
            "error: watch.secrets.policy = \"full\" (x.toml:2): \
             expected metadata: no value of a Secret leaves the process",
        ),
        (
            "[watch.pods]\nlabel_selector = \"app in web\"",
            "error: watch.pods.label_selector = \"app in web\" (x.toml:2): \
             no label selector: at byte 7: found \"web\", expected '('; for example \"app=web,tier!=cache\"",
        ),
        (
            "[watch.\"*\"]\nfield_selector = \"metadata.name=a,status\"",
            "error: watch.\"*\".field_selector = \"metadata.name=a,status\" (x.toml:2): \
             no field selector: at byte 16: \"status\" is no field selector: write field=value or field!=value; \
             for example \"status.phase!=Succeeded\"",
        ),
        (
            "[watch.nodes.namespaces]\n\"A_b\" = true",
            "error: watch.nodes.namespaces.A_b = true (x.toml:2): \
             not a namespace: expected at most 63 small letters, digits and - between them",
        ),
        (
            "[watch.\"events.events.k8s.io\"]\nenabled = true",
            "error: watch.\"events.events.k8s.io\".enabled = true (x.toml:2): \
             these are the same objects as those of events, in another form; enable events instead",
        ),
        ("[publisher]\nlinger = \"1h\"", "error: publisher.linger = \"1h\" (x.toml:2): expected at most 10s"),
        (
            "[watch.namespaces]\n\"Shop_1\" = true",
            "error: watch.namespaces.Shop_1 = true (x.toml:2): \
             not a namespace: expected at most 63 small letters, digits and - between them",
        ),
        (
            "[redaction.configmaps.full_namespaces]\n\"*\" = true",
            "error: redaction.configmaps.full_namespaces.\"*\" = true (x.toml:2): \
             not a namespace: expected at most 63 small letters, digits and - between them",
        ),
        (
            "[topics]\nprefix = \"a/\"",
            "error: topics.prefix = \"a/\" (x.toml:2): expected at most 200 letters, digits and ._-",
        ),
        (
            "[topics.agent-events-checkpoints]\npartitions = 2",
            "error: topics.agent-events-checkpoints.partitions = 2 (x.toml:2): \
             expected 1: readers need one order over all of it",
        ),
        (
            "[topics.k8s-pods.config]\ncleanup.policy = \"compact,delete\"",
            "error: topics.k8s-pods.config.\"cleanup.policy\" = \"compact,delete\" (x.toml:2): \
             expected \"compact\": with any other policy an object that nobody touches is lost",
        ),
        (
            "[observe]\nlog = \"agent_events=loud\"",
            "error: observe.log = \"agent_events=loud\" (x.toml:2): \
             not a log filter: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \
             \"debug\", \"trace\", or a number 0-5; for example \"info\"",
        ),
        (
            "[http]\napi = \"0.0.0.0:8080\"",
            "error: http.api = \"0.0.0.0:8080\" (x.toml:2): \
             expected a loopback address: the API has no authentication yet; \
             reach it through kubectl port-forward or a proxy of your own",
        ),
    ]);
    let set = texts(&["cluster.name=a/b", "kafka.bootstrap=http://b:1"]);
    assert_eq!(
        load(&Sources { set, ..Sources::default() }).unwrap_err().to_string(),
        "error: cluster.name = \"a/b\" (--set): expected letters, digits and ._- only\n\
         error: kafka.bootstrap = \"http://b:1\" (--set): expected host:port, comma separated, without a scheme"
    );
}

#[test]
fn a_setting_of_librdkafka_that_delivery_rests_on_is_refused_with_the_reason() {
    assert_faults(&[
        (
            "[kafka.librdkafka]\nacks = 1",
            "error: kafka.librdkafka.acks = 1 (x.toml:2): not taken from here; \
             a record counts as durable only with acks=all",
        ),
        (
            "[kafka.librdkafka]\nenable.gapless.guarantee = false",
            "error: kafka.librdkafka.\"enable.gapless.guarantee\" = false (x.toml:2): not taken from here; \
             a refused record would be overtaken by later ones of its object",
        ),
        (
            "[kafka.librdkafka]\nbootstrap.servers = \"b:1\"",
            "error: kafka.librdkafka.\"bootstrap.servers\" = \"b:1\" (x.toml:2): not taken from here; \
             set kafka.bootstrap instead",
        ),
        (
            "[topics.k8s-pods.config]\n\"min.insync.replicas\" = 2",
            "error: topics.k8s-pods.config.\"min.insync.replicas\" = 2 (x.toml:2): not taken from here; \
             set topics.min_insync_replicas instead",
        ),
    ]);
}

#[test]
fn two_settings_that_contradict_each_other_are_both_named_with_their_origin() {
    assert_faults(&[
        (
            "[watch]\nall_namespaces = true\nnamespaces.shop = true",
            "error: watch.all_namespaces = true (x.toml:2): \
             contradicts watch.namespaces.shop = true (x.toml:3); watch.all_namespaces=false watches only what is named",
        ),
        (
            "[publisher]\nbatch_bytes = \"5MiB\"",
            "error: publisher.batch_bytes = \"5MiB\" (x.toml:2): \
             contradicts publisher.lane_bytes = \"4MiB\" (default); it must not be larger",
        ),
        (
            "[publisher]\nqueue_bytes = \"5MiB\"",
            "error: publisher.max_record_bytes = \"10MiB\" (default): \
                 contradicts publisher.queue_bytes = \"5MiB\" (x.toml:2); it must not be larger",
        ),
        (
            "[topics]\nmin_insync_replicas = 2",
            "error: topics.min_insync_replicas = 2 (x.toml:2): contradicts topics.replication = 1 (default); \
             a topic with fewer copies than must have a record takes none",
        ),
        (
            "[supervision]\nbackoff_min = \"1m\"",
            "error: supervision.backoff_min = \"1m\" (x.toml:2): \
             contradicts supervision.backoff_max = \"30s\" (default); it must not be larger",
        ),
        (
            "[http]\napi = \"127.0.0.1:9090\"",
            "error: http.ops = \"127.0.0.1:9090\" (default): \
             contradicts http.api = \"127.0.0.1:9090\" (x.toml:2); two listeners need two addresses",
        ),
        (
            "[cluster]\nmode = \"in-cluster\"\ncontext = \"kind\"",
            "error: cluster.context = \"kind\" (x.toml:3): \
             contradicts cluster.mode = \"in-cluster\" (x.toml:2); only a kubeconfig has a use for it",
        ),
        (
            "[kafka]\nsasl_password = \"hunter2\"\nsasl_password_file = \"/run/p\"",
            "error: kafka.sasl_password_file = \"/run/p\" (x.toml:3): \
             contradicts kafka.sasl_password = \"<redacted>\" (x.toml:2); keep one of them",
        ),
    ]);
    let mut sources = sound();
    sources.flags = vec![FlagOverride::namespaces(texts(&["shop"]))];
    assert_eq!(
        faults_of("[watch]\nall_namespaces = true", sources),
        "error: watch.all_namespaces = true (x.toml:2): contradicts watch.namespaces.shop = true (--namespace); \
         watch.all_namespaces=false watches only what is named"
    );
}

#[test]
fn nothing_to_watch_is_a_fault() {
    let mut sources = sound();
    sources.set.extend(texts(&["watch.namespaces.default=false"]));
    let kinds = "[watch]\npods.enabled = false\nservices.enabled = false\ndeployments.enabled = false\n\
                 statefulsets.enabled = false\nconfigmaps.enabled = false\nsecrets.enabled = false\nevents.enabled = false";
    assert_eq!(
        faults_of(kinds, sources),
        "error: watch.namespaces (default): no namespace is left to watch; \
         name one with --namespace, or watch all of them with --all-namespaces\n\
         error: watch.pods.enabled = false (x.toml:2): no kind is left to watch; enable one with --resources"
    );
}

#[test]
fn faults_of_every_layer_and_of_every_sort_are_reported_at_once() {
    let mut sources = sound();
    sources.env = env(&[("AGENT_EVENTS__STORE__RING", "many"), ("AGENT_EVENTS__STORE__RNG", "1")]);
    sources.set.extend(texts(&["publisher.linger=soon", "oops", "a b=1", "watch.poll_interval=0s"]));
    sources.flags =
        vec![FlagOverride::resources(texts(&["pods,Deployments,a_cow"])), FlagOverride::namespaces(texts(&[","]))];
    let file = "[publisher]\nbatch_events = true\nbatch_bites = 1\nlane_bytes = \"?\"\n[topics]\ncreate = \"maybe\"";
    assert_eq!(
        faults_of(file, sources),
        "error: publisher.batch_events = true (x.toml:2): expected a whole number, got true or false\n\
         error: publisher.batch_bites (x.toml:3): unknown setting; did you mean publisher.batch_bytes?\n\
         error: store.ring = \"many\" (AGENT_EVENTS__STORE__RING): expected a whole number, got a string\n\
         error: store.rng (AGENT_EVENTS__STORE__RNG): unknown setting; did you mean store.ring?\n\
         error: --set: expected KEY=VALUE; for example --set watch.poll_interval=10s\n\
         error: --set: \"a b\" is not a TOML dotted key; \
         put quotes around a part that holds more than letters, digits, - and _\n\
         error: --resources: \"Deployments\" is no kind: \
         expected a kind as PLURAL or PLURAL.GROUP in small letters, *.GROUP, or *\n\
         error: --resources: \"a_cow\" is no kind: \
         expected a kind as PLURAL or PLURAL.GROUP in small letters, *.GROUP, or *\n\
         error: --namespace: expected the name of a namespace, got none; \
         leave it out for the namespace default\n\
         error: publisher.lane_bytes = \"?\" (x.toml:4): \
         expected a size such as \"4MiB\", \"64KiB\" or a whole number of bytes\n\
         error: publisher.linger = \"soon\" (--set): \
         expected a duration with its unit, such as \"250ms\", \"30s\" or \"1h\"\n\
         error: topics.create = \"maybe\" (x.toml:6): expected `missing` or `never`\n\
         error: watch.poll_interval = \"0s\" (--set): expected at least 100ms"
    );
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_named_with_the_place_and_without_its_text() {
    assert_eq!(
        faults_of("[kafka]\nsasl_password = \"hunter2\n[watch\n", sound()),
        "error: x.toml:2: not TOML at column 25: invalid basic string, expected `\"`\n\
         error: x.toml:3: not TOML at column 7: unclosed table, expected `]`"
    );
    let sources = Sources { files: vec!["no/such.toml".into()], ..sound() };
    assert_eq!(
        load(&sources).unwrap_err().to_string(),
        "error: no/such.toml: cannot read this settings file: No such file or directory (os error 2); \
         name an existing file with --config"
    );
}

#[test]
fn bad_settings_end_a_process_with_ex_config() {
    assert_eq!(SettingsError::EXIT_CODE, 78);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any setting with any value, from any layer: settings or faults, never a panic.
    #[test]
    fn whatever_is_typed_is_answered(
        key in select(every_key()), value in "[-0-9a-z\"'.{}=\\[\\]\n ]{0,12}", deeper in "[a-z._=\"-]{0,4}",
    ) {
        let mut sources = sound();
        sources.set.push(format!("{key}{deeper}={value}"));
        let name = key.replace('.', "__").replace('"', "").to_uppercase();
        sources.env = env(&[(&format!("AGENT_EVENTS__{name}{deeper}"), &value)]);
        sources.flags = vec![FlagOverride::value("--flag", &key, value.clone())];
        let file = File::with(&format!("{key}{deeper} = {value}"));
        sources.files.push(file.path());
        if let Err(error) = load(&sources) {
            prop_assert!(!error.problems.is_empty());
        }
    }
}

/// Every setting, and every table above one.
fn every_key() -> Vec<String> {
    let loaded = loaded(&sound());
    let tables = loaded.provenance.iter().flat_map(|(path, _)| (1..=path.len()).map(|end| dotted(&path[..end])));
    tables.collect()
}
