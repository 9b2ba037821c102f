//! The backend's entry. Only this file depends on the build's arguments.

use std::process::ExitCode;

use demo::backend::{self, build::Build};

const BUILD: Build = Build::of(option_env!("DEMO_SCHEMA"), option_env!("DEMO_FAULT"));

fn main() -> ExitCode {
    backend::PROGRAM.main(|environment, shutdown| backend::run(environment, shutdown, BUILD))
}
