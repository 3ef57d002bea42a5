//! The fingerprint of a service tells whether an edited file still asks for the same thing.
//!
//! Invariant: it depends on what is asked for alone, not on how it is written (order of keys,
//! comments, a default spelt out), and what equals its default adds nothing to it. So a version of
//! hearth that knows one key more gives the same number for the same file, and an upgrade
//! restarts nobody's services.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::project::{Kind, Lost, Need, Port, Restart, Run, Scope, Service};
use crate::ready::{Later, LaterKind, Probe, Test};

/// FNV-1a, 64 bits (draft-eastlake-fnv).
struct Canon(u64);

impl Canon {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// One fact. The lengths keep `a`, `bc` apart from `ab`, `c`.
    fn put(&mut self, key: &str, value: &[u8]) {
        for part in [key.as_bytes(), value] {
            self.bytes(&(part.len() as u64).to_le_bytes());
            self.bytes(part);
        }
    }

    fn unless<T: PartialEq + Canonical>(&mut self, default: &T, key: &str, value: &T) {
        if value != default {
            self.put(key, value.canonical().as_bytes());
        }
    }

    fn run(&mut self, key: &str, run: &Run) {
        match run {
            Run::Shell(line) => self.put(&format!("{key}.shell"), line.as_bytes()),
            Run::List(words) => {
                for word in words {
                    self.put(&format!("{key}.list"), word.as_bytes());
                }
            }
        }
    }
}

/// The text that stands for a value. Not `Debug`, whose form is nobody's promise.
trait Canonical {
    fn canonical(&self) -> String;
}

macro_rules! canonical_by_display {
    ($($kind:ty),*) => {$(impl Canonical for $kind {
        fn canonical(&self) -> String { self.to_string() }
    })*};
}
canonical_by_display!(bool, u32, u64, String);

impl Canonical for Duration {
    fn canonical(&self) -> String {
        self.as_nanos().to_string()
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn canonical(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), |value| format!("={}", value.canonical()))
    }
}

impl Canonical for Kind {
    fn canonical(&self) -> String {
        match self {
            Self::Service => "service",
            Self::Oneshot => "oneshot",
            Self::Check => "check",
        }
        .to_owned()
    }
}

impl Canonical for Restart {
    fn canonical(&self) -> String {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::Never => "never",
        }
        .to_owned()
    }
}

impl Canonical for Scope {
    fn canonical(&self) -> String {
        match self {
            Self::Leader => "leader",
            Self::Group => "group",
            Self::Tree => "tree",
        }
        .to_owned()
    }
}

/// The fingerprint of `service`; its own field of that name does not count. `given`: the ports of
/// other services that its texts name, where the file has them.
pub(crate) fn of(service: &Service, given: &BTreeMap<&String, &u16>) -> u64 {
    // Taken apart by name, so that a new field can't be forgotten here. `ports` follow from
    // `port` and `ready`, and of the env files it matters what they say, not where.
    let Service {
        name,
        run,
        kind,
        enabled,
        display,
        needs,
        dir,
        env,
        env_files: _,
        env_file,
        user,
        port,
        ready,
        settle,
        start_timeout,
        restart,
        backoff,
        give_up,
        stop,
        linger,
        log,
        ports: _,
        fingerprint: _,
        line: _,
    } = service;
    let default = Service::new(name, run.clone(), *kind, dir.clone());
    let mut canon = Canon(0xcbf2_9ce4_8422_2325);
    if let Some(run) = run {
        canon.run("run", run);
    }
    canon.unless(&Kind::Service, "kind", kind);
    canon.unless(&default.enabled, "enabled", enabled);
    canon.unless(&default.display, "display", display);
    put_needs(&mut canon, needs);
    canon.put("dir", dir.as_os_str().as_bytes());
    for (key, value) in env {
        canon.put(&format!("env.{key}"), value.canonical().as_bytes());
    }
    for (key, value) in env_file {
        canon.put(&format!("env_file.{key}"), value.as_bytes());
    }
    canon.unless(&None, "user", user);
    match port {
        None => {}
        Some(Port::Fixed(port)) => canon.put("port", port.to_string().as_bytes()),
        Some(Port::Auto) => canon.put("port", b"auto"),
    }
    for test in ready {
        put_test(&mut canon, test);
    }
    canon.unless(&default.settle, "settle", settle);
    canon.unless(&default.start_timeout, "start_timeout", start_timeout);
    canon.unless(&default.restart, "restart", restart);
    canon.unless(&default.backoff.min, "backoff.min", &backoff.min);
    canon.unless(&default.backoff.max, "backoff.max", &backoff.max);
    canon.unless(&default.backoff.reset_after, "backoff.reset_after", &backoff.reset_after);
    canon.unless(&default.give_up.failures, "give_up.failures", &give_up.failures);
    canon.unless(&default.give_up.within, "give_up.within", &give_up.within);
    canon.unless(&default.stop.signal, "stop.signal", &stop.signal);
    canon.unless(&default.stop.timeout, "stop.timeout", &stop.timeout);
    canon.unless(&default.stop.to, "stop.to", &stop.to);
    canon.unless(&default.linger, "linger", linger);
    canon.unless(&default.log.max_size, "log.max_size", &log.max_size);
    canon.unless(&default.log.keep, "log.keep", &log.keep);
    for (name, port) in given {
        canon.put(&format!("given.{name}"), port.to_string().as_bytes());
    }
    canon.0
}

/// The order of `needs` means nothing.
fn put_needs(canon: &mut Canon, needs: &[Need]) {
    let mut sorted: Vec<&Need> = needs.iter().collect();
    sorted.sort_by(|a, b| a.service.cmp(&b.service));
    for Need { service, lost } in sorted {
        match lost {
            Lost::Keep => canon.put("needs", service.as_bytes()),
            Lost::Stop => canon.put("needs.stop", service.as_bytes()),
        }
    }
}

fn put_test(canon: &mut Canon, test: &Test) {
    let Test { probe, every, then_every, timeout, grace, failures, ok, failing } = test;
    let put = |canon: &mut Canon, key: &str, value: &dyn Display| {
        canon.put(&format!("ready.{key}"), value.to_string().as_bytes());
    };
    match probe {
        Probe::Tcp { host, port } => put(canon, "tcp", &format_args!("{port} {host}")),
        Probe::Http { url, status, body } => {
            put(canon, "http", &format_args!("{} {}", url.host_header, url.path));
            if *status != Probe::STATUS {
                put(canon, "status", &format_args!("{}-{}", status.0, status.1));
            }
            canon.unless(&None, "ready.body", body);
        }
        Probe::Exec(run) => canon.run("ready.exec", run),
        Probe::Log(pattern) => put(canon, "log", pattern),
        Probe::Delay(delay) => put(canon, "delay", &delay.as_nanos()),
        Probe::Notify => put(canon, "notify", &true),
        Probe::Unix(path) => canon.put("ready.unix", path.as_os_str().as_bytes()),
        Probe::File(path) => canon.put("ready.file", path.as_os_str().as_bytes()),
        Probe::Later(Later { kind, text, base, status, body }) => {
            let kind = match kind {
                LaterKind::Tcp => "tcp",
                LaterKind::Http => "http",
                LaterKind::Unix => "unix",
                LaterKind::File => "file",
            };
            put(canon, kind, text);
            if *base != Path::new("") {
                canon.put("ready.base", base.as_os_str().as_bytes());
            }
            if *status != Probe::STATUS {
                put(canon, "status", &format_args!("{}-{}", status.0, status.1));
            }
            canon.unless(&None, "ready.body", body);
        }
    }
    let default = Test::new(probe.clone());
    canon.unless(&default.every, "ready.every", every);
    canon.unless(&default.then_every, "ready.then_every", then_every);
    canon.unless(&default.timeout, "ready.timeout", timeout);
    canon.unless(&default.grace, "ready.grace", grace);
    canon.unless(&default.failures, "ready.failures", failures);
    canon.unless(&default.ok, "ready.ok", ok);
    canon.unless(&default.failing, "ready.failing", failing);
}
