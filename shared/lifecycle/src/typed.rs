//! A path within a command that a person is told to type.
//!
//! Kept true here: typed into a shell it is that path and nothing else. An `rm -r` of a path with a
//! space in it, not quoted, removes something else.

use std::path::Path;

/// The path as a shell takes it: as it is where it can be, else in single quotes.
pub fn typed(path: &Path) -> String {
    let path = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@%:".contains(c);
    match !path.is_empty() && path.chars().all(plain) {
        true => path,
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_it_for_what_it_is() {
        for path in ["/h/a b", "/it's", "/$HOME/`x`", "/~a", "-r", "/a\nb", "", "/plain/é"] {
            let script = format!("printf %s {}", typed(Path::new(path)));
            let said = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&said.stdout), path);
        }
        assert_eq!(typed(Path::new("/home/u/.local/state")), "/home/u/.local/state");
    }
}
