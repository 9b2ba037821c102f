//! A product of two images that builds in a second.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bundle::signature::{PublicKey, generate};
use tempfile::TempDir;

use super::run::{Outcome, run, tool, xtask};

/// Version that all tests release, unless they need another.
pub(crate) const VERSION: &str = "1.0.0";

const CARGO_TOML: &str = r#"[workspace]
resolver = "3"
members = ["stub"]

[workspace.metadata.release]
product = "acme"
bundles = ["all", "per-platform"]
images = [
  { name = "acme-web", target = "web", reproducible = true },
  { name = "acme-api", target = "api", reproducible = true },
]
"#;

const DOCKERFILE: &str = "\
FROM scratch AS web
COPY web /web
FROM scratch AS api
ARG TARGETARCH
COPY api/$TARGETARCH /api
COPY shared /shared
";

const COMPOSE: &str = r#"services:
  web: { image: "acme-web:${ACME_VERSION}" }
  api: { image: "acme-api:${ACME_VERSION}" }
"#;

/// A repository in a directory of its own, and the key that signs its releases.
pub(crate) struct Product {
    directory: TempDir,
    secret: String,
    /// The key that devices trust.
    pub(crate) public: PublicKey,
}

impl Product {
    /// The product, committed.
    pub(crate) fn new() -> Self {
        let key = generate(None).unwrap();
        let product = Self {
            directory: TempDir::with_prefix("acme-").unwrap(),
            secret: key.secret_file().to_owned(),
            public: key.public().clone(),
        };
        for (path, text) in [
            ("Cargo.toml", CARGO_TOML),
            (
                "stub/Cargo.toml",
                "[package]\nname = \"stub\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
            ),
            ("stub/src/lib.rs", ""),
            ("Dockerfile", DOCKERFILE),
            (".dockerignore", "target\ndist\n.git\n"),
            (".gitignore", "/target\n/dist\n"),
            ("docker-compose.prod.yml", COMPOSE),
            ("web/index.html", "<h1>acme</h1>\n"),
            ("api/amd64/program", "for amd64\n"),
            ("api/arm64/program", "for arm64\n"),
            ("shared/data", &"the same everywhere\n".repeat(1000)),
        ] {
            product.write(path, text);
        }
        product.git(&["init", "--quiet", "--initial-branch=main"]);
        product.commit("all of it");
        product
    }

    /// A second checkout of the same commit, in another directory, with the same key.
    pub(crate) fn clone_elsewhere(&self) -> Self {
        let directory = TempDir::with_prefix("elsewhere-").unwrap();
        let from = self.root().to_str().unwrap();
        tool(directory.path(), "git", &["clone", "--quiet", from, "."]);
        Self {
            directory,
            secret: self.secret.clone(),
            public: self.public.clone(),
        }
    }

    /// The repository's directory.
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// A path inside of the repository.
    pub(crate) fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.root().join(inside)
    }

    /// The bundle of [`VERSION`] for all platforms.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.path("dist/acme-update-1.0.0.tar.gz")
    }

    /// The directory with what the pipeline keeps from release to release.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("target/release-pipeline")
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Replaces `from`, which must be there, by `to`.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}");
        self.write(path, text.replacen(from, to, 1));
    }

    /// Adds lines to the declaration.
    pub(crate) fn declare(&self, lines: &str) {
        self.edit(
            "Cargo.toml",
            "product = \"acme\"\n",
            &format!("product = \"acme\"\n{lines}\n"),
        );
    }

    /// Commits everything, at a time that is always the same.
    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
    }

    /// Runs git, without a user's configuration.
    pub(crate) fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command
            .current_dir(self.root())
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "Acme")
                .env(format!("GIT_{role}_EMAIL"), "acme@example.com")
                .env(format!("GIT_{role}_DATE"), "2026-01-02T03:04:05Z");
        }
        run(&mut command).expect(0);
    }

    /// The program, to be run in the repository with the product's key.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = xtask(self.root());
        command
            .args(arguments)
            .env("ACME_SIGNING_KEY", &self.secret)
            // A key of the user who runs the tests must not be found.
            .env("XDG_CONFIG_HOME", self.path("target/no-configuration"));
        command
    }

    /// Runs the program in the repository.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    /// Releases [`VERSION`], which must succeed.
    #[track_caller]
    pub(crate) fn release(&self, options: &[&str]) -> Release {
        let arguments: Vec<_> = ["release", VERSION, "--json"].iter().chain(options).copied().collect();
        let outcome = self.run(&arguments).expect(0);
        let bundles = outcome.json()["bundles"]
            .as_array()
            .unwrap()
            .iter()
            .map(Released::of)
            .collect();
        Release {
            bundles,
            stderr: outcome.stderr,
        }
    }
}

/// What a release printed.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) bundles: Vec<Released>,
    pub(crate) stderr: String,
}

/// A bundle as a release tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Released {
    /// The file's name.
    pub(crate) name: String,
    /// The bundle's SHA-256, in hex.
    pub(crate) sha256: String,
    /// Whether the bundle that was there was left alone.
    pub(crate) unchanged: bool,
}

impl Released {
    fn of(value: &serde_json::Value) -> Self {
        let path = Path::new(value["path"].as_str().unwrap());
        Self {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            sha256: value["sha256"].as_str().unwrap().to_owned(),
            unchanged: value["unchanged"].as_bool().unwrap(),
        }
    }
}

impl Release {
    /// Names and digests of all bundles.
    pub(crate) fn digests(&self) -> Vec<(&str, &str)> {
        self.bundles
            .iter()
            .map(|bundle| (bundle.name.as_str(), bundle.sha256.as_str()))
            .collect()
    }

    /// Names of the bundles that were written.
    pub(crate) fn written(&self) -> Vec<&str> {
        self.bundles
            .iter()
            .filter(|bundle| !bundle.unchanged)
            .map(|bundle| bundle.name.as_str())
            .collect()
    }
}
