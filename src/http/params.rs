//! Query strings, read strictly: an unknown or repeated parameter is a mistake that would otherwise be a wrong answer.

use super::problem::Problem;
use axum::extract::Query;
use axum::http::{StatusCode, Uri};
use std::str::FromStr;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query string. `known` are the names it may have; of these only those in `repeatable` more than once.
    pub fn read(uri: &Uri, known: &[&str], repeatable: &[&str]) -> Result<Self, Problem> {
        let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_parameter", "the query string is not form encoded"));
        };
        for (i, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let name: String = name.chars().take(64).collect();
                let knows =
                    if known.is_empty() { "it takes none".into() } else { format!("it takes {}", known.join(", ")) };
                let detail = format!("{} has no parameter {name:?}; {knows}", uri.path());
                return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown_parameter", detail));
            }
            if !repeatable.contains(&name.as_str()) && pairs[..i].iter().any(|(n, _)| n == name) {
                return Err(Problem::bad_parameter(name, "is given twice"));
            }
        }
        Ok(Self(pairs))
    }

    /// The value as given; an empty one is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value, if given and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a repeatable parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The value as a number, or whatever else is read from text; `what` says what is expected.
    pub fn parsed<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => {
                let text: String = text.chars().take(64).collect();
                Err(Problem::bad_parameter(name, format!("{text:?} is not {what}")))
            }
        }
    }

    /// A switch: `?follow`, `?follow=true`, `?follow=false`.
    pub fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(_) => Err(Problem::bad_parameter(name, "is true or false")),
        }
    }
}
