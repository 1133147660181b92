//! A secret is never shown.

use super::*;

const CANARY: &str = "hunter2-canary";

#[test]
fn a_secret_is_shown_neither_in_what_is_in_force_nor_in_debug_nor_in_a_fault() {
    let mut sources = sound();
    sources.set.extend([
        format!("kafka.sasl_password={CANARY}"),
        format!("kafka.librdkafka.\"ssl.key.password\"={CANARY}"),
        format!("kafka.librdkafka.\"ssl.key.pem\"={CANARY}"),
    ]);
    let loaded = loaded(&sources);
    assert_eq!(loaded.sasl_password().unwrap().as_ref().map(Secret::expose), Some(CANARY));
    assert_eq!(loaded.settings.kafka.librdkafka.get("ssl.key.password"), Some(CANARY));
    let shown = config_cmd::show_text(&loaded, true);
    assert!(shown.contains("sasl_password = \"<redacted>\" # --set"), "{shown}");
    for text in [shown, config_cmd::show_json(&loaded).to_string(), format!("{loaded:?}")] {
        assert!(!text.contains(CANARY), "{text}");
    }

    sources.set.extend([
        format!("kafka.librdkafka.\"sasl.password\"={CANARY}"),
        format!("kafka.sasl_passwrd={CANARY}"),
        format!("kafka.sasl_password=[\"{CANARY}\"]"),
        CANARY.to_owned(),
    ]);
    sources.env = env(&[("AGENT_EVENTS__KAFKA__SASL_PASSWORD__X", CANARY)]);
    let numbers = "[kafka]\nsasl_password = 20406080\n[kafka.librdkafka]\nssl.key.password = [20406080]";
    let faults = faults_of(numbers, sources);
    assert_eq!(faults.lines().count(), 6, "{faults}");
    assert!(!faults.contains(CANARY) && !faults.contains("20406080"), "{faults}");
}

#[test]
fn a_password_of_the_wrong_type_is_refused_without_being_shown() {
    assert_eq!(
        faults_of("[kafka]\nsasl_password = 20406080", sound()),
        "error: kafka.sasl_password (x.toml:2): expected a string, got a whole number"
    );
}

#[test]
fn the_password_comes_from_its_file_without_the_line_break_at_the_end() {
    for (text, password) in [("p w\n", "p w"), ("p\r\n", "p"), ("p\n\n", "p\n"), ("p", "p")] {
        let file = File::with(text);
        let mut sources = sound();
        sources.set.push(format!("kafka.sasl_password_file={}", file.path().display()));
        assert_eq!(loaded(&sources).sasl_password().unwrap().unwrap().expose(), password);
    }
}

#[test]
fn a_password_file_that_is_missing_or_empty_is_bad_settings() {
    let empty = File::with("\n");
    let mut sources = sound();
    sources.set.push(format!("kafka.sasl_password_file={}", empty.path().display()));
    let error = config_cmd::validate_text(load(&sources)).unwrap_err().to_string();
    assert_eq!(
        error.replace(empty.path().to_str().unwrap(), "x"),
        "error: kafka.sasl_password_file = \"x\" (--set): this file is empty; \
         the file holds the password and nothing else"
    );
    sources.env = env(&[("AGENT_EVENTS__KAFKA__SASL_PASSWORD_FILE", "/no/such")]);
    sources.set.pop();
    assert_eq!(
        loaded(&sources).sasl_password().unwrap_err().to_string(),
        "error: kafka.sasl_password_file = \"/no/such\" (AGENT_EVENTS__KAFKA__SASL_PASSWORD_FILE): \
         cannot read this file: No such file or directory (os error 2); \
         the file holds the password and nothing else"
    );
}
