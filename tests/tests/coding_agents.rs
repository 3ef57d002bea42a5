//! `docs/coding-agents.md` as it stands: every block is run, in the order of the page.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hearth_tests::{Project, Ran, has_program};

const PAGE: &str = include_str!("../../docs/coding-agents.md");

/// The blocks of the page: their language, and what stands in them.
fn blocks() -> Vec<(&'static str, String)> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut inside = false;
    for line in PAGE.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(language), false) => {
                blocks.push((language, String::new()));
                inside = true;
            }
            (Some(_), true) => inside = false,
            (None, true) => {
                let block = &mut blocks.last_mut().expect("it has begun").1;
                block.push_str(line);
                block.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!inside, "the last block has an end");
    blocks
}

fn of(language: &str) -> Vec<String> {
    let is = |(name, text): (&str, String)| (name == language).then_some(text);
    blocks().into_iter().filter_map(is).collect()
}

/// The project of the page; `None`: something that the page uses is not installed.
fn project() -> Option<Project> {
    if !["bash", "curl", "jq", "python3"].into_iter().all(has_program) {
        return None;
    }
    let toml = of("toml");
    assert_eq!(toml.len(), 1, "the page has one project");
    let project = Project::new(&toml[0]);
    project.write("test.sh", "#!/bin/sh\necho \"tested with db on $HEARTH_DB_PORT\"\n");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(project.dir().join("test.sh"), mode).expect("it is ours");
    Some(project)
}

/// bash in the project, with this `hearth` before all others.
fn bash(project: &Project, script: &str) -> Ran {
    project.ran(&mut project.by("bash", &["-euo", "pipefail", "-c", script]))
}

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let Some(project) = project() else { return };
    let ran = bash(&project, &of("sh").concat()).exits(0);
    for words in [
        "tested with db on ",
        "db is kept by reviewer (pid ",
        "through web, which needs db",
        "web is ready",
        "ready\n",
        "not-found: ",
        "event: snapshot",
        "web: ready, ports []",
    ] {
        assert!(ran.stdout.contains(words), "{words}:\n{}\n{}", ran.stdout, ran.stderr);
    }
    assert_eq!(ran.stdout.matches("event: lease").count(), 2, "{}", ran.stdout);
    let sessions = project.home.run(&["sessions", "--json"]).exits(0).json();
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(0), "{sessions}");
}

#[test]
fn the_lines_for_an_instructions_file_work_as_they_are_typed() {
    let Some(project) = project() else { return };
    let text = of("markdown").concat();
    let quoted = text.split('`').skip(1).step_by(2);
    let commands: Vec<&str> = quoted.filter(|code| code.starts_with("hearth ")).collect();
    assert!(commands.len() > 5, "{commands:?}");
    // Each in a shell of its own below one process, as a coding agent does it.
    let quoted = commands.iter().map(|command| format!("bash -euc '{command}'\n"));
    let ran = bash(&project, &quoted.collect::<String>()).exits(0);
    assert!(ran.stdout.contains("tested with db on "), "{}", ran.stdout);
    assert!(ran.stdout.contains("db is kept by bash (pid "), "{}", ran.stdout);
}

#[test]
fn every_block_is_of_a_kind_that_is_tested() {
    for (language, text) in blocks() {
        assert!(["toml", "sh", "markdown"].contains(&language), "{language}:\n{text}");
    }
}
