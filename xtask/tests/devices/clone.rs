//! A fresh clone of this repository, released.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bundle::{
    Digest,
    signature::{NewKey, generate},
};
use serde_json::Value;
use tempfile::TempDir;
use xshell::{Shell, cmd};

/// The version that is released.
pub(crate) const VERSION: &str = "2.1.0";

/// A clone in a directory of its own, with bundles in its `dist/`.
pub(crate) struct Clone {
    directory: TempDir,
}

impl Clone {
    /// The clone that all tests share.
    pub(crate) fn released() -> &'static Self {
        static CLONE: OnceLock<Clone> = OnceLock::new();
        CLONE.get_or_init(|| {
            let clone = Self::new();
            clone.release(&[]);
            clone
        })
    }

    /// A clone that declares gzip layers, released for one platform.
    pub(crate) fn released_with_gzip() -> Self {
        let clone = Self::new();
        let declared = "[workspace.metadata.release]\nlayers = { compression = \"gzip\" }\n";
        clone.change("Cargo.toml", &|text| {
            text.replacen("[workspace.metadata.release]\n", declared, 1)
        });
        clone.commit();
        clone.release(&["--platform", "linux/amd64"]);
        clone
    }

    /// Another clone, in another directory, built without the build cache.
    pub(crate) fn released_without_cache() -> Self {
        let clone = Self::new();
        clone.release(&["--no-cache"]);
        clone
    }

    /// Another clone that saves what it needs beforehand, and is then built where there is no network at all.
    pub(crate) fn vendored_and_released_offline() -> Self {
        let clone = Self::new();
        let (sh, xtask) = (clone.shell(), env!("CARGO_BIN_EXE_xtask"));
        cmd!(sh, "{xtask} vendor").run().unwrap();
        // `cargo xtask` itself can be compiled from what was vendored.
        let home = tempfile::tempdir().unwrap();
        cmd!(
            sh,
            "unshare --net cargo --offline --config dist/vendor/crates/config.toml fetch --locked"
        )
        .env("CARGO_HOME", home.path())
        .run()
        .unwrap();
        let secret = key().secret_file();
        // The builder is reached by its socket. It is not in here, but gets no source that is not local.
        cmd!(sh, "unshare --net {xtask} release {VERSION} --offline --no-cache")
            .env("WEBMACS_SIGNING_KEY", secret)
            .run()
            .unwrap();
        clone
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where its bundles are.
    pub(crate) fn dist(&self) -> PathBuf {
        self.path().join("dist")
    }

    /// The checksums of its bundles.
    pub(crate) fn sums(&self) -> String {
        fs::read_to_string(self.dist().join("SHA256SUMS")).unwrap()
    }

    /// The key that its bundles are signed with.
    pub(crate) fn public_key(&self) -> String {
        key().public().to_string()
    }

    /// A bundle of it, unpacked by a stock `tar`.
    pub(crate) fn unpack(&self, bundle: &str) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        let sh = Shell::new().unwrap();
        let (bundle, into) = (self.dist().join(bundle), directory.path());
        cmd!(sh, "tar xzf {bundle} -C {into}").run().unwrap();
        directory
    }

    /// The manifest of a bundle of it.
    pub(crate) fn manifest(&self, bundle: &str) -> Value {
        let sh = Shell::new().unwrap();
        let bundle = self.dist().join(bundle);
        serde_json::from_str(&cmd!(sh, "tar xzOf {bundle} manifest.json").read().unwrap()).unwrap()
    }

    /// Rewrites a file of it, which must change by that.
    pub(crate) fn change(&self, name: &str, change: &dyn Fn(&str) -> String) {
        let path = self.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        let changed = change(&text);
        assert_ne!(changed, text, "{name}");
        fs::write(&path, changed).unwrap();
    }

    /// Commits what was changed.
    pub(crate) fn commit(&self) {
        let sh = self.shell();
        cmd!(
            sh,
            "git -c user.name=test -c user.email=test@localhost commit --quiet --all -m changed"
        )
        .run()
        .unwrap();
    }

    /// Undoes the last commit.
    pub(crate) fn take_back(&self) {
        let sh = self.shell();
        cmd!(sh, "git reset --quiet --hard HEAD^").run().unwrap();
    }

    /// A clone that nothing is released from yet.
    pub(crate) fn new() -> Self {
        let root = xtask::checkout::root().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let clone = Self { directory };
        let sh = Shell::new().unwrap();
        let into = clone.path();
        cmd!(sh, "git clone --quiet {root} {into}").run().unwrap();
        // Substitutes are the machine's, not the repository's.
        let vendored = root.join("dist/vendor/vendor.json");
        if vendored.exists() {
            fs::create_dir_all(clone.dist().join("vendor")).unwrap();
            fs::copy(vendored, clone.dist().join("vendor/vendor.json")).unwrap();
        }
        clone
    }

    fn release(&self, options: &[&str]) {
        self.release_as(VERSION, options, key().secret_file());
    }

    /// Releases a version of it, signed with a secret key.
    pub(crate) fn release_as(&self, version: &str, options: &[&str], secret: &str) {
        let xtask = env!("CARGO_BIN_EXE_xtask");
        let sh = self.shell();
        cmd!(sh, "{xtask} release {version} {options...}")
            .env("WEBMACS_SIGNING_KEY", secret)
            .run()
            .unwrap();
    }

    /// Releases a version for this machine's platform, signed with a secret key, with files beside the clone's own and a
    /// declaration that was changed; gives the bundle. The clone is then what it was.
    pub(crate) fn release_changed(&self, version: &str, secret: &str, change: &dyn Fn(&str) -> String) -> PathBuf {
        self.change("Cargo.toml", change);
        self.commit();
        self.release_as(version, &["--platform", "linux/amd64"], secret);
        self.take_back();
        self.dist().join(format!("webmacs-update-{version}-amd64.tar.gz"))
    }

    /// Puts a program where the declaration can name it, and gives the `path` and `sha256` that name it.
    pub(crate) fn bring(&self, program: &Path, name: &str) -> String {
        let path = format!("dist/{name}");
        fs::create_dir_all(self.dist()).unwrap();
        fs::copy(program, self.path().join(&path)).unwrap();
        let digest = Digest::of(&fs::read(program).unwrap());
        format!("path = \"{path}\", sha256 = \"{}\"", digest.hex())
    }

    fn shell(&self) -> Shell {
        let sh = Shell::new().unwrap();
        sh.change_dir(self.path());
        sh
    }
}

/// The key that all clones are signed with: another key would give other bundles.
fn key() -> &'static NewKey {
    static KEY: OnceLock<NewKey> = OnceLock::new();
    KEY.get_or_init(|| generate(None).unwrap())
}
