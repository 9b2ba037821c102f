//! Which checkout a chore is for.
//!
//! The program's own path says nothing about it: checkouts that share a target directory share the program, too. So it is
//! asked for when the program runs.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xshell::{Shell, cmd};

/// The workspace's directory: that of the package which `cargo xtask` runs, or that around the current directory.
///
/// # Errors
/// There is no workspace, or Cargo cannot be run.
pub fn root() -> Result<PathBuf> {
    let start = match env::var_os("CARGO_MANIFEST_DIR") {
        Some(package) => PathBuf::from(package),
        None => env::current_dir().context("cannot tell the current directory")?,
    };
    around(&start)
}

/// The workspace that `directory` is in.
fn around(directory: &Path) -> Result<PathBuf> {
    let sh = Shell::new()?;
    sh.change_dir(directory);
    let manifest = cmd!(sh, "cargo locate-project --workspace --message-format plain")
        .quiet()
        .read()
        .with_context(|| {
            format!(
                "{} is in no workspace\n  hint: run it in a checkout",
                directory.display()
            )
        })?;
    let root = Path::new(&manifest).parent().context("a manifest has a directory")?;
    Ok(root.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_checkout_is_where_the_command_runs() {
        let directory = tempfile::tempdir().unwrap();
        for checkout in ["one", "other"] {
            let root = directory.path().canonicalize().unwrap().join(checkout);
            fs::create_dir_all(root.join("xtask/src")).unwrap();
            fs::write(root.join("Cargo.toml"), "[workspace]\nmembers = [\"xtask\"]\n").unwrap();
            fs::write(root.join("xtask/Cargo.toml"), "[package]\nname = \"xtask\"\n").unwrap();
            fs::write(root.join("xtask/src/lib.rs"), "").unwrap();
            assert_eq!(around(&root.join("xtask")).unwrap(), root);
            assert_eq!(around(&root.join("xtask/src")).unwrap(), root);
        }
        let error = around(directory.path()).unwrap_err();
        assert!(format!("{error:#}").contains("hint: "), "{error:#}");
    }

    #[test]
    fn no_path_of_a_checkout_is_part_of_the_program() {
        let source = root().unwrap().join("xtask/src");
        let baked = concat!("env!(\"CARGO_", "MANIFEST_DIR");
        let mut directories = vec![source];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    let text = fs::read_to_string(&path).unwrap();
                    assert!(!text.contains(baked), "{}", path.display());
                }
            }
        }
    }
}
