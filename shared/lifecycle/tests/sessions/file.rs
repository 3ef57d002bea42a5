//! The journal: what is in it, what is torn, damaged, too new, or can't be written.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use hearth_lifecycle::sessions::{Ask, Sessions};
use hearth_process::watch::DirWatch;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::support::{Kept, OwnHome, inner, is_root, logged, register, watched};

#[test]
fn a_registration_is_one_line_more_for_its_owner_alone() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    assert!(!own.home.sessions().exists(), "a home without sessions has no file of them");
    let children: Vec<_> = (0..3).map(|_| Kept::sleeping()).collect();
    let first = register(&sessions, &children[0].peer());
    let inode = fs::metadata(own.home.sessions()).unwrap().ino();
    for (number, child) in children.iter().enumerate().skip(1) {
        let before = own.journal();
        register(&sessions, &child.peer());
        let after = own.journal();
        assert_eq!(after.lines().count(), number + 2);
        assert!(after.starts_with(&before));
    }
    sessions.end(&first.id).unwrap();
    assert_eq!(own.journal().lines().count(), 5);
    let file = fs::metadata(own.home.sessions()).unwrap();
    assert_eq!((file.ino(), file.permissions().mode() & 0o777), (inode, 0o600));
    // The next agent writes only what there is.
    assert_eq!(Sessions::open(&own.home).list().len(), 2);
    assert_eq!(own.journal().lines().count(), 3);
}

#[test]
fn a_journal_of_many_that_have_ended_is_written_anew_now_and_then() {
    let own = OwnHome::new();
    let sessions = Sessions::open(&own.home);
    let child = Kept::sleeping();
    let mut most = 0;
    for _ in 0..2000 {
        let session = register(&sessions, &child.peer());
        sessions.end(&session.id).unwrap();
        most = most.max(own.journal().lines().count());
    }
    assert!((900..1100).contains(&most), "{most} lines");
}

#[test]
fn half_a_last_line_is_passed_over() {
    let own = OwnHome::new();
    let child = Kept::sleeping();
    let session = register(&Sessions::open(&own.home), &child.peer());
    let torn = own.journal() + "{\"registered\":{\"id\":\"s-";
    fs::write(own.home.sessions(), torn).unwrap();
    assert_eq!(Sessions::open(&own.home).list()[0].id, session.id);
    assert!(!own.journal().contains("\"s-\n"));
    assert_eq!(own.journal().lines().count(), 2);
    assert!(!own.home.dir().join("sessions.json.bad").exists());
}

#[test]
fn what_is_damaged_or_too_new_is_set_aside_and_told_and_who_can_be_read_goes_on() {
    let own = OwnHome::new();
    let child = Kept::sleeping();
    register(&Sessions::open(&own.home), &child.peer());
    let good = own.journal();
    let line = good.lines().nth(1).unwrap();
    let cases = [
        (format!("{{\"version\":1}}\n\0\0\0\n{line}\n"), 1, "1 lines are no sessions"),
        (format!("{{\"version\":99}}\n{line}\n"), 0, "it is of version 99"),
        ("nonsense\n".to_owned(), 0, "does not say its version"),
        (String::new(), 0, "does not say its version"),
        ("{\"version\":1}\n{}\n".to_owned(), 0, "1 lines are no sessions"),
    ];
    for (number, (text, found, told)) in cases.into_iter().enumerate() {
        fs::write(own.home.sessions(), &text).unwrap();
        let mut count = usize::MAX;
        let log = logged(|| count = Sessions::open(&own.home).list().len());
        assert_eq!(count, found, "{text:?}");
        assert!(log.contains(told) && log.contains("set aside as"), "{log}");
        let suffix = if number == 0 { ".bad".to_owned() } else { format!(".bad.{}", number + 1) };
        let aside = own.home.dir().join(format!("sessions.json{suffix}"));
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
    }
}

#[test]
fn a_pipe_in_its_place_holds_nobody() {
    let own = OwnHome::new();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        own.home.sessions(),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let log = logged(|| assert!(Sessions::open(&own.home).list().is_empty()));
    assert!(log.contains("it is no file"), "{log}");
}

#[test]
fn an_agent_that_was_replaced_writes_nothing_into_the_file_of_its_successor() {
    let own = OwnHome::new();
    let old = Sessions::open(&own.home);
    let (one, other) = (Kept::sleeping(), Kept::sleeping());
    let first = register(&old, &one.peer());
    let second = register(&old, &other.peer());
    let new = Sessions::open(&own.home);
    let written = own.journal();
    old.end(&first.id).unwrap();
    assert_eq!(own.journal(), written);
    // The successor has failed: whom the old one registers from here on, is in the file.
    new.end(&second.id).unwrap();
    let more = Ask { name: Some("again".into()), ..Ask::default() };
    old.register(&other.peer(), more).unwrap();
    let found = Sessions::open(&own.home).list();
    assert_eq!(found.iter().map(|one| &*one.name).collect::<Vec<_>>(), ["again"]);
}

#[test]
fn a_full_disk_is_told_once_and_sessions_go_on() {
    if !is_root("a_full_disk_is_told_once_and_sessions_go_on") {
        return;
    }
    let own = OwnHome::new();
    let dir = own.home.dir().to_str().unwrap().to_owned();
    inner("inner_full_disk", &dir, Some(&["--mount"]));
}

#[test]
#[ignore = "run by the test above, in a mount namespace of its own"]
fn inner_full_disk() {
    let Some(own) = OwnHome::given() else { return };
    let mut mount = std::process::Command::new("mount");
    let mounted =
        mount.args(["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"]).arg(own.home.dir());
    assert!(mounted.status().unwrap().success());
    let sessions = Sessions::open(&own.home);
    let filler = own.home.dir().join("filler");
    let one = Kept::sleeping();
    register(&sessions, &one.peer());
    let children: Vec<_> = (0..40).map(|_| Kept::sleeping()).collect();
    let log = logged(|| {
        fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
        let long = "n".repeat(128);
        for child in &children {
            // What is left of a block takes a few lines.
            let ask = Ask { name: Some(long.clone()), ..Ask::default() };
            sessions.register(&child.peer(), ask).unwrap();
        }
        assert_eq!(sessions.list().len(), 41);
    });
    assert_eq!(log.matches("cannot be written").count(), 1, "{log}");
    // There is room again: nobody has to come by for it.
    let names = DirWatch::names(own.home.dir()).unwrap();
    fs::remove_file(&filler).unwrap();
    watched(&sessions, has_lines(&own, names, 42));
    assert_eq!(Sessions::open(&own.home).list().len(), 41);
    // An end by request that has no room is not forgotten either: less is left of the block than what
    // these ends take.
    let long = |number: u32| Some(format!("{number:0128}"));
    let say = |number| sessions.register(&one.peer(), Ask { name: long(number), ..Ask::default() });
    say(0).unwrap();
    (1..20).find(|number| {
        say(*number).unwrap();
        4096 - own.journal().len() % 4096 < 600
    });
    fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    let names = DirWatch::names(own.home.dir()).unwrap();
    watched(&sessions, async {
        // The watch is waiting by then.
        tokio::task::yield_now().await;
        for session in sessions.list().iter().skip(1) {
            sessions.end(&session.id).unwrap();
        }
        assert!(own.journal().matches("ended").count() < 40);
        fs::remove_file(&filler).unwrap();
        has_lines(&own, names, 2).await;
    });
    assert_eq!(Sessions::open(&own.home).list().len(), 1);
}

/// Waits until the journal has so many lines.
async fn has_lines(own: &OwnHome, names: DirWatch, count: usize) {
    // SAFETY: the watch owns its descriptor, and the `AsyncFd` the watch.
    let names = unsafe { AsyncFd::register_with_interest(names, Interest::READABLE) }.unwrap();
    while own.journal().lines().count() != count {
        let mut ready = names.readable().await.unwrap();
        ready.clear_ready();
        let _ = names.get_ref().drain();
    }
}
