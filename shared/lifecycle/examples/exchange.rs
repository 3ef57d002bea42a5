//! What getting an agent costs inside of one process, measured: `ensure_ready` when it is remembered, and
//! the first one of a client, beside the bare exchange of the same bytes.
//!
//! `exchange ROUNDS` asks the agent of `hello` in its home, which must be up, and prints nanoseconds as one
//! line of JSON: medians. For the benchmarks.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hearth_lifecycle::{App, Client, Home, Options};

const HELLO: App = App::new("hello", "1.0.0");

fn main() {
    let rounds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1000);
    let home = Home::resolve(&HELLO, None).expect("a home");
    let options = Options { no_spawn: true, ..Options::default() };
    let up = Client::at(&HELLO, home.clone());
    assert!(up.ensure_ready(&options).state.is_ready(), "`hello` must have started its agent");
    let socket = home.socket();
    let (mut first, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        // In turn: whatever else the machine does, it does to both.
        let client = Client::at(&HELLO, home.clone());
        first.push(time(|| drop(client.ensure_ready(&options))));
        bare.push(time(|| exchange(&socket)));
    }
    let many = 100_000;
    let remembered = time(|| (0..many).for_each(|_| drop(black_box(up.ensure_ready(&options)))));
    println!(
        "{}",
        serde_json::json!({
            "remembered": remembered.as_nanos() as f64 / f64::from(many),
            "first": median(first),
            "bare": median(bare),
        })
    );
}

/// Connects, writes the question for the version, and reads the answer to its end.
fn exchange(socket: &Path) {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    let asked = b"GET /v1/version HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(asked).expect("it reads");
    let mut answer = vec![0; 8192];
    let got = stream.read(&mut answer).expect("it answers");
    assert!(black_box(&answer[..got]).ends_with(b"}"), "in one piece");
}

fn time(what: impl FnOnce()) -> Duration {
    let began = Instant::now();
    what();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> u64 {
    times.sort_unstable();
    u64::try_from(times[times.len() / 2].as_nanos()).unwrap_or(u64::MAX)
}
