//! Registering, saying more, ending, and what is told of it.

use std::sync::{Arc, Mutex};

use hearth_lifecycle::sessions::{Ask, RegisterError, Sessions};
use hearth_process::ProcessId;

use crate::support::{Kept, OwnHome, ends, peer, register, watched};

fn ask(pid: i64) -> Ask {
    Ask { pid: Some(pid), ..Ask::default() }
}

#[test]
fn a_session_ends_with_its_process_at_once_and_is_told_once() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let (mut one, other) = (Kept::sleeping(), Kept::sleeping());
    let first = register(&sessions, &one.peer());
    let second = register(&sessions, &other.peer());
    assert_eq!(sessions.list(), [first.clone(), second.clone()]);
    assert_eq!((&*first.kind, &*first.name), ("process", "sleep"));
    assert_eq!(first.cwd, std::env::current_dir().ok());
    let mut ended = ends(&sessions);
    let id = watched(&sessions, async {
        // Not reaped: a zombie has ended.
        one.kill();
        ended.recv().await.unwrap()
    });
    assert_eq!(id, *first.id);
    assert_eq!(sessions.list(), [second]);
    assert!(sessions.get(&first.id).is_none() && sessions.end(&first.id).is_none());
    assert!(ended.try_recv().is_err(), "told twice");
    assert!(own.journal().contains(&format!("{{\"ended\":\"{}\"}}", first.id)));
}

#[test]
fn registering_twice_is_the_same_session_and_says_more_of_it() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    sessions.on_start("test", move |session| {
        hears.lock().unwrap().push((session.id.to_string(), session.name.to_string()));
        Ok(())
    });
    let child = Kept::sleeping();
    let first = register(&sessions, &child.peer());
    let (same, was_there) = sessions.register(&child.peer(), Ask::default()).unwrap();
    assert!(was_there);
    assert_eq!(same, first);
    let more = Ask { name: Some("mine".into()), ..Ask::default() };
    let (more, was_there) = sessions.register(&child.peer(), more).unwrap();
    assert!(was_there && more.id == first.id && more.kind == first.kind);
    assert_eq!(sessions.list(), std::slice::from_ref(&more));
    assert_eq!(sessions.get(&first.id), Some(more));
    let id = first.id.to_string();
    assert_eq!(*told.lock().unwrap(), [(id.clone(), "sleep".into()), (id, "mine".into())]);
    assert_eq!(Sessions::open(&own.home).list()[0].name, "mine".into());
}

#[test]
fn a_caller_is_in_the_sessions_of_its_ancestors_the_nearest_first() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let child = Kept::sleeping();
    let stranger = Kept::sleeping();
    register(&sessions, &stranger.peer());
    let us = sessions.register(&child.peer(), ask(std::process::id().into())).unwrap().0;
    assert_eq!(us.process.pid, std::process::id());
    let it = register(&sessions, &child.peer());
    assert_eq!(sessions.mine(&child.peer()), [it, us.clone()]);
    assert_eq!(sessions.mine(&peer(std::process::id())), [us]);
}

#[test]
fn nobody_but_the_caller_and_its_ancestors_is_registered() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let (child, sibling) = (Kept::sleeping(), Kept::sleeping());
    // 2 is kthreadd, where our namespace shows it; else somebody who is not above us, or nobody.
    let above = hearth_process::ancestors(&ProcessId::current()).unwrap();
    let two = Some(2).filter(|two| above.iter().all(|it| it.id.pid != *two)).map(i64::from);
    for pid in [sibling.pid().into(), i64::from(i32::MAX)].into_iter().chain(two) {
        let refusal = sessions.register(&child.peer(), ask(pid)).unwrap_err();
        assert!(matches!(refusal, RegisterError::Forbidden(_)), "{pid}: {refusal:?}");
    }
    for pid in [0, -1, 1 << 31, i64::MAX, i64::MIN] {
        let refusal = sessions.register(&child.peer(), ask(pid)).unwrap_err();
        assert!(matches!(refusal, RegisterError::Bad(_)), "{pid}: {refusal:?}");
    }
    let mut foreign = child.peer();
    foreign.uid += 1;
    let refusal = sessions.register(&foreign, Ask::default()).unwrap_err();
    assert!(matches!(refusal, RegisterError::Forbidden(_)), "{refusal:?}");
    assert!(sessions.list().is_empty());
    assert_eq!(own.journal(), "");
}

#[test]
fn words_that_are_too_long_or_steer_a_terminal_are_refused() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let child = Kept::sleeping();
    let kind = |kind: &str| Ask { kind: Some(kind.into()), ..Ask::default() };
    let name = |name: &str| Ask { name: Some(name.into()), ..Ask::default() };
    let cwd = |cwd: &str| Ask { cwd: Some(cwd.into()), ..Ask::default() };
    let long = "a".repeat(5000);
    for bad in [
        kind(""),
        kind(&long[..33]),
        kind("a\nb"),
        name(&long[..129]),
        name("\u{1b}[2J"),
        name("\u{9b}2J"),
        cwd("here"),
        cwd(&format!("/{long}")),
        cwd("/a\0b"),
    ] {
        let refusal = sessions.register(&child.peer(), bad.clone()).unwrap_err();
        assert!(matches!(refusal, RegisterError::Bad(_)), "{bad:?}: {refusal:?}");
    }
    assert!(sessions.register(&child.peer(), name(&long[..128])).is_ok());
}

#[test]
fn a_hook_that_fails_or_panics_stops_nobody_and_may_itself_end_a_session() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    sessions.on_start("fails", |_| Err("no".into()));
    sessions.on_start("panics", |_| panic!("said so"));
    let ender = sessions.clone();
    sessions.on_start("ends", move |session| {
        ender.end(&session.id).map(|_| ()).ok_or_else(|| "not there".into())
    });
    let mut ended = ends(&sessions);
    let child = Kept::sleeping();
    let session = register(&sessions, &child.peer());
    assert_eq!(ended.try_recv().unwrap(), *session.id);
    assert!(sessions.list().is_empty());
    let again = register(&sessions, &child.peer());
    assert_ne!(again.id, session.id);
}
