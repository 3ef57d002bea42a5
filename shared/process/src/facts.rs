//! Facts about the machine, about processes other than their identity, and about users.
//!
//! Invariant: what the kernel does not tell is absent or empty, never made up.

use std::ffi::{CStr, CString, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::id::BootId;
use crate::table;

/// Which boot this is. Read once and remembered.
pub fn boot_id() -> BootId {
    static BOOT: OnceLock<BootId> = OnceLock::new();
    BOOT.get_or_init(|| BootId::from(os::boot_id().trim())).clone()
}

/// Inode of our pid namespace, 0 if unknown and on macOS. Read once and remembered: a process
/// never changes its own (`pid_namespaces(7)`).
pub fn pid_namespace() -> u64 {
    static INODE: OnceLock<u64> = OnceLock::new();
    *INODE.get_or_init(|| os::namespace("/proc/self/ns/pid"))
}

/// Inode of our mount namespace, 0 if unknown and on macOS. The same path means the same file
/// only where these are equal.
pub fn mount_namespace() -> u64 {
    os::namespace("/proc/self/ns/mnt")
}

/// The machine's name in the network (`uname(2)`).
pub fn hostname() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

/// Milliseconds since the boot, time asleep included (macOS: not): a clock that nobody sets, and one for
/// all processes.
pub fn boot_ms() -> u64 {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Whether a process is stopped, by a signal or by who traces it. One that is gone is not.
pub fn is_stopped(pid: u32) -> bool {
    matches!(state_of(pid), Some('T' | 't'))
}

/// The letter of a process's state as in `proc_pid_stat(5)`: `T` is stopped, `Z` a zombie.
/// `None` if there is no such process or it is hidden.
pub fn state_of(pid: u32) -> Option<char> {
    table::entry(pid).ok().map(|entry| entry.state)
}

/// The parent of a process. `None` if there is no such process, it is hidden, or its parent is
/// not of our pid namespace.
pub fn parent_of(pid: u32) -> Option<u32> {
    let entry = table::entry(pid).ok()?;
    Some(entry.parent).filter(|parent| *parent != 0)
}

/// The effective user of a process. `None` if there is no such process or it is hidden.
pub fn uid_of(pid: u32) -> Option<u32> {
    table::uid(pid)
}

/// The name of a process's command, cut by the kernel (15 bytes on Linux, 31 on macOS). `None` if there
/// is no such process or it is hidden.
pub fn command_of(pid: u32) -> Option<String> {
    let entry = table::entry(pid).ok()?;
    Some(String::from_utf8_lossy(entry.name.as_bytes()).into_owned())
}

/// The file that a process executes. `None` if there is no such process, or we may not look into it.
pub fn executable_of(pid: u32) -> Option<Executable> {
    table::executable(pid)
}

/// What a process executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// Where it stands, or stood when it was started.
    pub path: PathBuf,
    /// Whether that file is there no more: removed, or another one has its path (Linux; macOS: removed).
    pub gone: bool,
}

/// The arguments of a process, its name among them. `None` if there is no such process, it is hidden,
/// it shows none (a kernel thread, a zombie), and on macOS.
pub fn arguments_of(pid: u32) -> Option<Vec<OsString>> {
    table::arguments(pid)
}

/// A variable of the environment with which a process was started. `None` if it has none of this name,
/// we may not look into it, and on macOS.
pub fn variable_of(pid: u32, name: &str) -> Option<OsString> {
    table::variable(pid, name)
}

/// Whether a process sees something at an absolute path: in its own mount namespace, which may have
/// another file system there than ours. Where we may not look into it, and on macOS: whether we do.
pub fn is_there_for(pid: u32, path: &Path) -> bool {
    table::is_there_for(pid, path)
}

/// All processes of a user that we see, zombies included.
pub fn processes_of(uid: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    table::each_pid(|pid| {
        if uid_of(pid) == Some(uid) {
            found.push(pid);
        }
    })?;
    Ok(found)
}

/// The current directory of a process. `None` where we may not look into it, or it was removed.
pub fn directory_of(pid: u32) -> Option<PathBuf> {
    table::directory(pid)
}

/// The numbers that a process has in each pid namespace from ours to its own: one where it is in
/// ours (`pid_namespaces(7)`), and on macOS. `None` if there is no such process or it is hidden.
pub fn pids_of(pid: u32) -> Option<Vec<u32>> {
    table::pids(pid)
}

/// A user of this machine, as the user database has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The number of the user.
    pub uid: u32,
    /// The number of the primary group.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
    /// The login shell.
    pub shell: PathBuf,
    /// All groups, the primary one included.
    pub groups: Vec<u32>,
}

/// Looks a user up by name, through the system's name services (`getpwnam_r(3)`,
/// `getgrouplist(3)`), which may read files or ask the network.
///
/// Errors: `NotFound` if there is no such user, `InvalidInput` for a name with a zero byte.
pub fn user_by_name(name: &str) -> io::Result<User> {
    let wanted = CString::new(name)?;
    // Doubled until the entry fits; a megabyte of one user is a fault of the database.
    let mut strings = vec![0; 1024];
    loop {
        let mut entry = std::mem::MaybeUninit::<libc::passwd>::zeroed();
        let mut found = std::ptr::null_mut();
        // SAFETY: all four pointers live through the call; the length is that of the buffer.
        let error = unsafe {
            libc::getpwnam_r(
                wanted.as_ptr(),
                entry.as_mut_ptr(),
                strings.as_mut_ptr(),
                strings.len(),
                &mut found,
            )
        };
        match error {
            0 if found.is_null() => return Err(no_user(name)),
            // SAFETY: filled, as `found` says; its strings lie in `strings`, which still lives.
            0 => return unsafe { user(&wanted, &entry.assume_init()) },
            libc::ERANGE if strings.len() < 1 << 20 => strings.resize(strings.len() * 2, 0),
            libc::EINTR => {}
            // What glibc's manual page allows to mean "no such user".
            libc::ENOENT | libc::ESRCH => return Err(no_user(name)),
            other => return Err(io::Error::from_raw_os_error(other)),
        }
    }
}

fn no_user(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no user {name:?}"))
}

/// # Safety
/// The strings of `entry` are alive.
unsafe fn user(name: &CStr, entry: &libc::passwd) -> io::Result<User> {
    let text = |pointer: *const libc::c_char| {
        if pointer.is_null() {
            return String::new();
        }
        // SAFETY: a C string, by the promise of our caller.
        let text = unsafe { CStr::from_ptr(pointer) };
        text.to_string_lossy().into_owned()
    };
    Ok(User {
        name: text(entry.pw_name),
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: text(entry.pw_dir).into(),
        shell: text(entry.pw_shell).into(),
        groups: groups(name, entry.pw_gid)?,
    })
}

/// The type in which `getgrouplist(3)` gives groups.
#[cfg(target_os = "linux")]
type Group = libc::gid_t;
#[cfg(target_os = "macos")]
type Group = libc::c_int;

fn groups(name: &CStr, primary: u32) -> io::Result<Vec<u32>> {
    let mut groups: Vec<u32> = vec![0; 64];
    loop {
        let mut count = groups.len() as libc::c_int;
        // SAFETY: `count` is the room in `groups`, whose elements have the size of `Group`; both
        // live through the call.
        let result = unsafe {
            libc::getgrouplist(
                name.as_ptr(),
                primary as Group,
                groups.as_mut_ptr().cast::<Group>(),
                &mut count,
            )
        };
        if result >= 0 {
            groups.truncate(usize::try_from(count).unwrap_or(0));
            return Ok(groups);
        }
        if groups.len() > 1 << 16 {
            return Err(io::Error::other("the user is in too many groups"));
        }
        // macOS does not say how many there are.
        groups.resize(groups.len() * 4, 0);
    }
}

#[cfg(target_os = "linux")]
mod os {
    pub(super) fn boot_id() -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
    }

    pub(super) fn namespace(path: &str) -> u64 {
        rustix::fs::stat(path).map_or(0, |file| file.st_ino)
    }
}

#[cfg(target_os = "macos")]
mod os {
    pub(super) fn boot_id() -> String {
        let mut text = [0_u8; 64];
        let mut length = text.len();
        // SAFETY: the buffer is as large as `length` says; nothing is set.
        let result = unsafe {
            libc::sysctlbyname(
                c"kern.bootsessionuuid".as_ptr(),
                text.as_mut_ptr().cast(),
                &mut length,
                std::ptr::null_mut(),
                0,
            )
        };
        if result != 0 {
            return String::new();
        }
        let text = &text[..length.min(text.len())];
        let end = text.iter().position(|byte| *byte == 0);
        String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]).into_owned()
    }

    pub(super) fn namespace(_path: &str) -> u64 {
        0
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_executes_and_sees_is_told() {
        let own = std::process::id();
        let executable = executable_of(own).unwrap();
        assert_eq!(executable.path, std::env::current_exe().unwrap());
        assert!(!executable.gone);
        let arguments: Vec<_> = std::env::args_os().collect();
        assert_eq!(arguments_of(own).unwrap(), arguments);
        assert_eq!(variable_of(own, "PATH"), std::env::var_os("PATH"));
        assert_eq!(variable_of(own, "PAT"), None);
        assert!(processes_of(rustix::process::geteuid().as_raw()).unwrap().contains(&own));
        assert!(is_there_for(own, Path::new("/proc")));
        assert!(!is_there_for(own, Path::new("/no/such/path")));
    }
}
