//! Taking down what a verb itself has brought up: the end of `up --attach` and of `try`.
//!
//! Kept true here: nothing goes that this verb did not bring up. What was up before stays; and what
//! somebody brought up meanwhile keeps what it needs, since `down` of that would take it along. So
//! does what was leased meanwhile, to another session than the one for which it was brought up.

use std::collections::BTreeSet;
use std::time::Duration;

use hearth_api::reply::Services;
use hearth_api::{HeldBy, ServiceRow, Want};
use hearth_lifecycle::Request;

use crate::agent::{self, Wish};
use crate::args::Context;
use crate::down;
use crate::refuse::Refusal;
use crate::story::Goal;
use crate::stream::{Heard, Wait};
use crate::verdict::Told;

/// What looking at who needs what may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes `ours` down, with their logs until then where they are followed. `None`: there was nothing
/// to take down.
pub fn take_down(
    context: &Context,
    project: &str,
    mut ours: Vec<String>,
    session: Option<&str>,
    heard: Heard,
) -> Result<Option<Told>, Refusal> {
    let Heard { story, following, mut progress, .. } = heard;
    let path = agent::path("/v1/services", &[("project", project)]);
    let rows = agent::peek(context, PATIENCE, &Request::get(path));
    let rows: Option<Services> = rows.and_then(|rows| serde_json::from_slice(&rows).ok());
    if let Some(Services { services }) = rows {
        for (kept, by) in needed_by_others(&services, &mut ours, session) {
            progress.say(&format!("`{kept}` stays: {} needs it", by.join(", ")));
        }
    }
    if ours.is_empty() {
        return Ok(None);
    }
    let names = ours.join(", ");
    progress.say(&format!("taking down what this brought up: {names}"));
    let wait = Wait {
        context,
        wish: Wish { start: true, ..Wish::default() },
        request: down::request(Some(project.to_owned()), ours.clone(), false, session)?,
        project: Some(project.to_owned()),
        named: ours,
        goal: Goal::Down,
        no_wait: false,
        cold: None,
    };
    let mut heard = Heard::new(context, Goal::Down, story.sheet);
    heard.following = following;
    let told = wait.told(&mut heard)?;
    // What they wrote last.
    while heard.write_logs()? {}
    Ok(Some(told))
}

/// Leaves out of `ours` what others that are up need; each with who that is.
fn needed_by_others(
    rows: &[ServiceRow],
    ours: &mut Vec<String>,
    session: Option<&str>,
) -> Vec<(String, Vec<String>)> {
    let mut kept = Vec::new();
    loop {
        let before = kept.len();
        let mine: BTreeSet<&String> = ours.iter().collect();
        let needs = |row: &ServiceRow| {
            let holders = row.held_by.iter().filter_map(|holder| match holder {
                HeldBy::Dependent { service } if mine.contains(service) => None,
                HeldBy::Dependent { service } => Some(service.clone()),
                HeldBy::Lease { session: holder, .. } if session == Some(holder) => None,
                HeldBy::Lease { pid, name, .. } => Some(format!("{name} (pid {pid})")),
                HeldBy::Up => None,
            });
            holders.collect::<Vec<_>>()
        };
        let found: Vec<(String, Vec<String>)> = rows
            .iter()
            .filter(|row| row.want == Some(Want::Up) && mine.contains(&row.name))
            .map(|row| (row.name.clone(), needs(row)))
            .filter(|(_, by)| !by.is_empty())
            .collect();
        ours.retain(|name| found.iter().all(|(kept, _)| kept != name));
        kept.extend(found);
        if kept.len() == before {
            return kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use hearth_api::{Kind, State};

    use super::*;

    fn row(name: &str, held_by: &[&str]) -> ServiceRow {
        let held_by = held_by.iter().map(|by| HeldBy::Dependent { service: (*by).to_owned() });
        ServiceRow {
            want: Some(Want::Up),
            held_by: held_by.collect(),
            ..crate::cold::bare("/p", name, Kind::Service, State::Ready)
        }
    }

    #[test]
    fn what_others_need_stays_and_all_that_it_needs_itself() {
        let rows = [
            row("disk", &["db"]),
            row("db", &["web", "other"]),
            row("web", &[]),
            row("other", &[]),
        ];
        let mut ours = vec!["disk".to_owned(), "db".to_owned(), "web".to_owned()];
        let kept = needed_by_others(&rows, &mut ours, None);
        assert_eq!(ours, ["web"]);
        let kept: Vec<_> =
            kept.iter().map(|(name, by)| format!("{name}: {}", by.join(" "))).collect();
        assert_eq!(kept, ["db: other", "disk: db"]);
    }

    #[test]
    fn what_another_session_has_leased_stays_and_what_our_own_has_goes() {
        let lease =
            |session: &str| HeldBy::Lease { session: session.into(), pid: 7, name: "zsh".into() };
        let leased = |name: &str, session: &str| ServiceRow {
            held_by: vec![HeldBy::Up, lease(session)],
            ..row(name, &[])
        };
        let rows = [leased("db", "s-other"), leased("web", "s-ours")];
        let mut ours = vec!["db".to_owned(), "web".to_owned()];
        let kept = needed_by_others(&rows, &mut ours, Some("s-ours"));
        assert_eq!(ours, ["web"]);
        assert_eq!(kept, [("db".to_owned(), vec!["zsh (pid 7)".to_owned()])]);
    }
}
