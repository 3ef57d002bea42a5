//! A project as the text of a `hearth.toml`, every default spelt out.
//!
//! Invariant: what is written is read back as the same project, to the line numbers. So it holds for
//! what is shown, and what was built in code is checked by the reader of files, see
//! [`crate::Builder`]: there is one set of rules. What has no place in a file is written all the
//! same, for the reader to refuse.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::duration;
use crate::project::{Kind, Lost, Need, Port, Project, Restart, Run, Scope, Service};
use crate::ready::{Http, Later, LaterKind, Probe, Test};

/// A value of a file, its tables in the order of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Written {
    Text(String),
    Number(u64),
    Flag(bool),
    List(Vec<Written>),
    Table(Vec<(String, Written)>),
}

impl Written {
    fn duration(duration: Duration) -> Self {
        Self::Text(duration::format(duration))
    }

    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn table<const N: usize>(pairs: [(&str, Self); N]) -> Self {
        Self::Table(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

/// On one line, whatever is in it.
impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::List(elements) => {
                f.write_str("[")?;
                for (n, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if n > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Table(pairs) if pairs.is_empty() => f.write_str("{}"),
            Self::Table(pairs) => {
                for (n, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{} {} = {value}", if n > 0 { "," } else { "{" }, bare(key))?;
                }
                f.write_str(" }")
            }
        }
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => to.serialize_str(text),
            Self::Number(number) => to.serialize_u64(*number),
            Self::Flag(flag) => to.serialize_bool(*flag),
            Self::List(elements) => to.collect_seq(elements),
            Self::Table(pairs) => {
                let mut map = to.serialize_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

/// A basic string (TOML 1.0, String).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            c if c.is_control() => out += &format!("\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// A key, in quotes where it needs them.
fn bare(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !key.is_empty() && key.bytes().all(plain) { key.to_owned() } else { quoted(key) }
}

impl Project {
    /// The text of a `hearth.toml` with every default spelt out, that loads to an equal project
    /// where it stands alone in `root`. `${...}` stands as it is.
    pub fn to_toml(&self) -> String {
        let mut out = format!("auto = {}\n", self.auto);
        for service in &self.services {
            let table = table_of(service.kind);
            out += &format!("\n[{table}.{}]\n", bare(&service.name));
            for (key, value) in keys(service, &self.root) {
                out += &format!("{key} = {value}\n");
            }
        }
        if !self.groups.is_empty() {
            out += "\n[groups]\n";
        }
        for group in &self.groups {
            out += &format!("{} = {}\n", bare(&group.name), texts(&group.services));
        }
        out
    }

    /// The same as a value to serialise: `{auto, services: {NAME: ...}, checks, groups}`.
    pub fn to_value(&self) -> impl Serialize {
        let of = |table: &str| {
            let mine = self.services.iter().filter(|service| table_of(service.kind) == table);
            let written = |service: &Service| {
                let keys = keys(service, &self.root);
                let keys = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                (service.name.clone(), Written::Table(keys))
            };
            Written::Table(mine.map(written).collect())
        };
        let groups = self.groups.iter().map(|group| (group.name.clone(), texts(&group.services)));
        Written::table([
            ("auto", Written::Flag(self.auto)),
            ("services", of("services")),
            ("checks", of("checks")),
            ("groups", Written::Table(groups.collect())),
        ])
    }
}

fn table_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Service | Kind::Oneshot => "services",
        Kind::Check => "checks",
    }
}

fn texts(texts: &[String]) -> Written {
    Written::List(texts.iter().map(|text| Written::text(text)).collect())
}

type Keys = Vec<(&'static str, Written)>;

/// The keys of a service; of a check those that it has, and what else was set.
fn keys(service: &Service, root: &Path) -> Keys {
    const OF_CHECK: [&str; 5] = ["enabled", "display", "needs", "ready", "start_timeout"];
    let keys = all_keys(service, root);
    match service.kind {
        Kind::Service | Kind::Oneshot => keys,
        Kind::Check => {
            let dir = root.to_owned();
            let bare = all_keys(&Service::new(&service.name, None, Kind::Check, dir), root);
            let says = |key: &(&str, Written)| OF_CHECK.contains(&key.0) || !bare.contains(key);
            keys.into_iter().filter(says).collect()
        }
    }
}

fn all_keys(service: &Service, root: &Path) -> Keys {
    let mut keys: Keys = Vec::new();
    keys.extend(service.run.as_ref().map(|run| ("run", command(run))));
    let kind = match service.kind {
        Kind::Service | Kind::Check => "service",
        Kind::Oneshot => "oneshot",
    };
    keys.push(("kind", Written::text(kind)));
    keys.push(("enabled", Written::Flag(service.enabled)));
    let display = service.display.as_deref();
    keys.push(("display", display.map_or(Written::Flag(false), Written::text)));
    keys.push(("needs", Written::List(service.needs.iter().map(need).collect())));
    keys.push(("dir", relative(&service.dir, root)));
    keys.push(("env", environment(&service.env)));
    let files = service.env_files.iter().map(|file| relative(file, root));
    keys.push(("env_file", Written::List(files.collect())));
    keys.push(("user", Written::text(service.user.as_deref().unwrap_or_default())));
    match service.port {
        None => {}
        Some(Port::Fixed(port)) => keys.push(("port", Written::Number(port.into()))),
        Some(Port::Auto) => keys.push(("port", Written::text("auto"))),
    }
    keys.extend(ready(service, root).map(|ready| ("ready", ready)));
    let start_timeout = service.start_timeout.map(Written::duration);
    keys.extend(start_timeout.map(|timeout| ("start_timeout", timeout)));
    policy(service, &mut keys);
    keys
}

fn policy(service: &Service, keys: &mut Keys) {
    let restart = match service.restart {
        Restart::Always => "always",
        Restart::OnFailure => "on-failure",
        Restart::Never => "never",
    };
    keys.push(("restart", Written::text(restart)));
    let (backoff, give_up, stop) = (service.backoff, service.give_up, &service.stop);
    let durations = [
        ("min", Written::duration(backoff.min)),
        ("max", Written::duration(backoff.max)),
        ("reset_after", Written::duration(backoff.reset_after)),
    ];
    keys.push(("backoff", Written::table(durations)));
    let failures = Written::Number(give_up.failures.into());
    let within = Written::duration(give_up.within);
    keys.push(("give_up", Written::table([("failures", failures), ("within", within)])));
    let to = match stop.to {
        Scope::Leader => "leader",
        Scope::Group => "group",
        Scope::Tree => "tree",
    };
    let stop = [
        ("signal", Written::text(&stop.signal)),
        ("timeout", Written::duration(stop.timeout)),
        ("to", Written::text(to)),
    ];
    keys.push(("stop", Written::table(stop)));
    keys.push(("linger", Written::duration(service.linger)));
    let max_size = Written::Text(format!("{}B", service.log.max_size));
    let keep = Written::Number(service.log.keep.into());
    keys.push(("log", Written::table([("max_size", max_size), ("keep", keep)])));
}

fn command(run: &Run) -> Written {
    match run {
        Run::List(words) => texts(words),
        Run::Shell(line) => Written::text(line),
    }
}

fn need(need: &Need) -> Written {
    match need.lost {
        Lost::Keep => Written::text(&need.service),
        Lost::Stop => Written::table([
            ("service", Written::text(&need.service)),
            ("lost", Written::text("stop")),
        ]),
    }
}

fn environment(env: &BTreeMap<String, Option<String>>) -> Written {
    let value =
        |value: &Option<String>| value.as_deref().map_or(Written::Flag(false), Written::text);
    Written::Table(env.iter().map(|(name, text)| (name.clone(), value(text))).collect())
}

/// A path as the file has it: from its own directory, where it is below that.
fn relative(path: &Path, root: &Path) -> Written {
    let text = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    Written::Text(match &*text {
        "" => ".".to_owned(),
        // A directory of that name, not somebody's home.
        text if text.starts_with('~') => format!("./{text}"),
        text => text.to_owned(),
    })
}

fn ready(service: &Service, root: &Path) -> Option<Written> {
    let settle = Written::table([("settle", Written::duration(service.settle))]);
    let mut tests: Vec<Written> = service.ready.iter().map(|one| test(one, root)).collect();
    let set = service.settle != Service::SETTLE;
    match service.kind {
        Kind::Service if tests.is_empty() => return Some(settle),
        Kind::Oneshot if tests.is_empty() && !set => return None,
        Kind::Service | Kind::Oneshot | Kind::Check => {}
    }
    tests.extend(set.then_some(settle));
    Some(Written::List(tests))
}

fn test(test: &Test, root: &Path) -> Written {
    let mut keys: Vec<(String, Written)> = Vec::new();
    let mut put = |key: &str, value: Written| keys.push((key.to_owned(), value));
    match &test.probe {
        Probe::Tcp { host, port } => put("tcp", tcp(host, *port)),
        Probe::Http { url: Http { path, host_header, .. }, status, body } => {
            put("http", Written::Text(format!("http://{host_header}{path}")));
            answer(*status, body.as_deref(), &mut put);
        }
        Probe::Exec(run) => put("exec", command(run)),
        Probe::Log(pattern) => put("log", Written::text(pattern)),
        Probe::Delay(delay) => put("delay", Written::duration(*delay)),
        Probe::Notify => put("notify", Written::Flag(true)),
        Probe::Unix(path) => put("unix", relative(path, root)),
        Probe::File(path) => put("file", relative(path, root)),
        Probe::Later(Later { kind, text, base: _, status, body }) => {
            let text = Written::text(text);
            match kind {
                LaterKind::Tcp => put("tcp", text),
                LaterKind::Unix => put("unix", text),
                LaterKind::File => put("file", text),
                LaterKind::Http => {
                    put("http", text);
                    answer(*status, body.as_deref(), &mut put);
                }
            }
        }
    }
    put("every", Written::duration(test.every));
    put("then_every", Written::duration(test.then_every));
    put("timeout", Written::duration(test.timeout));
    put("grace", Written::duration(test.grace));
    put("failures", Written::Number(test.failures.into()));
    for (key, message) in [("ok", &test.ok), ("failing", &test.failing)] {
        if let Some(message) = message {
            put(key, Written::text(message));
        }
    }
    Written::Table(keys)
}

fn tcp(host: &str, port: u16) -> Written {
    match host {
        "localhost" => Written::Number(port.into()),
        v6 if v6.contains(':') => Written::Text(format!("[{v6}]:{port}")),
        host => Written::Text(format!("{host}:{port}")),
    }
}

fn answer(status: (u16, u16), body: Option<&str>, put: &mut impl FnMut(&str, Written)) {
    put("status", Written::Text(format!("{}-{}", status.0, status.1)));
    if let Some(body) = body {
        put("body", Written::text(body));
    }
}
