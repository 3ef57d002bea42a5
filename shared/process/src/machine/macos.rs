//! `statfs(2)`, `sysctl(3)`; kqueue(2) is part of every macOS.

use std::ffi::CStr;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::{Feature, Watches};
use crate::{peer, sealed, table};

pub(super) fn kind_of(path: &Path) -> io::Result<(String, bool)> {
    let found = rustix::fs::statfs(path)?;
    let name = found.f_fstypename.map(|byte| byte as u8);
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let local = found.f_flags & libc::MNT_LOCAL as u32 != 0;
    Ok((String::from_utf8_lossy(&name[..end]).into_owned(), !local))
}

pub(super) fn features() -> Vec<Feature> {
    let feature = |name, words: &str, lack: Option<String>, needed| Feature {
        name,
        words: words.to_owned(),
        lack,
        needed,
    };
    let peers = UnixStream::pair().and_then(|(one, _other)| peer(&one)).err();
    let memory = sealed::seal(b"x").err();
    let own = table::entry(std::process::id()).err();
    vec![
        feature("exits", "kqueue: the end of a process is told at once", None, true),
        feature(
            "peers",
            "LOCAL_PEERCRED: who connects is told",
            peers.map(|e| format!("LOCAL_PEERCRED: {e}")),
            true,
        ),
        feature(
            "memory",
            "shm_open: environments are never on disk",
            memory.map(|e| format!("shm_open(2): {e}")),
            true,
        ),
        feature(
            "orphans",
            "process groups: what a service starts is found by them, and what leaves them is not",
            None,
            false,
        ),
        feature("watches", "kqueue: nobody looks at a file again and again", None, true),
        feature(
            "processes",
            "libproc shows the processes",
            own.map(|e| format!("proc_pidinfo: {e}")),
            true,
        ),
    ]
}

pub(super) fn watches() -> Option<Watches> {
    None
}

pub(super) fn backlog() -> Option<u64> {
    number(c"kern.ipc.somaxconn")
}

pub(super) fn room_in_group() -> Option<(u64, PathBuf)> {
    None
}

pub(super) fn lock_taker(_: &Path) -> Option<u32> {
    None
}

pub(super) fn has_listener(_: &Path) -> Option<bool> {
    None
}

fn number(name: &CStr) -> Option<u64> {
    let mut value: libc::c_int = 0;
    let mut length = std::mem::size_of::<libc::c_int>();
    // SAFETY: the buffer is as large as `length` says; nothing is set.
    let result = unsafe {
        libc::sysctlbyname(
            name.as_ptr(),
            (&raw mut value).cast(),
            &mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    (result == 0).then(|| u64::try_from(value).ok()).flatten()
}
