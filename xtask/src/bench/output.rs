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

/// Removes a folder, if it is there.
pub(super) fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}
