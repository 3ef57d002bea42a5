//! What services use: of their whole trees, when asked.

use hearth_tests::{Project, http};
use serde_json::Value;

/// The row of a service in `GET /v1/services`, measured.
#[track_caller]
fn measured(project: &Project, service: &str) -> Value {
    rows(project, "&measure=true").into_iter().find(|row| row["name"] == service).expect("a row")
}

#[track_caller]
fn rows(project: &Project, more: &str) -> Vec<Value> {
    let socket = project.home.path("agent.sock");
    let path = format!("/v1/services?project={}{more}", project.dir().display());
    let reply = http::request(&socket, "GET", &path, &[], "");
    assert_eq!(reply.status, 200);
    reply.json()["services"].as_array().expect("rows").clone()
}

/// Looks until it has a share of a processor that fits: time alone makes one.
#[track_caller]
fn share(project: &Project, service: &str, fits: impl Fn(f64) -> bool) -> f64 {
    let began = std::time::Instant::now();
    loop {
        if let Some(share) = measured(project, service)["cpu_percent"].as_f64().filter(|s| fits(*s))
        {
            return share;
        }
        assert!(began.elapsed().as_secs() < 20, "{}", measured(project, service));
    }
}

const TREE: &str = r#"
[services.busy]
run = "(setsid sh -c 'echo $$ > orphan; while :; do :; done' &); echo up; exec sleep 1000"
ready = { log = "up" }
[services.large]
run = "setsid sh -c 'x=$(head -c 30000000 /dev/zero | tr \"\\\\0\" x); echo full > full; sleep 1000' & wait"
ready = { file = "full" }
[services.idle]
run = ["sleep", "1000"]
ready = { settle = "0ms" }
[services.off]
run = ["sleep", "1000"]
enabled = false
"#;

#[test]
fn a_tree_counts_with_what_left_its_session_and_lost_its_parent() {
    let project = Project::new(TREE);
    project.run(&["up"]).exits(0);
    project.await_lines("orphan", 1);
    // Nobody asked: nothing is known.
    for row in rows(&project, "") {
        assert_eq!((&row["cpu_percent"], &row["memory_bytes"]), (&Value::Null, &Value::Null));
    }
    // The first look at a life has no share.
    let first = rows(&project, "&measure=true");
    assert!(first.iter().all(|row| row["cpu_percent"].is_null()), "{first:?}");
    share(&project, "busy", |share| share > 5.0);
    assert!(share(&project, "idle", |_| true) < 5.0);
    let large = measured(&project, "large")["memory_bytes"].as_u64().unwrap();
    assert!((30_000_000..200_000_000).contains(&large), "{large}");
    let idle = measured(&project, "idle")["memory_bytes"].as_u64().unwrap();
    assert!((10_000..30_000_000).contains(&idle), "{idle}");
    let off = measured(&project, "off");
    assert_eq!((&off["cpu_percent"], &off["memory_bytes"]), (&Value::Null, &Value::Null));
    // A decimal, and not more.
    let tenths = share(&project, "busy", |_| true) * 10.0;
    assert!((tenths - tenths.round()).abs() < 1e-6, "{tenths}");
}

#[test]
fn a_new_life_has_no_share_yet() {
    let project = Project::new(TREE);
    project.run(&["up", "busy", "idle"]).exits(0);
    share(&project, "idle", |_| true);
    project.run(&["restart", "idle"]).exits(0);
    let anew = measured(&project, "idle");
    assert_eq!(anew["cpu_percent"], Value::Null, "{anew}");
    assert!(anew["memory_bytes"].as_u64().unwrap() > 0);
    share(&project, "idle", |_| true);
    // The next agent starts from nothing, and takes the same trees.
    project.home.kill_agent();
    project.run(&["daemon", "up"]).exits(0);
    let next = measured(&project, "busy");
    assert_eq!(next["cpu_percent"], Value::Null, "{next}");
    assert!(next["memory_bytes"].as_u64().unwrap() > 0);
    share(&project, "busy", |share| share > 5.0);
}

#[test]
fn another_services_shim_is_no_part_of_who_started_its_agent() {
    // `hearth up` within a service: were the trees not told apart, its memory would be in both.
    let project = Project::new(
        r#"
        [services.outer]
        run = "hearth up large > /dev/null 2>&1; echo done; exec sleep 1000"
        ready = { log = "done" }
        [services.large]
        run = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo full; sleep 1000"
        ready = { log = "full" }
        enabled = false
        "#,
    );
    let bin = hearth_tests::hearth().parent().unwrap().to_owned();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut up = project.command(&["up", "outer"]);
    up.env("PATH", path).env("HEARTH_HOME", project.home.dir());
    project.ran(&mut up).exits(0);
    assert_eq!(project.state("large"), "ready");
    let (outer, large) = (measured(&project, "outer"), measured(&project, "large"));
    assert!(large["memory_bytes"].as_u64().unwrap() > 30_000_000, "{large}");
    assert!(outer["memory_bytes"].as_u64().unwrap() < 20_000_000, "{outer}");
}

#[test]
fn what_is_not_asked_rightly_is_refused() {
    let project = Project::new(TREE);
    project.run(&["up", "idle"]).exits(0);
    let socket = project.home.path("agent.sock");
    for query in ["measure=yes", "measure=true&measure=true", "measured=true"] {
        let reply = http::request(&socket, "GET", &format!("/v1/services?{query}"), &[], "");
        assert_eq!(reply.status, 400, "{query}");
    }
}
