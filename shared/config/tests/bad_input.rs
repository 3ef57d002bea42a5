//! What people get wrong, and the whole of what they are told. Each scenario is a snapshot beside
//! this file: `UPDATE=1 cargo test` writes them anew, to be read before they are kept.

use std::path::Path;

use hearth_config::{LoadError, load};

/// A directory with these files, loaded; the faults with its path taken out.
#[track_caller]
fn told(files: &[(&str, &str)], snapshot: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).expect("a file");
    }
    let faults = match load(dir.path()) {
        Err(LoadError::Faulty(faults)) => faults,
        other => panic!("{other:?}"),
    };
    let root = format!("{}/", dir.path().canonicalize().expect("its path").display());
    let drawn = format!("{faults}\n").replace(&root, "");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(snapshot);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &drawn).expect("a snapshot");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(drawn, expected, "{snapshot}:\n{drawn}");
}

#[track_caller]
fn of_file(text: &str, snapshot: &str) {
    told(&[("hearth.toml", text)], snapshot);
}

#[test]
fn needs_that_go_round_through_a_check() {
    of_file(
        "[services.api]\nrun = 'x'\nneeds = ['broker']\n\n[services.db]\nrun = 'x'\n\
         needs = ['api', 'nobdy']\n\n[checks.broker]\nready = { tcp = 1 }\nneeds = ['db']\n",
        "cycle.txt",
    );
}

#[test]
fn a_name_that_stands_twice() {
    of_file(
        "[services.db]\nrun = 'x'\n[checks.db]\nready = { tcp = 1 }\n[services.api]\nrun = 'x'\n\
         [groups]\napi = ['db']\n",
        "same_name.txt",
    );
    of_file("[services.a]\nrun = 'x'\n[services.a]\nrun = 'y'\n", "same_table.txt");
    of_file("[services.a]\nrun = 'x'\nkind = 'oneshot'\nrun = 'y'\n", "same_key.txt");
}

#[test]
fn names_that_can_be_none() {
    let long = "n".repeat(300);
    of_file(
        &format!(
            "[services.'../etc']\nrun = 'x'\n[services.'a b']\nrun = 'x'\n[services.'größe']\n\
             run = 'x'\n[services.\"\\u001b[31mred\"]\nrun = 'x'\n[services.{long}]\nrun = 'x'\n\
             [groups]\n'A/b' = ['x']\n"
        ),
        "names.txt",
    );
}

#[test]
fn groups_of_nothing_of_strangers_and_of_groups() {
    of_file(
        "[services.api]\nrun = 'x'\n[groups]\ndev = ['apo', 'api', 'api']\nnone = []\n\
         all = ['dev']\none = 'api'\ntwo = [1]\n",
        "groups.txt",
    );
}

#[test]
fn two_services_on_one_port() {
    of_file(
        "[services.api]\nrun = 'x'\nport = 8080\n[services.web]\nrun = 'x'\nport = 8080\n\
         needs = ['proxy']\n[services.proxy]\nrun = 'x'\nready = { tcp = 8080 }\n",
        "same_port.txt",
    );
}

#[test]
fn checks_are_tests_and_nothing_else() {
    of_file(
        "[checks.a]\n[checks.b]\nready = { log = 'x' }\nrun = 'x'\n[checks.c]\nready = []\n\
         [checks.d]\nready = [{ tcp = 1 }, { settle = '1s' }]\nrestart = 'always'\n",
        "checks.txt",
    );
}

#[test]
fn names_in_braces_that_stand_for_nothing() {
    of_file(
        "[services.api]\nrun = 'serve --port ${services.bd.port}'\nready = { tcp = 'localhost:${port}' }\n\
         [services.api.env]\nA = '${'\nB = '${}'\nC = '${services.db.port}'\nD = '${services.db.pid}'\n\
         E = '${HOME:=x}'\n[services.db]\nrun = ['db', '${services.api']\n",
        "braces.txt",
    );
}

#[test]
fn an_env_file_that_is_missing() {
    of_file("[services.api]\nrun = 'x'\nenv_file = ['.env', '/etc']\n", "env_file_missing.txt");
}

#[test]
fn an_env_file_that_is_malformed_is_told_without_its_secrets() {
    let file = "[services.a]\nrun = 'x'\nenv_file = '.env'\n[services.b]\nrun = 'x'\n\
                env_file = ['.env']\nprot = 1\n";
    let env = "# ours\nNAME=fine\nno line\nTOKEN=hunter2${SALT}\nKEY='-----BEGIN\nMIIEhunter2\n";
    told(&[("hearth.toml", file), (".env", env)], "env_file_malformed.txt");
    told(&[("hearth.toml", file), (".env", "A=\0\n")], "env_file_nul.txt");
}

#[test]
fn a_pattern_that_would_eat_the_memory() {
    of_file(
        "[services.api]\nrun = 'x'\nready = { log = '(\\w{100}){100}{100}' }\n[checks.a]\n\
         ready = { http = 'http://localhost/', body = '(((((a{99}){99}){99}){99}){99})' }\n",
        "regex_bomb.txt",
    );
}

#[test]
fn faults_of_the_local_file_stand_in_it() {
    told(
        &[
            (
                "hearth.toml",
                "[services.api]\nrun = 'x'\nneeds = ['db']\nport = 80\n[services.db]\n",
            ),
            (
                "hearth.local.toml",
                "[services.db]\nrun = ''\nport = 80\n\n[services.api]\nneeds = ['dv']\n\
                 restrat = 'never'\nready = { tcp = 'x' }\n",
            ),
        ],
        "local.txt",
    );
    told(
        &[("hearth.toml", "[services.api]\nrnu = 1\n"), ("hearth.local.toml", "[services.api\n")],
        "local_broken.txt",
    );
}
