//! What every black-box test needs: the real binary, a home of its own, a project, and the
//! certainty that nothing is left behind.
//!
//! A test speaks to hearth as a person does: through the executable and the files of the contract.
//! Nothing of hearth's own crates is used here but the facts of the operating system, and the
//! builder, by which a test may write its `hearth.toml`.

mod binary;
mod event;
mod home;
pub mod http;
mod leftovers;
pub mod measure;
mod project;
mod session;
mod shell;
pub mod systemd;
mod terminal;
mod verb;
mod watch;

pub use hearth_config::{Builder, Need, Node, Test};

pub use binary::{assets, hearth, next_version};
pub use event::{Gate, Port, await_end, await_file, runs};
pub use home::{Home, Ran, send};
pub use leftovers::{Process, processes_of};
pub use project::Project;
pub use session::Session;
pub use shell::{Shell, ShellKind};
pub use terminal::Terminal;
pub use verb::Verb;
pub use watch::Watch;

/// All files below a directory.
pub fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// Whether what needs root may run. Says aloud if not, and does not let CI pass without.
pub fn is_root(what: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    skip(what, "root")
}

/// Whether a program is installed. Says aloud if not, and does not let CI pass without.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(name).is_file()) {
        return true;
    }
    skip(name, "that program")
}

/// Says that something is skipped for want of `need`; false. Panics in CI.
pub fn skip(what: &str, need: &str) -> bool {
    assert!(std::env::var_os("CI").is_none(), "{what} needs {need}, and CI may not skip");
    eprintln!("SKIPPED, needs {need}: {what}");
    false
}
