//! `hearth trust`: what a person has looked at, and only that, is what the shell hook may run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hearth_tests::{Project, hearth};
use serde_json::json;

const AUTO: &str = "auto = true\n[services.db]\nrun = \"sleep 1000\"\nenv_file = \".env\"\n\
    [services.web]\nrun = \"sleep 1000\"\nneeds = [\"db\"]\n\
    [services.own]\nrun = \"sleep 1000\"\nenabled = false\n";

fn project() -> Project {
    let project = Project::new(AUTO);
    project.write(".env", "A=1\n");
    project
}

#[test]
fn it_shows_what_it_trusts_and_what_will_come_of_it() {
    let project = project();
    let ran = project.run(&["trust"]).exits(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], format!("trusted: {}", project.dir().display()));
    assert!(lines[1].ends_with("  hearth.toml"), "{}", ran.stdout);
    assert_eq!(lines[2], "  not there         hearth.local.toml");
    assert!(lines[3].ends_with("  .env"), "{}", ran.stdout);
    assert!(ran.stderr.contains("entering it brings up db, web, where"), "{}", ran.stderr);
    let told = project.run(&["trust", "--json"]).exits(0).json();
    assert_eq!((&told["auto"], &told["services"]), (&json!(true), &json!(["db", "web"])));
    assert_eq!(told["files"][1]["sha256"], json!(null));
    let modes = fs::read_dir(project.home.path("trust")).expect("it is there");
    for entry in modes.map(|entry| entry.expect("an entry")) {
        assert_eq!(entry.metadata().expect("its mode").permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(project.home.agent_pid(), None, "no agent is needed");

    project.write("hearth.toml", &AUTO.replace("true", "false"));
    let ran = project.run(&["trust"]).exits(0);
    assert!(ran.stderr.contains("does not say `auto = true`"), "{}", ran.stderr);
}

#[test]
fn the_hash_is_the_one_that_everybody_knows() {
    let project = Project::new("# x\n");
    let told = project.run(&["trust", "--json"]).exits(0).json();
    let sum = std::process::Command::new("sha256sum")
        .arg(project.dir().join("hearth.toml"))
        .output()
        .expect("coreutils are installed");
    let sum = String::from_utf8(sum.stdout).expect("a line");
    assert_eq!(told["files"][0]["sha256"].as_str(), sum.split(' ').next());
}

#[test]
fn the_list_tells_what_has_changed_and_what_is_gone() {
    let project = project();
    let ran = project.run(&["trust", "--show"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("nothing is trusted"), "{}", ran.stderr);
    project.run(&["trust"]).exits(0);
    let other = project.beside("other", "");
    project.ran(project.home.command(&["trust"]).current_dir(&other)).exits(0);
    project.write(".env", "A=2\n");
    fs::remove_dir_all(&other).expect("removed");
    let ran = project.home.run(&["trust", "--show"]).exits(0);
    assert!(ran.stdout.contains("gone: "), "{}", ran.stdout);
    assert!(ran.stdout.contains(&format!("changed: {}", project.dir().display())), "{ran:?}");
    assert!(ran.stdout.contains("  changed since     .env"), "{}", ran.stdout);
    let told = project.home.run(&["trust", "--show", "--json"]).exits(0).json();
    assert_eq!(told["projects"].as_array().map(Vec::len), Some(2));
    assert_eq!(told["projects"][1]["changed"], json!([project.dir().join(".env")]));
}

#[test]
fn it_is_taken_back_also_where_the_file_is_gone() {
    let project = project();
    let ran = project.run(&["trust", "--revoke"]).exits(0);
    assert!(ran.stderr.contains("was not trusted"), "{}", ran.stderr);
    project.run(&["trust"]).exits(0);
    fs::remove_file(project.dir().join("hearth.toml")).expect("removed");
    let ran = project.run(&["trust", "--revoke"]).exits(0);
    assert!(ran.stderr.contains("is not trusted any more"), "{}", ran.stderr);
    let told = project.run(&["trust", "--show", "--json"]).exits(0).json();
    assert_eq!(told["projects"], json!([]));
    project.run(&["trust", "--revoke"]).exits(5);
    project.run(&["trust", "--revoke", "--show"]).exits(2);
}

#[test]
fn what_may_not_be_believed_is_not_trusted() {
    let project = project();
    project.write("hearth.toml", "auto = perhaps\n");
    let refusal = project.run(&["trust", "--json"]).exits(2).refusal();
    assert_eq!(refusal["code"], "bad-config");
    project.write("hearth.toml", AUTO);
    let set = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(project.dir().join(".env"), mode).expect("it is ours");
    };
    set(0o666);
    let refusal = project.run(&["trust", "--json"]).exits(2).refusal();
    assert_eq!(refusal["code"], "forbidden");
    set(0o600);
    fs::remove_file(project.dir().join("hearth.toml")).expect("removed");
    project.run(&["trust"]).exits(5);
    // A home that is not the caller's alone keeps nothing.
    project.write("hearth.toml", AUTO);
    project.home.write("x", "");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(project.home.dir(), open).expect("it is ours");
    let refusal = project.run(&["trust", "--json"]).exits(3).refusal();
    assert_eq!(refusal["code"], "blocked");
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(project.home.dir(), closed).expect("it is ours");
}

/// Who can rename a directory on the way can put another one there for the moment in which it is read.
#[test]
fn what_others_could_exchange_is_not_trusted() {
    let project = Project::empty();
    let shared = project.home.root().join("shared");
    fs::create_dir(&shared).expect("a directory");
    let inner = project.beside("shared/inner", AUTO);
    fs::write(inner.join(".env"), "").expect("a file");
    let trust = || project.ran(project.home.command(&["trust", "--json"]).current_dir(&inner));
    let set = |mode| {
        fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    set(0o777);
    let refusal = trust().exits(2).refusal();
    assert_eq!(refusal["code"], "forbidden");
    let message = refusal["message"].as_str().expect("a text");
    assert!(message.contains("/shared (owner ") && message.contains("by everybody"), "{message}");
    // As in /tmp: they can't rename what is not theirs.
    set(0o1777);
    trust().exits(0);
}

#[test]
fn a_directory_s_name_commands_no_terminal() {
    let project = Project::empty();
    let dir = project.beside("a\x1b[31m\nb", AUTO);
    fs::write(dir.join(".env"), "").expect("a file");
    let ran = project.ran(project.home.command(&["trust"]).current_dir(&dir)).exits(0);
    assert_eq!(ran.stdout.lines().count(), 4, "{}", ran.stdout);
    assert!(!ran.stdout.contains('\x1b') && ran.stdout.contains("a\\u{1b}[31m\\nb"), "{ran:?}");
}

#[test]
fn the_hook_knows_three_shells_and_says_so() {
    let project = Project::empty();
    let text = project.run(&["hook", "bash"]).exits(0).stdout;
    assert!(text.starts_with(&format!("__hearth_exe='{}'\n", hearth().display())), "{text}");
    let refusal = project.run(&["hook", "tcsh"]).exits(2);
    assert!(refusal.stderr.contains("bash, zsh, fish"), "{}", refusal.stderr);
    project.run(&["hook"]).exits(2);
    let help = project.run(&["hook", "--help"]).exits(0).stdout;
    assert!(help.contains("hearth hook fish | source"), "{help}");
    assert!(!help.contains("--look") && !help.contains("--pid"), "{help}");
}
