//! The home: the one directory in which an agent and all that belongs to it stand.
//!
//! Kept true here: nobody but the caller can plant a file in it. A home of another owner, another
//! mode, or behind a symlink is refused before anything in it is used, and never repaired silently:
//! `sudo` leaving root's files in a person's home is a thing to be told, not to be mended.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::app::Sockets;
use crate::{App, Record, typed};

/// Usable bytes of `sun_path`, the NUL left out (unix(7); `sys/un.h` on macOS).
const SUN_PATH: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// Name of the agent's socket.
pub(crate) const SOCKET: &str = "agent.sock";

/// Where the agent binds before it renames.
pub(crate) const ASIDE: &str = "agent.sock.new";

/// Paths of one home. Making one touches no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
    sockets: PathBuf,
    config: PathBuf,
    given: bool,
}

/// Why there is no home to speak of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HomeError {
    /// `--home` or the variable names a relative path.
    #[error("the home must be an absolute path, and `{0}` is relative")]
    Relative(PathBuf),
    /// Neither the variable, nor `XDG_STATE_HOME`, nor `HOME` is set to an absolute path.
    #[error("no home: neither {0}, XDG_STATE_HOME nor HOME is set to an absolute path")]
    Unset(String),
    /// Its path is not UTF-8: it could be told neither in JSON nor in a message.
    #[error("the path of the home must be UTF-8, and {0:?} is not")]
    NotUtf8(PathBuf),
}

impl HomeError {
    /// Stable, for programs: `relative-home`, `no-home`, `bad-home`.
    pub fn code(&self) -> &'static str {
        match self {
            HomeError::Relative(_) => "relative-home",
            HomeError::Unset(_) => "no-home",
            HomeError::NotUtf8(_) => "bad-home",
        }
    }
}

/// Why the home or the socket may not be used. Never leads to a spawn.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Blocked {
    /// What is wrong, with path, owner and mode.
    pub reason: String,
    /// What to do about it.
    pub remedy: String,
    /// What it is about, where it is a file or a directory.
    pub path: Option<PathBuf>,
    /// The system's own word, where it has refused something.
    #[source]
    pub source: Option<Arc<io::Error>>,
}

impl Blocked {
    /// Stable, for programs: `blocked`.
    pub fn code(&self) -> &'static str {
        "blocked"
    }

    pub(crate) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { reason: reason.into(), remedy: remedy.into(), path: None, source: None }
    }

    pub(crate) fn about(self, path: &Path) -> Self {
        Self { path: Some(path.to_owned()), ..self }
    }

    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let used_up = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        let remedy = match error.kind() {
            _ if used_up => "raise the limit on open files (`ulimit -n`), then try again",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room on that file system, then try again"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "the file system is read-only: name another home with --home"
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                "a part of that path is a file: move it away, or name another home"
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => {
                "look at what stands there with `ls -l`, and move it away"
            }
            io::ErrorKind::InvalidFilename => "name another home, by a shorter path",
            _ if error.raw_os_error() == Some(libc::ELOOP) => {
                "it is a symlink, which is not followed: look at it with `ls -l`, and move it away"
            }
            _ => "see who owns it with `ls -ld`, or name another home with --home",
        };
        // An `io::Error` can't be cloned; what it was made of can.
        let source = match error.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        let blocked = Self::new(format!("cannot {doing} {}: {error}", path.display()), remedy);
        Self { source: Some(Arc::new(source)), ..blocked.about(path) }
    }
}

impl Home {
    /// The home by the rules: the argument, else `PREFIX_HOME`, else `$XDG_STATE_HOME/NAME`, else
    /// `~/.local/state/NAME`. An empty or relative XDG value counts as unset.
    pub fn resolve(app: &App, argument: Option<&Path>) -> Result<Self, HomeError> {
        let given = argument.map(PathBuf::from).or_else(|| app.var("HOME").map(PathBuf::from));
        if let Some(dir) = given {
            if !dir.is_absolute() {
                return Err(HomeError::Relative(dir));
            }
            let dir = tidy(&dir);
            let config = dir.join("agent.toml");
            return Self::at(app, dir, config, true);
        }
        let unset = || HomeError::Unset(app.var_name("HOME"));
        let dir = base("XDG_STATE_HOME", ".local/state").ok_or_else(unset)?.join(app.name);
        // Without a place for configurations it is looked for in the home.
        let config = base("XDG_CONFIG_HOME", ".config").map(|base| base.join(app.name));
        let config = config.unwrap_or_else(|| dir.clone()).join("agent.toml");
        Self::at(app, dir, config, false)
    }

    fn at(app: &App, dir: PathBuf, config: PathBuf, given: bool) -> Result<Self, HomeError> {
        if dir.to_str().is_none() {
            return Err(HomeError::NotUtf8(dir));
        }
        let longest = app.longest_socket.len().max(ASIDE.len());
        let fits = |place: &PathBuf| place.as_os_str().len() + 1 + longest <= SUN_PATH;
        let chosen = match app.sockets {
            Sockets::Home => None,
            Sockets::RuntimeDirectory => in_runtime_directory(app, &dir),
        };
        let home = || Some(dir.clone()).filter(fits);
        let sockets = chosen.filter(fits).or_else(home);
        let sockets = sockets.unwrap_or_else(|| short_directory(app, &dir));
        Ok(Self { dir, sockets, config, given })
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where sockets stand: the home, or below `$XDG_RUNTIME_DIR` where the app has chosen that, or a
    /// short directory under `/tmp` if its path is too long.
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }

    /// The agent's socket, where an agent of this environment listens.
    pub fn socket(&self) -> PathBuf {
        self.sockets.join(SOCKET)
    }

    /// The socket of the agent that holds L, or was the last to, by its own word: one that was started
    /// with another `$XDG_RUNTIME_DIR` listens elsewhere. `None`: there is no word of it.
    pub fn published_socket(&self) -> Option<PathBuf> {
        let record = Record::read(&self.agent_lock())?;
        Some(record.socket).filter(|socket| socket.is_absolute() && socket.ends_with(SOCKET))
    }

    /// The same home with its sockets where that one stands.
    #[cfg(feature = "agent")]
    pub(crate) fn with_socket(&self, socket: &Path) -> Self {
        let sockets = socket.parent().unwrap_or(&self.sockets).to_owned();
        Self { sockets, ..self.clone() }
    }

    /// The spawn lock, S: who holds it is starting an agent.
    pub fn spawn_lock(&self) -> PathBuf {
        self.dir.join("spawn.lock")
    }

    /// The lifetime lock, L: who holds it is the agent.
    pub fn agent_lock(&self) -> PathBuf {
        self.dir.join("agent.lock")
    }

    /// What the agent says of itself without being asked: [`Record`], in L itself, so that it can't
    /// outlive the lock or disagree with it. To be read by [`crate::running`].
    pub fn metadata(&self) -> PathBuf {
        self.agent_lock()
    }

    /// Failures to start, for the backoff.
    pub fn failures(&self) -> PathBuf {
        self.dir.join("failures.json")
    }

    /// The journal of the sessions.
    pub fn sessions(&self) -> PathBuf {
        self.dir.join("sessions.json")
    }

    /// The agent's log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("agent.log")
    }

    /// The agent's configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Whether it was named by argument or variable.
    pub fn is_given(&self) -> bool {
        self.given
    }

    /// Makes the home if it is not there, and checks that it is ours alone.
    pub fn prepare(&self) -> Result<(), Blocked> {
        if let Some(parent) = self.dir.parent() {
            fs::create_dir_all(parent).map_err(|e| Blocked::io("make", parent, &e))?;
        }
        own_directory(&self.dir)?;
        if self.sockets != self.dir {
            if let Some(parent) = self.sockets.parent() {
                own_directory(parent)?;
            }
            own_directory(&self.sockets)?;
        }
        Ok(())
    }

    /// The same home with a directory for its sockets again, after that one has gone: made anew, else the
    /// home itself.
    #[cfg(feature = "agent")]
    pub(crate) fn make_room_for_sockets(&self) -> Result<Self, Blocked> {
        match self.prepare() {
            Ok(()) => Ok(self.clone()),
            Err(_) if self.dir.as_os_str().len() + 1 + ASIDE.len() <= SUN_PATH => {
                check_directory(&self.dir)?;
                Ok(Self { sockets: self.dir.clone(), ..self.clone() })
            }
            Err(blocked) => Err(blocked),
        }
    }

    /// Checks what is there of it as [`Home::prepare`] does, and makes nothing. Whether it is there.
    pub fn look(&self) -> Result<bool, Blocked> {
        if !check_directory(&self.dir)? {
            return Ok(false);
        }
        if self.sockets != self.dir {
            if let Some(parent) = self.sockets.parent() {
                check_directory(parent)?;
            }
            check_directory(&self.sockets)?;
        }
        Ok(true)
    }

    /// Whether what stands at the socket's path is something else than a socket.
    pub fn foreign_at_socket(&self) -> Result<(), Blocked> {
        let path = self.socket();
        match fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_socket() => Err(Blocked::new(
                format!("{} is in the way: it is no socket", path.display()),
                format!("look at it, then `rm -r {}`", typed(&path)),
            )
            .about(&path)),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Blocked::io("look at", &path, &e)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Without trailing slashes and `.` parts, so that one home has one path.
pub(crate) fn tidy(dir: &Path) -> PathBuf {
    dir.components().filter(|part| *part != Component::CurDir).collect()
}

/// A base directory of the XDG specification: by its variable, else below the person's home.
pub(crate) fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    set(variable).or_else(|| set("HOME").map(|home| home.join(below_home)))
}

fn short_directory(app: &App, dir: &Path) -> PathBuf {
    PathBuf::from(format!("/tmp/{}-{}/{}", app.name, euid(), short_name(dir)))
}

/// A directory for each home of the app. `None`: there is no such base; a login without a session has
/// the variable and not the directory.
fn in_runtime_directory(app: &App, dir: &Path) -> Option<PathBuf> {
    let base = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)?;
    let usable = base.is_absolute() && base.is_dir();
    usable.then(|| tidy(&base).join(app.name).join(short_name(dir)))
}

/// FNV-1a, 64 bits, of a home's path.
fn short_name(dir: &Path) -> String {
    let bytes = dir.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Our effective uid.
pub(crate) fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes `path` as 0700, or checks that what is there is a directory of ours with just that mode.
fn own_directory(path: &Path) -> Result<(), Blocked> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(Blocked::io("make", path, &e)),
    }
    check_directory(path).map(drop)
}

/// For a directory that is nobody's home: what is said of its owner or mode would break it for others.
const OTHER: &str = "it is in use for something else: name another home, which may not exist yet";

/// Whether it stands in the person's own home, where a stranger's file is mostly what `sudo` has left.
fn is_below_our_own(path: &Path) -> bool {
    let own = env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    own.is_some_and(|own| path.starts_with(&own) && path != own)
}

/// What is said of a directory's mode: as a command where it can only be a home, or has been one. `/`, `/tmp`
/// and the like are everybody's.
fn of_mode(path: &Path) -> String {
    let temporary = env::temp_dir();
    let own = is_below_our_own(path) || (path.starts_with(&temporary) && path != temporary);
    let command = format!("`chmod 700 {}`", typed(path));
    match (own || path.join("agent.lock").exists(), path.components().count()) {
        (true, _) => command,
        (false, ..=2) => OTHER.to_owned(),
        (false, _) => format!("name another home; where nothing else uses this one: {command}"),
    }
}

/// Whether it is there. Errors: it is, and is not a directory of ours with just that mode.
fn check_directory(path: &Path) -> Result<bool, Blocked> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Blocked::io("look at", path, &e)),
    };
    let shown = path.display();
    if found.file_type().is_symlink() {
        return Err(Blocked::new(
            format!("{shown} is a symlink, and the home may not be one"),
            "name the directory itself with --home",
        )
        .about(path));
    }
    if !found.is_dir() {
        return Err(Blocked::new(
            format!("{shown} is not a directory"),
            "move it away, or name another home",
        )
        .about(path));
    }
    // Not setgid, which a directory inherits from the one that it is made in.
    let (owner, mode) = (found.uid(), found.mode() & 0o777);
    if owner != euid() {
        return Err(Blocked::new(
            format!("{shown} belongs to uid {owner} (mode {mode:04o}), and we are uid {}", euid()),
            match is_below_our_own(path) {
                true => format!("if it is yours: `sudo chown -R $(id -u) {}`", typed(path)),
                false => OTHER.to_owned(),
            },
        )
        .about(path));
    }
    if mode != 0o700 {
        return Err(Blocked::new(
            format!("{shown} has mode {mode:04o} (owner uid {owner}), and must have 0700"),
            of_mode(path),
        )
        .about(path));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::APP;

    #[test]
    fn a_relative_home_is_refused() {
        let error = Home::resolve(&APP, Some(Path::new("here"))).unwrap_err();
        assert_eq!(error, HomeError::Relative("here".into()));
    }

    #[test]
    fn a_home_too_deep_for_sockets_gets_a_short_directory_for_them() {
        let fits = format!("/{}", "a".repeat(SUN_PATH - 2 - APP.longest_socket.len()));
        let home = Home::resolve(&APP, Some(Path::new(&fits))).unwrap();
        assert_eq!(home.socket(), Path::new(&fits).join("agent.sock"));
        let home = Home::resolve(&APP, Some(Path::new(&(fits + "a")))).unwrap();
        assert!(home.socket().starts_with("/tmp"));
        assert!(home.socket().as_os_str().len() < 60);
    }

    #[test]
    fn no_remedy_would_break_what_others_use() {
        for path in ["/", "/usr", "/tmp"] {
            assert_eq!(of_mode(Path::new(path)), OTHER);
        }
        assert!(of_mode(Path::new("/usr/lib")).contains("nothing else uses"));
        let directory = tempfile::tempdir().unwrap();
        assert!(of_mode(directory.path()).starts_with("`chmod 700 "));
    }

    #[test]
    fn one_home_has_one_path() {
        let home = |path| Home::resolve(&APP, Some(Path::new(path))).unwrap();
        assert_eq!(home("/x/y//"), home("/x/./y"));
    }
}
