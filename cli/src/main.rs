//! The executable. What it does stands in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    hearth_cli::main(hearth_cli::APP)
}
