//! How the agent is, in the few words that a service manager shows of it: `systemctl --user status`.
//!
//! Invariant: where nobody is told, and where nothing has changed, nothing is counted.

use hearth_core::{Kind, NodeView, State, Want};

use super::Owner;

impl Owner {
    /// Tells it, where anything has changed since.
    pub(super) fn tell_manager(&mut self) {
        if !std::mem::take(&mut self.is_news) || !self.handle.is_heard() {
            return;
        }
        let views = self.world.views(None);
        let wanted = |view: &&NodeView| view.kind != Kind::Check && view.want == Want::Up;
        let is_up = |view: &&NodeView| matches!(view.state, State::Ready | State::Done);
        let all = views.iter().filter(wanted).count();
        let up = views.iter().filter(wanted).filter(is_up).count();
        self.handle.say(words(up, all, self.sessions.list().len()));
    }
}

/// `ready: 2 of 3 services up, 1 session`.
fn words(up: usize, all: usize, sessions: usize) -> String {
    let of = if up == all { String::new() } else { format!(" of {all}") };
    let many = |count, one: &str| if count == 1 { one.to_owned() } else { format!("{one}s") };
    let (services, ones) = (many(all, "service"), many(sessions, "session"));
    format!("ready: {up}{of} {services} up, {sessions} {ones}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_what_is_wanted_and_not_there_is_told() {
        assert_eq!(words(0, 0, 0), "ready: 0 services up, 0 sessions");
        assert_eq!(words(1, 1, 1), "ready: 1 service up, 1 session");
        assert_eq!(words(2, 3, 0), "ready: 2 of 3 services up, 0 sessions");
    }
}
