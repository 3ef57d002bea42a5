//! What the next agent makes of the journal of the last one.

use hearth_lifecycle::sessions::{Session, Sessions};
use hearth_process::StartTime;

use crate::support::{Kept, OwnHome, ends, inner, is_root, register, watched};

/// As it stands in the journal.
fn saved(session: &Session, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut process = serde_json::to_value(&session.process).unwrap();
    change(&mut process);
    let line = serde_json::json!({ "registered": {
        "id": &*session.id, "process": process, "started_at": 1, "kind": "shell", "name": "sh",
    }});
    format!("{{\"version\":1}}\n{line}\n")
}

#[test]
fn a_dead_pid_is_ended() {
    let own = OwnHome::new();
    let (mut reaped, mut zombie) = (Kept::sleeping(), Kept::sleeping());
    let before = Sessions::open(&own.home);
    register(&before, &reaped.peer());
    register(&before, &zombie.peer());
    reaped.kill_and_reap();
    zombie.kill();
    zombie.await_end();
    let sessions = Sessions::open(&own.home);
    assert_eq!(sessions.list(), []);
    assert_eq!(own.journal(), "", "nobody is left to write down");
    assert!(!own.home.sessions().exists());
}

#[test]
fn a_living_pid_with_the_same_start_time_goes_on() {
    let own = OwnHome::new();
    let mut child = Kept::sleeping();
    let session = register(&Sessions::open(&own.home), &child.peer());
    // Two agents later.
    drop(Sessions::open(&own.home));
    let sessions = Sessions::open(&own.home);
    let found = sessions.get(&session.id).unwrap();
    assert_eq!(found, session);
    assert_eq!(sessions.register(&child.peer(), Default::default()).unwrap(), (found, true));
    let mut ended = ends(&sessions);
    let id = watched(&sessions, async {
        child.kill();
        ended.recv().await.unwrap()
    });
    assert_eq!(id, *session.id);
}

#[test]
fn a_recycled_pid_is_ended() {
    if !is_root("a_recycled_pid_is_ended") {
        return;
    }
    let own = OwnHome::new();
    let dir = own.home.dir().to_str().unwrap().to_owned();
    inner("inner_recycled", &dir, Some(&["--pid", "--fork", "--kill-child", "--mount-proc"]));
}

#[test]
#[ignore = "run by the test above, in a pid namespace where it may choose pids"]
fn inner_recycled() {
    let Some(own) = OwnHome::given() else { return };
    let before = Sessions::open(&own.home);
    let mut ended = ends(&before);
    let mut first = Kept::sleeping();
    let session = register(&before, &first.peer());
    let pid = first.pid();
    first.kill_and_reap();
    // The kernel's start times are in ticks of 10 ms. Time is what is awaited here.
    std::thread::sleep(std::time::Duration::from_millis(30));
    std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
    let second = Kept::sleeping();
    assert_eq!(second.pid(), pid, "the kernel gave out another pid");

    let after = Sessions::open(&own.home);
    assert_eq!(after.list(), []);
    assert!(after.mine(&second.peer()).is_empty());
    // Where the first has not been seen to end yet, the second is another session all the same.
    let other = register(&before, &second.peer());
    assert_ne!(other.id, session.id);
    assert_eq!(before.list(), std::slice::from_ref(&other));
    assert_eq!(ended.try_recv().unwrap(), *session.id);
    // What was known of the first one tells nothing about the second one.
    watched(&before, async {
        let mut third = Kept::sleeping();
        let third_session = register(&before, &third.peer());
        third.kill();
        assert_eq!(ended.recv().await.unwrap(), *third_session.id);
    });
    assert_eq!(before.list(), [other]);
}

#[test]
fn a_start_time_that_is_unknown_is_kept_for_as_long_as_the_pid_lives() {
    let own = OwnHome::new();
    let mut child = Kept::sleeping();
    let session = register(&Sessions::open(&own.home), &child.peer());
    let unknown = saved(&session, |process| process["start"] = serde_json::Value::Null);
    std::fs::write(own.home.sessions(), unknown).unwrap();
    let sessions = Sessions::open(&own.home);
    let found = sessions.get(&session.id).unwrap();
    assert_eq!(found.process.start, None);
    assert_eq!(sessions.mine(&child.peer()), [found]);
    let mut ended = ends(&sessions);
    watched(&sessions, async {
        child.kill();
        assert_eq!(ended.recv().await.unwrap(), *session.id);
    });
}

#[test]
fn another_start_time_another_boot_and_another_pid_namespace_are_ended() {
    let own = OwnHome::new();
    let child = Kept::sleeping();
    let session = register(&Sessions::open(&own.home), &child.peer());
    let start = session.process.start.map_or(0, StartTime::as_raw);
    let changes: [(&str, serde_json::Value); 3] =
        [("start", (start + 1).into()), ("boot", "another".into()), ("pid_ns", 1.into())];
    for (field, value) in changes {
        std::fs::write(own.home.sessions(), saved(&session, |process| process[field] = value))
            .unwrap();
        assert_eq!(Sessions::open(&own.home).list(), [], "{field}");
    }
    std::fs::write(own.home.sessions(), saved(&session, |_| {})).unwrap();
    assert_eq!(Sessions::open(&own.home).list().len(), 1);
}
