//! Whatever the text is, it is answered with a project or with faults that have a place.

use std::path::Path;

use hearth_config::parse;
use proptest::prelude::*;

fn answer(text: &str) {
    let root = Path::new("/");
    if let Err(faults) = parse(text, Path::new("hearth.toml"), root) {
        let lines = text.split('\n').count();
        assert!(!faults.as_slice().is_empty());
        for fault in faults.as_slice() {
            assert!((1..=lines).contains(&fault.line) && fault.column >= 1, "{fault}");
        }
        assert!(!faults.to_string().contains('\u{1b}'));
    }
}

/// Lines that look like those of a real file, so that the readers are reached.
fn line() -> impl Strategy<Value = String> {
    let key = "(run|kind|needs|env|dir|ready|stop|log|backoff|give_up|user|port|linger|env_file|\
               restart|display|ready.tcp|ready.http|ready.log|ready.exec|ready.unix|ready.file|\
               ready.status|env.A|auto|x)";
    let value = r#"(1|0|-5|0x1f|1\.5|true|false|1979-05-27|\[\]|\{\}|"[a-z:/\[\]\$\{\}~. é\t]{0,12}"|'1m30s'|\["a", 1\]|\["b"\]|\{ tcp = 80, every = "1s" \}|\{ service = "b" \}|"\\u0000"|"[\$\{\}]{0,6}(port|services.a.port|A:-)[\}\$\{]{0,3}"|"auto"|\{ service = "c", lost = "stop" \}|\[|")"#;
    let header = r"\[(services|services\.[a-c]|services\.'A b'|groups|checks\.x|checks\.a|\[services\.a\.ready\])\]";
    prop_oneof![
        6 => proptest::string::string_regex(&format!("{key} = {value}")).expect("a pattern"),
        2 => proptest::string::string_regex(header).expect("a pattern"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        answer(&text);
    }

    #[test]
    fn any_likely_text_is_answered(lines in prop::collection::vec(line(), 0..20)) {
        answer(&lines.join("\n"));
    }

    #[test]
    fn any_two_files_and_any_env_file_are_answered(
        base in prop::collection::vec(line(), 0..12),
        local in prop::collection::vec(line(), 0..12),
        env in "((export )?[A-C]?=?['\"]?[$\\\\{}A-C# é]{0,5}['\"]?\n?){0,6}",
    ) {
        let dir = tempfile::tempdir().expect("a directory");
        let texts = [
            ("hearth.toml", format!("{}\n[services.z]\nrun = 'x'\nenv_file = '.env'", base.join("\n"))),
            ("hearth.local.toml", local.join("\n")),
            (".env", env),
        ];
        for (name, text) in &texts {
            std::fs::write(dir.path().join(name), text).expect("a file");
        }
        if let Err(hearth_config::LoadError::Faulty(faults)) = hearth_config::load(dir.path()) {
            prop_assert!(!faults.as_slice().is_empty());
            for fault in faults.as_slice() {
                let name = fault.file.file_name().expect("a name");
                let (_, text) = texts.iter().find(|(file, _)| *file == name).expect("one of them");
                prop_assert!((1..=text.split('\n').count()).contains(&fault.line), "{}", fault);
            }
        }
    }

    #[test]
    fn any_duration_and_size_is_answered(text in "[0-9]{0,22}[a-zA-Zé -]{0,3}[0-9]{0,3}[a-z]{0,2}") {
        let _ = hearth_config::size::parse(&text);
        let _ = hearth_config::signal::parse(&text);
        if let Ok(duration) = hearth_config::duration::parse(&text) {
            let written = hearth_config::duration::format(duration);
            prop_assert_eq!(hearth_config::duration::parse(&written), Ok(duration));
        }
    }
}
