//! The environment, the shell's hook, and trust.

use std::fs;

use hearth_tests::{Home, Project};

use crate::support::{command, doctor, report};

#[test]
fn variables_that_mean_nothing_or_something_else_are_told() {
    let home = Home::new();
    doctor(&home)
        .says("environment-hearth", "ok", &["the home was named"])
        .says("environment-directories", "ok", &[])
        .says("environment-user", "ok", &[]);
    let told = |name: &str, value: &str| report(command(&home).env(name, value));
    for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
        for value in ["", "relative/dir"] {
            told(name, value).says(
                "environment-directories",
                "warning",
                &[name, "counts as unset", "unset"],
            );
        }
    }
    told("XDG_RUNTIME_DIR", "/no/such").says("environment-directories", "warning", &["/no/such"]);
    told("HEARTH_NO_AUTOSPAWN", "1").says(
        "environment-hearth",
        "warning",
        &["no verb starts an agent"],
    );
    told("HEARTH_FROB", "1").says(
        "environment-hearth",
        "warning",
        &["HEARTH_FROB", "means nothing"],
    );
    told("HEARTH_DB_PORT", "1").says("environment-hearth", "ok", &[]);
    told("HOME", "/no/such").says("environment-user", "warning", &["/no/such"]);
    report(command(&home).env_remove("HOME")).says(
        "environment-user",
        "warning",
        &["HOME is not set"],
    );
}

#[test]
fn a_session_that_has_ended_is_told_and_one_that_lives_is_not() {
    let home = Home::new();
    home.run(&["daemon", "up"]).exits(0);
    let told = |id: &str| report(command(&home).env("HEARTH_SESSION", id));
    told("s-nobody").says(
        "environment-hearth",
        "warning",
        &["s-nobody, which has ended", "unset HEARTH_SESSION"],
    );
    let own = std::process::id().to_string();
    let id = home.run(&["session", "start", "--pid", &own]).exits(0).stdout;
    told(id.trim()).says("environment-hearth", "ok", &[]);
}

#[test]
fn the_hook_is_found_in_a_startup_file_and_not_in_a_comment() {
    let home = Home::new();
    doctor(&home).says("hook", "ok", &["in no shell's startup file"]);
    let person = home.root().join("person");
    fs::write(person.join(".zshrc"), "# eval \"$(hearth hook zsh)\"\n").unwrap();
    report(command(&home).env("SHELL", "/bin/zsh")).says(
        "hook",
        "ok",
        &["not in zsh's startup file"],
    );
    fs::write(person.join(".bashrc"), "x=1\neval \"$(hearth hook bash)\"\n").unwrap();
    doctor(&home).says("hook", "ok", &["bash (", ".bashrc)"]);
}

#[test]
fn trust_that_was_changed_is_counted_and_a_garbled_record_is_told() {
    let project = Project::new("[services.a]\nrun = 'true'\n");
    doctor(&project.home).says("trust", "ok", &["no project is trusted"]);
    project.run(&["trust", "-q"]).exits(0);
    doctor(&project.home).says("trust", "ok", &["1 project is trusted"]);
    project.write("hearth.toml", "[services.a]\nrun = 'false'\n");
    doctor(&project.home).says("trust", "ok", &["1 changed since"]);
    project.home.write("trust/0123", "{");
    doctor(&project.home).says("trust", "warning", &["trust/0123", "hearth trust"]);
}
