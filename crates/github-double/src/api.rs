//! `api.github.com`: which call is which, and its answer.

use hyper::{
    HeaderMap, Method,
    header::{ACCEPT, HeaderValue, LINK, LOCATION},
};
use serde_json::Value;

use crate::{
    downloads, json,
    json::Voice,
    path::Path,
    world::{Access, Caller, Changes, MakeLatest, Refusal, World},
};

/// A JSON call, taken apart.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a Path,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Value,
    pub(crate) caller: Caller,
}

/// An answer to a JSON call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Value>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Some(body),
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: None,
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, json::refusal(&refusal))
    }
}

/// Answers a call.
pub(crate) fn answer(world: &mut World, call: &Call<'_>) -> Answer {
    try_answer(world, call).unwrap_or_else(Answer::from)
}

fn try_answer(world: &mut World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let (wanted, rest) = call.path.repository().ok_or_else(Refusal::not_found)?;
    let new_id = world.next_id();
    let origins = world.origins().clone();
    let caller = call.caller;
    let repository = world.find(&wanted, caller)?;
    let writes = !matches!(*call.method, Method::GET | Method::HEAD);
    if writes {
        caller.may_write()?;
    }
    let method = call.method.as_str();
    match (method, rest.as_slice()) {
        ("POST", ["releases"]) => {
            let changes = changes(call.body)?;
            if changes.tag.is_none() {
                return Err(Refusal::invalid("Release", "tag_name", "missing_field"));
            }
            repository.create(new_id, changes)?;
        }
        ("PATCH", ["releases", id]) => repository.update(number(id)?, changes(call.body)?)?,
        ("DELETE", ["releases", id]) => {
            repository.delete(number(id)?)?;
            return Ok(Answer::empty(204));
        }
        ("DELETE", ["releases", "assets", id]) => {
            repository.delete_asset(number(id)?)?;
            return Ok(Answer::empty(204));
        }
        _ => {}
    }
    let repository = &*repository;
    let voice = Voice {
        origins: &origins,
        repository,
    };
    let visible = |id: &str| {
        let release = repository.release(number(id)?)?;
        let may_see = release.published_at.is_some() || caller.sees_drafts();
        may_see.then_some(release).ok_or_else(Refusal::not_found)
    };
    match (method, rest.as_slice()) {
        ("GET", []) => {
            let may_write = caller == Caller::Token(Access::Write);
            Ok(Answer::new(200, voice.repository(may_write)))
        }
        ("GET", ["commits", reference @ ..]) => match repository.resolve(&reference.join("/")) {
            Some((sha, commit)) => Ok(Answer::new(200, voice.commit(sha, commit))),
            None => Err(Refusal::new(
                422,
                format!("No commit found for SHA: {}", reference.join("/")),
            )),
        },
        ("GET", ["git", "ref", reference @ ..]) => {
            let name = reference.join("/");
            let (kind, sha) = repository.reference(&name).ok_or_else(Refusal::not_found)?;
            Ok(Answer::new(200, voice.reference(&name, kind, sha)))
        }
        ("GET", ["git", "tags", sha]) => {
            let (name, commit) = repository.tag_object(sha).ok_or_else(Refusal::not_found)?;
            Ok(Answer::new(200, voice.tag_object(sha, name, commit)))
        }
        ("GET", ["releases"]) => {
            let mut releases: Vec<_> = repository.releases.iter().collect();
            releases.retain(|release| release.published_at.is_some() || caller.sees_drafts());
            releases.sort_by_key(|release| std::cmp::Reverse((release.created_at, release.id)));
            let items = releases.iter().map(|release| voice.release(release)).collect();
            Ok(page(call.path, &origins.api, repository.id, &rest, items))
        }
        ("POST", ["releases"]) => Ok(Answer::new(201, voice.release(repository.release(new_id)?))),
        ("GET", ["releases", "latest"]) => {
            let latest = repository.latest().ok_or_else(Refusal::not_found)?;
            Ok(Answer::new(200, voice.release(latest)))
        }
        ("GET", ["releases", "tags", tag @ ..]) => {
            let tag = tag.join("/");
            let mut published = repository
                .releases
                .iter()
                .filter(|release| release.published_at.is_some());
            let found = published.find(|release| release.draft.tag == tag);
            Ok(Answer::new(200, voice.release(found.ok_or_else(Refusal::not_found)?)))
        }
        ("GET", ["releases", "assets", id]) => {
            let (release, asset) = repository.asset(number(id)?)?;
            visible(&release.id.to_string())?;
            if call
                .headers
                .get(ACCEPT)
                .is_some_and(|accept| accept == "application/octet-stream")
            {
                let location = downloads::signed(&origins, asset).ok_or_else(Refusal::not_found)?;
                let mut answer = Answer::empty(302);
                if let Ok(location) = HeaderValue::from_str(&location) {
                    answer.headers.insert(LOCATION, location);
                }
                return Ok(answer);
            }
            Ok(Answer::new(200, voice.asset(release, asset)))
        }
        ("GET", ["releases", id, "assets"]) => {
            let release = visible(id)?;
            let items = release.assets.iter().map(|asset| voice.asset(release, asset)).collect();
            Ok(page(call.path, &origins.api, repository.id, &rest, items))
        }
        ("GET", ["releases", id]) => Ok(Answer::new(200, voice.release(visible(id)?))),
        ("PATCH", ["releases", id]) => Ok(Answer::new(200, voice.release(visible(id)?))),
        _ => Err(Refusal::not_found()),
    }
}

/// One page of a list, and where the next one is.
fn page(path: &Path, api: &str, repository: u64, rest: &[&str], mut items: Vec<Value>) -> Answer {
    let size = path.number("per_page", 30).clamp(1, 100);
    let number = path.number("page", 1).max(1);
    let pages = items.len().div_ceil(size).max(1);
    let link = |page: usize, relation: &str| {
        let path = rest.join("/");
        format!(r#"<{api}/repositories/{repository}/{path}?per_page={size}&page={page}>; rel="{relation}""#)
    };
    let mut links = Vec::new();
    if number > 1 {
        links.push(link(number - 1, "prev"));
    }
    if number < pages {
        links.push(link(number + 1, "next"));
        links.push(link(pages, "last"));
    }
    if number > 1 {
        links.push(link(1, "first"));
    }
    let first = ((number - 1) * size).min(items.len());
    let last = (first + size).min(items.len());
    let mut answer = Answer::new(200, items.drain(first..last).collect());
    if let (false, Ok(value)) = (links.is_empty(), HeaderValue::from_str(&links.join(", "))) {
        answer.headers.insert(LINK, value);
    }
    answer
}

fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| Refusal::not_found())
}

fn changes(body: &Value) -> Result<Changes, Refusal> {
    if !body.is_object() {
        return Err(Refusal::new(400, "Problems parsing JSON"));
    }
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    Ok(Changes {
        tag: text("tag_name"),
        target: text("target_commitish"),
        name: text("name"),
        body: text("body"),
        prerelease: body["prerelease"].as_bool(),
        draft: body["draft"].as_bool(),
        make_latest: match body["make_latest"].as_str() {
            Some("false") => MakeLatest::False,
            Some("legacy") => MakeLatest::Legacy,
            _ => MakeLatest::True,
        },
    })
}
