//! In what a service and its probes run: directory, environment, user, umask, limits.
//!
//! Invariant: a child gets exactly this and nothing by accident. Kept for the whole life, since
//! probes run in it, and therefore packed: an environment as a map takes several times its size.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::frames::{Limit, Spec, User};
use crate::limits::{self, SetLimit};
use crate::notify;

/// Everything that a child of the shim is given.
pub struct Surroundings {
    /// Where it runs.
    pub dir: PathBuf,
    /// The same, ended by NUL.
    pub dir_c: CString,
    /// As whom; None: as the shim.
    pub user: Option<User>,
    /// With which umask.
    pub umask: libc::mode_t,
    /// With which limits.
    pub limits: Vec<SetLimit>,
    /// `NAME=value`, each ended by NUL.
    env: Box<[u8]>,
}

/// What they are made of.
pub struct Given<'a> {
    /// Where it runs.
    pub dir: &'a Path,
    /// The whole environment.
    pub env: &'a BTreeMap<String, String>,
    /// As whom; None: as the shim.
    pub user: Option<&'a User>,
    /// With which umask.
    pub umask: libc::mode_t,
    /// With which limits.
    pub limits: &'a BTreeMap<String, Limit>,
    /// Whether the service gets a notify socket.
    pub notifies: bool,
}

impl<'a> Given<'a> {
    /// By a spec; `umask` is the one that holds where the spec has none.
    pub fn by(spec: &'a Spec, umask: libc::mode_t) -> Self {
        Self {
            dir: &spec.dir,
            env: &spec.env,
            user: spec.user.as_ref(),
            umask: spec.umask.map_or(umask, |umask| umask as libc::mode_t),
            limits: &spec.limits,
            notifies: spec.notify_path.is_some(),
        }
    }
}

impl Surroundings {
    /// Checks and packs them.
    ///
    /// Errors: the reason, in words for people.
    pub fn new(given: &Given<'_>) -> Result<Self, String> {
        check_dir(given.dir)?;
        Ok(Self {
            dir: given.dir.to_owned(),
            dir_c: CString::new(given.dir.as_os_str().as_bytes())
                .map_err(|_| format!("the directory `{}` has a NUL in it", given.dir.display()))?,
            user: other_user(given.user)?,
            umask: given.umask,
            limits: limits::known(given.limits)?,
            env: pack(given)?,
        })
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables().find_map(|variable| {
            let (found, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
            (found == name).then_some(value)
        })
    }

    /// The environment for `execve(2)`, with one variable `more`; valid as long as both.
    pub fn pointers(&self, more: Option<&CStr>) -> Vec<*const c_char> {
        let variables = self.variables().map(|variable| variable.as_ptr().cast());
        variables.chain(more.map(CStr::as_ptr)).chain([std::ptr::null()]).collect()
    }

    /// Each without its NUL, which stands right behind it.
    fn variables(&self) -> impl Iterator<Item = &[u8]> {
        let packed = self.env.strip_suffix(b"\0");
        packed.into_iter().flat_map(|packed| packed.split(|byte| *byte == 0))
    }
}

fn pack(given: &Given<'_>) -> Result<Box<[u8]>, String> {
    let size = given.env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut packed = Vec::with_capacity(size);
    // The one that is made here is the service's alone: a probe has nothing to tell by it.
    let replaced = |name: &str| given.notifies && name == notify::VARIABLE;
    for (name, value) in given.env.iter().filter(|(name, _)| !replaced(name)) {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!(
                "the variable `{}` can't be in an environment: `=` or NUL in it, or no name",
                name.escape_debug()
            ));
        }
        for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
            packed.extend_from_slice(part);
        }
    }
    Ok(packed.into_boxed_slice())
}

fn check_dir(dir: &Path) -> Result<(), String> {
    match dir.metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(format!("`{}`, where it should run, is no directory", dir.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("the directory `{}` does not exist", dir.display()))
        }
        Err(error) => Err(format!("the directory `{}` can't be used: {error}", dir.display())),
    }
}

/// The user to become, if there is anything to become.
fn other_user(user: Option<&User>) -> Result<Option<User>, String> {
    let Some(user) = user else { return Ok(None) };
    let own = rustix::process::geteuid();
    if own.is_root() {
        return Ok(Some(user.clone()));
    }
    if own.as_raw() == user.uid {
        return Ok(None);
    }
    Err(format!(
        "it can't run as uid {}: the agent runs as uid {}, and only root can become somebody else",
        user.uid,
        own.as_raw()
    ))
}
