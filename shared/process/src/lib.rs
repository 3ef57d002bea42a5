//! What the operating system knows about processes, for Linux and macOS.
//!
//! Invariant of the whole crate: a process is (pid, start time, boot, pid namespace), never a bare
//! pid. Nothing here signals a process whose identity was not compared after the kernel had given
//! out a handle that cannot be recycled. The failure that this prevents: a service manager that
//! remembers a number, finds it living, and kills somebody else's process.
//!
//! The second rule is that the kernel is waited on, not asked again and again: a
//! [`ProcessHandle`] and a [`watch::DirWatch`] are file descriptors that become readable, and a
//! [`locked::LockedFile`] is let go by the kernel at the very moment of its holder's death.
//!
//! | module | what the kernel is asked for |
//! |---|---|
//! | [`ProcessId`], [`Liveness`] | who a process is, and whether it still lives |
//! | [`ProcessHandle`] | its end, and signals that reach it or nobody |
//! | [`Ends`] | the ends of many processes, by one descriptor |
//! | [`peer`](fn@peer), [`peer_uid`], [`peer_handle`] | who is at the other end of a Unix socket |
//! | [`pass`](mod@pass) | descriptors that pass from one process to another |
//! | [`ancestors`] | those above a process, up to the first |
//! | [`tree`] | everything below a process, sessions of their own included |
//! | [`locked`] | a file that is held for as long as its holder lives, with a record in it |
//! | [`child`], [`stdio`] | what is put in order between fork and exec, and at a program's start |
//! | `borrowed` (Linux) | children that cost no copy of our memory |
//! | [`executable`] | the file to start another of our kind from |
//! | [`watch`] | changes in a directory |
//! | [`sealed`] | memory that is shared by a descriptor and never on disk |
//! | [`port`] | which ports are free, and who listens |
//! | [`facts`] | boot, namespaces, host name, users; what a process executes |
//! | [`machine`] | file systems, limits and features of the kernel |
//!
//! Linux 5.3 or newer (`pidfd_open(2)`), macOS 11 or newer.

mod ancestors;
#[cfg(target_os = "linux")]
pub mod borrowed;
pub mod child;
mod ends;
pub mod facts;
mod handle;
mod id;
pub mod locked;
pub mod machine;
mod own;
pub mod pass;
mod peer;
pub mod port;
pub mod sealed;
mod signal;
pub mod stdio;
mod table;
pub mod tree;
pub mod watch;

pub use ancestors::{Ancestor, ancestors, terminal_leader};
pub use ends::Ends;
pub use handle::{OpenError, ProcessHandle};
pub use id::{BootId, Liveness, ProcessId, StartTime};
pub use own::executable;
pub use peer::{Peer, peer, peer_handle, peer_uid};
pub use signal::{ParseSignalError, Signal};
