//! Faulty files, and what is said about them.

use std::path::Path;

use hearth_config::{Faults, parse};

fn faults(text: &str) -> Faults {
    let root = Path::new("/");
    match parse(text, Path::new("hearth.toml"), root) {
        Ok(_) => panic!("no fault found in:\n{text}"),
        Err(faults) => faults,
    }
}

#[track_caller]
fn drawn(text: &str, expected: &str) {
    let drawn = faults(text).to_string();
    assert_eq!(drawn.trim_end(), expected.trim_end(), "\n{drawn}");
}

/// The messages alone, for a service `a` that has `run` and these lines.
fn messages(rest: &str) -> Vec<String> {
    let text = format!("[services.a]\nrun = 'x'\n{rest}\n");
    faults(&text).into_vec().into_iter().map(|fault| fault.message).collect()
}

#[track_caller]
fn one(rest: &str, message: &str) {
    let all = messages(rest);
    assert!(all.len() == 1 && all[0].contains(message), "{rest}: {all:?}");
}

#[test]
fn all_faults_of_a_file_are_told_at_once_and_in_its_order() {
    let text = "[services.api]\n\
                run = []\n\
                \tport = \"auot\"\n\
                needs = [\"dv\"]\n\
                [services.db]\n\
                start_timeout = 5\n\
                [services.Bad]\n\
                run = 'x'\n\
                restrat = 'never'\n";
    drawn(text, include_str!("snapshots/all_at_once.txt"));
}

#[test]
fn a_broken_line_does_not_hide_the_faults_of_others() {
    let text = "[services.a]\nrun = \nkind = 'x'\n[services.b]\nrun = 'x'\nrun = 'y'\nprot = 1\n";
    drawn(text, include_str!("snapshots/broken_lines.txt"));
}

#[test]
fn a_broken_header_is_told_alone() {
    let all = faults("[services.a\nrun = 'x'\nfoo = 1\n").into_vec();
    assert_eq!((all.len(), all[0].line), (1, 1), "{all:?}");
}

#[test]
fn an_open_string_is_told_without_followers() {
    let all = faults("[services.a]\nrun = \"x\nfoo = 1\n").into_vec();
    assert_eq!(all[0].line, 2, "{all:?}");
    assert!(all.iter().all(|fault| !fault.message.contains("no `run`")), "{all:?}");
}

#[test]
fn what_is_serialised() {
    let json = serde_json::to_value(faults("[services.a]\nrun = 1\n")).expect("json");
    assert_eq!(json[0]["file"], "hearth.toml");
    assert_eq!((&json[0]["line"], &json[0]["column"]), (&2.into(), &7.into()));
    assert_eq!(json[0]["message"], "wrong type for `run`: an integer");
    assert!(json[0]["expected"].as_str().is_some_and(|text| text.starts_with("a command")));
    assert_eq!(json[0].as_object().map(serde_json::Map::len), Some(5));
}

#[test]
fn unknown_keys_have_a_nearest_and_a_list() {
    one("rnu = 'x'", "unknown key `rnu` of a service; did you mean `run`?");
    one("stop = { singal = 'TERM' }", "unknown key `singal` of `stop`; did you mean `signal`?");
    one("ready = { tcp = 1, colour = 'x' }", "unknown key `colour` of `ready`");
    one("[service.b]\nrun = 'x'", "unknown key `service`; did you mean `services`?");
    let fault = &faults("[api]\nrun = 'x'\n").into_vec()[0];
    assert_eq!(fault.expected.as_deref(), Some("a service stands under `[services.api]`"));
    let fault = &faults("[services.a]\nrun='x'\n'\\u001b[31m' = 1\n\"\\u001b\" = 2").to_string();
    assert!(!fault.contains('\u{1b}'), "{fault}");
}

#[test]
fn wrong_types_say_what_was_found() {
    for (rest, what) in [
        ("enabled = 'yes'", "`enabled`: a string"),
        ("needs = 'b'", "`needs`: a string"),
        ("needs = [1]", "`needs`: an integer"),
        ("dir = 1", "`dir`: an integer"),
        ("env = ['A=1']", "`env`: a list"),
        ("env.A = 1.5", "`A`: a float"),
        ("env.A = true", "`A`: a boolean"),
        ("user = 0", "`user`: an integer"),
        ("ready = 'x'", "`ready`: a string"),
        ("ready = [1]", "`ready`: an integer"),
        ("ready.tcp = 1.5", "`tcp`: a float"),
        ("ready.http = 80", "`http`: an integer"),
        ("ready.notify = 1", "`notify`: an integer"),
        ("ready.notify = false", "`notify`: a boolean"),
        ("start_timeout = 60", "`start_timeout`: an integer"),
        ("restart = true", "`restart`: a boolean"),
        ("backoff = '1s'", "`backoff`: a string"),
        ("give_up.failures = '5'", "`failures`: a string"),
        ("stop = 'SIGINT'", "`stop`: a string"),
        ("log.max_size = 1000", "`max_size`: an integer"),
        ("display = 1979-05-27", "`display`: a date or time"),
    ] {
        one(rest, &format!("wrong type for {what}"));
    }
    assert_eq!(
        faults("services = 1").into_vec()[0].message,
        "wrong type for `services`: an integer"
    );
    let lists = faults("[[services]]\nrun = 'x'\n").into_vec();
    assert_eq!(lists[0].message, "wrong type for `services`: a list");
    assert_eq!(lists[0].line, 1);
}

#[test]
fn values_that_can_not_be() {
    for (rest, what) in [
        ("kind = 'onshot'", "bad value `onshot` for `kind`; did you mean `oneshot`?"),
        ("start_timeout = '0s'", "`start_timeout` must be more than 0"),
        ("ready = { tcp = 1, every = '0ms' }", "`every` must be more than 0"),
        ("ready = { tcp = 0 }", "bad port `0`"),
        ("ready = { tcp = 65536 }", "bad port `65536`"),
        ("ready = { tcp = -1 }", "bad port `-1`"),
        ("ready = { tcp = 'localhost' }", "no `host:`"),
        ("ready = { http = 'localhost:80' }", "bad URL"),
        ("ready = { http = 'https://a/' }", "`https` can't be tested: `https://a/`"),
        ("ready = { log = '(' }", "bad regex `(`: unclosed group"),
        ("ready = { http = 'http://a/', body = '[' }", "bad regex `[`"),
        ("ready = { http = 'http://a/', status = '2xx' }", "bad status `2xx`"),
        ("ready = { http = 'http://a/', status = '300-200' }", "bad status"),
        ("ready = { tcp = 1, failures = 0 }", "`failures` is out of range: `0`"),
        ("ready = { tcp = 1, status = '200' }", "`status` has no meaning for `tcp`"),
        ("ready = { tcp = 1, log = 'x' }", "two tests in one table: `tcp` and `log`"),
        ("ready = [{ tcp = 1 }, { settle = '1s' }]", "`settle` beside a test"),
        ("ready = { settle = '1s', every = '1s' }", "`settle` takes nothing beside it"),
        ("ready = {}", "`ready` names no test"),
        ("kind = 'oneshot'\nready = { tcp = 1 }", "`ready` has no meaning for a oneshot"),
        ("backoff.min = '1m'", "`min` of `backoff` is 1m, more than `max`, 30s"),
        ("stop.signal = 'SIGTREM'", "unknown signal `SIGTREM`; did you mean `TERM`?"),
        ("log.max_size = '1B'", "`max_size` is too small"),
        ("log.max_size = '10mb'", "unknown unit `mb`"),
        ("log.keep = 0", "`keep` is out of range"),
        ("display = ''", "`display` is empty"),
        ("display = \"a\\u001b[31m\"", "`display` holds a control character: `a\\u{1b}[31m`"),
        ("port = 0", "bad port `0`"),
        ("port = 65536", "bad port `65536`"),
        ("port = -1", "bad port `-1`"),
        ("port = 99999999999999999999", "bad port"),
        ("port = 'Auto'", "bad port `Auto`"),
        ("port = 80.5", "wrong type for `port`: a float"),
        ("linger = '-1s'", "bad duration `-1s`"),
        ("env_file = 1", "wrong type for `env_file`: an integer"),
        ("env_file = ['no.env', 'no.env']", "`env_file` `no.env` can't be read: it is missing"),
        ("env_file = '~/.env'", "bad path `~/.env`: `~` is not expanded"),
        ("env_file = 'dev/null'", "it is not a file"),
        ("env_file = ''", "bad path ``: it is empty"),
        ("ready = { unix = '' }", "bad path ``: it is empty"),
        ("ready = { file = '~/x' }", "bad path `~/x`: `~` is not expanded"),
        ("ready = { unix = 1 }", "wrong type for `unix`: an integer"),
        ("ready = [{ file = 'x' }, { file = 1 }]", "wrong type for `file`: an integer"),
        (
            "needs = [{ service = 'b', lost = 'stpo' }]\n[services.b]\nrun='x'",
            "bad value `stpo` for `lost`; did you mean `stop`?",
        ),
        ("dir = 'no/such'", "bad directory `no/such`: it is missing"),
        ("dir = 'etc/passwd'", "bad directory `etc/passwd`: it is no directory"),
        ("dir = '~/x'", "`~` is not expanded"),
        ("env = { 'A=B' = 'x' }", "bad name `A=B` of a variable"),
        ("env = { A = \"\\u0000\" }", "`A` holds a NUL"),
        ("needs = ['b', 'b']\n[services.b]\nrun = 'x'", "`b` is named twice in `needs`"),
        ("needs = [{ lost = 'keep' }]", "an entry of `needs` has no `service`"),
    ] {
        one(rest, what);
    }
    for (run, what) in [
        ("''", "`run` is empty"),
        ("'  '", "`run` is empty"),
        ("[]", "`run` is empty"),
        ("['']", "`run` is empty"),
        ("\"a\\u0000b\"", "`run` holds a NUL"),
        ("['a', \"\\u0000\"]", "`run` holds a NUL"),
        ("['a', 1]", "wrong type for `run`: an integer"),
        ("{}", "wrong type for `run`: a table"),
    ] {
        let all = faults(&format!("[services.a]\nrun = {run}\n")).into_vec();
        assert!(all.len() == 1 && all[0].message.contains(what), "{run}: {all:?}");
    }
}

#[test]
fn names() {
    let long = "a".repeat(64);
    for name in ["Api", "-a", "_a", "a b", "a/b", "é", "", long.as_str()] {
        let all = faults(&format!("[services.'{name}']\nrun = 'x'\n")).into_vec();
        assert!(all.len() == 1 && all[0].message.starts_with("bad name"), "{name}: {all:?}");
    }
}

#[test]
fn needs_that_lead_nowhere_or_round() {
    one("needs = ['a']", "`a` needs itself");
    one("needs = ['bb']\n[services.b]\nrun = 'x'", "unknown service `bb`; did you mean `b`?");
    let text = "[services.a]\nrun='x'\nneeds=['b']\n[services.b]\nrun='x'\nneeds=['a']\n\
                [services.c]\nrun='x'\nneeds=['d', 'a']\n[services.d]\nrun='x'\nneeds=['e']\n\
                [services.e]\nrun='x'\nneeds=['c']\n";
    let all: Vec<String> = faults(text).into_vec().into_iter().map(|fault| fault.message).collect();
    let cycle = |names: &str| format!("a cycle in `needs`: {names}");
    assert_eq!(all, [cycle("a -> b -> a"), cycle("c -> d -> e -> c")]);
}

#[test]
fn a_very_long_chain_is_no_cycle_and_overflows_nothing() {
    let mut text = String::from("[services.s0]\nrun = 'x'\n");
    for n in 1..5_000 {
        text += &format!("[services.s{n}]\nrun = 'x'\nneeds = ['s{}']\n", n - 1);
    }
    let root = Path::new("/");
    let project = parse(&text, Path::new("hearth.toml"), root).expect("no fault");
    assert_eq!(project.services.len(), 5_000);
    let round = text.replacen("run = 'x'", "run = 'x'\nneeds = ['s4999']", 1);
    let all = faults(&round).into_vec();
    assert_eq!(all.len(), 1);
    let (said, names) = (all[0].message.as_str(), all[0].message.matches("->").count());
    assert!(said.contains(" -> ... 4980 more ... -> ") && names < 30, "{said}");
    assert!(said.ends_with(" -> s0"), "{said}");
}

#[test]
fn deep_nesting_overflows_nothing() {
    for text in [
        format!("a = {}", "[".repeat(200_000)),
        format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ] {
        assert!(!faults(&text).as_slice().is_empty());
    }
}

#[test]
fn a_file_full_of_faults_is_answered() {
    let text: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
    let all = faults(&text).into_vec();
    assert_eq!((all.len(), all[19_999].line), (20_000, 20_000));
}

/// Everything that looks at all of the rest is asked for as often as a file has room for.
#[test]
fn a_file_of_strangers_is_answered() {
    let many = |one: &dyn Fn(usize) -> String| (0..20_000).map(one).collect::<String>();
    let service = |n: usize| format!("[services.s{n}]\nrun='x'\nneeds=['n{n}']\n");
    assert_eq!(faults(&many(&service)).into_vec().len(), 20_000);
    let named = many(&|n| format!("'n{n}',"));
    let files = many(&|n| format!("'{n}',"));
    let ports = many(&|n| format!("${{services.n{n}.port}}"));
    let text = format!(
        "[services.a]\nrun='x'\nneeds=[{named}]\nenv_file=[{files}]\nenv.A='{ports}'\n\
         [groups]\ng=[{named}]\n"
    );
    assert_eq!(faults(&text).into_vec().len(), 80_000);
}
