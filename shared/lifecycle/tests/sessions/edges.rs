//! Other users, other pid namespaces, limits reached, and ends at the worst moment.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use hearth_lifecycle::sessions::{Ask, RegisterError, Sessions};
use hearth_process::{Peer, tree};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Kept, Log, OwnHome, ends, inner, inner_as, is_root, peer, register, watched};

fn ask(pid: u32) -> Ask {
    Ask { pid: Some(pid.into()), ..Ask::default() }
}

#[test]
fn one_that_ends_during_its_own_registration_is_refused_or_ends_and_never_stays() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let mut ended = ends(&sessions);
    let mut begun = Vec::new();
    for _ in 0..300 {
        let mut child = Command::new("true").spawn().unwrap();
        let peer = peer(child.id());
        let reaper = std::thread::spawn(move || child.wait().unwrap());
        match sessions.register(&peer, Ask::default()) {
            Ok((session, again)) => {
                assert!(!again);
                begun.push(session.id.to_string());
            }
            Err(RegisterError::Gone(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
        reaper.join().unwrap();
    }
    let number = begun.len();
    watched(&sessions, async {
        let mut told = Vec::new();
        while told.len() < number {
            told.push(ended.recv().await.unwrap());
        }
        told.sort();
        begun.sort();
        assert_eq!(told, begun, "each once");
    });
    assert_eq!(sessions.list(), []);
}

#[test]
fn an_ancestor_of_another_user_is_refused() {
    if !is_root("an_ancestor_of_another_user_is_refused") {
        return;
    }
    let own = OwnHome::new();
    std::os::unix::fs::chown(own.home.dir(), Some(65534), Some(65534)).unwrap();
    // Who is nobody may not be able to execute it where it stands.
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = place.path().join("test");
    let own_program = std::env::current_exe().unwrap();
    assert!(Command::new("cp").arg(own_program).arg(&program).status().unwrap().success());
    let dir = own.home.dir().to_str().unwrap();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    inner_as(&nobody, &program, "inner_another_user", dir);
}

#[test]
#[ignore = "run by the test above, as another user than its parent"]
fn inner_another_user() {
    let Some(own) = OwnHome::given() else { return };
    let sessions = Sessions::open(&own.home);
    let us = peer(std::process::id());
    let parent = std::os::unix::process::parent_id();
    let refusal = sessions.register(&us, ask(parent)).unwrap_err();
    let RegisterError::Forbidden(words) = refusal else { panic!("{refusal:?}") };
    assert!(words.contains("another user's"), "{words}");
    let child = Kept::sleeping();
    assert!(sessions.register(&child.peer(), ask(std::process::id())).is_ok());
}

#[test]
fn a_pid_is_one_of_the_callers_own_namespace() {
    if !is_root("a_pid_is_one_of_the_callers_own_namespace") {
        return;
    }
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--fork", "--kill-child", "sh", "-c", "sleep 1000 & echo; wait"]);
    let mut outer = Kept(unshare.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let told = outer.0.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(told), &mut line).unwrap();
    let below = tree::below(outer.pid(), &|_| false).unwrap();
    let (shell, sleep) = (below[0].id.clone(), below[1].id.clone());
    let caller = peer(sleep.pid);
    // In there the shell is 1; and nobody there has a name for who is outside.
    assert_eq!(sessions.register(&caller, ask(1)).unwrap().0.process, shell);
    assert_eq!(sessions.register(&caller, ask(2)).unwrap().0.process, sleep);
    for outside in [outer.pid(), shell.pid, std::process::id()] {
        let refusal = sessions.register(&caller, ask(outside)).unwrap_err();
        assert!(matches!(refusal, RegisterError::Forbidden(_)), "{outside}: {refusal:?}");
    }
    let mine: Vec<_> = sessions.mine(&caller).into_iter().map(|one| one.process).collect();
    assert_eq!(mine, [sleep, shell]);
    // The end of a namespace is the end of everybody in it.
    let mut ended = ends(&sessions);
    watched(&sessions, async {
        outer.kill();
        ended.recv().await.unwrap();
        ended.recv().await.unwrap();
    });
}

#[test]
fn a_caller_in_a_namespace_that_is_not_seen_from_here_is_refused() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let hidden = || Peer { uid: rustix::process::geteuid().as_raw(), pid: None, pidfd: None };
    for ask in [Ask::default(), ask(1)] {
        let refusal = sessions.register(&hidden(), ask).unwrap_err();
        assert!(matches!(refusal, RegisterError::Forbidden(_)), "{refusal:?}");
    }
    assert_eq!(sessions.mine(&hidden()), []);
}

#[test]
fn whom_a_limit_keeps_from_being_watched_is_looked_at_and_watched_again() {
    let own = OwnHome::new();
    let dir = own.home.dir().to_str().unwrap().to_owned();
    inner("inner_limit", &dir, None);
}

#[test]
#[ignore = "run by the test above, with few descriptors"]
fn inner_limit() {
    let Some(own) = OwnHome::given() else { return };
    let log = Log::everywhere();
    let mut children: Vec<_> = (0..100).map(|_| Kept::sleeping()).collect();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(80), ..limit }).unwrap();
    let sessions = Sessions::open(&own.home);
    let all: Vec<_> = children.iter().map(|child| register(&sessions, &child.peer())).collect();
    assert_eq!(sessions.list().len(), 100);
    // There is still room for everything else.
    std::fs::File::open("/dev/null").unwrap();
    let mut ended = ends(&sessions);
    watched(&sessions, async {
        children[99].kill_and_reap();
        assert_eq!(ended.recv().await.unwrap(), *all[99].id, "by a look");
        children[0].kill();
        assert_eq!(ended.recv().await.unwrap(), *all[0].id, "by the kernel");
        for child in &mut children[1..60] {
            child.kill();
        }
        for _ in 1..60 {
            ended.recv().await.unwrap();
        }
        let told = log.until("all sessions are watched again").await;
        assert_eq!(told.matches("can't be watched").count(), 1, "{told}");
        children[98].kill();
        assert_eq!(ended.recv().await.unwrap(), *all[98].id);
    });
    assert_eq!(sessions.list(), all[60..98]);
    let next = Sessions::open(&own.home);
    assert_eq!(next.list(), all[60..98]);
}
