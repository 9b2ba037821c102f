//! Builds the images of a release: one `docker buildx bake`, with what can be done while it runs beside it.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde::Serialize;

use super::{
    bake_file::BakeFile,
    buildx::{self, Cache},
};
use crate::{
    Error, Result,
    collect::layers::LayerStore,
    facts::{Workspace, empty_directory, updater_directory},
    pack::Present,
    system::{files, interrupt, report::Progress},
};

/// Builds all images and the updater's binaries.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BuildImages {
    /// The builder; the current one if none.
    pub builder: Option<String>,
    /// Whether the build cache is left aside.
    pub no_cache: bool,
    /// What `docker buildx bake` is given.
    pub bake: BakeFile,
    /// The layouts that images are exported to.
    #[serde(skip)]
    pub layouts: Vec<PathBuf>,
    /// Those of them whose layers are compressed while the build goes on.
    #[serde(skip)]
    pub compressed_early: Vec<PathBuf>,
    /// The bundles of the release, hashed while the build goes on.
    #[serde(skip)]
    pub bundles: Vec<PathBuf>,
}

impl BuildImages {
    /// Builds; a damaged build cache is left aside. Gives the bundles that are there already.
    pub(crate) fn run(&self, workspace: &Workspace, progress: &Progress) -> Result<Present> {
        progress.step("building images");
        let cache = if self.no_cache { Cache::Ignored } else { Cache::Used };
        match self.build(workspace, cache) {
            Err(Error::Build(error)) if cache == Cache::Used && buildx::is_damaged_cache(&error) => {
                progress.step("the build cache is damaged, as a killed build leaves it; building without it");
                self.build(workspace, Cache::Ignored)
            }
            built => built,
        }
    }

    fn build(&self, workspace: &Workspace, cache: Cache) -> Result<Present> {
        let empty = empty_directory(workspace);
        fs::create_dir_all(&empty).map_err(Error::io("create", &empty))?;
        // BuildKit adds to an index that is there; what an earlier build left must not be taken for this one's.
        for layout in &self.layouts {
            files::remove_if_there(&layout.join("index.json"))?;
        }
        let updater = updater_directory(workspace);
        if updater.exists() {
            fs::remove_dir_all(&updater).map_err(Error::io("remove", &updater))?;
        }
        let mut store = LayerStore::of(workspace);
        let done = AtomicBool::new(false);
        let mut present = Present::default();
        let built = thread::scope(|scope| {
            scope.spawn(|| store.compress_early(&self.compressed_early, &done));
            scope.spawn(|| present = Present::read(&self.bundles));
            let built = buildx::bake(
                &workspace.root,
                &workspace.state,
                &self.bake,
                self.builder.as_deref(),
                cache,
            );
            done.store(true, Ordering::Relaxed);
            built
        });
        store.remember()?;
        // A build that Ctrl-C ended fails like any other.
        interrupt::check()?;
        built.map(|()| present)
    }
}
