//! Good files, and what becomes of them.

use std::path::Path;
use std::time::Duration;

use hearth_config::{
    Kind, LaterKind, Lost, Port, Probe, Project, Restart, Run, Scope, Service, parse,
};

fn project(text: &str) -> Project {
    let root = Path::new("/");
    parse(text, &root.join("hearth.toml"), root).unwrap_or_else(|faults| panic!("{faults}"))
}

fn service(rest: &str) -> Service {
    let text = format!("[services.api]\nrun = \"true\"\n{rest}\n");
    project(&text).services.remove(0)
}

#[test]
fn every_default_of_the_contract_spelt_out_is_the_same_as_none() {
    let spelt_out = r#"
        auto = false
        [services.api]
        run = ["cargo", "run"]
        kind = "service"
        enabled = true
        display = "api"
        needs = []
        dir = "."
        env = {}
        env_file = []
        user = ""
        ready = { settle = "500ms" }
        start_timeout = "60s"
        restart = "on-failure"
        backoff = { min = "100ms", max = "30s", reset_after = "60s" }
        give_up = { failures = 5, within = "60s" }
        stop = { signal = "SIGTERM", timeout = "10s", to = "leader" }
        linger = "10s"
        log = { max_size = "10MB", keep = 3 }
        [checks]
        [groups]
    "#;
    let mut spelt_out = project(spelt_out).services.remove(0);
    let bare = project("[services.api]\nrun = [\"cargo\", \"run\"]\n").services.remove(0);
    assert_eq!((spelt_out.line, bare.line), (3, 1));
    spelt_out.line = 1;
    assert_eq!(spelt_out, bare);
    assert_eq!(bare.run, Some(Run::List(vec!["cargo".to_owned(), "run".to_owned()])));
    assert_eq!(bare.dir, Path::new("/"));
}

#[test]
fn services_stand_in_the_order_of_the_file() {
    let text = "[services.z]\nrun='x'\n[services.a]\nrun='x'\nneeds=['z']\n[services.m]\nrun='x'\n";
    let project = project(text);
    let places: Vec<(&str, usize)> =
        project.services.iter().map(|service| (service.name.as_str(), service.line)).collect();
    assert_eq!(places, [("z", 1), ("a", 3), ("m", 6)]);
}

#[test]
fn no_services_at_all_is_fine() {
    for text in ["", "# nothing\n", "[services]\n", "\u{feff}# a mark\n"] {
        assert_eq!(project(text).services, []);
    }
}

#[test]
fn the_keys_of_a_service() {
    let text = r#"
        [services.db]
        run = "exec postgres"
        [services.api]
        run = ["api"]
        kind = "service"
        enabled = false
        display = false
        needs = ["cache", { service = "db", lost = "stop" }]
        port = 8080
        linger = "1m"
        dir = "./usr/."
        env = { PORT = 8080, MODE = "dev", PATH_INFO = false, MASK = 0o22 }
        user = "postgres"
        restart = "never"
        start_timeout = "5s"
        backoff.min = "0s"
        give_up = { failures = 1 }
        stop = { signal = "INT", timeout = "0s", to = "tree" }
        log = { max_size = "64KiB" }
        [services.cache]
        run = "x"
        kind = "oneshot"
        give_up.failures = 0
    "#;
    let project = project(text);
    let api = project.service("api").expect("it is there");
    assert!(!api.enabled && api.display.is_none());
    let needs: Vec<(&str, Lost)> =
        api.needs.iter().map(|need| (need.service.as_str(), need.lost)).collect();
    assert_eq!(needs, [("cache", Lost::Keep), ("db", Lost::Stop)]);
    assert_eq!((api.port, &*api.ports), (Some(Port::Fixed(8080)), &[8080][..]));
    assert_eq!(api.linger, Duration::from_secs(60));
    assert_eq!(api.dir, Path::new("/usr"));
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(api.env["PORT"], text("8080"));
    assert_eq!(api.env["MODE"], text("dev"));
    assert_eq!(api.env["PATH_INFO"], None);
    assert_eq!(api.user, text("postgres"));
    assert_eq!(api.restart, Restart::Never);
    assert_eq!(api.start_timeout, Some(Duration::from_secs(5)));
    assert_eq!((api.backoff.min, api.backoff.max), (Duration::ZERO, Duration::from_secs(30)));
    assert_eq!((api.give_up.failures, api.give_up.within), (1, Duration::from_secs(60)));
    assert_eq!((api.stop.signal.as_str(), api.stop.to), ("SIGINT", Scope::Tree));
    assert_eq!((api.log.max_size, api.log.keep), (65_536, 3));
    let db = project.service("db").expect("it is there");
    assert_eq!((db.stop.to, db.start_timeout), (Scope::Group, Some(Duration::from_secs(60))));
    let cache = project.service("cache").expect("it is there");
    assert_eq!((cache.kind, cache.start_timeout), (Kind::Oneshot, None));
    assert_eq!(cache.give_up.failures, 0, "tried for ever");
}

#[test]
fn every_kind_of_readiness() {
    let api = service(
        r#"
        [[services.api.ready]]
        tcp = 5432
        [[services.api.ready]]
        tcp = "[::1]:5433"
        every = "50ms"
        then_every = "1m"
        timeout = "1s"
        grace = "0s"
        failures = 1
        ok = "fine"
        failing = "not fine"
        [[services.api.ready]]
        http = "http://127.0.0.1:8080/health?x"
        status = "200-204"
        body = "ok"
        [[services.api.ready]]
        http = "http://example.com"
        status = "204"
        [[services.api.ready]]
        exec = ["pg_isready"]
        [[services.api.ready]]
        exec = "test -f ${HOME}/x"
        [[services.api.ready]]
        log = '(?i)ready on port \d+$'
        [[services.api.ready]]
        delay = "2s"
        [[services.api.ready]]
        notify = true
        [[services.api.ready]]
        unix = "./run/s.sock"
        [[services.api.ready]]
        file = "/tmp/../tmp/x"
        [[services.api.ready]]
        unix = "${RUN:-/run}/s.sock"
        "#,
    );
    let probes: Vec<&Probe> = api.ready.iter().map(|test| &test.probe).collect();
    assert_eq!(*probes[0], Probe::Tcp { host: "localhost".to_owned(), port: 5432 });
    assert_eq!(*probes[1], Probe::Tcp { host: "::1".to_owned(), port: 5433 });
    assert!(matches!(probes[2], Probe::Http { url, status: (200, 204), body: Some(body) }
        if url.path == "/health?x" && url.port == 8080 && body == "ok"));
    assert!(matches!(probes[3], Probe::Http { url, status: (204, 204), body: None }
        if url.path == "/" && url.port == 80 && url.host_header == "example.com"));
    assert_eq!(*probes[4], Probe::Exec(Run::List(vec!["pg_isready".to_owned()])));
    assert!(matches!(probes[5], Probe::Exec(Run::Shell(_))));
    assert!(matches!(probes[6], Probe::Log(_)));
    assert_eq!(*probes[7], Probe::Delay(Duration::from_secs(2)));
    assert_eq!(*probes[8], Probe::Notify);
    assert_eq!(*probes[9], Probe::Unix("/run/s.sock".into()));
    assert_eq!(*probes[10], Probe::File("/tmp/../tmp/x".into()));
    assert!(matches!(probes[11], Probe::Later(later) if later.kind == LaterKind::Unix));
    assert_eq!(api.ports, [5432, 5433, 8080]);
    let test = &api.ready[1];
    assert_eq!((test.failures, test.grace), (1, Duration::ZERO));
    assert_eq!(test.ok.as_deref(), Some("fine"));
    assert_eq!(api.ready[0].then_every, Duration::from_secs(30));
}

#[test]
fn settle_is_what_holds_without_a_test() {
    for rest in ["ready = { settle = '0s' }", "ready = [{ settle = '0s' }]"] {
        let api = service(rest);
        assert!(api.ready.is_empty() && api.settle.is_zero());
    }
    assert_eq!(service("ready = []").settle, Duration::from_millis(500));
}

#[test]
fn the_fingerprint_tells_what_changed_and_not_how_it_was_written() {
    let one = service(
        "needs = ['b', 'c']\nenv = { A = '1', B = '2' }\n[services.b]\nrun='x'\n[services.c]\nrun='x'",
    );
    let same = service(
        "# why\nenv.B = '2'\nenv.A   = \"1\"\nenabled = true\nneeds = [{service='c'}, 'b']\n[services.c]\nrun='y'\n[services.b]\nrun='x'",
    );
    assert_eq!(one.fingerprint, same.fingerprint);
    // Written down, because shims of older versions of hearth keep such numbers.
    assert_eq!(service("").fingerprint, PLAIN);
    let changes = [
        "",
        "env.A = '1'",
        "env.A = '2'",
        "env.A = false",
        "env.A = 'none'",
        "port = 1",
        "port = 'auto'",
        "linger = '0s'",
        "needs = ['b']\n[services.b]\nrun = 'x'",
        "needs = [{ service = 'b', lost = 'stop' }]\n[services.b]\nrun = 'x'",
        "ready = { unix = 'x' }",
        "ready = { file = 'x' }",
        "ready = { file = '${A}' }",
        "ready = { unix = '${A}' }",
        "ready = { tcp = '${A}' }",
        "ready = { http = '${A}' }",
        "ready = { http = '${A}', body = 'x' }",
        "dir = 'usr'",
        "kind = 'oneshot'",
        "enabled = false",
        "display = false",
        "display = 'x'",
        "user = 'x'",
        "ready = { settle = '1s' }",
        "ready = { tcp = 1 }",
        "ready = { tcp = 2 }",
        "ready = { tcp = '127.0.0.1:1' }",
        "ready = { log = 'x' }",
        "ready = { exec = 'x' }",
        "ready = { exec = ['x'] }",
        "ready = { delay = '1s' }",
        "ready = { http = 'http://a/' }",
        "ready = { http = 'http://a/', status = '200' }",
        "ready = { http = 'http://a/', body = 'x' }",
        "ready = { tcp = 1, every = '2s' }",
        "ready = { tcp = 1, then_every = '2s' }",
        "ready = { tcp = 1, timeout = '3s' }",
        "ready = { tcp = 1, grace = '2s' }",
        "ready = { tcp = 1, failures = 2 }",
        "ready = { tcp = 1, ok = 'x' }",
        "ready = { tcp = 1, failing = 'x' }",
        "start_timeout = '1s'",
        "restart = 'never'",
        "restart = 'always'",
        "backoff.min = '1s'",
        "backoff.max = '1s'",
        "backoff.reset_after = '1s'",
        "give_up.failures = 1",
        "give_up.within = '1s'",
        "stop.signal = 'INT'",
        "stop.timeout = '1s'",
        "stop.to = 'leader'",
        "stop.to = 'tree'",
        "log.keep = 1",
        "log.max_size = '1MB'",
    ];
    let all: std::collections::BTreeSet<u64> =
        changes.iter().map(|rest| service(rest).fingerprint).collect();
    assert_eq!(all.len(), changes.len());
}

#[test]
fn the_port_of_another_service_that_is_named_counts_as_ones_own() {
    let print = |port: &str, text: &str| {
        service(&format!("{text}\n[services.b]\nrun = 'x'\nport = {port}")).fingerprint
    };
    for text in [
        "env.B = '${services.b.port}'",
        "ready = { tcp = 'localhost:${services.b.port}' }",
        "ready = { exec = 'x ${services.b.port}' }",
    ] {
        assert_ne!(print("1", text), print("2", text), "{text}");
        assert_ne!(print("1", text), print("'auto'", text), "{text}");
    }
    assert_eq!(print("1", "env.B = '1'"), print("2", "env.B = '1'"));
}

/// The fingerprint of `run = "true"` in `/`.
const PLAIN: u64 = 581527582827026537;

#[test]
fn checks_and_groups() {
    let project = project(
        "auto = true\n[checks.net]\nready = { tcp = 'example.com:443' }\n[services.api]\nrun = 'x'\n\
         needs = ['net']\n[checks.late]\nready = [{ file = 'x' }, { exec = 'true' }]\n\
         needs = ['api']\nenabled = false\ndisplay = false\nstart_timeout = '5s'\n\
         [groups]\nb = ['late', 'api']\na = ['net']\n",
    );
    assert!(project.auto);
    let names: Vec<&str> = project.services.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["net", "api", "late"], "in the order of the file, whatever they are");
    let net = project.service("net").expect("it is there");
    assert_eq!((net.kind, &net.run, net.enabled), (Kind::Check, &None, true));
    assert_eq!((net.display.as_deref(), &*net.ports), (Some("net"), &[][..]));
    assert_eq!(net.start_timeout, Some(Duration::from_secs(60)));
    let late = project.service("late").expect("it is there");
    assert_eq!((late.enabled, &late.display, late.ready.len()), (false, &None, 2));
    assert_eq!((late.line, late.start_timeout), (7, Some(Duration::from_secs(5))));
    let groups: Vec<(&str, usize)> =
        project.groups.iter().map(|group| (group.name.as_str(), group.services.len())).collect();
    assert_eq!(groups, [("b", 2), ("a", 1)]);
    let names = ["a".to_owned(), "api".to_owned(), "b".to_owned()];
    assert_eq!(project.expand(&names).expect("known"), ["net", "api", "late"]);
}

#[test]
fn what_an_env_file_says_is_part_of_the_service_and_where_it_stands_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in [("1", "A=1\nB=1\n"), ("2", "B='2'"), ("12", "A=1\nB=2")] {
        std::fs::write(dir.path().join(name), text).expect("a file");
    }
    let of = |files: &str| {
        let text = format!("[services.a]\nrun = 'x'\nenv_file = {files}\n");
        let file = dir.path().join("hearth.toml");
        parse(&text, &file, dir.path()).expect("a good file").services.remove(0)
    };
    let both = of("['1', '2']");
    let said: Vec<(&str, &str)> =
        both.env_file.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(said, [("A", "1"), ("B", "2")]);
    assert_eq!(both.fingerprint, of("'12'").fingerprint);
    assert_ne!(both.fingerprint, of("'1'").fingerprint);
    assert_eq!(of("[]").fingerprint, of("[]").fingerprint);
}

#[test]
fn a_project_survives_being_kept_as_json() {
    let project =
        project("[services.a]\nrun='x'\nready={ http='http://localhost/', every='1s' }\n");
    let json = serde_json::to_string(&project).expect("written");
    assert_eq!(serde_json::from_str::<Project>(&json).expect("read"), project);
}

/// A promise of the template that nobody could keep would be found out by a beginner.
#[test]
fn what_the_template_suggests_is_valid_too() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("web")).expect("a directory");
    std::fs::write(dir.path().join(".env"), "").expect("a file");
    let suggested = |line: &str| {
        let line = line.strip_prefix("# ").unwrap_or(line);
        let key = line.split(['=', ']']).next().unwrap_or_default().trim_end();
        let is_key = key.chars().all(|c| c.is_ascii_lowercase() || "._[".contains(c));
        if is_key && line.contains(['=', ']']) { line.to_owned() } else { format!("# {line}") }
    };
    let text: Vec<String> = hearth_config::template().lines().map(suggested).collect();
    let text = text.join("\n");
    let project = parse(&text, &dir.path().join("hearth.toml"), dir.path())
        .unwrap_or_else(|faults| panic!("{faults}"));
    let names: Vec<&str> = project.services.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["hello", "web", "migrate", "mail"]);
    assert_eq!((project.services[1].env.len(), project.groups.len()), (3, 1));
}

#[test]
fn the_template_and_all_examples_are_valid() {
    assert_eq!(project(hearth_config::template()).services.len(), 1);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in examples.read_dir().expect("the examples") {
        let dir = entry.expect("an example").path();
        if dir.join(hearth_config::FILE).exists() {
            hearth_config::load(&dir).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert!(seen > 0, "no example has a hearth.toml");
}
