//! What the pair costs whoever embeds it: a warm call as a whole process and inside of one, the crates that
//! it brings along, and the bytes that it adds to an executable.
//!
//! `cargo bench -p hearth-tests --bench pair`; `-- warm inside crates size` runs only what is named. Medians
//! and ratios, against the floor in the same run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hearth_tests::measure::{build, cost, line, median, ms, rounds, wanted};

fn main() {
    let built = build();
    if wanted("warm") || wanted("inside") {
        pair(&built);
    }
    if wanted("crates") {
        crates();
    }
    if wanted("size") {
        size(&built);
    }
}

/// Where the workspace stands.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).current_dir(workspace());
    cargo
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A home of the pair's own; its agent is ended with it.
struct Home(tempfile::TempDir, PathBuf);

impl Home {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("HELLO_HOME", self.0.path().join("home"));
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Told by its own route, as any client may.
        let socket = self.0.path().join("home/agent.sock");
        if let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) {
            use std::io::{Read, Write};
            let stop = b"POST /v1/shutdown HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
            let _ = stream.write_all(stop).and_then(|()| stream.read_to_end(&mut Vec::new()));
        }
    }
}

fn pair(built: &Path) {
    let target = built.parent().expect("target/release");
    let mut building = cargo(&["build", "--release", "--quiet", "--locked", "--target-dir"]);
    building.arg(target);
    run(building.args(["--package", "hello"]));
    let mut building = cargo(&["build", "--release", "--quiet", "--locked", "--target-dir"]);
    building.arg(target);
    run(building.args(["--package", "hearth-lifecycle", "--example", "exchange"]));
    let home = Home(tempfile::tempdir().expect("a directory"), built.join("hello"));
    run(&mut home.command(&home.1));
    let socket = home.0.path().join("home/agent.sock");
    if wanted("warm") {
        let (mut ours, mut least, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds(500) + 20 {
            let verb = cost(&mut home.command(&home.1));
            let base = cost(Command::new(built.join("floor")).arg(&socket).arg("/hello"));
            assert!(verb.status.success() && base.status.success());
            if round < 20 {
                continue; // warm-up
            }
            ratios.push((verb.wall.as_secs_f64() / base.wall.as_secs_f64() * 1000.0) as u64);
            ours.push(verb.wall);
            least.push(base.wall);
        }
        let (verb, base) = (median(&mut ours), median(&mut least));
        let measured = format!(
            "{:.3} ms, floor {:.3} ms: {:.2} x ({:.2} x pairwise)",
            ms(verb),
            ms(base),
            verb.as_secs_f64() / base.as_secs_f64(),
            median(&mut ratios) as f64 / 1000.0
        );
        line("warm call of the smallest pair, whole process", &measured, "at most 1.2 x");
    }
    if wanted("inside") {
        let rounds = rounds(5000).to_string();
        let said = run(home.command(&built.join("examples/exchange")).arg(rounds));
        let said: serde_json::Value = serde_json::from_str(said.trim()).expect("JSON");
        let number = |name: &str| said[name].as_f64().expect("a number");
        let remembered = format!("{:.0} ns", number("remembered"));
        line("`ensure_ready` when it is remembered", &remembered, "under 1000 ns");
        let (first, bare) = (number("first") / 1000.0, number("bare") / 1000.0);
        let measured = format!("{first:.1} us, bare exchange {bare:.1} us: {:.2} x", first / bare);
        line("  the first of a client, warm", &measured, "at most 1.5 x");
    }
}

/// All that is linked or built for the blocking client, itself included.
fn crates() {
    let count = |features: &[&str]| {
        let tree = [
            "tree",
            "--locked",
            "--package",
            "hearth-lifecycle",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ];
        let tree = run(cargo(&tree).args(features));
        let names = tree.lines().map(|line| line.trim_end_matches(" (*)"));
        names.filter(|line| !line.is_empty()).collect::<BTreeSet<_>>().len()
    };
    let lean = count(&["--no-default-features"]);
    line("crates without the feature `async`", &lean.to_string(), "at most 25");
    line("  with it", &count(&[]).to_string(), "");
}

/// A hello-world with and without a warm agent, each a package of its own: so are an embedder's.
fn size(built: &Path) {
    let place = tempfile::tempdir().expect("a directory");
    let target = built.parent().expect("target/release").join("size");
    let path = workspace().join("shared/lifecycle").canonicalize().expect("the library");
    let write =
        |name: &str, text: &str| fs::write(place.path().join(name), text).expect("it is ours");
    fs::create_dir_all(place.path().join("src/bin")).expect("it is ours");
    write(
        "Cargo.toml",
        &format!(
            "[package]\nname = \"sizes\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [features]\nunits = [\"hearth-lifecycle/units\"]\n\
             [dependencies]\nhearth-lifecycle = {{ path = {path:?}, default-features = false }}\n\
             [profile.release]\nlto = \"fat\"\ncodegen-units = 1\nstrip = true\npanic = \"abort\"\n"
        ),
    );
    let lock = fs::read(workspace().join("Cargo.lock")).expect("the workspace's lock");
    fs::write(place.path().join("Cargo.lock"), lock).expect("it is ours");
    write("src/bin/bare.rs", "fn main() { println!(\"hello\"); }\n");
    write(
        "src/bin/warm.rs",
        "use hearth_lifecycle::{App, Client, Options};\n\
         const APP: App = App::new(\"sizes\", \"1.0.0\");\n\
         fn main() {\n    if let Ok(client) = Client::new(&APP) {\n        \
         client.ensure_ready(&Options::default());\n    }\n    println!(\"hello\");\n}\n",
    );
    for (what, features, goal) in
        [("", "", "at most 400 KB"), (", with the feature `units`", "units", "")]
    {
        let mut building = cargo(&["build", "--release", "--quiet", "--manifest-path"]);
        building.arg(place.path().join("Cargo.toml")).arg("--target-dir").arg(&target);
        run(building.args(["--features", features]));
        let bytes = |name: &str| {
            fs::metadata(target.join("release").join(name)).expect("it was built").len()
        };
        let (bare, warm) = (bytes("bare"), bytes("warm"));
        let measured = format!("{} KB over {} KB", (warm - bare) / 1000, bare / 1000);
        line(&format!("added to a hello-world{what}"), &measured, goal);
    }
}
