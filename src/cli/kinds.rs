//! What a person may call a kind.

use super::client::{Path, Server, ServerError};
use super::failure::{Failure, USAGE};
use crate::domain::kind::Kind;
use crate::http::kinds::KindsView;

/// The kind that is meant: one of the built-in ones, else one that the running process captures.
pub async fn meant(server: &Server, typed: &str) -> Result<Meant, Failure> {
    if let Some(kind) = Kind::builtins().into_iter().find(|kind| kind.goes_by(typed)) {
        return Ok(Meant::of(&kind));
    }
    let captured = match server.json::<KindsView>(Path::of(&["kinds"]).as_str()).await {
        Ok(view) => view.items.iter().map(|item| item.kind()).collect(),
        // An older process, or one that is starting: what it is asked next, it answers itself.
        Err(ServerError::Problem(_)) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    among(typed, &captured)
}

/// The kinds that are meant, in their order.
pub async fn all_meant<'a>(server: &Server, typed: impl Iterator<Item = &'a str>) -> Result<Vec<Meant>, Failure> {
    let mut meant_ones = Vec::new();
    for typed in typed {
        meant_ones.push(meant(server, typed).await?);
    }
    Ok(meant_ones)
}

/// A kind, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meant {
    /// [`Kind::id`].
    pub id: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Meant {
    fn of(kind: &Kind) -> Self {
        Self { id: kind.id(), namespaced: kind.namespaced() }
    }
}

/// The one of these kinds that goes by that name.
pub fn among(typed: &str, captured: &[Kind]) -> Result<Meant, Failure> {
    let word = typed.to_lowercase();
    let called: Vec<&Kind> = match captured.iter().find(|kind| kind.id() == word) {
        Some(kind) => vec![kind],
        None => captured.iter().filter(|kind| kind.goes_by(&word)).collect(),
    };
    // Also one that is built in and left out: whoever is asked says that.
    let builtin = || Kind::builtins().into_iter().find(|kind| kind.goes_by(&word));
    match called[..] {
        [kind] => Ok(Meant::of(kind)),
        // It may have been captured once: then the process still knows it, and else says what there is.
        [] if let Some(kind) = builtin() => Ok(Meant::of(&kind)),
        [] if word.contains('.') => Ok(Meant { id: word, namespaced: true }),
        [] => {
            let mut known: Vec<String> = Kind::builtins().iter().map(Kind::id).collect();
            known.extend(captured.iter().map(Kind::id).filter(|id| !known.contains(id)).collect::<Vec<_>>());
            let known = known.join(", ");
            Err(Failure::with(USAGE, format!("{typed:?} is no kind; there are {known} and PLURAL.GROUP")))
        }
        _ => {
            let all = called.iter().map(|kind| kind.id()).collect::<Vec<_>>().join(", ");
            Err(Failure::with(USAGE, format!("{typed:?} may be any of {all}: say which")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured() -> Vec<Kind> {
        let certificates = Kind::custom("cert-manager.io", "v1", "certificates", "Certificate", true);
        let others = Kind::custom("networking.internal.knative.dev", "v1", "certificates", "Certificate", true);
        let builtins = Kind::builtins().into_iter();
        let custom = [
            certificates.known_as("certificate", &["cert".to_owned()]),
            others.known_as("certificate", &["kcert".to_owned()]),
            Kind::custom("", "v1", "nodes", "Node", false).known_as("node", &["no".to_owned()]),
        ];
        builtins.chain(custom).collect()
    }

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
            ("certificate.cert-manager", "certificates.cert-manager.io"),
            ("cert", "certificates.cert-manager.io"),
            ("kcert", "certificates.networking.internal.knative.dev"),
            ("no", "nodes"),
            ("Node", "nodes"),
            ("nodes.core", "nodes"),
            ("gone.example.com", "gone.example.com"),
        ] {
            assert_eq!(among(typed, &captured()).map(|meant| meant.id).as_deref(), Ok(id), "{typed}");
        }
        assert!(!among("node", &captured()).expect("known").namespaced);
    }

    #[test]
    fn a_name_of_none_or_of_several_is_answered_with_what_there_is() {
        let none = among("podz", &captured()).expect_err("no kind");
        assert_eq!(none.code, USAGE);
        assert!(none.message.contains("pods, services") && none.message.contains("nodes"), "{}", none.message);
        let several = among("certificates", &captured()).expect_err("two kinds");
        let both = "certificates.cert-manager.io, certificates.networking.internal.knative.dev";
        assert!(several.code == USAGE && several.message.contains(both), "{}", several.message);
    }
}
