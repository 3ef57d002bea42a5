//! A project of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hearth_config::Builder;
use serde_json::{Value, json};

use crate::{Gate, Home, Ran, Verb, home};

/// A directory with a `hearth.toml`, in a home of its own. Dropped, it takes all down.
pub struct Project {
    /// The home.
    pub home: Home,
    dir: PathBuf,
}

impl Project {
    /// A project with this `hearth.toml`.
    pub fn new(toml: &str) -> Self {
        let project = Self::empty();
        project.write("hearth.toml", toml);
        project
    }

    /// A project that was built in code:
    /// `Project::built(|it| it.service("a", ["sleep", "9"]).needs("b").oneshot("b", "true"))`.
    #[track_caller]
    pub fn built<B: Into<Builder>>(build: impl FnOnce(Builder) -> B) -> Self {
        let project = Self::empty();
        write_built(&project.dir, build);
        project
    }

    /// A directory without a file.
    pub fn empty() -> Self {
        let home = Home::new();
        let dir = home.root().join("project");
        fs::create_dir(&dir).expect("a directory can be made");
        // Its identity is its canonical path.
        let dir = dir.canonicalize().expect("it is there");
        Self { home, dir }
    }

    /// A copy of one of the examples.
    pub fn example(name: &str) -> Self {
        let project = Self::empty();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        let files = crate::files_below(&from);
        assert!(!files.is_empty(), "{} is an example", from.display());
        for file in files {
            let to = project.dir.join(file.strip_prefix(&from).expect("it is below"));
            fs::create_dir_all(to.parent().expect("a directory")).expect("it can be made");
            fs::copy(file, to).expect("a file can be copied");
        }
        project
    }

    /// Starts its agent, where there is none; the socket that this one listens on.
    #[track_caller]
    pub fn socket(&self) -> PathBuf {
        let up = self.run(&["daemon", "up", "--json"]).exits(0).json();
        PathBuf::from(up["socket"].as_str().expect("a path"))
    }

    /// The body of a request about it, with `more` than its path.
    pub fn asks(&self, mut more: Value) -> String {
        more["project"] = json!(self.dir);
        more.to_string()
    }

    /// Its directory, canonical.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes one of its files.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.join(name), text).expect("a file can be written");
    }

    /// Writes one of its files in one step, for whoever reads it meanwhile.
    pub fn replace(&self, name: &str, text: &str) {
        let aside = format!("{name}.new");
        self.write(&aside, text);
        fs::rename(self.dir.join(aside), self.dir.join(name)).expect("a file can be renamed");
    }

    /// Reads one of its files; empty if it is not there.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    /// A command that is `hearth` with these arguments, in this directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command.current_dir(&self.dir);
        command
    }

    /// Runs a verb in it.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).finish()
    }

    /// Starts a verb in it.
    pub fn start(&self, arguments: &[&str]) -> Verb {
        home::start(&mut self.command(arguments))
    }

    /// Runs a command that was made by [`Project::command`] and changed by the test.
    #[track_caller]
    pub fn ran(&self, command: &mut Command) -> Ran {
        home::start(command).finish()
    }

    /// Starts such a command.
    pub fn begin(&self, command: &mut Command) -> Verb {
        home::start(command)
    }

    /// A script for `sh`, in this directory; `hearth` is the one of this build.
    pub fn script(&self, text: &str) -> Command {
        self.by("sh", &["-c", text])
    }

    /// Another program, as a person starts it who has `hearth` in the `PATH`.
    pub fn by(&self, program: &str, arguments: &[&str]) -> Command {
        let ours = self.command(&[]);
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null());
        for (name, value) in ours.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut path = vec![crate::hearth().parent().expect("a directory").to_owned()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        command.env("PATH", std::env::join_paths(path).expect("no colons in it"));
        home::with_default_signals(&mut command);
        command
    }

    /// The sessions, as `hearth sessions --json` tells them.
    #[track_caller]
    pub fn sessions(&self) -> Vec<Value> {
        let told = self.run(&["sessions", "--json"]).exits(0).json();
        told["sessions"].as_array().expect("sessions").clone()
    }

    /// Another project in the same home.
    pub fn beside(&self, name: &str, toml: &str) -> PathBuf {
        let dir = self.dir.with_file_name(name);
        fs::create_dir(&dir).expect("a directory can be made");
        fs::write(dir.join("hearth.toml"), toml).expect("a file can be written");
        dir
    }

    /// The same, built in code.
    #[track_caller]
    pub fn beside_built<B: Into<Builder>>(
        &self,
        name: &str,
        build: impl FnOnce(Builder) -> B,
    ) -> PathBuf {
        let dir = self.dir.with_file_name(name);
        fs::create_dir(&dir).expect("a directory can be made");
        write_built(&dir, build);
        dir
    }

    /// A place where a service waits, by `read x < NAME`, to be let on.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::new(&self.dir.join(name))
    }

    /// Waits until one of its files is what `is_it` wants.
    #[track_caller]
    pub fn await_file(&self, name: &str, is_it: impl Fn(&str) -> bool) -> String {
        crate::await_file(&self.dir.join(name), is_it)
    }

    /// Waits until a file of the home is what `is_it` wants.
    #[track_caller]
    pub fn home_file(&self, name: &str, is_it: impl Fn(&str) -> bool) -> String {
        crate::await_file(&self.home.path(name), is_it)
    }

    /// Waits until one of its files has so many lines.
    #[track_caller]
    pub fn await_lines(&self, name: &str, count: usize) -> Vec<String> {
        let text = self.await_file(name, |text| text.matches('\n').count() >= count);
        text.lines().map(str::to_owned).collect()
    }

    /// The row of a service in `status --json`.
    #[track_caller]
    pub fn row(&self, service: &str) -> Value {
        let status = self.run(&["status", "--json"]).exits(0).json();
        let rows = status["services"].as_array().expect("rows").clone();
        let row = rows.into_iter().find(|row| row["name"] == service);
        row.unwrap_or_else(|| panic!("no {service} in {status}"))
    }

    /// Its state.
    #[track_caller]
    pub fn state(&self, service: &str) -> String {
        self.row(service)["state"].as_str().expect("a state").to_owned()
    }

    /// The leader's pid.
    #[track_caller]
    pub fn pid(&self, service: &str) -> u32 {
        let row = self.row(service);
        let pid = row["pid"].as_u64().unwrap_or_else(|| panic!("{service} does not run: {row}"));
        u32::try_from(pid).expect("a pid")
    }
}

#[track_caller]
fn write_built<B: Into<Builder>>(dir: &Path, build: impl FnOnce(Builder) -> B) {
    let builder: Builder = build(hearth_config::Project::at(dir)).into();
    let built = builder.build().unwrap_or_else(|faults| panic!("{faults}"));
    fs::write(dir.join("hearth.toml"), built.to_toml()).expect("a file can be written");
}
