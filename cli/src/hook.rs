//! `hearth hook SHELL`: what a shell evaluates so that a project's services live as long as a shell is in it.
//!
//! Kept true here: a prompt never waits for the agent, and costs no process where nothing has changed.
//! Three parts, each doing what only it can:
//!
//! - The *script* (`hook/bash.sh` and its kin, run at each prompt) finds out by builtins alone whether the
//!   shell is in another project than before, or whether one of the project's files is younger than the
//!   shell's note.
//! - Only then `--look` is run ([`look`]): it reads the files, decides by trust and `auto` what the shell
//!   is to have, writes that into the note, and says it in one line. It asks no agent.
//! - Where that is something else than before, the script starts `--keep` ([`keep`]) in the background, as
//!   a child of the shell (a session can be registered by its process and its descendants alone): it makes
//!   the shell's leases what the note says. What goes wrong is kept for the next prompt, so no line of
//!   somebody who types is broken.
//!
//! The note is written in the order of the prompts, and whoever keeps goes by the newest one, one at a time:
//! however fast somebody goes in and out, the last word holds.

mod keep;
mod look;
mod note;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, ValueEnum, value_parser};
use hearth_lifecycle::Home;

use crate::args::{self, Context};
use crate::output;
use crate::refuse::Refusal;

/// A shell that has a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// 3.2 and later.
    Bash,
    /// 5 and later.
    Zsh,
    /// 3.4 and later.
    Fish,
}

impl Shell {
    /// Its name, and that of its sessions.
    fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("hook/bash.sh"),
            Self::Zsh => include_str!("hook/zsh.zsh"),
            Self::Fish => include_str!("hook/fish.fish"),
        }
    }

    /// Any bytes as one word of this shell.
    fn quoted(self, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![b'\''];
        for byte in bytes {
            match (self, byte) {
                // Nothing else is special between single quotes (POSIX, XCU 2.2.2).
                (Self::Bash | Self::Zsh, b'\'') => out.extend_from_slice(br"'\''"),
                (Self::Fish, b'\'' | b'\\') => out.extend_from_slice(&[b'\\', *byte]),
                (Self::Bash | Self::Zsh | Self::Fish, byte) => out.push(*byte),
            }
        }
        out.push(b'\'');
        out
    }

    /// A line that sets a variable.
    fn sets(self, name: &str, value: &[u8]) -> Vec<u8> {
        let (before, after) = match self {
            Self::Bash | Self::Zsh => (format!("{name}="), "\n"),
            Self::Fish => (format!("set -g {name} "), "\n"),
        };
        [before.as_bytes(), &self.quoted(value), after.as_bytes()].concat()
    }
}

/// Its grammar. What the scripts use is hidden: it may be another at any time.
pub fn grammar() -> Command {
    Command::new("hook")
        .about("Print the hook that brings a trusted project's services up while a shell is in it")
        .after_help(
            "In the shell's startup file:\n  \
             bash  ~/.bashrc                   eval \"$(hearth hook bash)\"\n  \
             zsh   ~/.zshrc                    eval \"$(hearth hook zsh)\"\n  \
             fish  ~/.config/fish/config.fish  hearth hook fish | source",
        )
        .args([
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("For this shell"),
            args::flag("look", "What the shell is to have").hide(true),
            args::flag("keep", "Make it so").hide(true).conflicts_with("look"),
            Arg::new("pid")
                .long("pid")
                .value_parser(value_parser!(u32))
                .required_if_eq_any([("look", "true"), ("keep", "true")])
                .hide(true)
                .help("The shell"),
            Arg::new("at")
                .long("at")
                .value_parser(value_parser!(OsString))
                .hide(true)
                .help("The project in which it is; empty: none"),
        ])
}

/// The script, or one of its steps.
pub fn run(context: &Context, matches: &ArgMatches) -> Result<u8, Refusal> {
    let Some(shell) = matches.get_one::<Shell>("shell").copied() else {
        return Err(Refusal::usage("for which shell?").hint("hearth hook zsh"));
    };
    let pid = matches.get_one::<u32>("pid").copied().unwrap_or_default();
    if matches.get_flag("look") {
        let at = matches.get_one::<OsString>("at").filter(|at| !at.is_empty());
        let at = at.map(Path::new);
        return look::run(context, shell, pid, at);
    }
    if matches.get_flag("keep") {
        return keep::run(context, shell, pid);
    }
    note::prune(&context.home);
    // By its absolute path: PATH may be another one at the next prompt.
    let executable = hearth_process::executable();
    let mut script = shell.sets("__hearth_exe", path_bytes(&executable));
    script.extend_from_slice(shell.script().as_bytes());
    output::print(&script).map(|()| 0)
}

/// Whether the hook of the shell that has this pid has been in a project.
pub fn has_note(home: &Home, pid: u32) -> bool {
    note::Files::of(home, pid).is_ok_and(|files| files.note().exists())
}

/// Notes that can't be read; the hook goes on as if they said nothing.
pub fn unreadable_notes(home: &Home) -> Vec<PathBuf> {
    note::unreadable(home)
}

fn path_bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_same_bytes_in_the_shell() {
        let word = b"a'b\\c \"$x`d\n\xc3\xa9;*";
        assert_eq!(Shell::Zsh.quoted(b"it's"), br"'it'\''s'");
        assert_eq!(Shell::Fish.quoted(br"it's \"), br"'it\'s \\'");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = b"printf %s ".to_vec();
            script.extend(shell.quoted(word));
            use std::os::unix::ffi::OsStrExt;
            let script = std::ffi::OsStr::from_bytes(&script);
            // Which shells there are is looked at by the black-box tests.
            let ran = std::process::Command::new(shell.name()).arg("-c").arg(script).output();
            let Ok(ran) = ran else { continue };
            assert_eq!(ran.stdout, word, "{shell:?}");
        }
    }
}
