//! Somebody who listens: `listens [ADDRESS]` (default: 127.0.0.1:0) says its port on a line and stays
//! until it is killed. With `closes` behind it, it is the one who closes its first connection.

use std::io::{self, Read, Write};
use std::net::TcpListener;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    if arguments.next().is_some_and(|word| word == "closes") {
        drop(listener.accept()?);
    }
    loop {
        // Who connects stays until he goes.
        let (mut client, _) = listener.accept()?;
        let _ = client.read_to_end(&mut Vec::new());
    }
}
