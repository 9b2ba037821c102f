//! Running programs, and saying what came of it.

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    what: String,
    /// The exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program under test, to be run in `directory`, in an environment that holds nothing of the user who runs
/// the tests but where programs and homes are.
pub(crate) fn xtask(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(directory).env("PATH", search_path());
    for variable in [
        "BUILDX_BUILDER",
        "CARGO_TARGET_DIR",
        "GH_TOKEN",
        "GITHUB_API_URL",
        "GITHUB_REPOSITORY",
        "GITHUB_SERVER_URL",
        "GITHUB_TOKEN",
        "RELEASE_BUILD_NETWORK",
        "SOURCE_DATE_EPOCH",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs `command` to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Outcome {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", shown(command)));
    Outcome::of(command, &output)
}

/// Runs a program that is not ours in `directory`; it must succeed. Gives its standard output.
#[track_caller]
pub(crate) fn tool<S: AsRef<OsStr>>(directory: &Path, program: &str, arguments: &[S]) -> String {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .args(arguments)
        .env("PATH", search_path());
    run(&mut command).expect(0).stdout
}

/// A copy of the first file called `name` on the path.
pub(crate) fn find_program(name: &str) -> PathBuf {
    std::env::split_paths(&search_path())
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("`{name}` is not on the path; `cargo xtask setup` brings it"))
}

fn search_path() -> std::ffi::OsString {
    xtask::setup::search_path().expect("the tools' directory")
}

fn shown(command: &Command) -> String {
    // Not `Debug`, which shows the environment, and with it keys.
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

impl Outcome {
    pub(crate) fn of(command: &Command, output: &Output) -> Self {
        Self {
            what: shown(command),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics with everything that was written unless the program ended with `code`.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Panics unless standard error holds `text`.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected \"{text}\" from {self}");
        self
    }

    /// Panics unless standard output holds `text`.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "expected \"{text}\" from {self}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        let Self {
            what, stdout, stderr, ..
        } = self;
        write!(
            f,
            "{what}\nended with {ended}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        )
    }
}
