//! Sessions by real connections, over the agent's death and its replacement.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::support::{Home, told};

/// A shell that has made itself a session.
struct Shell(Child);

impl Shell {
    fn begin(home: &Home) -> (Self, String) {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "\"$0\" session $$; exec sleep 1000"]).arg(&home.program);
        command.env("PAIR_HOME", &home.dir).env_remove("PAIR_NO_AUTOSPAWN");
        let mut shell = Self(command.stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(shell.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let reply: serde_json::Value = serde_json::from_str(&line).unwrap();
        (shell, reply["body"].as_str().unwrap().to_owned())
    }

    fn end(mut self) {
        self.kill_and_reap();
    }

    fn kill_and_reap(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

impl Home {
    fn sessions(&self) -> Vec<String> {
        told(&self.run(&["sessions"])).body.split_whitespace().map(str::to_owned).collect()
    }

    /// Returns when the agent's log has so many of these lines.
    fn wait_for_log(&self, text: &str, times: usize) {
        let watch = hearth_process::watch::DirWatch::new(&self.dir).unwrap();
        let log = || std::fs::read_to_string(self.path("agent.log")).unwrap();
        while log().matches(text).count() < times {
            let mut fds = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).unwrap();
            watch.drain().unwrap();
        }
    }
}

#[test]
fn a_shell_is_a_session_from_below_it_until_it_ends() {
    let home = Home::new();
    let (one, first) = Shell::begin(&home);
    let (_other, second) = Shell::begin(&home);
    assert!(first.starts_with("s-") && first.len() == 8, "{first}");
    assert_eq!(home.sessions(), [first, second.clone()]);
    let pid = one.0.id();
    one.end();
    home.wait_for_log(&format!("(pid {pid}) has ended"), 1);
    assert_eq!(home.sessions(), [second]);
}

#[test]
fn a_stranger_is_not_registered_and_a_verb_that_has_ended_is_no_session() {
    let home = Home::new();
    let (shell, id) = Shell::begin(&home);
    let reply = told(&home.run(&["session", &shell.0.id().to_string()])).body;
    assert!(reply.starts_with("Forbidden"), "{reply}");
    // Itself: it ends with its answer.
    let verb = told(&home.run(&["session"])).body;
    assert!(verb.starts_with("s-"), "{verb}");
    home.wait_for_log("has ended", 1);
    assert_eq!(home.sessions(), [id]);
}

#[test]
fn sessions_go_on_over_an_agent_that_is_killed_and_over_one_that_is_replaced() {
    let home = Home::new();
    let shells: Vec<_> = (0..3).map(|_| Shell::begin(&home)).collect();
    let ids: Vec<_> = shells.iter().map(|(_, id)| id.clone()).collect();
    home.kill();
    let mut shells = shells.into_iter();
    shells.next().unwrap().0.end();
    assert_eq!(home.sessions(), ids[1..]);
    assert_eq!(told(&home.run(&["replace"])).state, "started");
    assert_eq!(home.sessions(), ids[1..]);
    let ended = shells.next().unwrap().0;
    let pid = ended.0.id();
    ended.end();
    home.wait_for_log(&format!("(pid {pid}) has ended"), 1);
    assert_eq!(home.sessions(), ids[2..]);
}

#[test]
fn a_successor_that_fails_costs_no_session() {
    let home = Home::new();
    let (shell, id) = Shell::begin(&home);
    home.write("fault", "half-die");
    assert_ne!(told(&home.run(&["replace"])).code, Some(0));
    std::fs::remove_file(home.path("fault")).unwrap();
    let (_other, second) = Shell::begin(&home);
    assert_eq!(home.sessions(), [id, second.clone()]);
    home.kill();
    shell.end();
    assert_eq!(home.sessions(), [second]);
}
