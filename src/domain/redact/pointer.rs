//! JSON pointers of the settings, compiled into one automaton a kind: a step by each key on the way down, and at each
//! place whether its value goes, stays, or has a rule below it.
//!
//! RFC 6901, and `*` for any member or any element. A pattern that cannot be read, or that would have no effect, is a
//! fault: what a person meant to hide is never shown because of a slip.

use crate::domain::cut::{NOWHERE, Place, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One step of a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// `*`
    Any,
    /// A member, or the index of an element.
    Named(Box<str>),
}

impl Token {
    fn covers(&self, other: &Self) -> bool {
        *self == Self::Any || self == other
    }
}

/// A JSON pointer with `*`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pointer {
    text: Box<str>,
    tokens: Vec<Token>,
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Members by which an object is known: they always stay.
const IDENTITY: &[&str] = &["name", "namespace", "uid", "resourceVersion"];

impl Pointer {
    /// Reads `/spec/list/*/password`.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err("a JSON pointer begins with /, as in /spec/password".to_owned());
        };
        let token = |token: &str| match token {
            "" => Err("it has an empty step (// or a / at its end)".to_owned()),
            "*" => Ok(Token::Any),
            name => unescaped(name).map(|name| Token::Named(name.into())),
        };
        Ok(Self { text: text.into(), tokens: path.split('/').map(token).collect::<Result<_, _>>()? })
    }

    /// Its steps; `None` for `*`.
    pub fn steps(&self) -> Vec<Option<&str>> {
        let step = |token| match token {
            &Token::Any => None,
            Token::Named(name) => Some(&**name),
        };
        self.tokens.iter().map(step).collect()
    }

    fn covers(&self, other: &Self) -> bool {
        self.tokens.len() <= other.tokens.len() && self.tokens.iter().zip(&other.tokens).all(|(a, b)| a.covers(b))
    }

    /// Why it cannot be a rule that redacts.
    fn identity(&self) -> Option<&'static str> {
        let named = |token: &Token, name: &str| token.covers(&Token::Named(name.into()));
        match self.tokens.as_slice() {
            [one] if ["metadata", "kind", "apiVersion"].iter().any(|name| named(one, name)) => {
                Some("it covers metadata, kind or apiVersion, without which a record is of no use: name what goes")
            }
            [Token::Named(first), Token::Named(second)] if &**first == "metadata" && IDENTITY.contains(&&**second) => {
                Some("name, namespace, uid and resourceVersion always stay: every record is known by them")
            }
            _ => None,
        }
    }
}

fn unescaped(name: &str) -> Result<String, String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        match (c, c == '~') {
            (_, true) => match rest.next() {
                Some('0') => out.push('~'),
                Some('1') => out.push('/'),
                _ => return Err("behind ~ stands 0 (for ~) or 1 (for /)".to_owned()),
            },
            (c, _) => out.push(c),
        }
    }
    Ok(out)
}

struct State {
    verdict: Verdict,
    members: BTreeMap<Box<str>, Place>,
    other: Place,
}

/// The compiled rules of one kind.
pub struct Plan {
    states: Vec<State>,
}

/// A pattern and how many of its steps are done.
type At = (usize, usize);

/// More places than any hand-written rules have; patterns that multiply each other are refused rather than built.
const PLACES_MAX: usize = 4096;

impl Plan {
    /// Compiles what goes and what stays.
    ///
    /// # Errors
    /// A rule that would have no effect, or that covers what must stay, in words.
    pub fn compile(redact: &[Pointer], keep: &[Pointer]) -> Result<Self, String> {
        for rule in redact {
            if let Some(why) = rule.identity() {
                return Err(format!("redact {rule:?}: {why}"));
            }
            if let Some(kept) = keep.iter().find(|kept| rule.covers(kept)) {
                return Err(format!(
                    "keep {kept:?} has no effect: redact {rule:?} covers it, and what is redacted goes"
                ));
            }
        }
        let all: Vec<(&Pointer, bool)> =
            redact.iter().map(|p| (p, true)).chain(keep.iter().map(|p| (p, false))).collect();
        let mut known: BTreeMap<Vec<At>, Place> = BTreeMap::new();
        let mut sets: Vec<Vec<At>> = vec![Vec::new(), (0..all.len()).map(|i| (i, 0)).collect()];
        let nowhere = State { verdict: Verdict::default(), members: BTreeMap::new(), other: NOWHERE };
        let mut plan = Self { states: vec![nowhere] };
        while plan.states.len() < sets.len() {
            let set = sets[plan.states.len()].clone();
            let mut place = |next: Vec<At>| -> Result<Place, String> {
                if next.is_empty() {
                    return Ok(NOWHERE);
                }
                if let Some(place) = known.get(&next) {
                    return Ok(*place);
                }
                let place = Place(u16::try_from(sets.len()).unwrap_or(u16::MAX));
                if sets.len() >= PLACES_MAX {
                    return Err(format!("these rules lead to more than {PLACES_MAX} places: write fewer `*`"));
                }
                known.insert(next.clone(), place);
                sets.push(next);
                Ok(place)
            };
            let under_way = || set.iter().filter(|(i, done)| *done < all[*i].0.tokens.len());
            let reached =
                |redacts: bool| set.iter().any(|(i, done)| *done == all[*i].0.tokens.len() && all[*i].1 == redacts);
            let step = |key: Option<&str>| -> Vec<At> {
                let matches = |token: &Token| match (token, key) {
                    (Token::Any, _) => true,
                    (Token::Named(name), Some(key)) => **name == *key,
                    (Token::Named(_), None) => false,
                };
                under_way()
                    .filter(|(i, done)| matches(&all[*i].0.tokens[*done]))
                    .map(|(i, done)| (*i, done + 1))
                    .collect()
            };
            let names: BTreeSet<Box<str>> = under_way()
                .filter_map(|(i, done)| match &all[*i].0.tokens[*done] {
                    Token::Named(name) => Some(name.clone()),
                    Token::Any => None,
                })
                .collect();
            let verdict = Verdict { redact: reached(true), keep: reached(false), below: under_way().next().is_some() };
            let other = place(step(None))?;
            let members = names.into_iter().map(|name| Ok((name.clone(), place(step(Some(&name)))?)));
            let members = members.collect::<Result<_, String>>()?;
            plan.states.push(State { verdict, members, other });
        }
        Ok(plan)
    }

    /// Where the way down begins.
    pub fn root(&self) -> Place {
        if self.state(Place(1)).verdict.below { Place(1) } else { NOWHERE }
    }

    /// What the rules say of the value at a place.
    pub fn verdict(&self, at: Place) -> Verdict {
        self.state(at).verdict
    }

    /// The place of a member or element.
    pub fn step(&self, at: Place, key: &str) -> Place {
        let state = self.state(at);
        state.members.get(key).copied().unwrap_or(state.other)
    }

    fn state(&self, at: Place) -> &State {
        self.states.get(usize::from(at.0)).unwrap_or(&self.states[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| Pointer::parse(text).expect("a pointer")).collect()
    }

    fn verdict(plan: &Plan, path: &[&str]) -> Verdict {
        let place = path.iter().fold(plan.root(), |at, key| plan.step(at, key));
        plan.verdict(place)
    }

    #[test]
    fn a_place_is_found_by_names_indexes_and_stars_and_escapes_are_undone() {
        let plan = Plan::compile(
            &pointers(&["/spec/password", "/spec/list/*/key", "/spec/*/inner", "/spec/a~1b~0c/1"]),
            &pointers(&["/spec/list/0/shown"]),
        )
        .expect("rules");
        for (path, redacted) in [
            (&["spec", "password"][..], true),
            (&["spec", "other"], false),
            (&["spec", "list", "7", "key"], true),
            (&["spec", "list", "key"], false),
            (&["spec", "list", "inner"], true),
            (&["spec", "password", "inner"], true),
            (&["spec", "a/b~c", "1"], true),
            (&["spec", "a/b~c", "2"], false),
            (&["status", "password"], false),
        ] {
            assert_eq!(verdict(&plan, path).redact, redacted, "{path:?}");
        }
        assert!(verdict(&plan, &["spec", "list", "0", "shown"]).keep);
        assert!(!verdict(&plan, &["spec", "list", "1", "shown"]).keep);
        assert!(verdict(&plan, &["spec", "list"]).below && !verdict(&plan, &["status"]).below);
    }

    #[test]
    fn a_pointer_that_cannot_be_read_says_why() {
        for (text, why) in [
            ("spec/password", "begins with /"),
            ("", "begins with /"),
            ("/spec//x", "empty step"),
            ("/spec/", "empty step"),
            ("/", "empty step"),
            ("/spec/~2", "behind ~"),
            ("/spec/x~", "behind ~"),
        ] {
            let refused = Pointer::parse(text).expect_err("refused");
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }

    #[test]
    fn rules_without_effect_or_against_identity_are_refused() {
        for (redact, keep, why) in [
            (&["/spec"][..], &["/spec/shown"][..], "has no effect"),
            (&["/spec/*"], &["/spec/a/b"], "has no effect"),
            (&["/*"], &[], "metadata, kind or apiVersion"),
            (&["/metadata"], &[], "metadata, kind or apiVersion"),
            (&["/metadata/uid"], &[], "always stay"),
        ] {
            let refused = Plan::compile(&pointers(redact), &pointers(keep)).err().expect("refused");
            assert!(refused.contains(why), "{redact:?}: {refused}");
        }
        assert!(Plan::compile(&pointers(&["/metadata/labels/*", "/spec/a"]), &pointers(&["/spec"])).is_ok());
    }

    #[test]
    fn rules_that_multiply_each_other_are_refused_and_not_built() {
        let texts: Vec<String> = (0..14).map(|i| format!("{}/a{}", "/*".repeat(i), "/*".repeat(14 - i))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert!(Plan::compile(&pointers(&texts), &[]).err().expect("refused").contains("fewer"));
    }
}
