//! `uploads.github.com`: an asset's name is taken when its upload begins, and stays so however it ends.

use std::io;

use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap,
    body::Incoming,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::{
    api::Answer,
    fault::{Break, BreakAfter},
    json::Voice,
    log::Entry,
    path::Path,
    shared::{Shared, lock},
    world::{Caller, NewAsset, Refusal, State, Wanted, hex},
};

/// How an upload ends.
pub(crate) enum Uploaded {
    Answer(Answer),
    /// A fault ended it.
    Broken(Break),
    /// The client cut it.
    Cut,
}

/// Takes an upload.
pub(crate) async fn take(
    shared: &Shared,
    caller: Caller,
    path: &Path,
    headers: &HeaderMap,
    body: Incoming,
    entry: &Entry,
    fault: Option<BreakAfter>,
) -> Uploaded {
    let begun = begin(shared, caller, path, headers);
    let (wanted, asset, size) = match begun {
        Ok(begun) => begun,
        Err(refusal) => return Uploaded::Answer(refusal.into()),
    };
    let read = receive(shared, asset, size, body, entry, fault).await;
    match read {
        Ok(Received::All(digest)) => Uploaded::Answer(finish(shared, &wanted, caller, asset, digest)),
        Ok(Received::Broken(ending)) => Uploaded::Broken(ending),
        Err(_) => Uploaded::Cut,
    }
}

fn begin(shared: &Shared, caller: Caller, path: &Path, headers: &HeaderMap) -> Result<(Wanted, u64, u64), Refusal> {
    let (wanted, rest) = path.repository().ok_or_else(Refusal::not_found)?;
    let ["releases", release, "assets"] = rest.as_slice() else {
        return Err(Refusal::not_found());
    };
    let release = release.parse().map_err(|_| Refusal::not_found())?;
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let mut world = lock(&shared.world);
    let id = world.next_id();
    let repository = world.find(&wanted, caller)?;
    caller.may_write()?;
    let Some(size) = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) else {
        return Err(Refusal::new(400, "Bad Content-Length: "));
    };
    if size == 0 {
        return Err(Refusal::new(400, "Bad Content-Length: 0"));
    }
    let Some(content_type) = text(CONTENT_TYPE) else {
        return Err(Refusal::invalid("ReleaseAsset", "content_type", "missing_field"));
    };
    let new = NewAsset {
        name: path.query.get("name").cloned().unwrap_or_default(),
        label: path.query.get("label").cloned(),
        content_type: content_type.to_owned(),
        size,
    };
    repository.begin_asset(release, id, new)?;
    Ok((wanted, id, size))
}

enum Received {
    All(String),
    Broken(Break),
}

async fn receive(
    shared: &Shared,
    asset: u64,
    size: u64,
    mut body: Incoming,
    entry: &Entry,
    fault: Option<BreakAfter>,
) -> io::Result<Received> {
    let path = lock(&shared.world).asset_path(asset);
    let mut file = tokio::fs::File::create(path).await?;
    let mut hash = Sha256::new();
    let mut received = 0;
    if let Some(BreakAfter { after: 0, ending }) = fault {
        return Ok(Received::Broken(ending));
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(io::Error::other)?.into_data() else {
            continue;
        };
        entry.received(data.len());
        received += data.len() as u64;
        if let Some(BreakAfter { after, ending }) = fault
            && received >= after
        {
            return Ok(Received::Broken(ending));
        }
        hash.update(&data);
        file.write_all(&data).await?;
    }
    file.flush().await?;
    if received != size {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(Received::All(format!("sha256:{}", hex(&hash.finalize()))))
}

fn finish(shared: &Shared, wanted: &Wanted, caller: Caller, asset: u64, digest: String) -> Answer {
    let mut world = lock(&shared.world);
    let origins = world.origins().clone();
    let repository = match world.find(wanted, caller) {
        Ok(repository) => repository,
        Err(refusal) => return refusal.into(),
    };
    if let Some(asset) = repository.asset_mut(asset) {
        asset.state = State::Uploaded;
        asset.digest = Some(digest);
    }
    let voice = Voice {
        origins: &origins,
        repository,
    };
    match repository.asset(asset) {
        Ok((release, asset)) => Answer::new(201, voice.asset(release, asset)),
        // It, or its release, was deleted during the upload.
        Err(refusal) => refusal.into(),
    }
}
