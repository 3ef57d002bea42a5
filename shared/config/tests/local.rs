//! `hearth.local.toml` over `hearth.toml`.

use hearth_config::{Port, Probe, Project, Run, load};

fn merged(base: &str, local: &str) -> Project {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("hearth.toml"), base).expect("a file");
    std::fs::write(dir.path().join("hearth.local.toml"), local).expect("a file");
    load(dir.path()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn tables_are_merged_key_by_key_and_all_else_is_replaced() {
    let project = merged(
        "[services.api]\nrun = ['api', '--fast']\nport = 80\nneeds = ['db']\n\
         env = { A = '1', B = '2' }\nready = { http = 'http://localhost/', every = '2s' }\n\
         [services.db]\nrun = 'db'\n[groups]\nall = ['api', 'db']\n",
        "auto = true\n[services.api]\nrun = 'api --slow'\nport = 'auto'\nneeds = []\n\
         env = { B = false, C = 3 }\nready.failures = 9\n[groups]\nall = ['db']\n",
    );
    assert!(project.auto);
    let api = project.service("api").expect("it is there");
    assert_eq!(api.run, Some(Run::Shell("api --slow".to_owned())));
    assert_eq!((api.port, api.needs.len(), api.line), (Some(Port::Auto), 0, 1));
    let env: Vec<(&str, Option<&str>)> =
        api.env.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
    assert_eq!(env, [("A", Some("1")), ("B", None), ("C", Some("3"))]);
    let test = &api.ready[0];
    assert!(matches!(test.probe, Probe::Http { .. }));
    assert_eq!((test.every.as_secs(), test.failures), (2, 9));
    assert_eq!(project.groups[0].services, ["db"]);
}

#[test]
fn it_may_add_what_the_file_does_not_have() {
    let project = merged(
        "[services.db]\nrun = 'db'\n",
        "\n\n[services.extra]\nrun = 'x'\nneeds = ['db', 'net']\n[checks.net]\nready = { tcp = 1 }\n\
         [groups]\ng = ['extra']\n",
    );
    let places: Vec<(&str, usize)> =
        project.services.iter().map(|one| (one.name.as_str(), one.line)).collect();
    assert_eq!(places, [("db", 1), ("extra", 3), ("net", 6)], "lines of their own files");
    assert_eq!(project.groups.len(), 1);
}

#[test]
fn a_test_of_another_kind_takes_the_place_of_one() {
    let base = "[services.db]\nrun = 'db'\nready = { tcp = 80, every = '2s' }\n";
    for local in ["ready = { log = 'x' }", "ready.log = 'x'", "ready = [{ log = 'x' }]"] {
        let project = merged(base, &format!("[services.db]\n{local}\n"));
        let [test] = project.services[0].ready.as_slice() else { panic!("{project:?}") };
        assert_eq!(test.probe, Probe::Log("x".to_owned()), "{local}");
        assert_eq!(test.every.as_secs(), 1, "what belonged to the other is gone with it");
    }
}

#[test]
fn merged_by_nothing_it_is_the_same() {
    let base = "[services.db]\nrun = 'db'\ndir = '/'\nready = [{ tcp = 80 }]\n";
    let (one, two) = (merged(base, ""), merged(base, "[services.db]\n"));
    assert_eq!(one.services, two.services);
}
