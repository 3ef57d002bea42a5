//! What is shipped beside the executable: man pages and completions.

use std::path::Path;
use std::process::Command;

use hearth_tests::{assets, files_below, has_program, hearth};
use tempfile::TempDir;

fn written() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new(assets()).arg(dir.path()).status().unwrap();
    assert!(status.success());
    dir
}

/// What a command prints, on both outputs.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
}

/// The verbs that the help of `verbs` lists, all below them included, as the names of their pages.
fn pages(verbs: &[String]) -> Vec<String> {
    let mut found = vec![[&["hearth".to_owned()], verbs].concat().join("-")];
    let help = printed(Command::new(hearth()).args(verbs).arg("--help"));
    let listed = help.split("Commands:\n").nth(1).unwrap_or_default();
    for line in listed.lines().take_while(|line| line.starts_with("  ")) {
        let verb = line.split_whitespace().next().unwrap();
        if verb != "help" {
            found.extend(pages(&[verbs, &[verb.to_owned()]].concat()));
        }
    }
    found
}

#[test]
fn every_verb_has_its_page_and_no_page_is_of_a_verb_that_is_gone() {
    let dir = written();
    let mut expected: Vec<String> =
        pages(&[]).into_iter().map(|name| format!("{name}.1")).collect();
    assert!(expected.contains(&"hearth-daemon-up.1".to_owned()), "{expected:?}");
    expected.push("hearth.toml.5".to_owned());
    expected.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut there: Vec<String> =
        files_below(&dir.path().join("man")).iter().map(|path| name(path)).collect();
    there.sort();
    assert_eq!(there, expected);
}

#[test]
fn no_page_has_anything_to_complain_of() {
    if !has_program("groff") {
        return;
    }
    let dir = written();
    for page in files_below(&dir.path().join("man")) {
        let told = printed(Command::new("groff").args(["-ww", "-man", "-Tutf8", "-z"]).arg(&page));
        assert_eq!(told, "", "{}", page.display());
        let shown = printed(Command::new("groff").args(["-man", "-Tutf8", "-P-cbou"]).arg(&page));
        assert!(shown.contains("SEE ALSO"), "{shown}");
    }
}

#[test]
fn the_pages_tell_what_no_grammar_knows() {
    let dir = written();
    let page = |name: &str| std::fs::read_to_string(dir.path().join("man").join(name)).unwrap();
    let hearth = page("hearth.1");
    for told in ["EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "130", "HEARTH_HOME"] {
        assert!(hearth.contains(told), "{told}");
    }
    let format = page("hearth.toml.5");
    for told in ["then_every", "reset_after", "SIGTERM", "[services.NAME]", "[checks.NAME]"] {
        assert!(format.contains(told), "{told}");
    }
}

#[test]
fn the_completions_complete() {
    let dir = written();
    let completions = dir.path().join("completions");
    let script = ". \"$1\"; COMP_WORDS=(hearth daemon st); COMP_CWORD=2; _hearth hearth st daemon; echo \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).arg(completions.join("hearth"));
    assert_eq!(printed(&mut bash), "status\n");
    for (shell, name) in [("zsh", "_hearth"), ("fish", "hearth.fish")] {
        if has_program(shell) {
            let told = printed(Command::new(shell).arg("-n").arg(completions.join(name)));
            assert_eq!(told, "", "{shell}");
        }
    }
}
