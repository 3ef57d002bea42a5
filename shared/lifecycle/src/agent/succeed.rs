//! Taking the place of a living agent: the successor's side of a handover.
//!
//! Invariant: nothing of the predecessor's is touched before it has said that everything is ours. Who
//! fails before that leaves it serving; who finds it dead in the middle becomes the agent the ordinary
//! way, for L is held already.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use hearth_process::locked::LockedFile;
use tracing::warn;

use super::take::same_file;
use super::{Agent, StartError};
use crate::Home;
use crate::handover::{Channel, Gives, Luggage, PROTOCOL, Says};
use crate::http::{Connection, parse_head};

/// An agent that lives answers within this, also on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a successor has been lent, until everything is its own.
#[derive(Debug)]
pub(super) struct Succession {
    channel: Channel,
    /// The predecessor's; ours from `Yours` on, and of no use where that never comes.
    pub(super) listener: UnixListener,
}

/// Asks the agent that lives for its listener and for L.
pub(super) fn ask(home: &Home) -> Result<(Succession, LockedFile), StartError> {
    let refused = |why: String| StartError::NotHandedOver { why };
    let broke = |error: io::Error| StartError::NotHandedOver { why: error.to_string() };
    let mut connection = Connection::open(&home.socket(), PATIENCE)
        .map_err(|_| refused(format!("nobody answers at {}", home.socket().display())))?;
    let request = format!(
        "POST /v1/replace HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
         upgrade: {PROTOCOL}\r\ncontent-length: 0\r\n\r\n"
    );
    connection.send(request.as_bytes()).map_err(broke)?;
    let mut channel = Channel::new(connection.into_stream()).map_err(broke)?;
    channel.wait_at_most(PATIENCE).map_err(broke)?;
    let head = channel.head().map_err(broke)?;
    let status = parse_head(&head).map_err(broke)?.map_or(0, |(head, _)| head.status);
    if status == 403 {
        let unit =
            "a service manager runs it and listens for it; its unit is to be restarted instead";
        return Err(refused(unit.into()));
    }
    if status != 101 {
        return Err(refused(format!("it answers {status}")));
    }
    let Gives::Lent = channel.receive().map_err(broke)? else {
        return Err(refused("it speaks otherwise than agreed".into()));
    };
    let listener = UnixListener::from(channel.take_fd().map_err(broke)?);
    let lock = File::from(channel.take_fd().map_err(broke)?);
    if !same_file(&lock, &home.agent_lock()) {
        return Err(refused("the lock that it lends is not that of this home".into()));
    }
    // The same open file description: it is locked for both of us, or for nobody.
    let lock = LockedFile::try_exclusive(lock)
        .map_err(|_| refused("the lock that it lends is held by somebody else".into()))?;
    Ok((Succession { channel, listener }, lock))
}

impl Agent {
    /// What the agent before this one hands over; `None` where nothing is: this one was started
    /// because none lived, or its predecessor has died in the middle.
    ///
    /// To be called when nothing is left that could keep this process from being the agent: from
    /// here on the predecessor answers nobody. Blocks until it has let go. Errors: it does not.
    /// [`Agent::serve`] does it where nobody has, and drops the luggage.
    pub fn take_over(&mut self) -> io::Result<Option<Luggage>> {
        self.has_taken_over = true;
        let Some(succession) = &mut self.succession else { return Ok(None) };
        match succession.receive() {
            Ok(luggage) => {
                self.predecessor = None;
                self.write_record()?;
                Ok(Some(luggage))
            }
            Err(error) if is_end(&error) => {
                warn!("the agent that was to hand over has ended: starting without it");
                self.succession = None;
                self.write_record()?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Succession {
    fn receive(&mut self) -> io::Result<Luggage> {
        self.channel.send(&Says::Prepared, &[])?;
        let mut luggage = Luggage::default();
        loop {
            match self.channel.receive()? {
                Gives::Luggage { name } => luggage.fds.push((name, self.channel.take_fd()?)),
                Gives::Yours { notes } => {
                    luggage.notes = notes;
                    return Ok(luggage);
                }
                Gives::Lent => {}
            }
        }
    }

    /// Lets the predecessor go.
    pub(super) fn serving(&self) {
        // Gone already: it has nothing to wait for any more.
        let _ = self.channel.send(&Says::Serving, &[]);
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
