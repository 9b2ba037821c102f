//! A release: preflight → build or import → collect → pack → checksums → publish.
//!
//! [`crate::preflight`] finds every problem and gives the plan; its steps are executed in order, each in one arm of one
//! `match`, from the results of the steps before it. A step that was done before from the same inputs is found done:
//! BuildKit's cache is asked for the build, digests for layers and bundles. So a release that was interrupted goes on
//! where it stopped, and one of which nothing changed writes nothing.
//!
//! What turns out to be damaged (a blob of an earlier build, a layer) is removed and built again, once.

use std::{collections::BTreeSet, path::PathBuf};

use bundle::{Digest, PackError};
use serde::Serialize;

use crate::{
    Error, Result,
    build::exclusive::Exclusive,
    collect::{
        Collect,
        layers::{self, LayerStore},
        layout::Layout,
    },
    facts::{Facts, Workspace},
    pack::{PackBundle, PackInput, Packed, Packer, Present, collected::Collected, part::expect_empty},
    plan::{Plan, Step},
    preflight::{self, Ready},
    publish::{self, Patience, PublishRelease, Published, Session},
    request::{Output, Request},
    system::{
        files, interrupt,
        report::{self, Progress},
    },
};

/// What a release left behind.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Released {
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
    /// Images that were made from substitutes.
    pub substitutes: Vec<String>,
    /// The GitHub Release, if one was asked for.
    pub published: Option<Published>,
    /// Seconds that it took.
    pub seconds: f64,
}

/// Makes the release.
pub(crate) fn release(workspace: &Workspace, request: &Request) -> Result<Released> {
    let progress = Progress::start();
    interrupt::listen();
    if let Output::Part(directory) = &request.output {
        expect_empty(directory)?;
    }
    let Ready {
        facts,
        plan,
        signer,
        warnings,
    } = preflight::ready(workspace, request)?;
    for warning in &warnings {
        report::note(warning);
    }
    // A wrong token or a missing tag is not found out after an hour of building.
    let mut session = open_session(request, &facts)?;
    let _exclusive = Exclusive::take(workspace)?;
    let packer = signer.as_ref().map(|signer| Packer {
        workspace,
        facts: &facts,
        version: &plan.version,
        signer,
    });
    let line = Line {
        workspace,
        plan: &plan,
        packer: packer.as_ref(),
        progress: &progress,
    };
    let mut present = Present::default();
    let mut parts = Vec::new();
    let mut input = PackInput::default();
    let mut bundles = Vec::new();
    let mut part = None;
    let mut published = None;
    for step in &plan.steps {
        interrupt::check()?;
        match step {
            Step::Build(build) => present = build.run(workspace, &progress)?,
            Step::Import(import) => parts.push(import.run(&progress)?),
            Step::Collect(collect) => {
                progress.step(format_args!("collecting {} images", collect.images.len()));
                if !parts.is_empty() {
                    present = Present::read(&plan.bundles());
                }
                input = line.collect(collect, &parts, std::mem::take(&mut present))?;
            }
            Step::Pack(pack) => bundles.push(line.pack(pack, &parts, &mut input)?),
            Step::Checksums(checksums) => {
                checksums.run(workspace, &bundles, &input.files)?;
                LayerStore::of(workspace).prune(&input.collected.blobs())?;
            }
            Step::Part(write) => part = Some(write.run(&input.collected, &progress)?),
            Step::Publish(step) => {
                if let Some(session) = session.take() {
                    published = Some(publish_bundles(workspace, step, session, &bundles)?);
                }
            }
        }
    }
    Ok(Released {
        product: plan.product.clone(),
        version: plan.version.clone(),
        bundles,
        part,
        signed_by: signer.as_ref().map(|signer| signer.public_key().to_string()),
        substitutes: input.collected.substitutes(),
        published,
        seconds: progress.seconds(),
    })
}

/// Opens the session in which the release is published in the end, if it is.
fn open_session(request: &Request, facts: &Facts) -> Result<Option<Session>> {
    let Some(publication) = &request.publish else {
        return Ok(None);
    };
    let target = publication.target.clone();
    Session::open(target, &request.version, facts.commit(), Patience::default()).map(Some)
}

fn publish_bundles(
    workspace: &Workspace,
    step: &PublishRelease,
    session: Session,
    bundles: &[Packed],
) -> Result<Published> {
    let request = publish::Request {
        bundles: bundles.iter().map(|bundle| bundle.path.clone()).collect(),
        ..step.publication.request.clone()
    };
    let wanted = publish::wanted(workspace, &step.publication.target, &request)?;
    session.publish(&wanted)
}

/// What does not change while the steps are executed, for those that may have to go back to an earlier one.
struct Line<'a> {
    workspace: &'a Workspace,
    plan: &'a Plan,
    /// None where no bundle is made.
    packer: Option<&'a Packer<'a>>,
    progress: &'a Progress,
}

impl Line<'_> {
    /// Collects what was built or imported. A blob of an earlier build that is damaged is built again, once.
    fn collect(&self, step: &Collect, parts: &[Layout], mut present: Present) -> Result<PackInput> {
        let mut removed = BTreeSet::new();
        loop {
            match step.run(self.workspace, parts) {
                Err(Error::Content { path, .. })
                    if parts.is_empty() && path.starts_with(&self.workspace.state) && removed.insert(path.clone()) =>
                {
                    self.progress
                        .step(format_args!("{} is damaged; making it again", path.display()));
                    files::remove_if_there(&path)?;
                    present = self.build_again(present)?;
                }
                collected => return self.input(collected?, present),
            }
        }
    }

    fn input(&self, collected: Collected, present: Present) -> Result<PackInput> {
        let files = match self.packer {
            Some(packer) => packer.files(&collected)?,
            None => Vec::new(),
        };
        Ok(PackInput {
            collected,
            files,
            present,
        })
    }

    /// Packs a bundle. A layer that is damaged is made again, once, and `input` with it.
    fn pack(&self, step: &PackBundle, parts: &[Layout], input: &mut PackInput) -> Result<Packed> {
        let packer = self.packer.ok_or_else(|| Error::Key {
            message: "none is loaded".to_owned(),
            hint: "cargo xtask keygen".to_owned(),
        })?;
        let packed = packer.pack(step, input, self.progress);
        let Some(digest) = packed.as_ref().err().and_then(damaged_blob) else {
            return packed;
        };
        layers::forget(self.workspace, &input.collected.stores, &digest);
        let ([], Some(collect)) = (parts, self.plan.collect()) else {
            return packed;
        };
        self.progress.step(format_args!("{digest} is damaged; making it again"));
        let present = self.build_again(std::mem::take(&mut input.present))?;
        *input = self.collect(collect, parts, present)?;
        packer.pack(step, input, self.progress)
    }

    /// Builds again, if anything is built here at all.
    fn build_again(&self, present: Present) -> Result<Present> {
        match self.plan.build() {
            Some(build) => build.run(self.workspace, self.progress),
            None => Ok(present),
        }
    }
}

/// The blob that an error of packing blames, if it blames one.
fn damaged_blob(error: &Error) -> Option<Digest> {
    match error {
        Error::Pack(
            PackError::Blob { digest, .. } | PackError::BlobChanged { digest, .. } | PackError::BlobSize { digest, .. },
        ) => Some(*digest),
        _ => None,
    }
}
