//! What a unit's file says of itself: for which home it was written, and by which version.
//!
//! systemd ignores sections whose names begin with `X-` (systemd.unit(5)); in a plist the same lines
//! stand in a comment. By its checksum (`seal.rs`) a file tells whether a person has changed it, and
//! what a person has written is never overwritten unasked.

use std::path::{Path, PathBuf};

use super::seal;
use super::systemd::section;
use crate::App;

/// A unit's text with its stamp behind it; specifiers hold in it, as in all of the file.
pub(super) fn on_unit(app: &App, text: &str, home: &Path) -> String {
    let home = PathBuf::from(home.display().to_string().replace('%', "%%"));
    let home = home.as_path();
    sealed(&format!("{text}\n[{}]\n{}", section(app), lines(app, home)), "")
}

/// The same of a plist.
pub(super) fn on_plist(app: &App, text: &str, home: &Path) -> String {
    let lines = in_comment(&lines(app, home));
    sealed(&format!("{text}<!-- [{}]\n{lines}", section(app)), "-->\n")
}

/// A comment may not hold `--` (XML 1.0, 2.5), and nothing is an entity in it: these are ours.
fn in_comment(text: &str) -> String {
    text.replace('&', "&amp;").replace('-', "&#45;")
}

/// The home and the version that a plist's comment tells.
pub(super) fn of_plist(app: &App, text: &str) -> (Option<PathBuf>, Option<String>) {
    let head = format!("<!-- [{}]\n", section(app));
    let inner = text.split_once(&head).and_then(|(_, rest)| rest.split_once("-->"));
    let inner = inner.map_or("", |(inner, _)| inner);
    let said = |key: &str| {
        let value = inner.lines().find_map(|line| line.strip_prefix(key))?;
        Some(value.replace("&#45;", "-").replace("&amp;", "&"))
    };
    (said("Home=").map(PathBuf::from), said("Version="))
}

fn lines(app: &App, home: &Path) -> String {
    format!("Home={}\nVersion={}\n", home.display(), app.version)
}

fn sealed(text: &str, end: &str) -> String {
    let sum = seal::checksum(&format!("{text}{end}"));
    format!("{text}{}{sum}\n{end}", seal::SUM)
}

/// Whether this app has written it, and nobody has changed it since.
pub(super) fn is_ours_and_whole(app: &App, text: &str) -> bool {
    text.contains(&format!("[{}]", section(app))) && !seal::is_edited(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::tests::APP;

    #[test]
    fn any_change_is_told() {
        let text = on_unit(&APP, "[Unit]\nDescription=x\n", Path::new("/h"));
        assert!(is_ours_and_whole(&APP, &text), "{text}");
        for changed in [
            text.replace("Description=x", "Description=y"),
            text.replace("Home=/h", "Home=/i"),
            format!("# mine\n{text}"),
            text.replace("Checksum=", "Checksum=0"),
            text.replace("Checksum=", "#"),
            "[Unit]\nDescription=x\n".to_owned(),
        ] {
            assert!(!is_ours_and_whole(&APP, &changed), "{changed}");
        }
    }

    #[test]
    fn whatever_the_home_a_comment_has_no_two_dashes() {
        for home in ["/a--b---c----d", "/&#45;-&amp;", "/x-"] {
            let text = on_plist(&APP, "<?xml version=\"1.0\"?>\n<plist/>\n", Path::new(home));
            assert!(is_ours_and_whole(&APP, &text), "{text}");
            let (_, rest) = text.split_once("<!--").unwrap();
            let (inner, _) = rest.split_once("-->").unwrap();
            assert!(!inner.contains("--"), "{text}");
            assert_eq!(of_plist(&APP, &text), (Some(home.into()), Some("1.0.0".into())));
        }
    }
}
