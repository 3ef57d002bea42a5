//! hearth as the next version will be, for the tests of replacement: all that differs is what it says
//! of itself. Under a name that ends in `next-api` it also speaks no version of today's API.

use std::process::ExitCode;

use hearth_lifecycle::App;

fn main() -> ExitCode {
    let own = std::env::current_exe().unwrap_or_default();
    let api = match own.as_os_str().as_encoded_bytes().ends_with(b"next-api") {
        true => (hearth_cli::APP.api.1 + 1, hearth_cli::APP.api.1 + 1),
        false => hearth_cli::APP.api,
    };
    hearth_cli::main(App { version: "999.0.0", api, ..hearth_cli::APP })
}
