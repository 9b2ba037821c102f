//! A release: declaration → facts → plan → build → collect → sign and pack → checksums.
//!
//! The plan's steps are executed in order, each in one arm of one `match`. A step that was done before from
//! the same inputs is found done: BuildKit's cache is asked for the build, digests for layers and bundles.
//! So a release that was interrupted goes on where it stopped, and one of which nothing changed
//! writes nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use bundle::{Digest, PackError};
use serde::Serialize;

use crate::{
    Error, Problem, Result,
    build::{BakeFile, buildx, exclusive::Exclusive},
    collect::{
        self,
        layers::LayerStore,
        layout::{self, Layout},
        part::{self, import},
    },
    facts::{Facts, Workspace, empty_folder, layout_folder, updater_folder},
    pack::{
        self, Packed, Packer, Present,
        collected::Collected,
        keys::{self, Signer},
        manifest::{self, BundleFile},
    },
    plan::{Plan, Step, is_bundle_of, plan},
    preflight,
    publish::{self, Patience, Publication, Published, Session},
    request::{Output, Request},
    system::{
        files::{self, file_name, hash_file},
        interrupt,
        report::Progress,
    },
};

/// What a release left behind.
#[derive(Clone, Debug, Serialize)]
pub struct Released {
    /// The product.
    pub product: String,
    /// The version.
    pub version: semver::Version,
    /// The bundles.
    pub bundles: Vec<Packed>,
    /// The part, if one was asked for.
    pub part: Option<PathBuf>,
    /// The key that signed.
    pub signed_by: Option<String>,
    /// Images that were made from stand-ins.
    pub substitutes: Vec<String>,
    /// The GitHub Release, if one was asked for.
    pub published: Option<Published>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Reads everything that a plan depends on, and makes it. Changes nothing.
///
/// # Errors
/// What [`Facts::read`] and [`plan`] find wrong.
pub fn prepare(workspace: &Workspace, request: &Request) -> Result<(Facts, Plan)> {
    let facts = Facts::read(workspace, &request.version)?;
    let plan = plan(workspace, &facts, request)?;
    Ok((facts, plan))
}

/// Everything that stands against a release, from the repository, the machine and the key.
///
/// # Errors
/// A file that is there cannot be read.
pub fn preflight(workspace: &Workspace, request: &Request) -> Result<Vec<Problem>> {
    let mut problems = match prepare(workspace, request) {
        Ok((_, plan)) => plan.warnings,
        Err(Error::Problems(problems)) => problems,
        Err(error) => return Err(error),
    };
    problems.extend(preflight::folders(workspace));
    problems.extend(preflight::machine_problems(workspace, request));
    problems.extend(keys::load(workspace).err().map(|error| keys::problem(&error)));
    problems.extend(keys::exposed(workspace));
    Ok(problems)
}

/// Makes the release.
///
/// # Errors
/// Anything that stands against it, before anything is done; then what the steps meet. Bundles that
/// were in `dist/` before stay until better ones are whole.
pub fn release(workspace: &Workspace, request: &Request) -> Result<Released> {
    let progress = Progress::start();
    interrupt::listen();
    if let Output::Part(folder) = &request.output {
        pack::part::expect_empty(folder)?;
    }
    // The machine is asked while files and git are read.
    let (prepared, machine) = thread::scope(|scope| {
        let machine = scope.spawn(|| preflight::machine_problems(workspace, request));
        (prepare(workspace, request), machine.join())
    });
    let mut problems = preflight::folders(workspace);
    problems.extend(machine.unwrap_or_default());
    let signer = match request.output {
        Output::Bundles => {
            problems.extend(keys::exposed(workspace));
            keys::load(workspace).map(Some)
        }
        Output::Part(_) => Ok(None),
    };
    problems.extend(signer.as_ref().err().map(keys::problem));
    let (facts, plan) = match prepared {
        Ok(prepared) => prepared,
        Err(Error::Problems(found)) => return Err(Error::Problems(found.into_iter().chain(problems).collect())),
        Err(error) => return Err(error),
    };
    let (errors, warnings): (Vec<_>, Vec<_>) = problems.into_iter().partition(Problem::is_error);
    if !errors.is_empty() {
        return Err(Error::Problems(errors));
    }
    for warning in plan.warnings.iter().chain(&warnings) {
        crate::system::report::note(warning);
    }
    // A wrong token or a missing tag is not found out after an hour of building.
    let session = match (&request.publish, &facts.git) {
        (Some(publication), Ok(git)) => Some((
            Session::open(
                publication.target.clone(),
                &plan.version,
                &git.commit,
                Patience::default(),
            )?,
            publication,
        )),
        _ => None,
    };
    let _exclusive = Exclusive::take(workspace)?;
    let mut execution = Execution {
        workspace,
        facts: &facts,
        plan: &plan,
        signer: signer?,
        progress: &progress,
        parts: Vec::new(),
        collected: Collected::default(),
        files: Vec::new(),
        present: Present::default(),
        released: Released {
            product: plan.product.clone(),
            version: plan.version.clone(),
            bundles: Vec::new(),
            part: None,
            signed_by: None,
            substitutes: Vec::new(),
            published: None,
            seconds: 0.0,
        },
        session,
    };
    execution.released.signed_by = execution.signer.as_ref().map(|signer| signer.public_key().to_string());
    for step in &plan.steps {
        interrupt::check()?;
        execution.execute(step)?;
    }
    execution.released.seconds = progress.seconds();
    Ok(execution.released)
}

/// A release under way.
struct Execution<'a> {
    workspace: &'a Workspace,
    facts: &'a Facts,
    plan: &'a Plan,
    signer: Option<Signer>,
    progress: &'a Progress,
    parts: Vec<Layout>,
    collected: Collected,
    files: Vec<BundleFile>,
    present: Present,
    released: Released,
    /// Publishing, open before anything is built.
    session: Option<(Session, &'a Publication)>,
}

impl Execution<'_> {
    fn execute(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Build {
                builder,
                no_cache,
                bake,
            } => {
                self.progress.step("building images");
                match self.build(bake, builder.as_deref(), *no_cache) {
                    Err(Error::Build(error)) if !no_cache && buildx::is_damaged_cache(&error) => {
                        self.progress
                            .step("the build cache is damaged, as a killed build leaves it; building without it");
                        self.build(bake, builder.as_deref(), true)
                    }
                    built => built,
                }
            }
            Step::Import { part } => {
                self.progress.step(format_args!("importing {}", part.display()));
                let scratch = self.workspace.state.join("parts").join(self.parts.len().to_string());
                let layout = import(part, &scratch)?;
                part::expect_commit(part, &layout, &self.commit()?)?;
                self.parts.push(layout);
                Ok(())
            }
            Step::Collect { images, .. } => {
                self.progress.step(format_args!("collecting {} images", images.len()));
                if !self.parts.is_empty() {
                    self.present = Present::read(self.plan.steps.iter().filter_map(Step::bundle));
                }
                self.collect()
            }
            Step::Pack { .. } => self.pack(step),
            Step::Checksums { path, .. } => {
                self.checksums(path)?;
                self.prune()
            }
            Step::Part { path } => {
                self.progress.step(format_args!("writing {}", path.display()));
                pack::part::write(path, &self.collected, &self.commit()?)?;
                self.released.part = Some(path.clone());
                Ok(())
            }
            Step::Publish { .. } => self.publish(),
        }
    }

    /// The commit that is checked out.
    fn commit(&self) -> Result<String> {
        let git = self.facts.git.as_ref().map_err(|message| Error::Content {
            path: self.workspace.root.clone(),
            message: message.clone(),
        })?;
        Ok(git.commit.clone())
    }

    fn publish(&mut self) -> Result<()> {
        let Some((session, publication)) = self.session.take() else {
            return Ok(());
        };
        let request = publish::Request {
            bundles: self.released.bundles.iter().map(|bundle| bundle.path.clone()).collect(),
            ..publication.request.clone()
        };
        let wanted = publish::wanted(self.workspace, &publication.target, &request)?;
        self.released.published = Some(session.publish(&wanted)?);
        Ok(())
    }

    fn build(&mut self, bake: &BakeFile, builder: Option<&str>, no_cache: bool) -> Result<()> {
        let empty = empty_folder(self.workspace);
        fs::create_dir_all(&empty).map_err(Error::io("create", &empty))?;
        // BuildKit adds to an index that is there; what an earlier build left must not be taken for this one's.
        for layout in self.layouts() {
            files::remove_if_there(&layout.join("index.json"))?;
        }
        let updater = updater_folder(self.workspace);
        if updater.exists() {
            fs::remove_dir_all(&updater).map_err(Error::io("remove", &updater))?;
        }
        // Of registry images, layers are mostly carried as they come.
        let built = self.workspace.declaration.built_images();
        let layouts: Vec<_> = built.map(|image| layout_folder(self.workspace, &image.name)).collect();
        let mut store = LayerStore::open(self.workspace.state.join("layers"), self.workspace.declaration.layers);
        let done = AtomicBool::new(false);
        let present = &mut self.present;
        let bundles = self.plan.steps.iter().filter_map(Step::bundle);
        let built = thread::scope(|scope| {
            scope.spawn(|| store.compress_early(&layouts, &done));
            scope.spawn(|| *present = Present::read(bundles));
            let built = buildx::bake(&self.workspace.root, &self.workspace.state, bake, builder, no_cache);
            done.store(true, Ordering::Relaxed);
            built
        });
        store.remember()?;
        // A build that Ctrl-C ended fails like any other.
        interrupt::check()?;
        built
    }

    fn collect(&mut self) -> Result<()> {
        let mut removed = BTreeSet::new();
        loop {
            match self.try_collect() {
                // A file of an earlier build that was damaged since it was made is made again, once.
                Err(Error::Content { path, .. })
                    if self.parts.is_empty()
                        && path.starts_with(&self.workspace.state)
                        && removed.insert(path.clone()) =>
                {
                    self.progress
                        .step(format_args!("{} is damaged; making it again", path.display()));
                    files::remove_if_there(&path)?;
                    self.build_again()?;
                }
                other => return other,
            }
        }
    }

    fn build_again(&mut self) -> Result<()> {
        match self.plan.steps.first() {
            Some(build @ Step::Build { .. }) => self.execute(build),
            _ => Ok(()),
        }
    }

    fn try_collect(&mut self) -> Result<()> {
        let Plan {
            version,
            platforms,
            pins,
            stages,
            ..
        } = self.plan;
        self.collected = if self.parts.is_empty() {
            collect::built(self.workspace, self.facts, version, platforms, pins, stages)?
        } else {
            collect::imported(self.workspace, self.facts, version, platforms, &self.parts)?
        };
        for image in self.collected.images.iter().filter(|image| image.substitute) {
            self.released.substitutes.push(image.reference());
        }
        if let Some(signer) = &self.signer {
            let keys = keys::public_keys(&self.workspace.declaration, signer);
            self.files = manifest::files(self.workspace, &self.collected, version, &keys)?;
        }
        self.remove_stale_blobs()
    }

    fn pack(&mut self, step: &Step) -> Result<()> {
        let packed = match self.try_pack(step) {
            // A layer that was damaged since it was made is made again, once.
            Err(Error::Pack(
                PackError::Blob { digest, .. }
                | PackError::BlobChanged { digest, .. }
                | PackError::BlobSize { digest, .. },
            )) if self.forget(&digest) => {
                self.progress.step(format_args!("{digest} is damaged; making it again"));
                self.build_again()?;
                self.collect()?;
                self.try_pack(step)?
            }
            other => other?,
        };
        let name = packed
            .path
            .strip_prefix(&self.workspace.root)
            .unwrap_or(&packed.path)
            .display();
        if packed.unchanged {
            self.progress.step(format_args!("{name} is up to date"));
        } else {
            self.progress.step(format_args!(
                "{name} written, {}",
                crate::system::report::bytes(packed.size)
            ));
        }
        self.released.bundles.push(packed);
        Ok(())
    }

    fn try_pack(&self, step: &Step) -> Result<Packed> {
        let (
            Step::Pack {
                path,
                archive,
                platforms,
                multi_platform,
            },
            Some(signer),
        ) = (step, &self.signer)
        else {
            return Err(Error::Key {
                message: "none is loaded".to_owned(),
                hint: "cargo xtask keygen".to_owned(),
            });
        };
        let packer = Packer {
            workspace: self.workspace,
            facts: self.facts,
            version: &self.plan.version,
            collected: &self.collected,
            files: &self.files,
            signer,
            present: &self.present,
        };
        packer.pack(path, *archive, platforms, *multi_platform, self.progress)
    }

    /// Writes the installer beside the bundles, and the checksums of both.
    fn checksums(&self, path: &Path) -> Result<()> {
        let mut lines: Vec<_> = self
            .released
            .bundles
            .iter()
            .map(|bundle| (file_name(&bundle.path), bundle.sha256.clone()))
            .collect();
        if let Some(installer) = self.files.iter().find(|file| file.record.name.as_str() == "install.sh")
            && let bundle::pack::Content::Bytes(script) = &installer.file.content
        {
            files::write_atomically(&self.workspace.dist.join("install.sh"), script)?;
            lines.push(("install.sh".to_owned(), installer.record.sha256.0.hex()));
        }
        lines.extend(self.other_bundles(path, &lines)?);
        lines.sort();
        let text: String = lines
            .iter()
            .map(|(name, sha256)| format!("{sha256}  {name}\n"))
            .collect();
        if fs::read_to_string(path).ok().as_deref() == Some(&text) {
            return Ok(());
        }
        files::write_atomically(path, text.as_bytes())
    }

    /// The lines of `path` for bundles of this version that a release of other platforms left, where they still hold.
    fn other_bundles(&self, path: &Path, ours: &[(String, String)]) -> Result<Vec<(String, String)>> {
        let declared = &self.workspace.declaration.platforms;
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut others = Vec::new();
        for (sha256, name) in text.lines().filter_map(|line| line.split_once("  ")) {
            let bundle = self.workspace.dist.join(name);
            let is_of_this_version =
                is_bundle_of(name, &self.workspace.declaration.product, &self.plan.version, declared);
            let is_ours = ours.iter().any(|(ours, _)| ours == name);
            if is_of_this_version && !is_ours && bundle.is_file() && hash_file(&bundle)?.0.hex() == sha256 {
                others.push((name.to_owned(), sha256.to_owned()));
            }
        }
        Ok(others)
    }

    /// Removes old layers that this release does not use.
    fn prune(&self) -> Result<()> {
        let platforms = self
            .collected
            .images
            .iter()
            .flat_map(|image| image.input.platforms.values());
        let used = platforms
            .flat_map(|image| image.blobs().map(|(digest, _)| digest))
            .collect();
        LayerStore::open(self.workspace.state.join("layers"), self.workspace.declaration.layers).prune(&used)
    }

    /// Removes `digest` from every store that is ours, so that it is made again.
    fn forget(&self, digest: &Digest) -> bool {
        let mut store = LayerStore::open(self.workspace.state.join("layers"), self.workspace.declaration.layers);
        let ours = self
            .collected
            .stores
            .iter()
            .filter(|store| store.starts_with(&self.workspace.state));
        for folder in ours {
            // What cannot be removed is found damaged again, and reported.
            fs::remove_file(folder.join("blobs/sha256").join(digest.hex())).ok();
        }
        store.forget(digest);
        self.parts.is_empty()
    }

    /// Removes what earlier builds left in the layouts, and what no layer of this release is made from.
    fn remove_stale_blobs(&self) -> Result<()> {
        if !self.parts.is_empty() {
            return Ok(());
        }
        for folder in self.layouts() {
            let layout = Layout::open(folder)?;
            let reachable = layout::reachable(&layout)?;
            let blobs = layout.folder().join("blobs/sha256");
            for entry in fs::read_dir(&blobs).map_err(Error::io("read", &blobs))? {
                let path = entry.map_err(Error::io("read", &blobs))?.path();
                let stale = Digest::from_hex(&file_name(&path)).is_ok_and(|digest| !reachable.contains(&digest));
                if stale {
                    files::remove_if_there(&path)?;
                }
            }
        }
        Ok(())
    }

    fn layouts(&self) -> impl Iterator<Item = PathBuf> {
        use crate::declaration::Image;
        self.workspace.declaration.images.iter().map(|image| match image {
            Image::Built(built) => layout_folder(self.workspace, &built.name),
            Image::Registry(registry) => layout_folder(self.workspace, &registry.reference()),
        })
    }
}
