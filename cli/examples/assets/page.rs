//! A page for `hearth` and one for every verb, verbs of verbs included: `hearth-daemon-up(1)`.

use std::path::Path;
use std::{fs, io};

use clap::Command;
use clap_mangen::Man;

/// What no grammar knows: exit codes, variables, files. Of hearth(1), the others refer to it.
const OF_ALL: &str = include_str!("hearth.roff");

/// Writes the page of `command`, built, and of all below it into `dir`.
pub fn write(command: &Command, dir: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let mut page = Vec::new();
    let man = Man::new(command.clone()).manual("hearth").source(source());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().is_some() || command.get_after_long_help().is_some() {
        man.render_extra_section(&mut page)?;
    }
    let rest = if name == "hearth" { OF_ALL.to_owned() } else { of_a_verb(name) };
    page.extend(rest.bytes());
    fs::write(dir.join(format!("{name}.1")), page)?;
    command.get_subcommands().try_for_each(|verb| write(verb, dir))
}

/// Who it comes from, at the foot of a page.
pub fn source() -> String {
    format!("hearth {}", hearth_cli::APP.version())
}

fn of_a_verb(name: &str) -> String {
    // `hearth-daemon-up` is below `hearth-daemon`, and that below `hearth`.
    let above = name.rsplit_once('-').map_or("hearth", |(above, _)| above);
    let mut pages = vec![above, "hearth"];
    pages.dedup();
    let pages: Vec<String> = pages.iter().map(|page| format!(".BR {page} (1)")).collect();
    format!(
        ".SH \"EXIT STATUS\"\n0 is done; all codes are listed in\n.BR hearth (1).\n\
         .SH \"SEE ALSO\"\n{},\n.BR hearth.toml (5)\n",
        pages.join(",\n")
    )
}
