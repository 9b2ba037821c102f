//! A publication under way: looks, acts, and looks again until nothing is left to do.

use std::fmt;

use bundle::names::tag;
use semver::Version;
use serde::Serialize;

use super::{
    asset::Asset,
    error::PublishError,
    failure::Failure,
    github::GitHub,
    reconcile::{Action, Found, FoundRelease, reconcile},
    retry::{Patience, Retries},
    target::Target,
    wanted::Wanted,
};
use crate::{
    Result,
    system::{interrupt, report::Progress},
};

/// A publication that needs more passes than this competes with another writer.
const MOST_PASSES: u32 = 50;

/// A release that is published and complete.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Published {
    /// The version.
    pub version: Version,
    /// Its page.
    pub url: String,
    /// Names of its assets.
    pub assets: Vec<String>,
    /// How many assets were uploaded in this run.
    pub uploaded: usize,
}

/// What publishing would do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Every asset that should be there.
    pub assets: Vec<Asset>,
    /// What would be done now.
    pub actions: Vec<Action>,
}

/// A repository that answers, whose tag is where the bundles were made.
///
/// Made before a release is built, so that a wrong token or a missing tag ends it early.
#[derive(Debug)]
pub(crate) struct Session {
    github: GitHub,
    runtime: tokio::runtime::Runtime,
    patience: Patience,
    found: Option<Found>,
}

impl Session {
    /// Asks the repository for the releases of `version`, and for its tag, which must be on `commit`.
    pub(crate) fn open(target: Target, version: &Version, commit: &str, patience: Patience) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(crate::Error::io("start", "the network's thread"))?;
        let github = runtime.block_on(async { GitHub::new(target, patience) })?;
        let tag = tag::of(version);
        let (found, tagged) = runtime.block_on(first_look(&github, &tag, Retries::new(patience)))?;
        match tagged {
            Some(tagged) if tagged == commit => Ok(Self {
                github,
                runtime,
                patience,
                found: Some(found),
            }),
            Some(tagged) => Err(PublishError::TagElsewhere {
                tag,
                tagged,
                commit: commit.to_owned(),
            }
            .into()),
            None => Err(PublishError::NoTag {
                tag,
                repository: github.repository().to_owned(),
            }
            .into()),
        }
    }

    /// What publishing would do now. Changes nothing.
    pub(crate) fn plan(&self, wanted: &Wanted) -> Result<Plan> {
        let actions = match &self.found {
            Some(found) => reconcile(wanted, found)?,
            None => Vec::new(),
        };
        Ok(Plan {
            repository: self.github.repository().to_owned(),
            tag: wanted.tag.clone(),
            assets: wanted.assets.clone(),
            actions,
        })
    }

    /// Makes the release be there, complete.
    pub(crate) fn publish(mut self, wanted: &Wanted) -> Result<Published> {
        interrupt::listen();
        let found = self.found.take();
        let run = Run {
            github: &self.github,
            wanted,
            progress: Progress::start(),
            uploaded: 0,
        };
        self.runtime.block_on(run.finish(found, Retries::new(self.patience)))
    }
}

async fn first_look(github: &GitHub, tag: &str, mut retries: Retries) -> Result<(Found, Option<String>)> {
    loop {
        let asked = async { Ok((github.releases(tag).await?, github.commit_of_tag(tag).await?)) };
        match asked.await {
            Ok(asked) => return Ok(asked),
            Err(failure) => retries.wait(failure).await?,
        }
    }
}

/// A publication under way.
struct Run<'a> {
    github: &'a GitHub,
    wanted: &'a Wanted,
    progress: Progress,
    uploaded: usize,
}

impl Run<'_> {
    /// Looks, acts, and looks again, until nothing is left to do.
    async fn finish(mut self, mut known: Option<Found>, mut retries: Retries) -> Result<Published> {
        let mut draft = None;
        for _ in 0..MOST_PASSES {
            interrupt::check()?;
            match self.pass(known.take(), &mut draft, &mut retries).await {
                Ok(None) => {}
                Ok(Some(published)) => return Ok(published),
                Err(Stop::Failure(failure)) => {
                    if let Failure::Call { .. } = failure {
                        self.progress.step(&failure);
                    }
                    retries.wait(failure).await?;
                }
                Err(Stop::Refused(error)) => return Err(error.into()),
            }
        }
        Err(PublishError::GaveUp {
            action: "make the release complete",
            message: "what was done is undone each time, it is not settling".to_owned(),
            attempts: MOST_PASSES,
        }
        .into())
    }

    /// One look, and what it asks for. Gives the release when nothing is left to do.
    async fn pass(
        &mut self,
        known: Option<Found>,
        draft: &mut Option<FoundRelease>,
        retries: &mut Retries,
    ) -> Result<Option<Published>, Stop> {
        let mut found = match known {
            Some(found) => found,
            None => self.github.releases(&self.wanted.tag).await?,
        };
        if let Some(made) = &*draft
            && !found.releases.iter().any(|release| release.id == made.id)
        {
            // A list can be older than what was just made.
            match self.github.release(made.id).await? {
                Some(release) => found.releases.push(release),
                None => *draft = None,
            }
        }
        let actions = reconcile(self.wanted, &found)?;
        if actions.is_empty() {
            return Ok(found.published().map(|release| self.published(&release.html_url)));
        }
        let publish_only = matches!(actions.as_slice(), [Action::Publish { .. }]);
        for action in &actions {
            interrupt::check().map_err(|_| Stop::Failure(Failure::Interrupted))?;
            // What was done in this pass has to be seen first.
            if !matches!(action, Action::Publish { .. }) || publish_only {
                self.act(action, &found, draft, retries).await?;
            }
        }
        Ok(None)
    }

    async fn act(
        &mut self,
        action: &Action,
        found: &Found,
        draft: &mut Option<FoundRelease>,
        retries: &mut Retries,
    ) -> Result<(), Failure> {
        match action {
            Action::CreateDraft => {
                self.progress
                    .step(format_args!("making a draft of {}", self.wanted.tag));
                *draft = Some(self.github.create_draft(self.wanted).await?);
                retries.progressed();
            }
            Action::DeleteDraft { id } => {
                self.progress
                    .step(format_args!("deleting a second draft of {}", self.wanted.tag));
                self.github.delete_release(*id).await?;
            }
            Action::DeleteAsset { id, name, why } => {
                self.progress.step(format_args!("deleting {name}: {why}"));
                self.github.delete_asset(*id).await?;
            }
            Action::Upload { asset, release, .. } => {
                let known = found.releases.iter().find(|found| Some(found.id) == *release);
                if let (Some(release), Some(asset)) = (known.or(draft.as_ref()), self.wanted.asset(asset)) {
                    self.upload(release, asset).await?;
                    retries.progressed();
                }
            }
            Action::Publish { release, latest } => {
                if let Some(id) = release {
                    self.progress.step(format_args!("publishing {}", self.wanted.tag));
                    self.github.publish(*id, *latest, self.wanted).await?;
                    retries.progressed();
                }
            }
        }
        Ok(())
    }

    async fn upload(&mut self, release: &FoundRelease, asset: &Asset) -> Result<(), Failure> {
        let size = crate::system::report::bytes(asset.size);
        self.progress.step(format_args!("uploading {}, {size}", asset.name));
        let bar = self.progress.bytes("uploading", asset.size);
        let uploaded = self.github.upload(release, asset, &bar).await;
        bar.finish();
        uploaded?;
        self.uploaded += 1;
        Ok(())
    }

    fn published(&self, url: &str) -> Published {
        Published {
            version: self.wanted.version.clone(),
            url: url.to_owned(),
            assets: self.wanted.assets.iter().map(|asset| asset.name.clone()).collect(),
            uploaded: self.uploaded,
        }
    }
}

/// Why a pass ended early.
enum Stop {
    /// It may pass by itself.
    Failure(Failure),
    /// What is there must not be touched.
    Refused(PublishError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<PublishError> for Stop {
    fn from(error: PublishError) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} in {}", self.tag, self.repository)?;
        for asset in &self.assets {
            writeln!(
                f,
                "  {}  {}  {}",
                asset.digest,
                asset.name,
                crate::system::report::bytes(asset.size)
            )?;
        }
        if self.actions.is_empty() {
            return write!(f, "nothing to do: the release is published and complete");
        }
        for (index, action) in self.actions.iter().enumerate() {
            let end = if index + 1 < self.actions.len() { "\n" } else { "" };
            write!(f, "{:>3}. {action}{end}", index + 1)?;
        }
        Ok(())
    }
}
