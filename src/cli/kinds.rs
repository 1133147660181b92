//! What a person may call a kind.

use super::failure::{Failure, USAGE};
use crate::domain::kind::Kind;

/// The short names that kubectl knows.
const SHORT: &[(&str, &str)] = &[
    ("po", "pods"),
    ("svc", "services"),
    ("deploy", "deployments"),
    ("sts", "statefulsets"),
    ("cm", "configmaps"),
    ("ev", "events"),
];

/// The id of a kind by its plural, singular or short name in any case; `plural.group` is passed on as it is, since only
/// the process knows which of these it captures.
pub fn id_of(typed: &str) -> Result<String, Failure> {
    let word = typed.to_lowercase();
    if let Some((_, plural)) = SHORT.iter().find(|(short, _)| *short == word) {
        return Ok((*plural).to_owned());
    }
    let builtins = Kind::builtins();
    let named = |kind: &&Kind| {
        let qualified = word.strip_suffix(kind.group()).and_then(|w| w.strip_suffix('.')).unwrap_or(&word);
        kind.plural() == qualified || kind.name().to_lowercase() == qualified
    };
    if let Some(kind) = builtins.iter().find(named) {
        return Ok(kind.id());
    }
    if word.contains('.') {
        return Ok(word);
    }
    let known: Vec<String> = builtins.iter().map(Kind::id).collect();
    Err(Failure::with(USAGE, format!("{typed:?} is no kind; there are {} and PLURAL.GROUP", known.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_goes_by_the_names_that_kubectl_takes() {
        for (typed, id) in [
            ("po", "pods"),
            ("Pod", "pods"),
            ("pods", "pods"),
            ("deploy", "deployments"),
            ("Deployment", "deployments"),
            ("deployments.apps", "deployments"),
            ("svc", "services"),
            ("sts", "statefulsets"),
            ("cm", "configmaps"),
            ("ev", "events"),
            ("secret", "secrets"),
            ("Certificates.cert-manager.io", "certificates.cert-manager.io"),
        ] {
            assert_eq!(id_of(typed).as_deref(), Ok(id), "{typed}");
        }
        assert_eq!(id_of("podz").map_err(|f| f.code), Err(USAGE));
    }
}
