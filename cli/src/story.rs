//! What a wait has heard of its services, and what follows from it for people: who waits for whom,
//! and why.
//!
//! Kept true here: nothing is decided. A state is what the agent has said; the names that a service
//! waits for are those that its file says it needs and that are not there, which is how the words
//! stay true while a state changes of which the waiting service itself is told nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use hearth_api::{Kind, ServiceRow, State, Want};

use crate::plain;
use crate::sheet::Sheet;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Everything asked for is ready.
    Ready,
    /// Everything asked for is down.
    Down,
}

impl Goal {
    /// As it stands in sentences.
    pub fn in_word(self) -> &'static str {
        match self {
            Goal::Ready => "ready",
            Goal::Down => "down",
        }
    }

    /// Whether a service in this state has come to it.
    pub fn is_met_by(self, state: State) -> bool {
        match self {
            Goal::Ready => matches!(state, State::Ready | State::Done),
            Goal::Down => matches!(state, State::Down | State::Done | State::Failed),
        }
    }
}

/// One service of a story.
#[derive(Debug)]
pub struct Node {
    /// Canonical path of its project.
    pub project: Option<String>,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// As it was last heard.
    pub state: State,
    /// Why, in words for one line; may be empty.
    pub message: String,
    /// When the state was first heard.
    pub since: Instant,
    /// Where it listens.
    pub ports: Vec<u16>,
    /// It was not wanted, or had failed, before this request.
    pub fresh: bool,
    /// A transition of it was told.
    pub moved: bool,
}

/// Everything that was heard, in the order of the file.
#[derive(Debug, Default)]
pub struct Story {
    /// The services.
    pub nodes: Vec<Node>,
    /// What the file says of them; of no use where there is none.
    pub sheet: Sheet,
    by_name: BTreeMap<(Option<String>, String), usize>,
    begun: bool,
}

impl Story {
    /// Before anything was heard.
    pub fn new(sheet: Sheet) -> Self {
        Self { sheet, ..Self::default() }
    }

    /// A snapshot: how things were. A second one comes from another agent in the middle of the wait;
    /// who was fresh at the first stays so.
    pub fn begin(&mut self, rows: Vec<ServiceRow>) {
        let before = std::mem::take(&mut self.nodes);
        let known = std::mem::take(&mut self.by_name);
        for row in rows {
            let key = (row.project, row.name);
            let old = known.get(&key).map(|at| &before[*at]);
            let wanted = row.want == Some(Want::Up) && row.state != State::Failed;
            let (project, name) = key.clone();
            // Of what is down it says that it was not started: that is about to change.
            let health = row.health.filter(|_| row.state != State::Down);
            let said = health.map(|health| health.message).unwrap_or_default();
            self.by_name.insert(key, self.nodes.len());
            self.nodes.push(Node {
                project,
                name,
                kind: row.kind,
                state: row.state,
                message: clean(&said),
                since: Instant::now(),
                ports: row.ports,
                fresh: old.map_or(!self.begun && !wanted, |old| old.fresh),
                moved: old.is_some_and(|old| old.moved),
            });
        }
        self.begun = true;
    }

    /// A change of state. Gives the service's place.
    pub fn step(
        &mut self,
        project: Option<String>,
        service: String,
        to: State,
        message: &str,
    ) -> usize {
        let key = (project, service);
        let at = match self.by_name.get(&key) {
            Some(at) => *at,
            None => {
                let (project, name) = key.clone();
                self.by_name.insert(key, self.nodes.len());
                self.nodes.push(Node {
                    project,
                    name,
                    kind: Kind::Service,
                    state: to,
                    message: String::new(),
                    since: Instant::now(),
                    ports: Vec::new(),
                    fresh: false,
                    moved: true,
                });
                self.nodes.len() - 1
            }
        };
        let node = &mut self.nodes[at];
        (node.state, node.message, node.moved) = (to, clean(message), true);
        node.since = Instant::now();
        at
    }

    /// What tests say while its state stays.
    pub fn say(&mut self, project: Option<String>, service: String, message: &str) {
        if let Some(at) = self.by_name.get(&(project, service)) {
            let node = &mut self.nodes[*at];
            if !is_at_rest(node.state) && !message.is_empty() {
                node.message = clean(message);
            }
        }
    }

    /// What tests say at the end of a wait, and ports chosen meanwhile. A state is believed by
    /// transitions alone.
    pub fn hear(&mut self, rows: Vec<ServiceRow>) {
        for row in rows {
            let key = (row.project, row.name);
            let Some(at) = self.by_name.get(&key) else { continue };
            let node = &mut self.nodes[*at];
            node.ports = row.ports;
            if row.state == node.state
                && let Some(health) = row.health
            {
                self.say(key.0, key.1, &health.message);
            }
        }
    }

    /// A service's state in words: `starting: 127.0.0.1:5432: connection refused`, or
    /// `waiting for db (starting), migrate (backoff: exited with code 1)`.
    pub fn words(&self, node: &Node) -> String {
        if node.state == State::Waiting {
            let names = self.lacks(node);
            if !names.is_empty() {
                let reasons: Vec<String> = names
                    .into_iter()
                    .map(|need| match need.state {
                        // Its own list is on its own line.
                        State::Waiting => format!("{} (waiting)", need.name),
                        _ => format!("{} ({})", need.name, said(need.state, &need.message)),
                    })
                    .collect();
                return format!("waiting for {}", reasons.join(", "));
            }
            return match node.message.strip_prefix("waits for ") {
                Some(rest) => format!("waiting for {rest}"),
                None => said(node.state, &node.message),
            };
        }
        said(node.state, &node.message)
    }

    /// The same as it was told: a line that stands says what was so when it was written.
    pub fn told(&self, node: &Node) -> String {
        match node.message.strip_prefix("waits for ") {
            Some(rest) if node.state == State::Waiting => format!("waiting for {rest}"),
            Some(_) | None => self.words(node),
        }
    }

    /// The same in a list of all: whom it waits for has an entry of its own there, and says why.
    pub fn brief(&self, node: &Node) -> String {
        let names: Vec<&str> = self.lacks(node).iter().map(|need| need.name.as_str()).collect();
        match node.state == State::Waiting && !names.is_empty() {
            true => format!("waiting for {}", names.join(", ")),
            false => self.words(node),
        }
    }

    /// What a service needs and does not have, by what was heard.
    fn lacks(&self, node: &Node) -> Vec<&Node> {
        let needs = self.sheet.needs(&node.name).iter();
        let found = needs.filter_map(|need| {
            self.by_name.get(&(node.project.clone(), need.clone())).map(|at| &self.nodes[*at])
        });
        found.filter(|need| !Goal::Ready.is_met_by(need.state)).collect()
    }

    /// Who has not come to the goal.
    pub fn left(&self, goal: Goal) -> Vec<&Node> {
        self.nodes.iter().filter(|node| !goal.is_met_by(node.state)).collect()
    }

    /// How many have come to it. What `up` has taken down is none of those that it has brought up, and
    /// what `down` found down is none of those that it has taken down.
    pub fn at_goal(&self, goal: Goal) -> usize {
        let mine = self.nodes.iter().filter(|node| goal == Goal::Ready || node.moved);
        mine.filter(|node| goal.is_met_by(node.state)).count()
    }

    /// Who waits for one of these, directly or through others.
    pub fn waiting_for(&self, names: &BTreeSet<String>) -> Vec<String> {
        let dependents = self.sheet.dependents(names);
        let waits = |node: &&Node| node.state == State::Waiting && dependents.contains(&node.name);
        self.nodes.iter().filter(waits).map(|node| node.name.clone()).collect()
    }

    /// What this request has brought up: it was not wanted before, or had failed.
    pub fn brought_up(&self) -> Vec<String> {
        self.nodes.iter().filter(|node| node.fresh).map(|node| node.name.clone()).collect()
    }

    /// Where each listens, for those of which that is known: name and addresses.
    pub fn addresses(&self) -> Vec<(&str, String)> {
        let running = self.nodes.iter().filter(|node| {
            node.kind == Kind::Service && node.state == State::Ready && !node.ports.is_empty()
        });
        let address = |node: &Node| {
            let http = self.sheet.speaks_http(&node.name);
            let ports = node.ports.iter().map(|port| match http {
                true => format!("http://localhost:{port}/"),
                false => format!("localhost:{port}"),
            });
            ports.collect::<Vec<_>>().join(" ")
        };
        running.map(|node| (node.name.as_str(), address(node))).collect()
    }
}

/// A state and why, where there is more to say than the state.
fn said(state: State, message: &str) -> String {
    let word = state.in_word();
    if message.is_empty() || message == word {
        word.to_owned()
    } else {
        format!("{word}: {message}")
    }
}

/// The first line of a message, without what a terminal would obey.
fn clean(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(first.len());
    plain::without_escapes(first.as_bytes(), &mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Whether nothing is waited for in this state.
pub fn is_at_rest(state: State) -> bool {
    match state {
        State::Ready | State::Done | State::Down | State::Failed => true,
        State::Waiting
        | State::Starting
        | State::Unhealthy
        | State::Backoff
        | State::Stopping
        | State::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, want: Want, state: State, ports: &[u16]) -> ServiceRow {
        ServiceRow {
            want: Some(want),
            ports: ports.to_vec(),
            ..crate::cold::bare("/p", name, Kind::Service, state)
        }
    }

    #[test]
    fn brought_up_is_what_was_not_wanted_or_had_failed_before_whatever_agent_tells_it_again() {
        let mut story = Story::new(Sheet::default());
        story.begin(vec![
            row("new", Want::Down, State::Down, &[]),
            row("old", Want::Up, State::Ready, &[]),
            row("failed", Want::Up, State::Failed, &[]),
        ]);
        assert_eq!(story.brought_up(), ["new", "failed"]);
        // The next agent's snapshot: by then all of it is wanted.
        story.begin(vec![
            row("new", Want::Up, State::Starting, &[]),
            row("old", Want::Up, State::Ready, &[]),
            row("failed", Want::Up, State::Ready, &[]),
            row("later", Want::Down, State::Down, &[]),
        ]);
        assert_eq!(story.brought_up(), ["new", "failed"]);
    }

    #[test]
    fn where_services_listen_is_told_of_those_that_run_and_http_as_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let text = "[services.web]\nrun = 'x'\nport = 'auto'\n\
                    ready = { http = 'http://localhost:${port}/health' }\n\
                    [services.db]\nrun = 'x'\nready = { tcp = 5432 }\n[services.off]\nrun = 'x'\n";
        std::fs::write(directory.path().join("hearth.toml"), text).unwrap();
        let file = hearth_config::load(directory.path()).unwrap();
        let mut story = Story::new(Sheet::of(&file));
        assert!(story.sheet.has_ports);
        story.begin(vec![
            row("web", Want::Down, State::Down, &[]),
            row("db", Want::Up, State::Ready, &[5432, 5433]),
            row("off", Want::Down, State::Down, &[1]),
        ]);
        story.step(Some("/p".into()), "web".into(), State::Ready, "");
        story.hear(vec![row("web", Want::Up, State::Ready, &[8080])]);
        let addresses = story.addresses();
        assert_eq!(
            addresses,
            [
                ("web", "http://localhost:8080/".to_owned()),
                ("db", "localhost:5432 localhost:5433".to_owned())
            ]
        );
    }

    #[test]
    fn a_state_in_between_is_believed_by_transitions_alone() {
        let mut story = Story::new(Sheet::default());
        story.begin(vec![row("web", Want::Up, State::Starting, &[])]);
        story.hear(vec![
            row("web", Want::Up, State::Ready, &[]),
            row("other", Want::Up, State::Ready, &[]),
        ]);
        assert_eq!((story.nodes[0].state, story.nodes.len()), (State::Starting, 1));
        assert_eq!(story.left(Goal::Ready).len(), 1);
    }
}
