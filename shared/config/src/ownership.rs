//! Who may have written the files. They say what is executed, so a planted one must not run code:
//! each and the directory must belong to the caller or root, and nobody else may write them. Env
//! files too: `LD_PRELOAD=...` is code.
//!
//! Only these are looked at, not the directories above: who may exchange the project's directory
//! for another is caught by the owner of what he puts there. Where nobody typed a verb that is not
//! enough: he may put it there between two looks, and take it away again. [`check_way`] is for that.
//! Access control lists are not read;
//! on Linux the group bits of the mode show their mask (acl(5)), so those that let others write
//! are refused by it.

use std::ffi::{CStr, CString};
use std::fs::Metadata;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr;

use crate::load::{self, FILE, LOCAL_FILE};

/// Why a file or its directory is not trusted. Each message ends with the command that mends it.
#[derive(Debug, thiserror::Error)]
pub enum Ownership {
    /// It belongs to somebody else.
    #[error(
        "{} belongs to {owner} (mode {mode:04o}), not to you or root; if it is to be trusted: \
         sudo chown {you} {}", path.display(), quoted(path)
    )]
    Foreign {
        /// File or directory.
        path: PathBuf,
        /// Its owner, by name where there is one.
        owner: String,
        /// Its permission bits.
        mode: u32,
        /// The caller, by name where there is one.
        you: String,
    },
    /// Others can write it.
    #[error(
        "{} (owner {owner}, mode {mode:04o}) can be written by {who}; to mend it: chmod {bits} {}",
        path.display(), quoted(path)
    )]
    Writable {
        /// File or directory.
        path: PathBuf,
        /// Its owner, by name where there is one.
        owner: String,
        /// Its permission bits.
        mode: u32,
        /// Who those others are.
        who: String,
        /// What `chmod` has to take away.
        bits: &'static str,
    },
    /// It can't be looked at.
    #[error("{} can't be looked at: {source}", path.display())]
    Unreadable {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Checks `hearth.toml` of a directory, `hearth.local.toml` where there is one, the env files that
/// they name, and the directory, for the caller `euid`. A link is followed: what it leads to is
/// checked, and who could change the link could write the directory. The env files of a project
/// that is faulty are not looked at: nothing of it can be started.
pub fn check_ownership(project_dir: &Path, euid: u32) -> Result<(), Ownership> {
    let (file, local) = (project_dir.join(FILE), project_dir.join(LOCAL_FILE));
    let has_local = local.symlink_metadata().is_ok();
    for path in [project_dir, &file].into_iter().chain(has_local.then_some(local.as_path())) {
        check_path(path, euid)?;
    }
    // Reading a file costs a hundredth of parsing it, and few have such a key.
    let names_one = |path: &Path| {
        load::read(path).is_ok_and(|text| text.windows(KEY.len()).any(|bytes| bytes == KEY))
    };
    if (names_one(&file) || has_local && names_one(&local))
        && let Ok(project) = load::load(project_dir)
    {
        let env_files = project.services.iter().flat_map(|service| &service.env_files);
        for path in env_files.collect::<std::collections::BTreeSet<_>>() {
            check_path(path, euid)?;
        }
    }
    Ok(())
}

/// Checks the directories above a file or directory, as it is named and where links lead, for the
/// caller `euid`: nobody else may exchange a part of the path. Each must belong to the caller or
/// root, and others may write to it only where they can't rename what is not theirs (the sticky
/// bit, unlink(2)). The last part itself is not looked at.
pub fn check_way(path: &Path, euid: u32) -> Result<(), Ownership> {
    // What is not there was not trusted otherwise.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let named = (real != path).then_some(path);
    for dir in named.into_iter().chain([real.as_path()]).flat_map(|path| path.ancestors().skip(1)) {
        let what = dir.metadata();
        let what = what.map_err(|source| Ownership::Unreadable { path: dir.to_owned(), source })?;
        // In a user namespace the host's root is nobody (user_namespaces(7)).
        let is_host_s = what.uid() == OVERFLOW_UID && in_user_namespace();
        if is_host_s && what.mode() & 0o022 == 0 {
            continue;
        }
        match check(dir, &what, euid) {
            Err(Ownership::Writable { .. }) if what.mode() & 0o1000 != 0 => {}
            checked => checked?,
        }
    }
    Ok(())
}

/// What the kernel shows for an owner that has no number in this user namespace.
const OVERFLOW_UID: u32 = 65_534;

/// Whether some users of the system have no number here. False where there is no such thing.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let from: Vec<&str> = map.split_whitespace().take(2).collect();
    !map.is_empty() && from != ["0", "0"]
}

const KEY: &[u8] = b"env_file";

fn check_path(path: &Path, euid: u32) -> Result<(), Ownership> {
    match path.metadata() {
        Ok(what) => check(path, &what, euid),
        Err(source) => Err(Ownership::Unreadable { path: path.to_owned(), source }),
    }
}

fn check(path: &Path, what: &Metadata, euid: u32) -> Result<(), Ownership> {
    let mode = what.mode() & 0o7777;
    let owner = || name_of(what.uid());
    if what.uid() != euid && what.uid() != 0 {
        let (path, you) = (path.to_owned(), name_of(euid));
        return Err(Ownership::Foreign { path, owner: owner(), mode, you });
    }
    let world = mode & 0o002 != 0;
    let group =
        mode & 0o020 != 0 && !is_private(what.gid(), what.uid()) && !is_private(what.gid(), euid);
    let (who, bits) = match (group, world) {
        (false, false) => return Ok(()),
        (false, true) => ("everybody".to_owned(), "o-w"),
        (true, false) => (format!("the group {}", group_name(what.gid())), "g-w"),
        (true, true) => ("everybody".to_owned(), "go-w"),
    };
    Err(Ownership::Writable { path: path.to_owned(), owner: owner(), mode, who, bits })
}

/// Whether the group is the user's own: his primary one, of the same name, with no other member.
fn is_private(gid: u32, uid: u32) -> bool {
    let (Some(user), Some(group)) = (user(uid), group(gid)) else { return false };
    user.gid == gid && group.name == user.name && group.members.iter().all(|m| *m == user.name)
}

fn name_of(uid: u32) -> String {
    user(uid).map_or_else(|| format!("uid {uid}"), |user| user.name.to_string_lossy().into_owned())
}

fn group_name(gid: u32) -> String {
    group(gid).map_or_else(|| gid.to_string(), |group| group.name.to_string_lossy().into_owned())
}

/// The path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@%".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

struct User {
    name: CString,
    gid: u32,
}

struct Group {
    name: CString,
    members: Vec<CString>,
}

/// Calls one of the `get..._r` functions with a buffer that grows until it is large enough.
/// `None`: no such entry, or the data base can't be read, which is no ground for trust.
fn look_up<T, R>(
    mut call: impl FnMut(*mut T, *mut libc::c_char, usize, *mut *mut T) -> libc::c_int,
    take: impl Fn(&T) -> R,
) -> Option<R> {
    let mut buffer: Vec<libc::c_char> = vec![0; 1024];
    loop {
        let mut entry = MaybeUninit::<T>::uninit();
        let mut found: *mut T = ptr::null_mut();
        match call(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found) {
            // SAFETY: `found` is null or points to `entry`, which the call has then filled, with
            // pointers into `buffer`; both live until `take`, which copies, has returned.
            0 => return unsafe { found.as_ref() }.map(take),
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < 1 << 22 => buffer.resize(buffer.len() * 4, 0),
            _ => return None,
        }
    }
}

/// getpwuid_r(3).
fn user(uid: u32) -> Option<User> {
    look_up(
        // SAFETY: the pointers are valid for the call and the length is the buffer's.
        |entry, buffer, size, found| unsafe { libc::getpwuid_r(uid, entry, buffer, size, found) },
        |entry: &libc::passwd| User {
            // SAFETY: a filled entry's name is a text that ends with NUL (getpwuid_r(3)).
            name: unsafe { CStr::from_ptr(entry.pw_name) }.to_owned(),
            gid: entry.pw_gid,
        },
    )
}

/// getgrgid_r(3). Who has the group as his primary one is not listed by it.
fn group(gid: u32) -> Option<Group> {
    look_up(
        // SAFETY: the pointers are valid for the call and the length is the buffer's.
        |entry, buffer, size, found| unsafe { libc::getgrgid_r(gid, entry, buffer, size, found) },
        |entry: &libc::group| Group {
            // SAFETY: a filled entry's name is a text that ends with NUL (getgrgid_r(3)).
            name: unsafe { CStr::from_ptr(entry.gr_name) }.to_owned(),
            members: members(entry),
        },
    )
}

fn members(entry: &libc::group) -> Vec<CString> {
    let mut members = Vec::new();
    let mut next = entry.gr_mem;
    // SAFETY: `gr_mem` of a filled entry is a list of texts that a null pointer ends
    // (getgrgid_r(3)); it is not read beyond that.
    unsafe {
        while !next.is_null() && !(*next).is_null() {
            members.push(CStr::from_ptr(*next).to_owned());
            next = next.add(1);
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn project() -> (tempfile::TempDir, u32) {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path().join(FILE), "").expect("a file");
        chmod(&dir.path().join(FILE), 0o644);
        let uid = dir.path().metadata().expect("its owner").uid();
        (dir, uid)
    }

    fn chmod(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    }

    #[test]
    fn what_is_ones_own_is_trusted() {
        let (dir, uid) = project();
        check_ownership(dir.path(), uid).expect("trusted");
    }

    #[test]
    fn what_the_world_can_write_is_refused_with_the_command_that_mends_it() {
        let (dir, uid) = project();
        let file = dir.path().join(FILE);
        chmod(&file, 0o646);
        let reason = check_ownership(dir.path(), uid).expect_err("writable").to_string();
        assert!(reason.contains("mode 0646) can be written by everybody"), "{reason}");
        assert!(reason.ends_with(&format!("chmod o-w {}", file.display())), "{reason}");
        chmod(&file, 0o644);
        chmod(dir.path(), 0o1777);
        let reason = check_ownership(dir.path(), uid).expect_err("writable").to_string();
        assert!(reason.contains("chmod "), "{reason}");
        chmod(dir.path(), 0o700);
    }

    #[test]
    fn the_other_files_that_it_is_read_from_are_looked_at_too() {
        let (dir, uid) = project();
        let at = |name: &str| dir.path().join(name);
        let write = |name: &str, text: &str| {
            std::fs::write(at(name), text).expect("a file");
            chmod(&at(name), 0o644);
        };
        write(LOCAL_FILE, "[services.a]\nrun = 'x'\nenv_file = ['.env', 'b.env']\n");
        write(".env", "");
        write("b.env", "");
        check_ownership(dir.path(), uid).expect("trusted");
        for name in [LOCAL_FILE, ".env", "b.env"] {
            chmod(&at(name), 0o666);
            let reason = check_ownership(dir.path(), uid).expect_err("writable").to_string();
            assert!(reason.contains(&format!("{name} (owner ")), "{reason}");
            chmod(&at(name), 0o644);
        }
        if uid == 0 {
            std::os::unix::fs::chown(at("b.env"), Some(4242), None).expect("chown");
            let reason = check_ownership(dir.path(), uid).expect_err("foreign").to_string();
            assert!(reason.contains("b.env belongs to uid 4242"), "{reason}");
        }
        std::fs::remove_file(at("b.env")).expect("removed");
        check_ownership(dir.path(), uid).expect("it is faulty, which is told elsewhere");
    }

    #[test]
    fn what_belongs_to_others_is_refused() {
        let (dir, uid) = project();
        // As root, everything in the test is root's, whom everybody trusts.
        if uid == 0 {
            std::os::unix::fs::chown(dir.path(), Some(4242), None).expect("chown");
        }
        let stranger = 4343;
        let reason = check_ownership(dir.path(), stranger).expect_err("foreign");
        assert!(matches!(reason, Ownership::Foreign { .. }), "{reason}");
        assert!(reason.to_string().contains("sudo chown uid"), "{reason}");
    }

    #[test]
    fn a_private_group_may_write_and_another_may_not() {
        let (dir, uid) = project();
        let file = dir.path().join(FILE);
        chmod(&file, 0o664);
        let gid = file.metadata().expect("its group").gid();
        assert_eq!(check_ownership(dir.path(), uid).is_ok(), is_private(gid, uid));
        if uid == 0 {
            std::os::unix::fs::chown(&file, None, Some(4242)).expect("chown");
            let reason = check_ownership(dir.path(), uid).expect_err("a group").to_string();
            assert!(reason.contains("the group 4242; to mend it: chmod g-w"), "{reason}");
        }
    }

    #[test]
    fn who_could_exchange_a_part_of_the_path_is_found() {
        let (dir, uid) = project();
        let shared = dir.path().join("shared");
        let inner = shared.join("inner");
        std::fs::create_dir_all(&inner).expect("directories");
        write(inner.join("env"), "").expect("a file");
        check_way(&inner, uid).expect("nobody can");
        chmod(&shared, 0o777);
        let reason = check_way(&inner, uid).expect_err("everybody can").to_string();
        assert!(reason.contains("shared (owner ") && reason.contains("by everybody"), "{reason}");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(inner.join("env"), &link).expect("a link");
        check_way(&link, uid).expect_err("what it leads to could be another");
        chmod(&shared, 0o1777);
        check_way(&inner, uid).expect("what is not theirs they can't rename");
        chmod(&shared, 0o755);
        if uid == 0 {
            std::os::unix::fs::chown(&shared, Some(4242), None).expect("chown");
            let reason = check_way(&inner, uid).expect_err("its owner can").to_string();
            assert!(reason.contains("shared belongs to uid 4242"), "{reason}");
        }
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/a/b.c")), "/a/b.c");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
