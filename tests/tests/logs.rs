//! Logs as a person reads them: across rotations, lives and agents, since a time, without an agent,
//! and while somebody takes the directory away.

use std::fs;
use std::process::Stdio;

use hearth_process::Signal;
use hearth_tests::Project;
use hearth_tests::http::request;
use serde_json::{Value, json};

/// Says `LIFE N` in turn on stdout and stderr, so often that small files rotate, and waits at a gate
/// in the middle.
const NUMBERED: &str = r#"
[services.a]
run = "echo x >> lives; life=$(wc -l < lives); n=0; while [ $n -lt 600 ]; do n=$((n + 1)); [ $n = 300 ] && read x < gate.a.$life; echo $life $n; n=$((n + 1)); echo $life $n >&2; done; echo x > done.a.$life; exec sleep 1000"
ready = { settle = "0s" }
log = { max_size = "1KB", keep = 1000 }
"#;

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["line"].as_str().expect("a line")).collect()
}

#[test]
fn a_follower_misses_nothing_across_rotations_lives_and_agents() {
    let project = Project::new(NUMBERED);
    let (mut first, mut second) = (project.gate("gate.a.1"), project.gate("gate.a.2"));
    let mut follow = project.start(&["logs", "-f", "a", "--json"]);
    project.run(&["up"]).exits(0);
    let mut seen = vec![follow.until(|_| true)];
    project.home.kill_agent();
    first.open();
    project.await_lines("done.a.1", 1);
    // The next agent, and the next life.
    project.run(&["restart", "a"]).exits(0);
    project.home.signal_agent(Signal::KILL);
    second.open();
    project.await_lines("done.a.2", 1);
    while seen.len() < 1200 {
        seen.push(follow.until(|_| true));
    }
    follow.interrupt();
    follow.finish().exits(130);
    let wanted: Vec<String> =
        [1, 2].iter().flat_map(|life| (1..=600).map(move |n| format!("{life} {n}"))).collect();
    // Order holds within a stream: the two pipes are read one after the other.
    for (stream, rest) in [("stdout", 1), ("stderr", 0)] {
        let of_stream: Vec<Value> =
            seen.iter().filter(|line| line["stream"] == stream).cloned().collect();
        let number = |text: &str| text.split(' ').next_back().and_then(|n| n.parse::<u32>().ok());
        let wanted: Vec<&String> =
            wanted.iter().filter(|text| number(text).is_some_and(|n| n % 2 == rest)).collect();
        assert_eq!(texts(&of_stream), wanted, "{stream}");
    }
    for line in &seen {
        let life = line["line"].as_str().unwrap_or_default().split(' ').next().unwrap_or_default();
        assert_eq!(line["life"].to_string(), life, "{line}");
        assert!(line["at"].is_string() && line["service"] == "a");
    }
    let files = hearth_tests::files_below(&project.home.path("logs"));
    assert!(files.len() > 8, "it rotates: {files:?}");
    // What is read in one go is the same, in the same order.
    let all = project.run(&["logs", "a", "--json"]).exits(0).json_lines();
    assert_eq!(all, seen);
}

#[test]
fn two_services_are_followed_by_time_behind_their_names() {
    let project = Project::new(
        r#"
        [services.a]
        run = "while read x; do echo a $x; done < gate.a; exec sleep 1000"
        ready = { settle = "0s" }
        [services.b]
        run = "while read x; do echo b $x >&2; done < gate.b; exec sleep 1000"
        ready = { settle = "0s" }
        "#,
    );
    let (mut a, mut b) = (project.gate("gate.a"), project.gate("gate.b"));
    project.run(&["up"]).exits(0);
    let mut follow = project.start(&["logs", "-f"]);
    let mut api = {
        let socket = project.home.path("agent.sock");
        let path = format!("/v1/logs?project={}&follow=true&since=1h", project.dir().display());
        request(&socket, "GET", &path, &[], "")
    };
    for round in 1..=3 {
        for (name, gate) in [("a", &mut a), ("b", &mut b)] {
            gate.say(&format!("{round}"));
            assert_eq!(follow.line(), Some(format!("{name} | {name} {round}")));
            let line = api.line().expect("a line");
            assert_eq!(
                (&line["service"], &line["line"]),
                (&json!(name), &json!(format!("{name} {round}")))
            );
        }
    }
    // The past too comes by time, and not service after service.
    let past = "a | a 1\nb | b 1\na | a 2\nb | b 2\na | a 3\nb | b 3\n";
    assert_eq!(project.run(&["logs"]).exits(0).stdout, past);
    let mut late = project.start(&["logs", "-f", "--since", "1h", "-n", "2"]);
    for line in past.lines().skip(2) {
        assert_eq!(late.line().as_deref(), Some(line));
    }
    follow.interrupt();
    late.interrupt();
    follow.finish().exits(130);
    late.finish().exits(130);
}

#[test]
fn since_a_time_from_the_command_line_and_over_the_socket() {
    let project = Project::new(
        "[services.s]\nrun = \"echo one; read x < gate; echo two; exec sleep 1000\"\nready = { log = \"one\" }\n",
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let mut follow = project.start(&["logs", "-f", "s", "--json", "--since", "1h"]);
    let first = follow.until(|line| line["line"] == "one");
    gate.open();
    let second = follow.until(|line| line["line"] == "two");
    let (first, second) =
        (first["at"].as_str().expect("a time"), second["at"].as_str().expect("a time"));
    assert!(first < second);
    let since = |time: &str| project.run(&["logs", "s", "--since", time]).exits(0).stdout;
    assert_eq!(since(first), "one\ntwo\n");
    assert_eq!(since("1h"), "one\ntwo\n");
    // Its milliseconds are cut, so this is a little before it.
    assert_eq!(since(second), "two\n");
    assert_eq!(since("0s"), "");
    let socket = project.home.path("agent.sock");
    let path =
        |time: &str| format!("/v1/logs?project={}&service=s&since={time}", project.dir().display());
    let mut reply = request(&socket, "GET", &path(second), &[], "");
    assert_eq!(reply.line().expect("a line")["line"], "two");
    assert_eq!(reply.line(), None);
    for time in ["10", "2026-01-01", "soon"] {
        let reply = request(&socket, "GET", &path(time), &[], "");
        assert_eq!(reply.status, 400, "{time}");
        let detail = reply.json()["detail"].to_string();
        assert!(detail.contains("`since`") && detail.contains("1h30m"), "{detail}");
    }
    follow.interrupt();
    follow.finish().exits(130);
}

#[test]
fn without_an_agent_all_of_it_is_read_cold() {
    let project = Project::new(
        "[services.s]\nrun = \"echo one; echo two >&2; read x < gate; echo three; echo x > said; exec sleep 1000\"\nready = { log = \"two\" }\n",
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    project.home.kill_agent();
    let mut follow = project.start(&["logs", "-f", "s", "--no-spawn", "-n", "1"]);
    assert_eq!(follow.line().as_deref(), Some("two"));
    gate.open();
    assert_eq!(follow.line().as_deref(), Some("three"));
    follow.interrupt();
    follow.finish().exits(130);
    let by_option = project.run(&["logs", "--no-spawn", "--since", "1h"]).exits(0);
    let mut by_variable = project.command(&["logs", "-n", "3"]);
    let by_variable = project.ran(by_variable.env("HEARTH_NO_AUTOSPAWN", "1")).exits(0);
    for ran in [by_option, by_variable] {
        assert_eq!(ran.stdout, "one\ntwo\nthree\n");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
    assert_eq!(project.home.agent_pid(), None, "nobody was started");
}

#[test]
fn a_directory_of_logs_that_is_removed_or_moved_away_is_made_again() {
    let project = Project::new(
        r#"
        [services.s]
        run = "echo begun; while read x; do echo $x; done < gate; exec sleep 1000"
        ready = { log = "begun" }
        "#,
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    let mut follow = project.start(&["logs", "-f", "s"]);
    assert_eq!(follow.line().as_deref(), Some("begun"));
    let logs = project.home.path("logs");
    fs::remove_dir_all(&logs).expect("removed");
    gate.say("after the removal");
    assert_eq!(follow.line().as_deref(), Some("after the removal"));
    fs::rename(&logs, project.home.root().join("moved")).expect("moved");
    gate.say("after the move");
    assert_eq!(follow.line().as_deref(), Some("after the move"));
    assert_eq!(project.run(&["logs", "s"]).exits(0).stdout, "after the move\n");
    assert_eq!(project.pid("s"), pid, "the service was not ended");
    follow.interrupt();
    follow.finish().exits(130);
}

#[test]
fn a_place_where_no_log_can_be_made_holds_no_service_up_and_what_is_lost_is_counted() {
    let project = Project::new(
        r#"
        [services.s]
        run = "echo begun; while read x; do seq $x; echo x >> said; done < gate; exec sleep 1000"
        ready = { log = "begun" }
        "#,
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    let logs = project.home.path("logs");
    fs::rename(&logs, project.home.root().join("moved")).expect("moved");
    fs::write(&logs, "a file where the directory was").expect("written");
    // More than a pipe holds: it comes to its end only if somebody takes it.
    gate.say("40000");
    project.await_lines("said", 1);
    fs::remove_file(&logs).expect("removed");
    gate.say("3");
    project.await_lines("said", 2);
    let mut follow = project.start(&["logs", "-f", "s"]);
    let (mut lost, mut kept, mut told) = (0, 0, 0);
    let bytes = |last: u32| (1..=last).map(|n| n.to_string().len() + 1).sum::<usize>();
    let all = bytes(40_000) + bytes(3);
    while lost + kept < all {
        let line = follow.line().expect("a line");
        match line.strip_prefix("hearth: ").and_then(|rest| rest.split_once(" bytes lost: ")) {
            Some((count, _)) => {
                lost += count.parse::<usize>().expect("a number");
                told += 1;
            }
            None => kept += line.len() + 1,
        }
    }
    assert_eq!((lost + kept, told), (all, 1), "every byte is kept, or counted where it is missing");
    assert!(lost > 64 << 10, "{lost} bytes lost");
    assert_eq!(project.pid("s"), pid, "the service was not ended");
    follow.interrupt();
    follow.finish().exits(130);
}

#[test]
fn a_loud_service_is_kept_whole_on_both_streams() {
    let project = Project::new(
        r#"
        [services.s]
        kind = "oneshot"
        run = "seq 1 1000000 & seq 2000001 2500000 >&2; wait"
        log = { max_size = "1MB", keep = 1000 }
        "#,
    );
    project.run(&["up"]).exits(0);
    let mut next = [1, 2_000_001];
    for line in project.run(&["logs", "s"]).exits(0).stdout.lines() {
        let number: u32 = line.parse().unwrap_or_else(|_| panic!("torn: {line:?}"));
        let stream = usize::from(number > 2_000_000);
        assert_eq!(number, next[stream]);
        next[stream] += 1;
    }
    assert_eq!(next, [1_000_001, 2_500_001]);
}

#[test]
fn a_follower_whose_reader_is_gone_goes_too_although_nothing_is_written() {
    let project = Project::new(
        "[services.s]\nrun = \"echo one; exec sleep 1000\"\nready = { log = \"one\" }\n",
    );
    project.run(&["up"]).exits(0);
    let mut command = project.command(&["logs", "-f", "s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut line = [0; 4];
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut line).expect("a line");
    assert_eq!(&line, b"one\n");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn colours_are_a_matter_of_where_it_goes() {
    let project = Project::new(
        r#"
        [services.a]
        run = "printf '\\033[31mred\\033[0m\\n'; exec sleep 1000"
        ready = { log = "red" }
        [services.b]
        run = "echo plain; exec sleep 1000"
        ready = { log = "plain" }
        needs = ["a"]
        "#,
    );
    project.run(&["up"]).exits(0);
    assert_eq!(project.run(&["logs"]).exits(0).stdout, "a | red\nb | plain\n");
    assert_eq!(project.run(&["logs", "a"]).exits(0).stdout, "red\n");
    let always = project.run(&["logs", "--color", "always"]).exits(0).stdout;
    let wanted = "\x1b[36ma | \x1b[0m\x1b[31mred\x1b[0m\x1b[0m\n\x1b[33mb | \x1b[0mplain\n";
    assert_eq!(always, wanted);
    let mut none = project.command(&["logs"]);
    assert_eq!(project.ran(none.env("NO_COLOR", "1")).exits(0).stdout, "a | red\nb | plain\n");
}
