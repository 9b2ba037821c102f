//! The directory outside of every checkout where what setup made is kept.
//!
//! An item is a directory named after what it is and the digest of its recipe: another recipe is another directory,
//! and an item that exists is whole, because it is made under a hidden name and renamed. The cache is never
//! cleaned here: old recipes stay until a person deletes them.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bundle::Digest;

/// The cache's directory name below `$XDG_CACHE_HOME`.
const NAME: &str = "cargo-xtask-release";

/// The cache directory of this person.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// An item's name and the digest of its recipe.
#[derive(Clone, Debug)]
pub struct Item {
    /// The directory, whether or not it is made yet.
    pub path: PathBuf,
}

/// Holds the cache for one process; released when dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the open file is the lock")] File);

impl Cache {
    /// The cache below `$XDG_CACHE_HOME`, or else below `~/.cache`.
    ///
    /// # Errors
    /// Neither variable names an absolute directory.
    pub fn of_user() -> Result<Self> {
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .context("no directory for the cache\nhint: set HOME or XDG_CACHE_HOME to an absolute path")?;
        Ok(Self { root: base.join(NAME) })
    }

    /// A cache in `root`, for tests.
    #[cfg(test)]
    pub(crate) fn in_directory(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The cache's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of the item `name` made by `recipe`: any text that changes when the result should.
    pub fn item(&self, name: &str, recipe: &str) -> Item {
        let hex = Digest::of(recipe.as_bytes()).hex();
        Item {
            path: self.root.join(format!("{name}-{}", &hex[..12])),
        }
    }

    /// Waits until no other process changes the cache.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn lock(&self) -> Result<Lock> {
        fs::create_dir_all(&self.root).with_context(|| format!("cannot make {}", self.root.display()))?;
        let path = self.root.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Lock(file))
    }
}

impl Item {
    /// Whether it was made.
    pub fn exists(&self) -> bool {
        self.path.is_dir()
    }

    /// Lets `make` fill a hidden directory and then puts that in the item's place; nothing if it exists.
    ///
    /// # Errors
    /// `make` fails, or the directory cannot be made or renamed. The half-made directory is removed.
    pub fn make(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        if self.exists() {
            return Ok(());
        }
        let parent = self.path.parent().context("a cache item has a parent directory")?;
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        // Dropping this removes what a failed step has left.
        let making = tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        let inner = making.path().join("item");
        fs::create_dir(&inner).with_context(|| format!("cannot make {}", inner.display()))?;
        make(&inner)?;
        fs::rename(&inner, &self.path).with_context(|| format!("cannot put {} in place", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_recipe_is_another_item() {
        let cache = Cache::in_directory(Path::new("/cache"));
        let (one, other) = (cache.item("image", "a"), cache.item("image", "b"));
        assert_ne!(one.path, other.path);
        assert_eq!(one.path, cache.item("image", "a").path);
    }

    #[test]
    fn a_failed_step_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let item = Cache::in_directory(directory.path()).item("image", "a");
        let error = item.make(|path| {
            fs::write(path.join("half"), "")?;
            anyhow::bail!("no")
        });
        assert!(error.is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        item.make(|path| Ok(fs::write(path.join("whole"), "")?)).unwrap();
        assert!(item.exists() && item.path.join("whole").exists());
    }
}
