//! The plist as those read it who did not write it: Python's plistlib and Debian's plistutil.

use std::env;
use std::path::Path;
use std::process::{Command, Output};

use hearth_lifecycle::unit::{Kind, Wanted, render};
use hearth_lifecycle::{App, Home};

const APP: App = App::new("pair", "1.0.0").prefix("PAIR_TEST_UNSET").label("dev.pair.agent");

/// Whatever a path may hold that means something in XML, or to systemd.
const ODD: &str = "/h/a b/%h/\"q\"'s/\\n/&amp;/<k>]]>--x---y/é 火/@LOG@";

/// Says aloud if a program is not there, and does not let CI pass without.
fn has_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|dir| dir.join(name).is_file()) {
        return true;
    }
    assert!(env::var_os("CI").is_none(), "needs {name}, and CI may not skip");
    eprintln!("SKIPPED, needs {name}");
    false
}

fn written(dir: &Path) -> std::path::PathBuf {
    let wanted = Wanted {
        kind: Kind::Launchd,
        home: Home::resolve(&APP, Some(Path::new(ODD))).unwrap(),
        executable: format!("{ODD}/pair").into(),
        environment: vec![("PATH".into(), "/my bin:/a&b".into())],
    };
    let files = render(&APP, &wanted, dir).unwrap();
    assert_eq!(files.len(), 1);
    std::fs::write(&files[0].path, &files[0].text).unwrap();
    files[0].path.clone()
}

#[track_caller]
fn says(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn plistlib_reads_what_was_meant() {
    if !has_program("python3") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path());
    assert_eq!(path.file_name().unwrap(), "dev.pair.agent.plist");
    let script =
        "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let output = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
    let read: serde_json::Value = serde_json::from_str(&says(&output)).unwrap();
    let expected = serde_json::json!({
        "Label": "dev.pair.agent",
        "ProgramArguments": [format!("{ODD}/pair"), "daemon", "run"],
        "EnvironmentVariables": { "PAIR_TEST_UNSET_HOME": ODD, "PATH": "/my bin:/a&b" },
        "WorkingDirectory": "/",
        "Umask": 0o077,
        // There from login on; back when it fails, and not when it has ended in order.
        "RunAtLoad": true,
        "KeepAlive": { "SuccessfulExit": false },
        "ThrottleInterval": 5,
        // Shims outlive it.
        "AbandonProcessGroup": true,
        "ExitTimeOut": 30,
        "ProcessType": "Interactive",
        "StandardOutPath": format!("{ODD}/agent.log"),
        "StandardErrorPath": format!("{ODD}/agent.log"),
    });
    assert_eq!(read, expected);
}

#[test]
fn plistutil_reads_it_too() {
    if !has_program("plistutil") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path());
    let binary = dir.path().join("binary");
    let convert = |from: &Path, to: &Path, format: &str| {
        let mut command = Command::new("plistutil");
        command.args(["-f", format, "-i"]).arg(from).arg("-o").arg(to);
        says(&command.output().unwrap());
    };
    convert(&path, &binary, "bin");
    assert!(std::fs::read(&binary).unwrap().starts_with(b"bplist00"));
    let again = dir.path().join("again");
    convert(&binary, &again, "xml");
    let text = std::fs::read_to_string(again).unwrap();
    for part in ["<key>KeepAlive</key>", "<string>dev.pair.agent</string>", "@LOG@/agent.log"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
