//! The updater's program: see the library.

fn main() -> std::process::ExitCode {
    updater::cli::main()
}
