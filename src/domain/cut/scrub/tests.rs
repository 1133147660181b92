//! What goes, what stays, and that a long text takes no longer than it is long.

use super::*;
use proptest::prelude::*;

#[test]
fn credentials_go_and_what_is_around_them_stays() {
    for (text, expected) in [
        ("--password=hunter2", "--password=[redacted]"),
        ("mysql --password hunter2 -h db", "mysql --password [redacted] -h db"),
        ("PGPASSWORD=hunter2 psql -c 'x'", "PGPASSWORD=[redacted] psql -c 'x'"),
        ("export API_KEY='a b' && run", "export API_KEY='[redacted]' && run"),
        (r#"{"password": "a, b", "n": 1}"#, r#"{"password": "[redacted]", "n": 1}"#),
        (r#"{\"password\":\"a b\",\"n\":1}"#, r#"{\"password\":\"[redacted]\",\"n\":1}"#),
        ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
        ("curl -H bearer abcdefghij x", "curl -H bearer [redacted] x"),
        ("postgres://app:hunter2@db/x", "postgres://app:[redacted]@db/x"),
        ("postgres://app:p@ss@db/x", "postgres://app:[redacted]@db/x"),
        ("id AKIAIOSFODNN7EXAMPLE.", "id [redacted]."),
        ("x -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- y", "x [redacted] y"),
        ("-----BEGIN PRIVATE KEY-----\nabc", "[redacted]"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln end", "jwt [redacted] end"),
        ("ghp_0123456789abcdefghij0123456789abcdef", "[redacted]"),
        ("--encryption-key=abc", "--encryption-key=[redacted]"),
        ("--db-pass=hunter2 --port=1", "--db-pass=[redacted] --port=1"),
        ("PASS=hunter2 DB_PW='a b' dbPass2=x", "PASS=[redacted] DB_PW='[redacted]' dbPass2=[redacted]"),
        (r#"{"pass":"a b","dbPass":"c"}"#, r#"{"pass":"[redacted]","dbPass":"[redacted]"}"#),
        ("openssl -passin pass:hunter2", "openssl -passin pass:[redacted]"),
        (r#"exec ["--password", "a b", "-v"]"#, r#"exec ["--password", "[redacted]", "-v"]"#),
        (r#""[\"--token\",\"a\"]""#, r#""[\"--token\",\"[redacted]\"]""#),
        ("mysql -uroot -phunter2 -h db", "mysql -uroot -p[redacted] -h db"),
        ("/usr/bin/mysqladmin -p'a b' ping", "/usr/bin/mysqladmin -p'[redacted]' ping"),
        ("[mysqldump -p hunter2 x]", "[mysqldump -p [redacted] x]"),
        ("sshpass -p 1234 ssh -p 22 h", "sshpass -p [redacted] ssh -p [redacted] h"),
        (
            "docker login -p hunter2 && docker run -p 80:80/tcp x",
            "docker login -p [redacted] && docker run -p 80:80/tcp x",
        ),
        ("redis-cli -a hunter2 ping", "redis-cli -a [redacted] ping"),
        ("curl -u a:b --proxy-user=c:d http://x", "curl -u [redacted] --proxy-user=[redacted] http://x"),
        ("authorization: ApiKey abc.def refused", "authorization: [redacted] refused"),
        (r#"-H 'Authorization: Digest username="a", response="b"' x"#, r#"-H 'Authorization: [redacted]' x"#),
        ("Authorization: AWS4-HMAC-SHA256 Credential=a, Signature=b\nHost: c", "Authorization: [redacted]\nHost: c"),
        (
            r#"{\"h\":\"Proxy-Authorization: Basic a\",\"n\":1}"#,
            r#"{\"h\":\"Proxy-Authorization: [redacted]\",\"n\":1}"#,
        ),
        ("https://ghtoken@github.com/a", "https://[redacted]@github.com/a"),
        ("http://a:b@c:80/d", "http://[redacted]@c:80/d"),
        ("amqp://app:hunt/er2@mq/x", "amqp://app:[redacted]@mq/x"),
        ("dsn app:hunter2@tcp(db:3306)/x", "dsn app:[redacted]@tcp(db:3306)/x"),
        ("user=a&token=b&x=c", "user=a&token=[redacted]&x=c"),
    ] {
        assert_eq!(scrub(text), expected);
    }
}

#[test]
fn ordinary_text_is_given_back_as_it_is() {
    for text in [
        "--port=8080",
        "--tls-private-key-file=/etc/tls/tls.key",
        "--secret-name=web",
        "--token-ttl=24h",
        "Pulling image \"registry/token-service:1.2\"",
        "Created pod: web-6c9d5b7f8-x2x4z",
        "MountVolume.SetUp failed for volume \"web\" : secret \"web\" not found",
        "http://example.com:8080/a?b=c",
        "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
        "a basic test of basics",
        "--- PASS: TestAll (0.1s)",
        "--tls-bypass=on",
        "mkdir -p /data && ssh -p 22 host",
        "docker run -p 127.0.0.1:8080:80 mysql",
        "Pulling image \"mysql:8.0\"",
        "http://example.com:8080/a@b tcp://[::1]:80/a@b",
        "git clone ssh://git@github.com/a",
        "authorization failed",
        "",
    ] {
        assert!(matches!(scrub(text), Cow::Borrowed(same) if same == text), "{text:?} → {:?}", scrub(text));
    }
}

fn scrubbed_arguments(arguments: &[&str]) -> Vec<String> {
    let mut command = Arguments::default();
    arguments.iter().map(|argument| command.scrub(argument).into_owned()).collect()
}

#[test]
fn an_argument_is_one_value_to_its_end_and_a_flag_may_name_the_next_one() {
    for (arguments, expected) in [
        (
            &["--password=a b", "--token", "abc", "--token", "--verbose", "x", "--log-level", "debug"][..],
            &["--password=[redacted]", "--token", "[redacted]", "--token", "--verbose", "x", "--log-level", "debug"][..],
        ),
        (&["--db-pass", "a b", "-pw", "c"], &["--db-pass", "[redacted]", "-pw", "[redacted]"]),
        (&["/bin/mysql", "-uroot", "-pabc", "-p"], &["/bin/mysql", "-uroot", "-p[redacted]", "-p"]),
        (&["docker", "run", "-p", "80:80", "-p81:81"], &["docker", "run", "-p", "80:80", "-p81:81"]),
        (&["docker", "login", "-p", "abc"], &["docker", "login", "-p", "[redacted]"]),
        (&["curl", "-u", "a:b", "--user=a:b"], &["curl", "-u", "[redacted]", "--user=[redacted]"]),
        // Whose arguments they are is not said.
        (&["-uroot", "-phunter2", "-ps3cret!"], &["-uroot", "-p[redacted]", "-p[redacted]"]),
        (&["-p", "80", "-p8080", "-p80:80", "-path", "-p=x1"], &["-p", "80", "-p8080", "-p80:80", "-path", "-p=x1"]),
        (&["-port=8080", "-p/run/x1", "-parallel"], &["-port=8080", "-p/run/x1", "-parallel"]),
        (&["sh", "-c", "exec mysql -pabc"], &["sh", "-c", "exec mysql -p[redacted]"]),
    ] {
        let scrubbed = scrubbed_arguments(arguments);
        assert_eq!(scrubbed, expected);
        let again: Vec<&str> = scrubbed.iter().map(String::as_str).collect();
        assert_eq!(scrubbed_arguments(&again), expected, "again");
    }
}

/// Each of these made some look ahead begin anew at every step.
#[test]
fn a_long_text_takes_as_long_as_it_is_long() {
    let (done, finished) = std::sync::mpsc::channel();
    // A thread of its own: what takes minutes is a failure and no wait.
    std::thread::spawn(move || {
        for part in [
            "eyJ/",
            "eyJ.",
            "://a:b/",
            "a:b",
            "-p ",
            "mysql -p",
            "\"",
            "\\",
            "--token ",
            "Authorization: ",
            "-----BEGIN ",
            "pass:",
            "a@tcp(:",
            "'-p",
            "ghp_",
            "bearer ",
        ] {
            drop(scrub(&part.repeat(600_000 / part.len())));
        }
        done.send(()).expect("somebody waits");
    });
    finished.recv_timeout(std::time::Duration::from_secs(120)).expect("it grows with the square of the length");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn scrubbing_never_panics_and_settles(parts in proptest::collection::vec(
        prop_oneof![
            ".{0,6}",
            proptest::sample::select(vec![
                "password", "token", "=", ":", " ", "\"", "\\", "'", "--", "-", "://", "@", "/", "Bearer ", "AKIA", "eyJ",
                "-----BEGIN ", "PRIVATE KEY-----", "-----END", "ghp_", "xoxb-", "abcdefghijklmnopqrst", "key", "basic ", "ä",
                "mysql ", "docker ", "curl ", "-p", "-u", "pass", "Authorization: ", "Digest ", "[redacted]", "@tcp(", "http", ",", "\n",
                "1", "8",
            ]).prop_map(str::to_owned),
        ], 0..24))
    {
        let text = parts.concat();
        let once = scrub(&text);
        prop_assert_eq!(scrub(&once), once.as_ref());
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let once = scrubbed_arguments(&parts);
        let again: Vec<&str> = once.iter().map(String::as_str).collect();
        prop_assert_eq!(&scrubbed_arguments(&again), &once);
    }
}
