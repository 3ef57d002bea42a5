//! Ports: who listens, and what only seems to be taken.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use hearth_process::port;

#[test]
fn who_listens_is_named_with_pid_and_command() {
    for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let number = listener.local_addr().unwrap().port();
        assert!(!port::is_free(number), "{address}");
        let found = port::listener(number).unwrap_or_else(|| panic!("{address} listens"));
        if cfg!(target_os = "linux") {
            assert_eq!(found.uid, Some(rustix::process::geteuid().as_raw()));
            let (pid, name) = found.process().expect("it is we");
            assert_eq!(pid, std::process::id());
            assert!("port-".starts_with(&name[..4]), "{name}");
        }
        drop(listener);
        assert_eq!(port::listener(number), None, "{address}");
    }
}

#[test]
fn what_is_left_of_a_connection_is_nobody_who_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = listener.local_addr().unwrap().port();
    let mut client = TcpStream::connect(("127.0.0.1", number)).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    drop(listener);
    // The connection lives on: the port is bound, and nobody listens.
    server.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    assert_eq!(port::listener(number), None);
    // Who closes first keeps the port in TIME_WAIT.
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop(client);
    assert_eq!(port::listener(number), None);
    assert!(!port::is_free(number), "it is not for choosing");
}
