//! hearth as the next version will be, for the tests of replacement: all that differs is what it says
//! of itself. Under a name that ends in `next-api` it also speaks no version of today's API.

use std::process::ExitCode;

use hearth_lifecycle::App;

fn main() -> ExitCode {
    let own = std::env::current_exe().unwrap_or_default();
    const NEXT: App = hearth_cli::APP.at_version("999.0.0");
    const NEWEST: u32 = hearth_cli::APP.api_range().1;
    let other = own.as_os_str().as_encoded_bytes().ends_with(b"next-api");
    hearth_cli::main(if other { NEXT.api(NEWEST + 1, NEWEST + 1) } else { NEXT })
}
