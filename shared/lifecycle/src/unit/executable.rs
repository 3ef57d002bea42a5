//! Which file a unit is to execute, for years to come.
//!
//! Kept true here: a file that others may write is never run at every login; and where the one that
//! runs now has a name that outlives its next version, the unit has that name.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Refused;
use crate::App;
use crate::home::euid;

/// A file, and what speaks against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// Its path.
    pub path: PathBuf,
    /// What may take it away or change it, each with its remedy.
    pub doubts: Vec<Refused>,
}

/// The one that runs now, by the name that PATH has for it where it has one.
///
/// Errors: others may write it.
pub fn executable(app: &App) -> Result<Executable, Refused> {
    let own = crate::spawn::executable();
    let own = own.canonicalize().unwrap_or(own);
    let path = env::var_os("PATH").unwrap_or_default();
    chosen(app, own, env::split_paths(&path))
}

fn chosen(
    app: &App,
    own: PathBuf,
    path: impl Iterator<Item = PathBuf>,
) -> Result<Executable, Refused> {
    let which = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let ours = which(&own);
    let named = path
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(app.name))
        .find(|path| path.exists());
    let named = named.filter(|path| ours.is_some() && which(path) == ours);
    let path = named.unwrap_or_else(|| own.clone());
    for path in [&path, &own] {
        may_be_trusted(path)?;
    }
    let doubts = [&path, &own].into_iter().find_map(|path| doubt(app, path)).into_iter().collect();
    Ok(Executable { path, doubts })
}

/// Neither the file nor its directory may be another user's, or for everybody to write.
fn may_be_trusted(path: &Path) -> Result<(), Refused> {
    for path in [Some(path), path.parent()].into_iter().flatten() {
        let Ok(found) = fs::metadata(path) else { continue };
        let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
        let why = match found.uid() {
            owner if owner != euid() && owner != 0 => format!("it belongs to uid {owner}"),
            _ if found.mode() & 0o002 != 0 && !sticky => "everybody may write it".to_owned(),
            _ => continue,
        };
        return Err(Refused {
            words: format!("{} must not be run at every login: {why}", path.display()),
            remedy: "put the executable where only you or root may write, and install from there"
                .into(),
        });
    }
    Ok(())
}

/// What may take away the file that a unit names, or put another one there.
pub fn doubt(app: &App, path: &Path) -> Option<Refused> {
    let text = path.to_string_lossy();
    let below = |dir: &str| path.starts_with(dir);
    let has = |part: &str| text.contains(part);
    // Beside what cargo builds it keeps this, wherever its directory is.
    let built = path.parent().is_some_and(|dir| dir.join(".fingerprint").is_dir());
    let why = if built || has("/target/debug/") || has("/target/release/") {
        "it stands in a build's directory: the next build changes it, and `cargo clean` takes it away"
    } else if below("/tmp")
        || below("/var/tmp")
        || below("/dev/shm")
        || path.starts_with(env::temp_dir())
    {
        "it stands in a directory for what is temporary: it is gone after a reboot"
    } else if ["/.asdf/", "/mise/", "/.rtx/", "/.proto/", "/.nix-profile/bin/.", "/aqua/"]
        .iter()
        .any(|part| has(part))
    {
        "it is a version manager's, which changes or removes it, or finds another one by the directory"
    } else if has("/Cellar/") || below("/nix/store") {
        "its path has a version in it, and is gone after the next upgrade"
    } else {
        return None;
    };
    Some(Refused {
        words: format!("{}: {why}", path.display()),
        remedy: format!(
            "install from a path that stays, such as ~/.local/bin/{0} or ~/.cargo/bin/{0}",
            app.name
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::app::tests::APP;

    fn at(dir: &Path, path: &str) -> PathBuf {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        path
    }

    #[test]
    fn the_name_that_path_has_for_it_is_taken_and_anothers_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let own = at(dir.path(), "Cellar/pair/1.0/bin/pair");
        fs::create_dir(dir.path().join("bin")).unwrap();
        symlink(&own, dir.path().join("bin/pair")).unwrap();
        let path = [PathBuf::from("relative"), dir.path().join("empty"), dir.path().join("bin")];
        let found = chosen(&APP, own.clone(), path.clone().into_iter()).unwrap();
        assert_eq!(found.path, dir.path().join("bin/pair"));
        let other = at(dir.path(), "other/pair");
        let path = [other.parent().unwrap().to_owned()].into_iter().chain(path);
        assert_eq!(chosen(&APP, own.clone(), path).unwrap().path, own, "PATH means another one");
    }

    #[test]
    fn what_does_not_stay_is_doubted() {
        let doubts = |path: &str| doubt(&APP, Path::new(path)).is_some();
        for path in [
            "/src/pair/target/debug/pair",
            "/src/pair/target/release/pair",
            "/tmp/pair",
            "/home/u/.asdf/shims/pair",
            "/home/u/.local/share/mise/installs/pair/1/bin/pair",
            "/opt/homebrew/Cellar/pair/1/bin/pair",
            "/nix/store/abc-pair/bin/pair",
        ] {
            assert!(doubts(path), "{path}");
        }
        let dir = tempfile::tempdir().unwrap();
        let built = at(dir.path(), "elsewhere/debug/pair");
        at(dir.path(), "elsewhere/debug/.fingerprint/x");
        let why = doubt(&APP, &built).unwrap().words;
        assert!(why.contains("a build's directory"), "{why}");
        for path in ["/usr/bin/pair", "/home/u/.cargo/bin/pair", "/home/u/.local/bin/pair"] {
            assert!(!doubts(path), "{path}");
        }
    }

    #[test]
    fn what_others_may_write_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let own = at(dir.path(), "bin/pair");
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&own, 0o777);
        let refused = chosen(&APP, own.clone(), [].into_iter()).unwrap_err();
        assert!(refused.words.contains("everybody may write it"), "{refused}");
        mode(&own, 0o755);
        mode(own.parent().unwrap(), 0o777);
        assert!(chosen(&APP, own.clone(), [].into_iter()).is_err(), "its directory");
        mode(own.parent().unwrap(), 0o755);
        assert!(chosen(&APP, own, [].into_iter()).is_ok());
    }
}
