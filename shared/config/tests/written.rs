//! Projects that are built in code and written: what is read back is the same.

use std::path::Path;
use std::time::Duration;

use hearth_config::{
    Backoff, Builder, GiveUp, Log, Need, Node, Project, Restart, Scope, Test, load, parse,
};
use proptest::prelude::*;

/// Written beside nothing else, and loaded.
fn again(project: &Project) -> Project {
    std::fs::write(project.root.join("hearth.toml"), project.to_toml()).expect("a file");
    load(&project.root).unwrap_or_else(|error| panic!("{error}\n{}", project.to_toml()))
}

#[test]
fn what_is_shown_of_a_file_is_the_same_file() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for entry in examples.read_dir().expect("the examples") {
        let dir = entry.expect("an example").path();
        let Ok(project) = load(&dir) else { continue };
        let text = project.to_toml();
        let mut shown = parse(&text, &project.file, &project.root).expect("it is read back");
        shown.sources.insert(1, project.sources[1].clone());
        for (one, other) in shown.services.iter_mut().zip(&project.services) {
            one.line = other.line;
        }
        assert_eq!(shown, project, "{text}");
    }
}

#[test]
fn every_default_is_shown_and_nothing_is_replaced() {
    let text = "[services.api]\nrun = 'x'\nport = 80\nenv.A = '${port}'\n\
                ready = { tcp = 'localhost:${port}' }\n[checks.c]\nready = { unix = './~/s' }\n\
                [groups]\ng = ['c']\n";
    let root = Path::new("/");
    let project = parse(text, &root.join("hearth.toml"), root).expect("a good file");
    let expected = r#"auto = false

[services.api]
run = "x"
kind = "service"
enabled = true
display = "api"
needs = []
dir = "."
env = { A = "${port}" }
env_file = []
user = ""
port = 80
ready = [{ tcp = "localhost:${port}", every = "1s", then_every = "30s", timeout = "2s", grace = "5s", failures = 3 }]
start_timeout = "1m"
restart = "on-failure"
backoff = { min = "100ms", max = "30s", reset_after = "1m" }
give_up = { failures = 5, within = "1m" }
stop = { signal = "SIGTERM", timeout = "10s", to = "group" }
linger = "10s"
log = { max_size = "10000000B", keep = 3 }

[checks.c]
enabled = true
display = "c"
needs = []
ready = [{ unix = "./~/s", every = "1s", then_every = "30s", timeout = "2s", grace = "5s", failures = 3 }]
start_timeout = "1m"

[groups]
g = ["c"]
"#;
    assert_eq!(project.to_toml(), expected);
    let value = serde_json::to_value(project.to_value()).expect("json");
    assert_eq!(value["services"]["api"]["give_up"]["failures"], 5);
    assert_eq!(value["checks"]["c"]["needs"], serde_json::json!([]));
    assert_eq!(value["groups"]["g"][0], "c");
}

#[test]
fn what_no_file_may_say_can_not_be_built() {
    let at = || Project::at("/");
    let second = Duration::from_secs(1);
    for (built, message) in [
        (at().service("A", "x").and(), "bad name `A`"),
        (at().service("a", "x").service("a", "y").and(), "`a` stands here twice"),
        (at().service("a", [""]).and(), "`run` is empty"),
        (at().service("a", "x").port(0).and(), "bad port `0`"),
        (at().service("a", "x").port(1).service("b", "x").port(1).and(), "both on port 1"),
        (at().service("a", "x").dir("no/such").and(), "bad directory `no/such`"),
        (at().service("a", "x").env_file("no").and(), "can't be read"),
        (at().service("a", "x").env("A", "${").and(), "without `}`"),
        (at().service("a", "x").needs("a").and(), "`a` needs itself"),
        (at().service("a", "x").stop_signal("NONE").and(), "unknown signal"),
        (at().service("a", "x").settle(second).ready(Test::tcp(1)).and(), "`settle` beside"),
        (at().oneshot("a", "x").ready(Test::tcp(1)).and(), "no meaning for a oneshot"),
        (at().oneshot("a", "x").settle(second).and(), "no meaning for a oneshot"),
        (at().service("a", "x").ready(Test::http("x")).and(), "bad URL `x`"),
        (at().service("a", "x").ready(Test::tcp(1).every(Duration::ZERO)).and(), "more than 0"),
        (at().check("a", Test::log("x")).and(), "`log` has no meaning for a check"),
        (at().check("a", Test::tcp(1)).port(80).and(), "unknown key `port` of a check"),
        (at().check("a", Test::tcp(1)).user("me").and(), "unknown key `user` of a check"),
        (at().service("a", "x").group("a", ["a"]), "`a` is a service already"),
        (at().group("g", ["a"]), "unknown service `a`"),
    ] {
        let built: Builder = built;
        let faults = built.clone().build().expect_err(message).to_string();
        assert!(faults.contains(message), "{message}: {faults}\n{built:?}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{1,12}", "[\\PCé\"'\\\\\n\t\r${}]{1,8}", Just("~".to_owned())]
}

fn millis() -> impl Strategy<Value = Duration> {
    (1u64..100_000_000).prop_map(Duration::from_millis)
}

fn a_test() -> impl Strategy<Value = Test> {
    let kind = prop_oneof![
        (1u16..).prop_map(Test::tcp),
        Just(Test::tcp_at("[::1]:80")),
        Just(Test::tcp_at("${HOST}:${services.s0.port}")),
        Just(Test::http("http://localhost?x").status(200, 204).body("ok\\d")),
        Just(Test::http("http://h:${services.s0.port}/").body("${x}")),
        Just(Test::unix("./run/~x.sock")),
        Just(Test::unix("~x")),
        Just(Test::file("/a/../b")),
        Just(Test::file("${HOME}/x")),
        text().prop_map(|text| Test::exec(["x", &text.replace('$', "")])),
        millis().prop_map(Test::delay),
    ];
    let rest = (millis(), millis(), millis(), 1u32.., prop::option::of(text()));
    (kind, rest).prop_map(|(test, (every, timeout, grace, failures, ok))| {
        let test = test.every(every).then_every(timeout).timeout(timeout).grace(grace);
        let test = test.failures(failures);
        match ok {
            Some(text) => test.ok(&text).failing(&text),
            None => test,
        }
    })
}

/// Something that each kind of node may have.
#[derive(Clone, Debug)]
enum Set {
    Enabled(bool),
    Hidden,
    Env(String),
    Unset,
    EnvFile,
    Dir,
    User,
    PortAuto,
    Ready(Box<Test>),
    Settle(Duration),
    StartTimeout(Duration),
    Restart(Restart),
    Backoff(Duration),
    GiveUp(u32),
    Stop(Duration, Scope),
    Linger(Duration),
    Log(u32),
    Stops,
}

fn set() -> impl Strategy<Value = Set> {
    prop_oneof![
        any::<bool>().prop_map(Set::Enabled),
        Just(Set::Hidden),
        text().prop_map(|text| Set::Env(text.replace("${", "$${"))),
        Just(Set::Unset),
        Just(Set::EnvFile),
        Just(Set::Dir),
        Just(Set::User),
        Just(Set::PortAuto),
        a_test().prop_map(|test| Set::Ready(Box::new(test))),
        millis().prop_map(Set::Settle),
        millis().prop_map(Set::StartTimeout),
        prop_oneof![Just(Restart::Always), Just(Restart::Never)].prop_map(Set::Restart),
        millis().prop_map(Set::Backoff),
        any::<u32>().prop_map(Set::GiveUp),
        (millis(), prop_oneof![Just(Scope::Tree), Just(Scope::Leader)])
            .prop_map(|(timeout, to)| Set::Stop(timeout, to)),
        millis().prop_map(Set::Linger),
        (1u32..).prop_map(Set::Log),
        Just(Set::Stops),
    ]
}

fn put(node: Node, set: Set) -> Node {
    let defaults = Backoff::default();
    match set {
        Set::Enabled(enabled) => node.enabled(enabled),
        Set::Hidden => node.display(None),
        Set::Env(text) => node.env(&text.replace(['=', '$'], "_"), &text),
        Set::Unset => node.unset("A b\""),
        Set::EnvFile => node.env_file(".env"),
        Set::Dir => node.dir("sub dir/~"),
        Set::User => node.user("somebody"),
        Set::PortAuto => node.port_auto(),
        Set::Ready(test) => node.ready(*test),
        Set::Settle(settle) => node.settle(settle),
        Set::StartTimeout(timeout) => node.start_timeout(timeout),
        Set::Restart(restart) => node.restart(restart),
        Set::Backoff(reset_after) => node.backoff(Backoff { reset_after, ..defaults }),
        Set::GiveUp(failures) => node.give_up(GiveUp { failures, ..GiveUp::default() }),
        Set::Stop(timeout, to) => node.stop_signal("SIGINT").stop_timeout(timeout).stop_to(to),
        Set::Linger(linger) => node.linger(linger),
        Set::Log(keep) => node.log(Log { max_size: 1_000 + u64::from(keep), keep }),
        Set::Stops => node.needs(Need::stop("s0")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_built_is_what_is_loaded(
        nodes in prop::collection::vec((0..3, text(), prop::collection::vec(set(), 0..5)), 1..6),
        auto in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("sub dir/~")).expect("a directory");
        std::fs::write(dir.path().join(".env"), "A=1\n").expect("a file");
        let mut builder = Project::at(dir.path()).service("s0", "x").port(65_000).and();
        if auto {
            builder = builder.auto();
        }
        for (n, (kind, run, sets)) in nodes.into_iter().enumerate() {
            let name = format!("n{n}");
            let run = run.replace('$', "");
            let before = builder.clone();
            let node = match kind {
                0 => builder.service(&name, ["x", &run]),
                1 => builder.oneshot(&name, format!("x {run}")),
                _ => builder.check(&name, Test::tcp(1)),
            };
            let node = sets.into_iter().fold(node.needs("s0"), put);
            // Some of it makes no sense together: that is what `build` is to tell.
            builder = match node.clone().build() {
                Ok(_) => node.and(),
                Err(_) => before.service(&name, "x").and(),
            };
        }
        let built = builder.group("g", ["s0", "n0"]).build().expect("each step was good");
        prop_assert_eq!(again(&built), built);
    }
}
