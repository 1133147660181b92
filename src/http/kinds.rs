//! `GET /api/v1/kinds`: what is captured, by all names that people may use.

use super::Faces;
use super::{params::Params, problem::Problem};
use crate::domain::kind::Kind;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The captured kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindsView {
    /// By id.
    pub items: Vec<KindView>,
}

/// One captured kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KindView {
    /// As topics, keys and other questions name it: `pods`, `certificates.cert-manager.io`.
    pub id: String,
    /// Its group; empty for core.
    pub group: String,
    /// The version that is watched.
    pub version: String,
    /// Such as `pods`.
    pub plural: String,
    /// Such as `pod`.
    pub singular: String,
    /// Such as `po`.
    pub short_names: Vec<String>,
    /// Such as `Pod`.
    pub name: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl KindView {
    fn of(kind: &Kind) -> Self {
        Self {
            id: kind.id(),
            group: kind.group().to_owned(),
            version: kind.version().to_owned(),
            plural: kind.plural().to_owned(),
            singular: kind.singular().to_owned(),
            short_names: kind.short_names().map(str::to_owned).collect(),
            name: kind.name().to_owned(),
            namespaced: kind.namespaced(),
        }
    }

    /// The kind that is shown.
    pub fn kind(&self) -> Kind {
        let Self { group, version, plural, singular, short_names, name, namespaced, .. } = self;
        Kind::custom(group, version, plural, name, *namespaced).known_as(singular, short_names)
    }
}

/// `GET /api/v1/kinds`.
pub(super) async fn kinds(State(faces): State<Faces>, uri: Uri) -> Result<Json<KindsView>, Problem> {
    Params::read(&uri, &[], &[])?;
    let kinds: BTreeSet<Kind> = faces.board.watchers().iter().map(|row| row.target.kind.clone()).collect();
    let mut items: Vec<KindView> = kinds.iter().map(KindView::of).collect();
    items.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Json(KindsView { items }))
}
