//! `up --attach`: the logs of what it brought up, and its end.

use hearth_tests::{Project, Terminal};

const TWO: &str = "[services.db]\nrun = \"echo db is here; exec sleep 1000\"\nready = { log = \"here\" }\n\
    [services.web]\nrun = \"trap 'echo web ends; exit 0' TERM; echo web is here; while :; do sleep 0.05; done\"\n\
    needs = [\"db\"]\nready = { log = \"here\" }\nstop = { to = \"leader\" }\n";

#[test]
fn it_shows_the_logs_and_ctrl_c_takes_down_what_it_brought_up() {
    let project = Project::new(TWO);
    let mut verb = project.start(&["up", "--attach"]);
    assert_eq!(verb.line().as_deref(), Some("db | db is here"));
    assert_eq!(verb.line().as_deref(), Some("web | web is here"));
    verb.until_stderr("2 services ready");
    verb.interrupt();
    let ran = verb.finish().exits(130);
    assert!(
        ran.stdout.ends_with("web | web ends\n"),
        "what it says at its end too: {}",
        ran.stdout
    );
    assert!(ran.stderr.contains("taking down what this brought up: db, web"), "{}", ran.stderr);
    assert_eq!((project.state("db"), project.state("web")), ("down".into(), "down".into()));
}

#[test]
fn what_was_up_before_stays_and_so_does_what_others_need() {
    let project = Project::new(&format!(
        "{TWO}[services.other]\nrun = [\"sleep\", \"1000\"]\nready = {{ settle = \"10ms\" }}\nneeds = [\"cache\"]\n[services.cache]\nrun = [\"sleep\", \"1000\"]\nready = {{ settle = \"10ms\" }}\n"
    ));
    project.run(&["up", "db"]).exits(0);
    let mut verb = project.start(&["up", "web", "cache", "--attach"]);
    assert_eq!(verb.line().as_deref(), Some("web | web is here"), "and nothing of db");
    verb.until_stderr("ready in");
    project.run(&["up", "other"]).exits(0);
    verb.interrupt();
    let ran = verb.finish().exits(130);
    assert!(ran.stderr.contains("`cache` stays: other needs it"), "{}", ran.stderr);
    let states = ["db", "web", "other", "cache"].map(|name| project.state(name));
    assert_eq!(states, ["ready", "down", "ready", "ready"]);
}

#[test]
fn ctrl_c_while_it_comes_up_takes_down_too_and_a_second_one_does_not_wait() {
    let project = Project::new(
        "[services.slow]\nrun = \"trap 'echo no' TERM; echo here; while :; do sleep 0.05; done\"\n\
         ready = { file = \"never\" }\nstop = { to = \"leader\", timeout = \"20s\" }\n",
    );
    let mut verb = project.start(&["up", "--attach"]);
    assert_eq!(verb.line().as_deref(), Some("slow | here"));
    verb.interrupt();
    assert_eq!(verb.line().as_deref(), Some("slow | no"));
    verb.interrupt();
    let ran = verb.finish().exits(130);
    assert!(ran.stderr.contains("goes on without being waited for"), "{}", ran.stderr);
    assert_eq!(project.state("slow"), "stopping");
    hearth_tests::send(project.pid("slow"), hearth_process::Signal::KILL);
    project.run(&["down"]).exits(0);
}

#[test]
fn it_ends_by_itself_when_all_of_it_has_ended() {
    let one = "[services.job]\nkind = \"oneshot\"\nrun = \"echo done; exit 0\"\n\
        [services.serve]\nrun = \"echo here; read x < serve.gate; echo over; exit CODE\"\nready = { log = \"here\" }\nrestart = \"never\"\n";
    for (code, exit) in [("0", 0), ("3", 1)] {
        let project = Project::new(&one.replace("CODE", code));
        let mut gate = project.gate("serve.gate");
        let mut verb = project.start(&["up", "--attach"]);
        verb.until_stderr("2 services ready");
        gate.open();
        let ran = verb.finish().exits(exit);
        assert!(ran.stdout.ends_with("serve | over\n"), "{}", ran.stdout);
        assert_eq!(ran.stderr.contains("failed: serve"), exit == 1, "{}", ran.stderr);
    }
}

#[test]
fn the_next_agent_tells_the_end_when_the_first_one_dies() {
    let project = Project::new(
        "[services.serve]\nrun = \"echo here; read x < serve.gate; echo over; exit 3\"\nready = { log = \"here\" }\nrestart = \"never\"\n",
    );
    let mut gate = project.gate("serve.gate");
    let mut verb = project.start(&["up", "--attach"]);
    verb.until_stderr("1 service ready");
    project.home.kill_agent();
    gate.open();
    let ran = verb.finish().exits(1);
    assert!(ran.stdout.ends_with("serve | over\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("failed: serve"), "{}", ran.stderr);
}

#[test]
fn an_agent_that_is_told_to_stop_is_not_fetched_again() {
    let project = Project::new(TWO);
    let mut verb = project.start(&["up", "--attach", "--json"]);
    verb.until_state("web", "ready");
    // Its second stream has begun: that is told by its snapshot.
    verb.until(|line| line["type"] == "snapshot");
    project.run(&["daemon", "down"]).exits(0);
    let ran = verb.finish().exits(3);
    assert_eq!(ran.refusal()["code"], "stopping", "{}", ran.stderr);
    assert_eq!(ran.json_lines().last().unwrap()["result"], "interrupted");
    project.run(&["daemon", "status"]).exits(3);
    project.run(&["daemon", "down", "--services"]).exits(0);
}

#[test]
fn for_tools_lines_of_logs_stand_between_transitions_and_the_outcome_is_last() {
    let project = Project::new(TWO);
    let mut verb = project.start(&["up", "--attach", "--json"]);
    let log = verb.until(|line| line["service"] == "web" && line["type"].is_null());
    assert_eq!((&log["line"], &log["stream"]), (&"web is here".into(), &"stdout".into()));
    verb.interrupt();
    let ran = verb.finish().exits(130);
    let lines = ran.json_lines();
    let outcomes = lines.iter().filter(|line| line["type"] == "outcome").count();
    assert_eq!((outcomes, &lines[lines.len() - 1]["result"]), (1, &"interrupted".into()));
    assert!(lines.iter().any(|line| line["service"] == "web" && line["to"] == "down"));
    assert_eq!(ran.stderr, "");
}

#[test]
fn on_a_terminal_logs_and_progress_do_not_garble_each_other() {
    let project = Project::new(
        "[services.talks]\nrun = \"for n in 1 2 3 4 5; do echo line $n; sleep 0.05; done; exec sleep 1000\"\n\
         ready = { log = \"line 1\" }\n\
         [services.waits]\nrun = \"read x < waits.gate; echo here; exec sleep 1000\"\nready = { log = \"here\" }\nneeds = [\"talks\"]\n",
    );
    let mut gate = project.gate("waits.gate");
    project.home.run(&["daemon", "up"]).exits(0);
    let command = project.command(&["up", "--attach", "--color", "never"]);
    let mut terminal = Terminal::start(command, 60, 24);
    let text = terminal.until(|text| text.contains("line 5") && text.contains("waits  starting"));
    let told: Vec<&str> = text.lines().collect();
    let logs: Vec<String> = (1..=5).map(|n| format!("talks | line {n}")).collect();
    assert_eq!(told[..5], logs, "{text}");
    assert_eq!((told.len(), told[5]), (7, "  talks  ready"), "{text}");
    gate.open();
    terminal.until(|text| text.contains("2 services ready"));
    terminal.interrupt();
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("2 services down"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("talks | line")).count(), 5, "{text}");
}
