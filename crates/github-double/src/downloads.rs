//! `github.com/…/releases/download/…` and the storage that it redirects to.

use hyper::{
    HeaderMap, Method,
    header::{
        ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
        IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
    },
};
use sha2::{Digest as _, Sha256};

use crate::{
    json,
    path::Path,
    world::{Asset, Caller, Origins, Refusal, State, World, hex},
};

/// What the storage sends: a slice of an asset's file.
#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) asset: u64,
    pub(crate) first: u64,
    pub(crate) length: u64,
}

/// The address at the storage, signed; `None` for an asset that is not whole.
pub(crate) fn signed(origins: &Origins, asset: &Asset) -> Option<String> {
    if asset.state != State::Uploaded {
        return None;
    }
    let signature = signature(asset.id, asset.digest.as_deref().unwrap_or_default());
    Some(format!(
        "{}/release-assets/{}?sig={signature}",
        origins.storage, asset.id
    ))
}

/// Where `browser_download_url` leads.
pub(crate) fn location(world: &mut World, path: &Path) -> Result<String, Refusal> {
    let segments: Vec<_> = path.segments.iter().map(String::as_str).collect();
    let [owner, name, "releases", rest @ ..] = segments.as_slice() else {
        return Err(Refusal::not_found());
    };
    let origins = world.origins().clone();
    let wanted = crate::world::Wanted::Name(format!("{owner}/{name}"));
    let repository = world.find(&wanted, Caller::Anonymous)?;
    let (release, file) = match rest {
        ["latest", "download", file] => (repository.latest(), file),
        ["download", tag @ .., file] => {
            let tag = tag.join("/");
            let mut releases = repository.releases.iter();
            (releases.find(|release| json::page(release) == tag), file)
        }
        _ => return Err(Refusal::not_found()),
    };
    let release = release.filter(|release| release.published_at.is_some());
    let asset = release.and_then(|release| release.assets.iter().find(|asset| asset.name == *file));
    asset
        .and_then(|asset| signed(&origins, asset))
        .ok_or_else(Refusal::not_found)
}

/// What the storage answers.
pub(crate) fn slice(world: &mut World, method: &Method, path: &Path, headers: &HeaderMap) -> Result<Slice, u16> {
    let segments: Vec<_> = path.segments.iter().map(String::as_str).collect();
    let ["release-assets", id] = segments.as_slice() else {
        return Err(404);
    };
    let id: u64 = id.parse().map_err(|_| 404_u16)?;
    let asset = world.stored(id).ok_or(404_u16)?;
    let digest = asset.digest.clone().unwrap_or_default();
    if path.query.get("sig") != Some(&signature(id, &digest)) {
        return Err(403);
    }
    let etag = format!("\"0x{}\"", &signature(id, "etag")[..16].to_uppercase());
    let size = asset.size;
    let mut answer = Slice {
        status: 200,
        headers: HeaderMap::new(),
        asset: id,
        first: 0,
        length: size,
    };
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(IF_NONE_MATCH) == Some(&etag) {
        answer.status = 304;
        answer.length = 0;
    } else if let Some(range) = text(RANGE)
        && text(IF_RANGE).is_none_or(|condition| condition == etag)
        && let Some((first, last)) = parse_range(range, size)
    {
        if first >= size {
            return Err(416);
        }
        answer.status = 206;
        answer.first = first;
        answer.length = last - first + 1;
        set(
            &mut answer.headers,
            CONTENT_RANGE,
            &format!("bytes {first}-{last}/{size}"),
        );
    }
    let disposition = format!("attachment; filename={}", asset.name);
    let content_type = asset.content_type.clone();
    if answer.first == 0 && *method == Method::GET {
        asset.downloads += 1;
    }
    set(&mut answer.headers, ETAG, &etag);
    set(&mut answer.headers, ACCEPT_RANGES, "bytes");
    set(&mut answer.headers, CONTENT_TYPE, &content_type);
    set(&mut answer.headers, CONTENT_DISPOSITION, &disposition);
    set(&mut answer.headers, CONTENT_LENGTH, &answer.length.to_string());
    if *method == Method::HEAD {
        answer.length = 0;
    }
    Ok(answer)
}

/// A redirect's headers.
pub(crate) fn redirect(location: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    set(&mut headers, LOCATION, location);
    headers
}

/// First and last byte of `bytes=…`; `None` for a form that is not understood, which is then ignored.
fn parse_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = size.saturating_sub(1);
    if first.is_empty() {
        let count: u64 = last.parse().ok()?;
        return Some((size.saturating_sub(count), end));
    }
    let first = first.parse().ok()?;
    let last = if last.is_empty() { end } else { last.parse().ok()? };
    (last >= first || first >= size).then_some((first, last.min(end)))
}

fn signature(id: u64, digest: &str) -> String {
    hex(&Sha256::digest(format!("double {id} {digest}")))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
