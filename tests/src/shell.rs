//! A shell of a test's own, as a person has it: interactive, on a terminal, with hearth's hook in its startup
//! file.
//!
//! Invariant: what a line did, the hook at the next prompt included, has been done when the next line is read,
//! so [`Shell::run`] types a mark behind each line and waits for that.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Home, Terminal, has_program, hearth};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShellKind {
    /// bash(1).
    Bash,
    /// zsh(1).
    Zsh,
    /// fish(1).
    Fish,
}

impl ShellKind {
    /// Its command.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }

    /// Whether it is installed. Says aloud if not, and does not let CI pass without.
    pub fn is_installed(self) -> bool {
        has_program(self.name())
    }

    /// The line of a startup file.
    pub fn hook(self) -> String {
        let (hearth, name) = (hearth().display(), self.name());
        match self {
            Self::Bash | Self::Zsh => format!("eval \"$({hearth} hook {name})\"\n"),
            Self::Fish => format!("{hearth} hook fish | source\n"),
        }
    }

    /// Writes a startup file of these lines, for every shell of this kind in this home.
    pub fn starts_with(self, home: &Home, lines: &str) {
        let file = match self {
            Self::Bash => home.root().join(".bashrc"),
            Self::Zsh => home.root().join(".zshrc"),
            Self::Fish => home.root().join(".config/fish/config.fish"),
        };
        fs::create_dir_all(file.parent().expect("a directory")).expect("it can be made");
        fs::write(file, lines).expect("a file can be written");
    }

    /// It, to be started on a terminal in this directory.
    pub fn command(self, home: &Home, dir: &Path) -> Command {
        let mut command = Command::new(self.name());
        match self {
            Self::Bash => command.arg("-i"),
            Self::Zsh => command.args(["-d", "-i"]),
            Self::Fish => command.arg("-i"),
        };
        for variable in ["HEARTH_NO_AUTOSPAWN", "HEARTH_SESSION", "HEARTH_HOOK", "PROMPT_COMMAND"] {
            command.env_remove(variable);
        }
        let root = home.root();
        // fish would begin to read all man pages, in the background.
        let known = root.join(".data/fish/generated_completions");
        fs::create_dir_all(known).expect("a directory can be made");
        command
            .current_dir(dir)
            .env("HEARTH_HOME", home.dir())
            .env("HOME", root)
            .env("ZDOTDIR", root)
            .env("XDG_CONFIG_HOME", root.join(".config"))
            .env("XDG_DATA_HOME", root.join(".data"))
            .env("LC_ALL", "C.UTF-8");
        command
    }
}

/// A shell that runs.
#[derive(Debug)]
pub struct Shell {
    terminal: Terminal,
    marks: usize,
}

impl Shell {
    /// One with the hook, in this directory.
    #[track_caller]
    pub fn start(kind: ShellKind, home: &Home, dir: &Path) -> Self {
        kind.starts_with(home, &kind.hook());
        Self::of(kind.command(home, dir))
    }

    /// One of this command.
    #[track_caller]
    pub fn of(command: Command) -> Self {
        let mut shell = Self { terminal: Terminal::of_shell(command, 250, 50), marks: 0 };
        shell.run("");
        shell
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.terminal.pid()
    }

    /// Types a line, and waits until the prompt behind it has come: what was on the terminal meanwhile, what
    /// was typed included.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        let from = self.terminal.written().len();
        self.marks += 1;
        let mark = format!("done-{}.", self.marks);
        if !line.is_empty() {
            self.terminal.types(&format!("{line}\n"));
        }
        // As it is typed it is not yet what it will be.
        self.terminal.types(&format!("echo do''ne-{}.\n", self.marks));
        self.terminal.until_written(|text| text[from..].contains(&mark));
        plain(&self.terminal.written()[from..])
    }

    /// Types this and waits for nothing.
    pub fn types(&mut self, text: &str) {
        self.terminal.types(text);
    }

    /// Waits until this is on the terminal.
    #[track_caller]
    pub fn until(&mut self, words: &str) {
        self.terminal.until_written(|text| plain(text).contains(words));
    }

    /// All that was on the terminal.
    pub fn all(&self) -> String {
        plain(self.terminal.written())
    }

    /// Takes its terminal away.
    pub fn close(self) {
        self.terminal.close();
    }

    /// Lets it end: all that was on the terminal.
    #[track_caller]
    pub fn exit(mut self) -> String {
        self.terminal.types("exit\n");
        let before = self.terminal.written().len();
        let Self { terminal, .. } = self;
        let all = terminal.finish_written();
        plain(&all[before..])
    }
}

/// Without carriage returns and what commands the terminal.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut left = text.chars();
    while let Some(character) = left.next() {
        match character {
            '\x1b' => {
                // Sequences, titles, character sets (ctlseqs of xterm).
                let _ = match left.next() {
                    Some('[') => left.by_ref().find(|c| c.is_ascii_alphabetic()),
                    Some(']') => left.by_ref().find(|c| *c == '\x07'),
                    Some('(') => left.next(),
                    Some(_) | None => None,
                };
            }
            '\r' => {}
            other => plain.push(other),
        }
    }
    plain
}
