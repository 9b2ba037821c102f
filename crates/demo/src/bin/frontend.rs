//! The front end's entry.

use std::process::ExitCode;

use demo::frontend;

fn main() -> ExitCode {
    frontend::PROGRAM.main(frontend::run)
}
