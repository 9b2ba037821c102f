//! Bad input: one clear error with a hint, a documented exit code, and a good bundle that stays.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{
    files::{noise, snapshot},
    layout,
    product::Product,
    run::{Outcome, find_program, run, tool},
};

/// Exit codes of `docs/src/reference/exit-codes.md`.
const USAGE: i32 = 2;
const NOT_FIT: i32 = 3;
const BUILD_FAILED: i32 = 4;

const NOWHERE: &str = "unix:///nowhere.sock";

/// A product with a good bundle in `dist/`, which no bad input may change.
struct Released {
    product: Product,
}

impl Released {
    fn new() -> Self {
        let product = Product::new();
        product.release(&[]);
        Self { product }
    }

    /// Makes a commit of what `spoil` does, tries a release, and takes the commit back.
    #[track_caller]
    fn refuses(&self, spoil: impl FnOnce(&Product), code: i32, message: &str, hint: &str) -> Outcome {
        spoil(&self.product);
        self.product.git(&["add", "--all"]);
        self.product
            .git(&["commit", "--quiet", "--allow-empty", "--message", "spoilt"]);
        let outcome = self.refuses_now(&mut self.product.command(&["release", "1.0.0"]), code, message, hint);
        self.product.git(&["reset", "--quiet", "--hard", "HEAD^"]);
        outcome
    }

    /// Runs `command`, which must fail with one error.
    #[track_caller]
    fn refuses_now(&self, command: &mut Command, code: i32, message: &str, hint: &str) -> Outcome {
        let dist = snapshot(&self.product.path("dist"));
        assert!(dist.contains_key(&self.product.bundle()));
        let outcome = run(command).expect(code);
        let errors = outcome
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count();
        assert_eq!(errors, 1, "{outcome}");
        let outcome = outcome.says(message).says("hint: ").says(hint);
        assert_eq!(outcome.stdout, "", "{outcome}");
        assert_eq!(snapshot(&self.product.path("dist")), dist, "dist/ changed: {outcome}");
        outcome
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn versions_that_are_not_semantic() {
    let released = Released::new();
    for (version, message) in [
        ("1.0", "not a semantic version"),
        ("01.0.0", "not a semantic version"),
        ("latest", "not a semantic version"),
        ("v1.0.0", "hint: 1.0.0"),
        ("1.0.0+build", "cannot be part of an image's tag"),
    ] {
        released.refuses_now(&mut released.product.command(&["release", version]), USAGE, message, "");
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn declarations_that_are_wrong() {
    let released = Released::new();
    let declare = |lines: &'static str| move |product: &Product| product.declare(lines);
    released.refuses(
        declare("wheels = 4"),
        NOT_FIT,
        "error: workspace.metadata.release.wheels: unknown key \"wheels\"",
        "remove it, or write one of these keys",
    );
    released.refuses(
        declare("platfroms = [\"linux/amd64\"]"),
        NOT_FIT,
        "error: workspace.metadata.release.platfroms: ",
        "did you mean `platforms`?",
    );
    released.refuses(
        |product| product.edit("Cargo.toml", "acme-api", "acme-web"),
        NOT_FIT,
        "error: workspace.metadata.release.images[1]: two images are called \"acme-web\"",
        "give it a name of its own",
    );
    released.refuses(
        |product| product.edit("Cargo.toml", "target = \"api\"", "target = \"apo\""),
        NOT_FIT,
        "Dockerfile has no stage \"apo\"",
        "did you mean `api`?",
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn files_that_are_missing_or_contradict() {
    let released = Released::new();
    let remove = |file: &'static str| move |product: &Product| fs::remove_file(product.path(file)).unwrap();
    released.refuses(
        remove("Dockerfile"),
        NOT_FIT,
        "error: Dockerfile: is declared and not there",
        "create it, or correct its path",
    );
    released.refuses(
        |product| {
            fs::rename(
                product.path("docker-compose.prod.yml"),
                product.path("docker-compose.yml"),
            )
            .unwrap();
        },
        NOT_FIT,
        "error: docker-compose.prod.yml: is declared and not there",
        "did you mean docker-compose.yml?",
    );
    released.refuses(
        |product| product.edit("docker-compose.prod.yml", "acme-api:", "acme-apo:"),
        NOT_FIT,
        "service `api` runs acme-apo:1.0.0, which is not declared",
        "did you mean acme-api:1.0.0?",
    );
    released.refuses(
        |product| product.declare("files = [{ path = \"shared\" }]"),
        NOT_FIT,
        "error: shared: is declared as a file, and is a directory",
        "name its files one by one",
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_base_image_that_is_none() {
    let product = Product::new();
    product.edit("Dockerfile", "FROM scratch AS api", "FROM ${BASE} AS api");
    let outcome = product.run(&["check", "1.0.0", "--allow-dirty"]).expect(NOT_FIT);
    outcome
        .says("error: Dockerfile: builds on \"\", which is not an image")
        .says("an ARG with a default before the first FROM")
        // What was accepted is not offered again.
        .says("hint: commit them, or the bundle cannot be made again");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_repository_without_a_commit_and_a_directory_without_a_workspace() {
    let product = Product::new();
    fs::remove_dir_all(product.path(".git")).unwrap();
    product.git(&["init", "--quiet"]);
    product
        .run(&["check"])
        .expect(NOT_FIT)
        .says("warning: this commit has no version's tag and no version was given")
        .says("a release needs a git repository with at least one commit")
        .says("\n1 problem to fix");
    let directory = tempfile::tempdir().unwrap();
    run(product.command(&["check"]).current_dir(directory.path()))
        .expect(NOT_FIT)
        .says("could not find `Cargo.toml`")
        .says("hint: run this inside of a cargo workspace");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_directory_that_cannot_be_written_is_reported_before_anything_is_built() {
    let released = Released::new();
    let disk = SmallDisk::on(released.product.path("dist"), "1m");
    fs::write(released.product.bundle(), "as it was").unwrap();
    tool(
        released.product.root(),
        "mount",
        &["-o", "remount,ro", released.product.path("dist").to_str().unwrap()],
    );
    let outcome = released.refuses_now(
        &mut released.product.command(&["release", "1.0.0"]),
        NOT_FIT,
        "dist: cannot be written: Read-only file system",
        "change their owner or mode",
    );
    assert!(!outcome.stderr.contains("building"), "{outcome}");
    drop(disk);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_vendored_image_that_lacks_a_platform() {
    let released = Released::new();
    let vendor = released.product.path("dist/vendor");
    let digest = layout::write(&vendor.join("base"), &["amd64"], "base");
    let list = serde_json::json!({ "format": 1, "images": [{
        "reference": "acme-base:1", "digest": digest, "substitute": true, "layout": "base", "platforms": ["linux/amd64"],
    }]});
    fs::write(vendor.join("vendor.json"), list.to_string()).unwrap();
    let lock = "format = 1\n\n[[image]]\nreference = \"acme-base:1\"\nsource = \"substitute\"\n";
    released.refuses(
        |product| {
            product.edit(
                "Cargo.toml",
                "images = [",
                "images = [\n  { reference = \"acme-base:1\" },",
            );
            product.edit(
                "docker-compose.prod.yml",
                "services:",
                "services:\n  base: { image: \"acme-base:1\" }",
            );
            product.write("release.lock", lock);
        },
        NOT_FIT,
        "error: acme-base:1: is vendored, but not for linux/arm64",
        "leave the platform out with --platform",
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_build_that_fails_shows_the_end_of_its_output() {
    let released = Released::new();
    let outcome = released.refuses(
        |product| product.edit("Dockerfile", "COPY shared /shared", "COPY sharde /shared"),
        BUILD_FAILED,
        "error: the image build failed\n",
        "fix what the lines above show",
    );
    let (_, shown) = outcome.stderr.split_once("error: the image build failed\n").unwrap();
    assert!(shown.contains("\"/sharde\": not found"), "{outcome}");
}

/// A file system in memory on a directory, gone with its value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn on(directory: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&directory).unwrap();
        let options = format!("size={size}");
        tool(
            &directory,
            "mount",
            &["-t", "tmpfs", "-o", &options, "tmpfs", directory.to_str().unwrap()],
        );
        Self(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Not in a way that panics again.
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn no_space_left_for_the_bundle() {
    let product = Product::new();
    product.declare("layers = { level = 1 }");
    product.edit("Cargo.toml", "\"all\", \"per-platform\"", "\"all\"");
    product.commit("one small bundle");
    let _disk = SmallDisk::on(product.path("dist"), "1m");
    product.release(&[]);
    let released = Released { product };
    released.refuses(
        |product| product.write("shared/data", noise(7, 2 << 20)),
        1,
        "No space left on device",
        "free some space",
    );
    let free = tool(&released.product.path("dist"), "df", &["--output=used", "."]);
    assert!(
        free.lines().last().unwrap().trim().parse::<u64>().unwrap() < 64,
        "remains are left: {free}"
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn too_little_space_is_reported_before_anything_is_built() {
    let released = Released::new();
    let _disk = SmallDisk::on(released.product.path("target"), "64m");
    let outcome = released.refuses_now(
        &mut released.product.command(&["release", "1.0.0"]),
        NOT_FIT,
        "MiB are free under target/",
        "free at least 2 GiB",
    );
    assert!(!outcome.stderr.contains("building"), "{outcome}");
}

/// A directory for `PATH` with nothing but the given scripts and links to stock programs.
fn programs(directory: &Path, scripts: &[(&str, String)], links: &[&str]) {
    for (name, text) in scripts {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for name in links {
        std::os::unix::fs::symlink(find_program(name), directory.join(name)).unwrap();
    }
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn no_docker_at_all() {
    let released = Released::new();
    let directory = tempfile::tempdir().unwrap();
    programs(directory.path(), &[], &["git"]);
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let mut command = released.product.command(&["release", "1.0.0"]);
    command.env("PATH", directory.path()).env("CARGO", cargo);
    released.refuses_now(
        &mut command,
        NOT_FIT,
        "error: docker buildx: `docker` was not found",
        "install Docker with the buildx plugin",
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn an_engine_that_does_not_run() {
    let released = Released::new();
    let mut command = released.product.command(&["release", "1.0.0"]);
    command.env("DOCKER_HOST", NOWHERE);
    released.refuses_now(&mut command, NOT_FIT, "error: builder: ", "start the Docker engine");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_builder_that_does_not_exist() {
    let released = Released::new();
    let mut command = released
        .product
        .command(&["release", "1.0.0", "--builder", "no-such-builder"]);
    released.refuses_now(&mut command, NOT_FIT, "error: builder: ", "--builder");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_builder_without_arm64() {
    let released = Released::new();
    let directory = tempfile::tempdir().unwrap();
    // This machine's own builder, as it is before emulation is set up.
    let docker = find_program("docker");
    let docker = docker.display();
    let script = format!(
        "#!/bin/sh\nif [ \"$1 $2\" = 'buildx inspect' ]; then {docker} \"$@\" | sed 's|, linux/arm64||'\nelse exec {docker} \"$@\"; fi\n"
    );
    programs(directory.path(), &[("docker", script)], &["git", "sed", "sh"]);
    let mut command = released.product.command(&["release", "1.0.0"]);
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    command.env("PATH", directory.path()).env("CARGO", cargo);
    released.refuses_now(
        &mut command,
        NOT_FIT,
        "error: builder: default cannot run programs for linux/arm64",
        "qemu-user-static",
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn keys_that_are_missing_or_wrong() {
    let released = Released::new();
    let release = || released.product.command(&["release", "1.0.0"]);
    released.refuses_now(
        release().env_remove("ACME_SIGNING_KEY"),
        NOT_FIT,
        "error: signing key: ",
        "`cargo xtask keygen` makes one",
    );
    released.refuses_now(
        release().env("ACME_SIGNING_KEY", "not a key"),
        NOT_FIT,
        "error: signing key: $ACME_SIGNING_KEY",
        "a key that `cargo xtask keygen` or minisign made",
    );
    let with_password = bundle::signature::generate(Some("right")).unwrap();
    released.refuses_now(
        release()
            .env("ACME_SIGNING_KEY", with_password.secret_file())
            .env("ACME_SIGNING_PASSWORD", "wrong"),
        NOT_FIT,
        "error: signing key: $ACME_SIGNING_KEY",
        "its password in $ACME_SIGNING_PASSWORD",
    );
    let stranger = bundle::signature::generate(None).unwrap();
    released.refuses(
        |product| product.declare(&format!("signing = {{ public-keys = [\"{}\"] }}", stranger.public())),
        NOT_FIT,
        "is none of the product's keys",
        "signing.public-keys",
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn work_trees_and_tags_that_are_not_the_version() {
    let released = Released::new();
    let product = &released.product;
    let release = || product.command(&["release", "1.0.0"]);
    product.write("web/index.html", "not committed");
    released.refuses_now(
        &mut release(),
        NOT_FIT,
        "error: work tree: 1 files are not committed (M web/index.html)",
        "--allow-dirty",
    );
    product.commit("committed");
    product.git(&["tag", "v1.0.0", "HEAD^"]);
    released.refuses_now(
        &mut release(),
        NOT_FIT,
        "error: v1.0.0: is a tag on another commit",
        "git checkout v1.0.0",
    );
    product.git(&["tag", "--delete", "v1.0.0"]);
    product.git(&["tag", "v2.0.0"]);
    released.refuses_now(
        &mut release(),
        NOT_FIT,
        "error: v1.0.0: this commit is tagged v2.0.0",
        "release that version",
    );
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn check_reports_all_problems_at_once() {
    let product = Product::new();
    product.edit("docker-compose.prod.yml", "acme-api:", "acme-apo:");
    let mut command = product.command(&["check", "1.0.0"]);
    let outcome = run(command.env("DOCKER_HOST", NOWHERE).env_remove("ACME_SIGNING_KEY")).expect(3);
    for problem in [
        "error: work tree: ",
        "error: docker-compose.prod.yml: ",
        "error: builder: ",
        "error: signing key: ",
        "4 problems to fix",
    ] {
        assert!(outcome.stderr.contains(problem), "{problem:?} is not in {outcome}");
    }
    let before = snapshot(product.root());
    assert_eq!(
        before
            .keys()
            .filter(|path| path.starts_with(product.path("dist")))
            .count(),
        0
    );
    product.edit("docker-compose.prod.yml", "acme-apo:", "acme-api:");
    product.run(&["check", "1.0.0"]).expect(0).says("ready to release");
}
