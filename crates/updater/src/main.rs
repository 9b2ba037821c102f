//! The program `updater`: see the library.

fn main() -> std::process::ExitCode {
    updater::cli::main()
}
