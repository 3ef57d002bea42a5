//! What the hook costs a shell's prompt: with nothing to do, and on entering a project, until the prompt is back.
//! Beside each, in the same run, the floor: a client that asks the agent once and ends.
//!
//! `cargo bench -p hearth-tests --bench hook`; `-- bash zsh fish` chooses, `HEARTH_BENCH_ROUNDS` sets the number
//! of rounds.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hearth_tests::measure::{build, cost, floor_command, line, median, ms, rounds, wanted};
use hearth_tests::{Project, Shell, ShellKind, await_file};

/// Prompts in one shell; what a shell takes to begin is measured apart and taken away.
const PROMPTS: u32 = 1000;

const AUTO: &str = "auto = true\n[services.db]\nrun = [\"sleep\", \"100000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\n\
    [services.web]\nrun = [\"sleep\", \"100000\"]\nneeds = [\"db\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\n";

fn main() {
    let floor = build().join("floor");
    for kind in [ShellKind::Bash, ShellKind::Zsh, ShellKind::Fish] {
        if wanted(kind.name()) && kind.is_installed() {
            nothing_to_do(&floor, kind);
            entering(&floor, kind);
        }
    }
}

fn trusted() -> Project {
    let project = Project::new(AUTO);
    project.run(&["trust", "-q"]).exits(0);
    project.run(&["daemon", "up"]).exits(0);
    project
}

fn floor_of(floor: &Path, project: &Project, rounds: usize) -> Duration {
    let once = |_| cost(&mut floor_command(floor, project)).wall;
    median(&mut (0..rounds).map(once).collect::<Vec<_>>())
}

/// The function that is run at each prompt, in a project that is up and five directories below it.
fn nothing_to_do(floor: &Path, kind: ShellKind) {
    let project = trusted();
    let deep = project.dir().join("a/b/c/d/e");
    std::fs::create_dir_all(&deep).expect("directories");
    let prompts = |count: u32| {
        let times = match kind {
            ShellKind::Bash | ShellKind::Zsh => {
                format!("i=0; while ((i++ < {count})); do __hearth_prompt; done")
            }
            ShellKind::Fish => format!("for i in (seq {count}); __hearth_prompt; end"),
        };
        // The first one looks; those that are counted have nothing to do.
        let script = format!("{}__hearth_prompt\n{times}\n", kind.hook());
        let mut command = Command::new(kind.name());
        match kind {
            ShellKind::Bash => command.arg("--norc"),
            ShellKind::Zsh => command.arg("-f"),
            ShellKind::Fish => command.arg("-N"),
        };
        for (name, value) in kind.command(&project.home, &deep).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let ran = cost(command.args(["-i", "-c", &script]).current_dir(&deep));
        assert!(ran.status.success(), "{}", kind.name());
        ran.wall
    };
    let (mut many, mut none) = (Vec::new(), Vec::new());
    for _ in 0..rounds(21) {
        many.push(prompts(PROMPTS));
        none.push(prompts(0));
    }
    let each = median(&mut many).saturating_sub(median(&mut none)) / PROMPTS;
    told(kind, "prompt, nothing to do", each, floor_of(floor, &project, 201));
}

/// From Return behind `cd project` to the next line's effect, less the same for a directory that is none.
fn entering(floor: &Path, kind: ShellKind) {
    let project = trusted();
    let root = project.home.root().to_owned();
    std::fs::create_dir(root.join("nothing")).expect("a directory");
    let mut shell = Shell::start(kind, &project.home, &root);
    let (mut into, mut beside, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds(51) {
        // In turn with the others: a machine is busy for seconds.
        floors.extend((0..5).map(|_| cost(&mut floor_command(floor, &project)).wall));
        beside.push(timed(&mut shell, "cd nothing"));
        shell.run("cd ..");
        into.push(timed(&mut shell, "cd project"));
        settled(&project, &shell, 1);
        shell.run("cd ..");
        settled(&project, &shell, 0);
    }
    let (into, beside) = (median(&mut into), median(&mut beside));
    let floor = median(&mut floors);
    told(kind, "entering a project, until the prompt", into.saturating_sub(beside), floor);
    line("  with the shell's own", &format!("{:.2} ms, {:.2} without", ms(into), ms(beside)), "");
    shell.exit();
}

fn timed(shell: &mut Shell, line: &str) -> Duration {
    let begun = Instant::now();
    shell.run(line);
    begun.elapsed()
}

/// So that nothing in the background is measured: what the hook holds is settled, and is this many leases.
fn settled(project: &Project, shell: &Shell, leases: usize) {
    let id = hearth_process::ProcessId::of(shell.pid()).expect("the shell lives");
    let start = id.start.expect("its start is known").as_raw();
    let held = project.home.path(&format!("hook/{}-{start}.held", shell.pid()));
    await_file(&held, |text| {
        serde_json::from_str::<Vec<serde_json::Value>>(text).is_ok_and(|all| all.len() == leases)
    });
}

fn told(kind: ShellKind, what: &str, took: Duration, floor: Duration) {
    line(
        &format!("{}: {what}", kind.name()),
        &format!(
            "{:.3} ms, floor {:.3} ms: {:.2} x",
            ms(took),
            ms(floor),
            took.as_secs_f64() / floor.as_secs_f64()
        ),
        "at most 3 x",
    );
}
