//! The state and its rules. Nothing here knows HTTP but the numbers of its refusals.

mod caller;
mod hex;
mod limits;
mod refusal;
mod release;
mod repository;

use std::{collections::BTreeMap, io, path::PathBuf};

use tempfile::TempDir;

use crate::Host;

pub use caller::Access;
pub use limits::Limits;
pub use release::{Asset, Draft, MakeLatest, Release, State};
pub use repository::{Commit, Repository};

pub(crate) use caller::Caller;
pub(crate) use hex::hex;
pub(crate) use limits::{Verdict, now};
pub(crate) use refusal::Refusal;
pub(crate) use release::{Changes, NewAsset};

/// Where each host listens: `http://127.0.0.1:PORT`, with a path for an Enterprise server's first two.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    pub(crate) api: String,
    pub(crate) uploads: String,
    pub(crate) web: String,
    pub(crate) storage: String,
}

impl Origins {
    /// What is left of a path without its host's own; nothing if it is not the host's.
    pub(crate) fn inner<'a>(&self, host: Host, path: &'a str) -> Option<&'a str> {
        let origin = match host {
            Host::Api => &self.api,
            Host::Uploads => &self.uploads,
            Host::Web | Host::Storage => return Some(path),
        };
        let (_, own) = origin.split_once("://")?;
        path.strip_prefix(own.find('/').map_or("", |at| &own[at..]))
    }
}

/// All that the double remembers.
#[derive(Debug)]
pub struct World {
    /// How much may be asked.
    pub limits: Limits,
    repositories: Vec<Repository>,
    tokens: BTreeMap<String, Access>,
    origins: Origins,
    files: TempDir,
    last_id: u64,
}

impl World {
    pub(crate) fn new(origins: Origins) -> io::Result<Self> {
        Ok(Self {
            limits: Limits::default(),
            repositories: Vec::new(),
            tokens: BTreeMap::new(),
            origins,
            files: TempDir::new()?,
            last_id: 1000,
        })
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Adds a public, empty repository, `owner/name`, with one commit on `main`.
    pub fn add_repository(&mut self, full_name: &str) -> &mut Repository {
        let id = self.next_id();
        self.repositories.push(Repository::new(id, full_name));
        let last = self.repositories.len() - 1;
        &mut self.repositories[last]
    }

    /// Makes a token known.
    pub fn add_token(&mut self, token: &str, access: Access) {
        self.tokens.insert(token.to_owned(), access);
    }

    /// Makes a token unknown.
    pub fn revoke_token(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// A repository by `owner/name`, in any case of letters.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn repository(&mut self, full_name: &str) -> &mut Repository {
        let found = self
            .repositories
            .iter_mut()
            .find(|repository| repository.full_name.eq_ignore_ascii_case(full_name));
        match found {
            Some(repository) => repository,
            None => panic!("the double has no repository {full_name}"),
        }
    }

    /// Publishes a release with assets at once, as a test's starting point. The tag is made if it is not there.
    ///
    /// # Panics
    ///
    /// If the repository is unknown or an asset cannot be written.
    pub fn publish(&mut self, full_name: &str, draft: Draft, assets: &[(&str, &[u8])]) -> u64 {
        let id = self.add_draft(full_name, draft, assets);
        self.repository(full_name).publish_by_hand(id, MakeLatest::True);
        id
    }

    /// Adds a draft with assets.
    ///
    /// # Panics
    ///
    /// If the repository is unknown or an asset cannot be written.
    pub fn add_draft(&mut self, full_name: &str, draft: Draft, assets: &[(&str, &[u8])]) -> u64 {
        let id = self.next_id();
        self.repository(full_name).add_draft(id, draft);
        for (name, content) in assets {
            self.add_asset(full_name, id, name, content);
        }
        id
    }

    /// Adds a complete asset to a release, whether that is allowed or not.
    ///
    /// # Panics
    ///
    /// If the repository or the release is unknown, or the asset cannot be written.
    pub fn add_asset(&mut self, full_name: &str, release: u64, name: &str, content: &[u8]) -> u64 {
        let id = self.next_id();
        let path = self.asset_path(id);
        if let Err(error) = std::fs::write(&path, content) {
            panic!("cannot write {}: {error}", path.display());
        }
        let asset = Asset::uploaded(id, name, content);
        self.repository(full_name).release_mut(release).assets.push(asset);
        id
    }

    /// An asset's bytes as the storage has them.
    ///
    /// # Errors
    ///
    /// When there is no such asset, or nothing of it was kept.
    pub fn content(&self, asset: u64) -> io::Result<Vec<u8>> {
        std::fs::read(self.asset_path(asset))
    }

    pub(crate) fn asset_path(&self, asset: u64) -> PathBuf {
        self.files.path().join(asset.to_string())
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The repository of a path, by name or by number, as far as `caller` may see it.
    pub(crate) fn find(&mut self, wanted: &Wanted, caller: Caller) -> Result<&mut Repository, Refusal> {
        let found = self.repositories.iter_mut().find(|repository| match wanted {
            Wanted::Name(name) => repository.full_name.eq_ignore_ascii_case(name),
            Wanted::Number(id) => repository.id == *id,
        });
        found
            .filter(|repository| !repository.private || caller != Caller::Anonymous)
            .ok_or_else(Refusal::not_found)
    }

    /// An asset by its number alone, if it is whole.
    pub(crate) fn stored(&mut self, id: u64) -> Option<&mut Asset> {
        let asset = self
            .repositories
            .iter_mut()
            .find_map(|repository| repository.asset_mut(id));
        asset.filter(|asset| asset.state == State::Uploaded)
    }

    /// Who asks, by the value of the `Authorization` header.
    pub(crate) fn caller(&self, authorization: Option<&str>) -> Result<Caller, Refusal> {
        let Some(authorization) = authorization else {
            return Ok(Caller::Anonymous);
        };
        let token = ["Bearer ", "bearer ", "token "]
            .iter()
            .find_map(|scheme| authorization.strip_prefix(scheme));
        match token.and_then(|token| self.tokens.get(token)) {
            Some(access) => Ok(Caller::Token(*access)),
            None => Err(Refusal::new(401, "Bad credentials")),
        }
    }
}

/// How a path names a repository.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// `/repos/owner/name`
    Name(String),
    /// `/repositories/1001`, as links between pages have it
    Number(u64),
}
