//! What a measurement leaves: a table, and no directories.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// Shows a table, and writes it to `file` if one is named.
pub(super) fn hand_out(table: &str, file: Option<&Path>) -> Result<()> {
    eprintln!("{table}");
    match file {
        Some(path) => fs::write(path, table).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(()),
    }
}

/// Removes a directory, if it is there.
pub(super) fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(())
}
