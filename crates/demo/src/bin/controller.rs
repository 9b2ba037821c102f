//! The controller's entry.

use std::process::ExitCode;

use demo::controller;

fn main() -> ExitCode {
    controller::PROGRAM.main(controller::run)
}
