//! `install.sh`: where a device's trust begins.
//!
//! The script is a template in which names, keys and the updater's checksums are filled in. It lies in every
//! bundle and beside them, the same bytes each time, for all platforms of the release.

use std::{collections::BTreeMap, fmt::Write};

use bundle::{Digest, Platform, names::ProductName, signature::PublicKey};
use semver::Version;

const TEMPLATE: &str = include_str!("install.sh");

/// The script's text.
///
/// `updaters` are the SHA-256 of the updater's binaries, `keys` the public keys as minisign writes them.
pub(crate) fn script(
    product: &ProductName,
    version: &Version,
    updaters: &BTreeMap<Platform, Digest>,
    keys: &[PublicKey],
) -> String {
    let mut platforms = String::new();
    for (platform, digest) in updaters {
        // Writing to a String cannot fail.
        writeln!(
            platforms,
            "    {}) binary={} sha256={} ;;",
            machines(platform)
                .iter()
                .map(|machine| format!("Linux/{machine}"))
                .collect::<Vec<_>>()
                .join(" | "),
            binary_name(platform),
            digest.hex()
        )
        .ok();
    }
    let names = updaters.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    TEMPLATE
        .replace("@PLATFORMS@\n", &platforms)
        .replace("@PLATFORM_NAMES@", &names)
        .replace("@PRODUCT@", product.as_str())
        .replace("@VERSION@", &version.to_string())
        .replace(
            "@KEYS@",
            &keys.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        )
}

/// The name of the updater's binary in the bundle.
pub(crate) fn binary_name(platform: &Platform) -> String {
    format!("bin/updater-{}-{}", platform.os(), platform.suffix())
}

/// What `uname -m` says on a platform.
fn machines(platform: &Platform) -> Vec<&str> {
    match (platform.architecture(), platform.variant()) {
        ("amd64", _) => vec!["x86_64", "amd64"],
        ("arm64", _) => vec!["aarch64", "arm64"],
        ("arm", Some("v6")) => vec!["armv6l"],
        ("arm", _) => vec!["armv7l", "armv8l"],
        ("386", _) => vec!["i386", "i686"],
        (other, _) => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_filled_in() {
        let updaters = ["linux/amd64", "linux/arm64"]
            .map(|platform| (platform.parse().unwrap(), Digest::of(platform.as_bytes())))
            .into_iter()
            .collect();
        let product = "webmacs".parse().unwrap();
        let key = bundle::signature::generate(None).unwrap().public().clone();
        let script = script(&product, &Version::new(2, 1, 0), &updaters, &[key.clone(), key.clone()]);
        for placeholder in ["@PRODUCT@", "@VERSION@", "@KEYS@", "@PLATFORMS@", "@PLATFORM_NAMES@"] {
            assert!(!script.contains(placeholder), "{placeholder} is left in:\n{script}");
        }
        assert!(
            script.contains("Linux/aarch64 | Linux/arm64) binary=bin/updater-linux-arm64 sha256="),
            "{script}"
        );
        assert!(script.contains(&format!("keys='{key}\n{key}'")), "{script}");
    }

    /// A directory with an installer for `updater`, and with `updater` itself.
    fn installer(updater: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let updaters = ["linux/amd64", "linux/arm64"]
            .map(|platform| (platform.parse().unwrap(), Digest::of(updater.as_bytes())))
            .into_iter()
            .collect();
        let key = bundle::signature::generate(None).unwrap().public().clone();
        let script = script(&"webmacs".parse().unwrap(), &Version::new(2, 1, 0), &updaters, &[key]);
        std::fs::write(directory.path().join("install.sh"), script).unwrap();
        std::fs::create_dir(directory.path().join("bin")).unwrap();
        for name in updaters.keys().map(binary_name) {
            std::fs::write(directory.path().join(name), updater).unwrap();
        }
        directory
    }

    /// Runs `script` in `directory`; gives whether it succeeded, and all that it said.
    fn sh(directory: &std::path::Path, script: &str) -> (bool, String) {
        let output = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(directory)
            .env("trust", "--trust of-the-environment")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    }

    const TELLS: &str = "#!/bin/sh\necho \"$# arguments, $1 <$2>\"\n";

    /// GNU tar takes `a:b` for a file of the machine `a`.
    #[test]
    fn names_of_bundles_are_only_names() {
        let directory = installer(TELLS);
        for name in [
            "a:b.tar.gz",
            "a b.tar.gz",
            "$(touch c).tar.gz",
            "./-x.tar.gz",
            "a\nb.tar.gz",
        ] {
            let command = format!("tar -czf - bin >'{name}' && sh install.sh '{name}' --verify-only");
            let (done, said) = sh(directory.path(), &command);
            assert!(done, "{name}: {said}");
            assert_eq!(said, format!("4 arguments, verify <{name}>\n"));
        }
        assert!(!directory.path().join("c").exists());
    }

    #[test]
    fn another_updater_is_not_run() {
        for spoil in [
            "for file in bin/*; do echo 'echo owned' >>$file; done; tar -czf b bin",
            "for file in bin/*; do mv $file own; ln -s /bin/sh $file; done; tar -czf b bin",
            "tar -cf t bin; for file in bin/*; do echo 'echo owned' >$file; done; tar -rf t bin; gzip <t >b",
            "tar -czf b install.sh",
            "tar -czf t bin; head -c 100 t >b",
        ] {
            let directory = installer(TELLS);
            let (done, said) = sh(directory.path(), &format!("{spoil}; sh install.sh b --verify-only"));
            assert!(!done && said.contains("hint: take "), "{spoil}: {said}");
            assert!(
                !said.contains("owned") && !said.contains("arguments"),
                "{spoil}: {said}"
            );
        }
    }

    #[test]
    fn options_reach_the_updater_wherever_they_stand() {
        if !is_root() {
            return;
        }
        let directory = installer("#!/bin/sh\n[ \"$1\" != install ] || echo \"$*\"\n");
        for arguments in [
            "b --folder '/x y' --no-units",
            "--folder '/x y' b --no-units",
            "--folder '/x y' --no-units b",
        ] {
            let (done, said) = sh(
                directory.path(),
                &format!("tar -czf b bin && sh install.sh {arguments}"),
            );
            assert!(done, "{arguments}: {said}");
            assert!(
                said.starts_with("install b --folder /x y --no-units --trust RW"),
                "{arguments}: {said}"
            );
        }
        let (done, said) = sh(directory.path(), "sh install.sh b --folder");
        assert!(!done && said.contains("--folder needs a value"), "{said}");
        let (done, said) = sh(directory.path(), "sh install.sh --help");
        assert!(
            done && said.contains("--no-units") && !said.contains("set -eu"),
            "{said}"
        );
    }

    /// Installing is for root only.
    fn is_root() -> bool {
        let output = std::process::Command::new("id").arg("-u").output();
        output.is_ok_and(|output| output.stdout == b"0\n")
    }
}
