//! The frames against recorded bytes: a newer agent must talk to an older shim, so what stands here
//! is never changed, only added to.

use std::collections::BTreeMap;
use std::fmt::Debug;

use hearth_process::{BootId, ProcessId, Signal, StartTime};
use hearth_shim::frames::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn process(pid: u32) -> ProcessId {
    ProcessId {
        pid,
        start: Some(StartTime::from_raw(1234)),
        boot: BootId::from("b-1"),
        pid_ns: 4026531836,
    }
}

const PROCESS_7: &str = r#"{"pid":7,"start":1234,"boot":"b-1","pid_ns":4026531836}"#;

fn spec() -> Spec {
    Spec {
        home: "/h".into(),
        socket_path: "/h/shims/00ff.sock".into(),
        record_path: "/h/shims/00ff.rec".into(),
        id: "00ff".into(),
        project: "/src/app".into(),
        service: "db".into(),
        life: 3,
        run: Run::List(vec!["redis-server".into(), "--port".into()]),
        dir: "/src/app".into(),
        env: BTreeMap::from([("PATH".into(), "/bin".into())]),
        user: Some(User { uid: 1, gid: 2, groups: vec![2, 3] }),
        umask: Some(0o22),
        limits: BTreeMap::from([("nofile".into(), Limit { soft: Some(64), hard: None })]),
        stop: Stop { signal: Signal::TERM, timeout_ms: 10_000, to: StopTo::Leader },
        log_dir: "/h/logs/db".into(),
        log: LogLimits { max_size: 1000, keep: 2 },
        keep: "notes".into(),
        notify_path: None,
        acknowledge_within_ms: 600_000,
    }
}

/// Both ways, with the length in front.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(frame: &T, recorded: &str) {
    let mut bytes = u32::try_from(recorded.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(recorded.as_bytes());
    assert_eq!(String::from_utf8_lossy(&encode(frame)), String::from_utf8_lossy(&bytes));
    let mut decoder = Decoder::new();
    decoder.push(&bytes);
    assert_eq!(decoder.next::<T>().unwrap().as_ref(), Some(frame));
    assert_eq!(decoder.next::<T>().unwrap(), None);
}

#[test]
fn what_an_agent_says_never_changes() {
    same(
        &ToShim::Start(Box::new(spec())),
        concat!(
            r#"{"type":"start","home":"/h","socket_path":"/h/shims/00ff.sock","#,
            r#""record_path":"/h/shims/00ff.rec","id":"00ff","project":"/src/app","#,
            r#""service":"db","life":3,"run":{"list":["redis-server","--port"]},"#,
            r#""dir":"/src/app","env":{"PATH":"/bin"},"#,
            r#""user":{"uid":1,"gid":2,"groups":[2,3]},"umask":18,"#,
            r#""limits":{"nofile":{"soft":64,"hard":null}},"#,
            r#""stop":{"signal":"SIGTERM","timeout_ms":10000,"to":"leader"},"#,
            r#""log_dir":"/h/logs/db","log":{"max_size":1000,"keep":2},"keep":"notes","#,
            r#""acknowledge_within_ms":600000}"#
        ),
    );
    let hello = format!(r#"{{"type":"hello","version":1,"agent":{PROCESS_7}}}"#);
    same(&ToShim::Hello { version: VERSION, agent: process(7) }, &hello);
    same(&ToShim::Stop, r#"{"type":"stop"}"#);
    let signal = ToShim::Signal { signal: Signal::HUP, to: StopTo::Group };
    same(&signal, r#"{"type":"signal","signal":"SIGHUP","to":"group"}"#);
    same(&ToShim::Kill, r#"{"type":"kill"}"#);
    same(&ToShim::MarkReady { at: None }, r#"{"type":"mark_ready"}"#);
    same(&ToShim::MarkReady { at: Some(7) }, r#"{"type":"mark_ready","at":7}"#);
    same(
        &ToShim::Probe { id: 9, run: Run::Shell("true".into()), timeout_ms: 100 },
        r#"{"type":"probe","id":9,"run":{"shell":"true"},"timeout_ms":100}"#,
    );
    same(&ToShim::CancelProbe { id: 9 }, r#"{"type":"cancel_probe","id":9}"#);
    same(&ToShim::Acknowledge, r#"{"type":"acknowledge"}"#);
    same(&ToShim::Bye, r#"{"type":"bye"}"#);
    same(&ToShim::Hold { generation: 5 }, r#"{"type":"hold","generation":5}"#);
    same(&ToShim::GiveBack, r#"{"type":"give_back"}"#);
}

#[test]
fn what_a_shim_says_never_changes() {
    let exit = Exit {
        code: None,
        signal: Some(Signal::KILL),
        at: 1_700_000_000_123,
        usage: Usage { user_us: 1, system_us: 2, max_rss: 4096 },
    };
    let recorded_exit = concat!(
        r#"{"code":null,"signal":"SIGKILL","at":1700000000123,"#,
        r#""usage":{"user_us":1,"system_us":2,"max_rss":4096}}"#
    );
    let state = State {
        version: VERSION,
        project: "/src/app".into(),
        service: "db".into(),
        life: 3,
        shim: process(7),
        leader: Some(process(7)),
        started_at: Some(1_700_000_000_000),
        keep: "notes".into(),
        ready: true,
        ready_at: None,
        stopping: false,
        failed: None,
        exit: Some(exit.clone()),
        emptied: false,
        held: None,
        notify: Notify::default(),
    };
    let recorded_state = format!(
        r#"{{"type":"state","version":1,"project":"/src/app","service":"db","life":3,"shim":{PROCESS_7},"leader":{PROCESS_7},"started_at":1700000000000,"keep":"notes","ready":true,"stopping":false,"failed":null,"exit":{recorded_exit},"emptied":false}}"#
    );
    same(&FromShim::State(Box::new(state)), &recorded_state);
    same(&FromShim::Refused { reason: "r".into() }, r#"{"type":"refused","reason":"r"}"#);
    let started = format!(r#"{{"type":"started","leader":{PROCESS_7}}}"#);
    same(&FromShim::Started { leader: process(7) }, &started);
    let failed = FromShim::StartFailed { reason: "r".into() };
    same(&failed, r#"{"type":"start_failed","reason":"r"}"#);
    same(&FromShim::Exited { exit }, &format!(r#"{{"type":"exited","exit":{recorded_exit}}}"#));
    same(&FromShim::Emptied, r#"{"type":"emptied"}"#);
    same(
        &FromShim::Probed { id: 9, code: Some(75), last_line: "l".into(), timed_out: false },
        r#"{"type":"probed","id":9,"code":75,"last_line":"l","timed_out":false}"#,
    );
    same(&FromShim::Held { generation: None }, r#"{"type":"held","generation":null}"#);
    same(&FromShim::Held { generation: Some(5) }, r#"{"type":"held","generation":5}"#);
    let notify = Notify { ready: true, stopping: false, status: Some("s".into()) };
    let recorded = r#"{"ready":true,"stopping":false,"status":"s"}"#;
    same(&FromShim::Notified { notify }, &format!(r#"{{"type":"notified","notify":{recorded}}}"#));
}

#[test]
fn a_later_versions_frame_is_passed_over() {
    let mut decoder = Decoder::new();
    for json in [r#"{"type":"dance","steps":3}"#, r#"{"type":"stop","gently":true}"#] {
        decoder.push(&u32::try_from(json.len()).unwrap().to_le_bytes());
        decoder.push(json.as_bytes());
    }
    assert_eq!(decoder.next::<ToShim>().unwrap(), Some(ToShim::Unknown));
    assert_eq!(decoder.next::<ToShim>().unwrap(), Some(ToShim::Stop));
}

#[test]
fn frames_come_together_byte_by_byte() {
    let mut decoder = Decoder::new();
    let bytes = encode(&ToShim::Start(Box::new(spec())));
    let (last, first) = bytes.split_last().unwrap();
    for byte in first {
        decoder.push(std::slice::from_ref(byte));
        assert_eq!(decoder.next::<ToShim>().unwrap(), None);
    }
    decoder.push(&[*last]);
    assert_eq!(decoder.next::<ToShim>().unwrap(), Some(ToShim::Start(Box::new(spec()))));
}

#[test]
fn rubbish_ends_the_connection_and_takes_no_memory() {
    let mut decoder = Decoder::new();
    decoder.push(&u32::MAX.to_le_bytes());
    assert!(matches!(decoder.next::<ToShim>(), Err(FrameError::TooLong(_))));
    let mut decoder = Decoder::new();
    decoder.push(b"\x02\0\0\0{]");
    assert!(matches!(decoder.next::<ToShim>(), Err(FrameError::NotUnderstood(_))));
}
