//! What is typed wrong, and what is asked for help.

mod support;

use support::{Place, names_in};

const VERBS: &[&str] = &[
    "up",
    "down",
    "restart",
    "status",
    "ps",
    "logs",
    "health",
    "config",
    "init",
    "daemon",
    "install",
    "uninstall",
    "with",
    "why",
    "sessions",
    "session",
    "doctor",
    "completions",
    "version",
];

#[test]
fn every_verb_has_help_on_stdout() {
    let place = Place::new();
    for verb in VERBS {
        for flag in ["--help", "-h"] {
            let ran = place.run(&[verb, flag]);
            assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{verb} {flag}");
            assert!(ran.out.contains("Usage: hearth"), "{verb}: {}", ran.out);
            assert!(ran.out.contains("--no-spawn"), "{verb}: {}", ran.out);
        }
    }
    for verb in ["up", "down", "restart", "status", "run", "logs"] {
        assert_eq!(place.run(&["daemon", verb, "--help"]).code, 0, "{verb}");
    }
    assert!(names_in(&place.home()).is_empty());
}

#[test]
fn a_stdout_that_does_not_block_is_waited_for() {
    let place = Place::new();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    // Full, so that the verb's first write has no room.
    rustix::io::ioctl_fionbio(&writer, true).expect("O_NONBLOCK");
    let mut filled = 0;
    while let Ok(count) = rustix::io::write(&writer, &[b'.'; 4096]) {
        filled += count;
    }
    let verb = place.command(&["version"]).stdout(writer).spawn();
    let mut verb = verb.expect("hearth runs");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).expect("its output");
    assert_eq!(verb.wait().expect("it ended").code(), Some(0));
    assert!(text[filled..].starts_with("hearth "), "{}", &text[filled..]);
}

#[test]
fn the_help_names_every_verb_whatever_stands_behind_it() {
    let place = Place::new();
    for arguments in [&["--help"][..], &["help"], &["--help", "up"]] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, 0);
        for verb in VERBS {
            assert!(ran.out.contains(verb), "{verb}: {}", ran.out);
        }
    }
}

#[test]
fn wrong_usage_is_exit_2_for_people_and_for_tools() {
    let place = Place::with("");
    let wrong: &[&[&str]] = &[
        &[],
        &["frobnicate"],
        &["up", "--frobnicate"],
        &["up", "--timeout", "5"],
        &["up", "--timeout", "soon"],
        &["up", "--timeout"],
        &["up", "--attach", "--no-wait"],
        &["restart"],
        &["wait"],
        &["wait", ""],
        &["down", ""],
        &["up", "web", ""],
        &["restart", ""],
        &["status", ""],
        &["logs", ""],
        &["env", ""],
        &["try", "web"],
        &["env", "web", "db"],
        &["run"],
        &["run", "sleep", "1"],
        &["run", "--ready-tcp", "1", "--ready-log", "x"],
        &["down", "--all", "web"],
        &["logs", "-n", "many"],
        &["status", "--color", "pink"],
        &["config"],
        &["config", "frobnicate"],
        &["daemon"],
        &["daemon", "frobnicate"],
        &["completions"],
        &["completions", "cmd.exe"],
        &["status", "--home", "relative"],
        &["status", "-C", "/no/such/directory"],
    ];
    for arguments in wrong {
        let ran = place.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ran.err.starts_with("hearth: "), "{arguments:?}: {}", ran.err);
        let ran = place.run(&[arguments, &["--json"][..]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(ran.error()["code"], "usage", "{arguments:?}");
        assert_ne!(ran.error()["hint"], "", "it tells what to type next: {arguments:?}");
    }
    assert!(names_in(&place.home()).is_empty(), "nothing was made");
}

#[test]
fn a_bad_value_leads_to_the_help_of_its_verb() {
    let place = Place::with("");
    for (arguments, hint) in [
        (["up", "--timeout", "5"], "hint: hearth up --help\n"),
        (["ps", "--color", "pink"], "hint: hearth status --help\n"),
        (["logs", "-n", "many"], "hint: hearth logs --help\n"),
    ] {
        let ran = place.run(&arguments);
        assert!(ran.err.ends_with(hint), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_command_that_makes_no_name_is_refused_with_what_to_type() {
    let place = Place::with("");
    for arguments in [&["run", "--"][..], &["run", "--", "/"]] {
        let ran = place.run(&[&["--json"], arguments].concat());
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(ran.error()["code"], "usage", "{arguments:?}");
    }
    let ran = place.run(&["run", "--", "/"]);
    assert!(ran.err.contains("hint: hearth run --name NAME -- CMD..."), "{}", ran.err);
}

#[test]
fn a_relative_home_is_refused_from_the_environment_too() {
    let place = Place::with("");
    let ran = place.command(&["status"]).env("HEARTH_HOME", "relative").output();
    assert_eq!(support::Ran::of(ran.expect("hearth runs")).code, 2);
}

#[test]
fn whose_lease_it_is_is_a_pid_that_may_be_one() {
    let place = Place::with("");
    for pid in ["0", "-1", "2147483648", "99999999999999999999", "x", ""] {
        let ran = place.run(&["--json", "up", "--lease-to", pid]);
        assert_eq!(ran.code, 2, "{pid}: {}", ran.err);
        assert_eq!(ran.error()["code"], "usage", "{pid}");
        let ran = place.run(&["session", "start", "--pid", pid]);
        assert_eq!(ran.code, 2, "{pid}: {}", ran.err);
    }
    let both = place.run(&["up", "--lease", "--lease-to", "1"]);
    assert_eq!(both.code, 2);
    assert!(both.err.contains("--lease"), "{}", both.err);
}

#[test]
fn with_takes_a_command_behind_two_dashes() {
    let place = Place::with("[services.db]\nrun = \"true\"\n");
    for line in [&["with"][..], &["with", "db"], &["with", "db", "cargo", "test"], &["with", "--"]]
    {
        let ran = place.run(line);
        assert_eq!(ran.code, 2, "{line:?}");
        assert!(ran.err.contains("hearth with [SERVICE...] -- CMD..."), "{line:?}: {}", ran.err);
    }
    for (line, code, words) in [
        (&["with", "db", "--", "no-such-command"][..], 2, "there is no command `no-such-command`"),
        (&["with", "db", "--", "./here"], 2, "`./here` does not exist; nothing was started"),
        (&["with", "bd", "--", "true"], 5, "did you mean db"),
    ] {
        let ran = place.run(line);
        assert_eq!(ran.code, code, "{line:?}: {}", ran.err);
        assert!(ran.err.contains(words), "{line:?}: {}", ran.err);
        assert_eq!(place.run(&["daemon", "status"]).code, 3, "{line:?}: an agent was started");
    }
}

#[test]
fn options_hold_before_and_after_the_verb() {
    let place = Place::with("");
    let before = place.run(&["--json", "-q", "--no-spawn", "status"]);
    let after = place.run(&["status", "--no-spawn", "-q", "--json"]);
    assert_eq!((before.code, &before.out), (0, &after.out));
    assert_eq!(before.err, "");
    let nested = place.run(&["daemon", "--json", "status"]);
    assert_eq!(nested.json()["state"], "down");
}

#[test]
fn completions_are_made_for_every_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = place.run(&["completions", shell]);
        assert_eq!(ran.code, 0);
        for word in ["daemon", "no-spawn", "restart"] {
            assert!(ran.out.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn stdout_that_is_closed_is_no_fault() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = place.command(&["completions", "bash"]).stdout(writer).status();
    assert_eq!(status.expect("hearth runs").code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn stdout_that_is_full_is_told() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = place.command(&["--json", "version"]).stdout(full).output();
    let ran = support::Ran::of(output.expect("hearth runs"));
    assert_eq!(ran.code, 1);
    assert_eq!(ran.error()["code"], "internal");
}
