//! What to tell a caller whose environment is not that of what runs.
//!
//! Invariant: names alone are told, never a value: what is in a variable may be a secret, and these
//! words go into logs of all kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::capture::Capture;

/// So many variables are named, and so many services.
const NAMED: usize = 10;

/// Services that keep what another shell gave, by the variables that differ.
#[derive(Debug, Default)]
pub(super) struct Kept {
    by_names: BTreeMap<Vec<String>, Vec<Arc<str>>>,
    /// Captures that were compared, which services share.
    compared: Vec<(Arc<Capture>, Vec<String>)>,
}

impl Kept {
    /// One service that has `had`, where the caller's shell gives `given`.
    pub(super) fn note(&mut self, service: &Arc<str>, had: &Arc<Capture>, given: &Capture) {
        let known = self.compared.iter().find(|(known, _)| Arc::ptr_eq(known, had));
        let names = match known {
            Some((_, names)) => names.clone(),
            None => {
                let names = had.differing(given).into_iter().map(str::to_owned);
                let names: Vec<String> = names.collect();
                self.compared.push((Arc::clone(had), names.clone()));
                names
            }
        };
        if !names.is_empty() {
            self.by_names.entry(names).or_default().push(Arc::clone(service));
        }
    }

    /// `A, B differ from the environment that db was started with: ...`, one for each set of names.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        self.by_names.iter().map(|(names, services)| {
            let verb = if names.len() == 1 { "differs" } else { "differ" };
            let was = if services.len() == 1 { "was" } else { "were" };
            let all: Vec<&str> = services.iter().map(|name| &**name).collect();
            let named = if all.len() > NAMED { "NAME".to_owned() } else { all.join(" ") };
            format!(
                "{} {verb} from the environment that {} {was} started with: `hearth restart {named}` \
                 takes the new one",
                listed(names),
                listed(&all),
            )
        })
    }
}

fn listed(names: &[impl AsRef<str>]) -> String {
    let named: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    match names.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(env: &[(&str, &str)]) -> Arc<Capture> {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Arc::new(Capture { env, umask: 0o22, limits: BTreeMap::new() })
    }

    #[test]
    fn names_are_told_once_for_all_services_that_share_them_and_no_value_is() {
        let (old, other) = (capture(&[("A", "secret")]), capture(&[("A", "x"), ("B", "x")]));
        let given = capture(&[("A", "new"), ("B", "new")]);
        let mut kept = Kept::default();
        for (name, had) in [("db", &old), ("web", &other), ("api", &old), ("same", &given)] {
            kept.note(&name.into(), had, &given);
        }
        let words: Vec<String> = kept.words().collect();
        assert_eq!(
            words,
            ["A, B differ from the environment that db, web, api were started with: \
             `hearth restart db web api` takes the new one"]
        );
        let mut one = Kept::default();
        one.note(&"db".into(), &capture(&[]), &capture(&[("A", "secret")]));
        let words: Vec<String> = one.words().collect();
        assert!(words[0].starts_with("A differs from the environment that db was"), "{words:?}");
        assert!(!words[0].contains("secret"));
    }

    #[test]
    fn ten_are_named_and_the_rest_is_counted() {
        let many: Vec<String> = (0..25).map(|n| format!("V{n:02}")).collect();
        let env: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
        let mut kept = Kept::default();
        kept.note(&"db".into(), &capture(&[]), &capture(&env));
        let words: Vec<String> = kept.words().collect();
        assert!(words[0].contains("V09 and 15 more differ from"), "{words:?}");
    }
}
