//! `updater check` and `updater download`, as a person types them, against a double of GitHub. No engine is needed.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use bundle::{Platform, names::ProductName};
use device::config::{
    Config,
    github::{Api, Settings},
};
use github_double::{Draft, GitHub};
use serde_json::Value;
use tempfile::TempDir;

const REPOSITORY: &str = "owner/app";

/// A device that knows a repository.
struct Device {
    directory: TempDir,
    config: Config,
}

impl Device {
    fn new(api: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let product: ProductName = "app".parse().unwrap();
        let declared = bundle::manifest::GitHub {
            repository: REPOSITORY.parse().unwrap(),
            api: Some(api.to_owned()),
        };
        let config = Config {
            folder: directory.path().join("opt"),
            state: directory.path().join("state"),
            etc: directory.path().join("etc"),
            github: Some(Settings::try_from(&declared).unwrap()),
            ..Config::for_product(&product)
        };
        config.make_directories().unwrap();
        config.write().unwrap();
        Self { directory, config }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_updater"));
        command.arg("--config").arg(self.config.etc.join("updater.toml"));
        command.args(arguments).output().unwrap()
    }

    #[track_caller]
    fn expect(&self, arguments: &[&str], code: i32) -> (String, String) {
        let output = self.run(arguments);
        let [out, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}\n{error}");
        (out, error)
    }
}

fn publish(double: &GitHub, version: &str) -> String {
    let name = format!("app-update-{version}-{}.tar.gz", Platform::host().suffix());
    let draft = Draft {
        tag: format!("v{version}"),
        ..Draft::default()
    };
    let content = format!("no real bundle of {version}");
    double
        .world()
        .publish(REPOSITORY, draft, &[(&name, content.as_bytes())]);
    name
}

#[test]
fn a_newer_version_is_found_and_downloaded() {
    let double = GitHub::start().unwrap();
    double.world().add_repository(REPOSITORY);
    let device = Device::new(&double.api_url());
    let (out, _) = device.expect(&["check"], 0);
    assert!(out.starts_with("app nothing; no release is published at http"), "{out}");
    let (_, error) = device.expect(&["download"], 3);
    assert!(error.contains("there is no newer version"), "{error}");

    let name = publish(&double, "2.1.0");
    let (out, _) = device.expect(&["check"], 0);
    assert!(
        out.starts_with("app nothing → 2.1.0 is available\n  published  20"),
        "{out}"
    );
    assert!(
        out.contains(&format!("\n  bundle     {name}, 23 bytes\n  page       http")),
        "{out}"
    );
    assert!(
        out.ends_with("\n  hint       updater download 2.1.0 --apply\n"),
        "{out}"
    );
    let (out, _) = device.expect(&["check", "--json"], 0);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&answer["update_available"], &answer["current_version"]),
        (&Value::Bool(true), &Value::Null)
    );
    assert_eq!(answer["github_latest_version"], "2.1.0");
    assert!(answer["github_download_url"].as_str().unwrap().ends_with(&name));

    let (_, error) = device.expect(&["apply", "2.1.0"], 3);
    assert!(error.contains("hint: updater download 2.1.0"), "{error}");
    let (out, _) = device.expect(&["download"], 0);
    let place: PathBuf = device.config.downloads().join(&name);
    assert_eq!(out, format!("{}\n  hint       updater apply 2.1.0\n", place.display()));
    assert_eq!(fs::read_to_string(place).unwrap(), "no real bundle of 2.1.0");
    // Once more there is nothing to do.
    double.forget_requests();
    device.expect(&["download", "2.1.0"], 0);
    assert!(double.requests().is_empty());
    let (_, error) = device.expect(&["download", "9.9.9"], 3);
    assert!(error.contains("no release of 9.9.9"), "{error}");
}

#[test]
fn what_is_not_there_is_said() {
    let unreachable = "http://127.0.0.1:9";
    let mut device = Device::new(unreachable);
    let (out, error) = device.expect(&["check", "--json"], 1);
    assert!(error.contains("GitHub cannot be reached"), "{error}");
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["exit_code"], 1);
    // No name ends so (RFC 2606).
    device.config.github.as_mut().unwrap().api = Api::try_from("https://git.invalid".to_owned()).unwrap();
    device.config.write().unwrap();
    let (_, error) = device.expect(&["check"], 1);
    assert!(
        error.contains("cannot be reached: git.invalid cannot be resolved"),
        "{error}"
    );
    device.config.github.as_mut().unwrap().token_file = Some(device.directory.path().join("none"));
    device.config.write().unwrap();
    let (_, error) = device.expect(&["check"], 1);
    assert!(error.contains("cannot read") && error.contains("none"), "{error}");
    let unencrypted = Api::try_from("http://git.example/api/v3".to_owned()).unwrap();
    fs::write(device.directory.path().join("none"), "secret").unwrap();
    Command::new("chmod")
        .arg("600")
        .arg(device.directory.path().join("none"))
        .status()
        .unwrap();
    device.config.github.as_mut().unwrap().api = unencrypted;
    device.config.write().unwrap();
    let (_, error) = device.expect(&["check"], 3);
    assert!(error.contains("not encrypted") && !error.contains("secret"), "{error}");
    device.config.github = None;
    device.config.write().unwrap();
    for command in ["check", "download"] {
        let (_, error) = device.expect(&[command], 3);
        assert!(error.contains("[github] repository = \"owner/name\""), "{error}");
    }
}

/// A second download says who is at it, and leaves it alone.
#[test]
fn one_downloads_at_a_time() {
    let double = GitHub::start().unwrap();
    double.world().add_repository(REPOSITORY);
    publish(&double, "2.1.0");
    let device = Device::new(&double.api_url());
    let _other = device::engine::lock::Lock::take(&device.config.download_lock(), "updater daemon").unwrap();
    let (_, error) = device.expect(&["download"], 6);
    assert!(error.contains("updater daemon"), "{error}");
}
