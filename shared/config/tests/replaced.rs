//! `${...}` with its values put in.

use std::collections::BTreeMap;
use std::path::Path;

use hearth_config::{Probe, Resolved, Run, Service, Values, parse};
use proptest::prelude::*;

fn service(rest: &str) -> Service {
    let text = format!("[services.api]\n{rest}\n[services.db]\nrun='x'\nport='auto'\n");
    let root = Path::new("/");
    let mut project =
        parse(&text, &root.join("hearth.toml"), root).unwrap_or_else(|faults| panic!("{faults}"));
    project.services.remove(0)
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(service: &Service, captured: &[(&str, &str)]) -> Result<Resolved, String> {
    let ports = BTreeMap::from([("db".to_owned(), 5432)]);
    let captured = map(captured);
    let values = Values { ports: &ports, captured: &captured };
    service.resolve(&values).map_err(|invalid| invalid.to_string())
}

#[test]
fn every_text_of_a_service() {
    let api = service(
        "run = ['api', '--port=${port}', '${HOME}', '$${port}']\nport = 8080\n\
         env.URL = 'db://${USER}@localhost:${services.db.port}/${NAME:-x}'\nenv.L = '$${USER}'\n\
         ready = [{ tcp = 'localhost:${services.db.port}' }, { tcp = '${port}' },\n\
         { http = 'http://localhost:${port}/${USER}', status = 204, body = 'ok', every = '5s' },\n\
         { exec = 'curl ${HOST} localhost:${port}' }, { unix = '${RUN}/s' }, { file = './${USER}' }]",
    );
    assert_eq!(api.ports, [8080]);
    let told = resolve(&api, &[("USER", "me"), ("RUN", "/run")]).expect("resolved");
    let words = ["api", "--port=8080", "${HOME}", "${port}"].map(str::to_owned);
    assert_eq!(told.run, Some(Run::List(words.to_vec())));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(told.env["URL"], text("db://me@localhost:5432/x"));
    assert_eq!((&told.env["L"], &told.env["PORT"]), (&text("${USER}"), &text("8080")));
    assert_eq!((told.port, told.ports), (Some(8080), vec![8080, 5432]));
    let probes: Vec<&Probe> = told.ready.iter().map(|test| &test.probe).collect();
    assert_eq!(*probes[0], Probe::Tcp { host: "localhost".to_owned(), port: 5432 });
    assert_eq!(*probes[1], Probe::Tcp { host: "localhost".to_owned(), port: 8080 });
    assert!(matches!(probes[2], Probe::Http { url, status: (204, 204), body: Some(_) }
        if url.path == "/me" && url.port == 8080));
    assert_eq!(told.ready[2].every.as_secs(), 5);
    assert_eq!(
        *probes[3],
        Probe::Exec(Run::Shell("curl ${HOST} localhost:8080".to_owned())),
        "the rest is the shell's"
    );
    assert_eq!(*probes[4], Probe::Unix("/run/s".into()));
    assert_eq!(*probes[5], Probe::File("/me".into()));
}

#[test]
fn the_order_of_an_environment() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("1"), "A=file\nPORT=1\nF=file\nG=1").expect("a file");
    std::fs::write(dir.path().join("2"), "G=2").expect("a file");
    let text = "[services.a]\nrun='x'\nport=80\nenv_file=['1','2']\n\
                env={A='env ${F} ${A}',G=false}";
    let project = parse(text, &dir.path().join("hearth.toml"), dir.path()).expect("a good file");
    let told = resolve(&project.services[0], &[("A", "captured")]).expect("resolved");
    let env: Vec<(&str, Option<&str>)> =
        told.env.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    let expected =
        [("A", Some("env file captured")), ("F", Some("file")), ("G", None), ("PORT", Some("80"))];
    assert_eq!(env, expected);
}

#[test]
fn what_has_no_value_is_named() {
    let api = service("run = 'x'\nenv.A = '${NONE}'");
    let why = resolve(&api, &[]).expect_err("unset");
    assert!(why.starts_with("`${NONE}` is not set; expected NONE in the environment"), "{why}");
    assert_eq!(resolve(&api, &[("NONE", "")]).expect("set").env["A"], Some(String::new()));
    let api = service("run = 'x'\nenv.A = '${NONE:-d}'");
    for captured in [&[][..], &[("NONE", "")]] {
        assert_eq!(resolve(&api, captured).expect("a default").env["A"].as_deref(), Some("d"));
    }
    let api = service("run = 'x'\nport = 'auto'\nenv.A = '${port}'");
    let why = resolve(&api, &[]).expect_err("not chosen yet");
    assert!(why.starts_with("no port of `api` is known"), "{why}");
    let api = service("run = 'x'\nready = { tcp = '${HOST}:80' }");
    let why = resolve(&api, &[("HOST", "a b")]).expect_err("no host");
    assert!(why.contains("bad address `a b:80`"), "{why}");
    let api = service("run = 'x'\nready = { file = '${P}' }");
    assert!(resolve(&api, &[("P", "")]).expect_err("no path").contains("it is empty"));
    let api = service("run = 'x'\nenv.A = '${P}'");
    assert!(resolve(&api, &[("P", "\0")]).expect_err("a NUL").contains("holds a NUL"));
}

#[test]
fn a_loose_service_is_executed_as_it_is() {
    let words = ["x", "${port}", "${services.db.port}", "$${services.db.port}", "${A}", "$${port}"];
    let words = words.map(str::to_owned).to_vec();
    let one = hearth_config::loose("x", words.clone(), Path::new("/"), None).expect("a service");
    assert_eq!(resolve(&one, &[]).expect("resolved").run, Some(Run::List(words)));
}

/// Texts that are nearly, or wholly, what is replaced.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![
            Just("${port}"),
            Just("${services.db.port}"),
            Just("${A}"),
            Just("${B:-d}"),
            Just("$${"),
            Just("$"),
            Just("{"),
            Just("}"),
            Just("é"),
            Just("x:80"),
        ],
        0..6,
    )
    .prop_map(|parts| parts.concat())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_accepted_is_resolved_or_refused(
        env in text(), run in text(), tcp in text(), a in any::<String>(), b in text()
    ) {
        let file = format!(
            "[services.api]\nrun = [\"x\", {}]\nport = 80\nenv.E = {}\nready = [{{ tcp = {} }}]\n\
             [services.db]\nrun = 'x'\nport = 5432\n",
            quoted(&run), quoted(&env), quoted(&tcp),
        );
        if let Ok(project) = parse(&file, Path::new("hearth.toml"), Path::new("/")) {
            let _ = resolve(&project.services[0], &[("A", &a), ("B", &b)]);
            let _ = resolve(&project.services[0], &[]);
        }
    }

    #[test]
    fn nothing_that_was_put_in_is_looked_at_again(value in text(), before in "[a-z]{0,3}") {
        let api = service(&format!("run = 'x'\nport = 80\nenv.E = '{before}${{A}}|${{A}}'"));
        let told = resolve(&api, &[("A", &value), ("B", "never")]).expect("resolved");
        prop_assert_eq!(told.env["E"].clone(), Some(format!("{before}{value}|{value}")));
    }

    #[test]
    fn a_text_with_every_dollar_doubled_stays(value in text()) {
        let doubled = value.replace("${", "$${");
        let api = service(&format!("run = 'x'\nport = 80\nenv.E = {}", quoted(&doubled)));
        prop_assert_eq!(resolve(&api, &[]).expect("resolved").env["E"].clone(), Some(value));
    }
}
