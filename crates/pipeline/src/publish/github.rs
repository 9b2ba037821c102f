//! GitHub's API, through octocrab. The only module that knows it.
//!
//! octocrab makes JSON calls. Uploads go through its `execute` with a body that is streamed once: its own upload call
//! reads the whole file into memory, does not encode the name, and a retry of it would send nothing. Its retry is not
//! compiled in; what failed is decided in [`super::retry`].

use std::{future::Future, time::Duration};

use bundle::names::tag;
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use octocrab::{Octocrab, Page};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    asset::Asset,
    error::PublishError,
    failure::{Failure, Reason, causes},
    reconcile::{Found, FoundAsset, FoundRelease},
    retry::Patience,
    target::Target,
    upload,
    wanted::Wanted,
};
use crate::system::report::Bar;

/// What GitHub asks for where a secondary limit comes without `retry-after`.
const MINUTE: Duration = Duration::from_secs(60);

/// A repository at GitHub.
#[derive(Debug)]
pub(super) struct GitHub {
    target: Target,
    calls: Octocrab,
    /// For the upload host, once it is known.
    uploads: OnceCell<Octocrab>,
    patience: Patience,
}

#[derive(Deserialize)]
struct ReleaseJson {
    tag_name: String,
    prerelease: bool,
    #[serde(flatten)]
    found: FoundRelease,
}

#[derive(Deserialize)]
struct CommitJson {
    sha: String,
}

impl GitHub {
    pub(super) fn new(target: Target, patience: Patience) -> Result<Self, PublishError> {
        let calls = client(&target, &target.api)?;
        Ok(Self {
            target,
            calls,
            uploads: OnceCell::new(),
            patience,
        })
    }

    pub(super) fn repository(&self) -> &str {
        &self.target.repository
    }

    /// All releases with `tag`, drafts among them, and the highest version that is published.
    pub(super) async fn releases(&self, tag: &str) -> Result<Found, Failure> {
        let action = "list the releases";
        let route = self.route("releases?per_page=100");
        let mut page: Page<ReleaseJson> = self.call(action, self.calls.get(route, None::<&()>)).await?;
        let mut found = Found::default();
        loop {
            for release in page.take_items() {
                if !release.found.draft && !release.prerelease {
                    found.highest = found.highest.max(tag::version(&release.tag_name));
                }
                if release.tag_name == tag {
                    found.releases.push(release.found);
                }
            }
            match self.call(action, self.calls.get_page(&page.next)).await? {
                Some(next) => page = next,
                None => return Ok(found),
            }
        }
    }

    /// A release; none if it is gone.
    pub(super) async fn release(&self, id: u64) -> Result<Option<FoundRelease>, Failure> {
        let route = self.route(&format!("releases/{id}"));
        let asked = self.calls.get::<FoundRelease, _, _>(route, None::<&()>);
        let action = "look at the release";
        gone_is_none(self.ask(asked).await, action, self)
    }

    /// The commit that `tag` is on; none if there is no such tag.
    pub(super) async fn commit_of_tag(&self, tag: &str) -> Result<Option<String>, Failure> {
        let action = "look at the tag";
        let route = self.route(&format!("commits/tags/{tag}"));
        let asked = self.calls.get::<CommitJson, _, _>(route, None::<&()>);
        let answer = match self.ask(asked).await {
            Err(Answered::Status(answer)) if answer.status == StatusCode::UNPROCESSABLE_ENTITY => Ok(None),
            answer => gone_is_none(answer, action, self),
        };
        answer.map(|commit| commit.map(|commit| commit.sha))
    }

    pub(super) async fn create_draft(&self, wanted: &Wanted) -> Result<FoundRelease, Failure> {
        let body = json!({
            "tag_name": wanted.tag,
            "target_commitish": wanted.commit,
            "name": wanted.title,
            "body": wanted.notes,
            "draft": true,
            "prerelease": wanted.prerelease,
        });
        let call = self
            .calls
            .post::<Value, FoundRelease>(self.route("releases"), Some(&body));
        self.call("make a draft", call).await
    }

    pub(super) async fn publish(&self, id: u64, latest: bool, wanted: &Wanted) -> Result<(), Failure> {
        // Everything once more: a draft of an earlier run may have older notes.
        let body = json!({
            "tag_name": wanted.tag,
            "name": wanted.title,
            "body": wanted.notes,
            "draft": false,
            "prerelease": wanted.prerelease,
            "make_latest": if latest { "true" } else { "false" },
        });
        let route = self.route(&format!("releases/{id}"));
        let call = self.calls.patch::<FoundRelease, _, _>(route, Some(&body));
        self.call("publish the release", call).await.map(drop)
    }

    pub(super) async fn delete_release(&self, id: u64) -> Result<(), Failure> {
        self.delete("delete a draft", &format!("releases/{id}")).await
    }

    pub(super) async fn delete_asset(&self, id: u64) -> Result<(), Failure> {
        self.delete("delete an asset", &format!("releases/assets/{id}")).await
    }

    /// Uploads an asset to a release, and holds the answer against what was sent.
    pub(super) async fn upload(&self, release: &FoundRelease, asset: &Asset, bar: &Bar) -> Result<(), Failure> {
        let action = "upload an asset";
        let address = release.upload_url.split('{').next().unwrap_or_default();
        let name = percent_encoding::utf8_percent_encode(&asset.name, percent_encoding::NON_ALPHANUMERIC);
        let address = format!("{address}?name={name}");
        let refused = |message: String| {
            Failure::Final(PublishError::Refused {
                action,
                status: 201,
                message,
            })
        };
        let uri: Uri = address
            .parse()
            .map_err(|error| refused(format!("an invalid upload URL: {error}")))?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err(refused(format!("an invalid upload URL: {address}")));
        };
        // octocrab puts the base's path before every path, and sends the token to the base's host: on an Enterprise
        // server uploads have another path, at GitHub another host.
        let host = format!("{scheme}://{authority}");
        let uploads = self
            .uploads
            .get_or_try_init(|| async { client(&self.target, &host) })
            .await;
        let uploads = uploads.map_err(Failure::Final)?;
        let (body, sent) = upload::body(asset).await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .header("content-type", asset.content_type)
            .header("content-length", asset.size)
            .body(body)
            .map_err(|error| refused(error.to_string()))?;
        let answer = async {
            let answer = uploads.execute(request).await;
            let answer = match answer {
                Ok(answer) => octocrab::map_github_error(answer).await,
                Err(error) => Err(error),
            };
            let parsed = match answer {
                Ok(answer) => <FoundAsset as octocrab::FromResponse>::from_response(answer).await,
                Err(error) => Err(error),
            };
            parsed.map_err(|error| self.judge(action, answered(error)))
        };
        let answer = upload::watch(action, answer, &sent, self.patience.stall, bar).await?;
        if answer.name != asset.name {
            return Err(Failure::Final(PublishError::Asset {
                name: asset.name.clone(),
                message: format!("GitHub stored it as {}", answer.name),
            }));
        }
        match answer.digest {
            Some(digest) if digest != asset.digest => Err(Failure::Final(PublishError::Asset {
                name: asset.name.clone(),
                message: format!(
                    "GitHub received {digest}, but {} was to be sent; did the file change?",
                    asset.digest
                ),
            })),
            _ => Ok(()),
        }
    }

    async fn delete(&self, action: &'static str, path: &str) -> Result<(), Failure> {
        let call = async {
            let answer = self.calls._delete(self.route(path), None::<&()>).await?;
            octocrab::map_github_error(answer).await.map(drop)
        };
        match self.ask(call).await {
            // What is gone need not be deleted.
            Err(Answered::Status(answer)) if answer.status == StatusCode::NOT_FOUND => Ok(()),
            answer => answer.map_err(|answered| self.judge(action, answered)),
        }
    }

    async fn call<T>(
        &self,
        action: &'static str,
        call: impl Future<Output = octocrab::Result<T>>,
    ) -> Result<T, Failure> {
        self.ask(call).await.map_err(|answered| self.judge(action, answered))
    }

    /// Makes a call, which must not take for ever.
    async fn ask<T>(&self, call: impl Future<Output = octocrab::Result<T>>) -> Result<T, Answered> {
        match tokio::time::timeout(self.patience.stall, call).await {
            Ok(answer) => answer.map_err(answered),
            Err(_) => Err(Answered::Nothing(format!(
                "no answer for {} s",
                self.patience.stall.as_secs_f64()
            ))),
        }
    }

    /// What an answer other than the wished one means.
    fn judge(&self, action: &'static str, answered: Answered) -> Failure {
        let answer = match answered {
            Answered::Nothing(message) => {
                return Failure::Call {
                    action,
                    reason: Reason::Passing(message),
                };
            }
            Answered::Status(answer) => answer,
        };
        if let Some(wait) = answer.limit {
            return Failure::Call {
                action,
                reason: Reason::Limited(wait),
            };
        }
        let repository = self.target.repository.clone();
        let (status, message) = (answer.status.as_u16(), answer.message);
        match status {
            401 => Failure::Final(PublishError::Unauthorized(message)),
            403 => Failure::Final(PublishError::Forbidden {
                action,
                repository,
                message,
            }),
            404 if action == "list the releases" => Failure::Final(PublishError::NoSuchRepository(repository)),
            404 if action == "make a draft" => Failure::Final(PublishError::Forbidden {
                action,
                repository,
                message,
            }),
            // Gone meanwhile, or there already: the next look tells.
            404 | 409 => Failure::passing(action, status, &message),
            422 if answer.already_exists || message.contains("immutable") => Failure::passing(action, status, &message),
            408 | 500.. => Failure::passing(action, status, &message),
            _ => Failure::Final(PublishError::Refused {
                action,
                status,
                message,
            }),
        }
    }

    fn route(&self, rest: &str) -> String {
        format!("/repos/{}/{rest}", self.target.repository)
    }
}

/// An answer that is not the wished one.
enum Answered {
    /// No answer, or one that is not to be understood.
    Nothing(String),
    Status(Status),
}

struct Status {
    status: StatusCode,
    message: String,
    already_exists: bool,
    /// How long to wait, if this is a limit.
    limit: Option<Duration>,
}

fn answered(error: octocrab::Error) -> Answered {
    let octocrab::Error::GitHub { source, .. } = error else {
        return Answered::Nothing(causes(&error));
    };
    let errors = source.errors.as_deref().unwrap_or_default();
    let codes = errors.iter().filter_map(|error| error["code"].as_str());
    let detail = errors.iter().filter_map(|error| {
        let field = error["field"].as_str()?;
        Some(format!("{field} {}", error["code"].as_str()?))
    });
    let detail: Vec<_> = detail.collect();
    // A page of HTML says nothing that its status does not.
    let message = match source.message.trim_start() {
        html if html.starts_with('<') => source.status_code.canonical_reason().unwrap_or("an error").to_owned(),
        message if detail.is_empty() => message.to_owned(),
        message => format!("{message} ({})", detail.join(", ")),
    };
    Answered::Status(Status {
        status: source.status_code,
        already_exists: codes.clone().any(|code| code == "already_exists"),
        limit: limit(source.status_code, source.headers.as_ref(), &source.message),
        message,
    })
}

/// How long a limit lasts, if the answer is one.
fn limit(status: StatusCode, headers: Option<&HeaderMap>, message: &str) -> Option<Duration> {
    if status != StatusCode::FORBIDDEN && status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let number = |name: &str| headers?.get(name)?.to_str().ok()?.parse::<u64>().ok();
    if let Some(seconds) = number("retry-after") {
        return Some(Duration::from_secs(seconds));
    }
    if number("x-ratelimit-remaining") == Some(0) {
        let now = jiff::Timestamp::now().as_second().unsigned_abs();
        let resets = number("x-ratelimit-reset").unwrap_or(now);
        return Some(Duration::from_secs(resets.saturating_sub(now) + 1));
    }
    let secondary = status == StatusCode::TOO_MANY_REQUESTS || message.contains("secondary rate limit");
    secondary.then_some(MINUTE)
}

fn gone_is_none<T: DeserializeOwned>(
    answer: Result<T, Answered>,
    action: &'static str,
    github: &GitHub,
) -> Result<Option<T>, Failure> {
    match answer {
        Err(Answered::Status(answer)) if answer.status == StatusCode::NOT_FOUND => Ok(None),
        answer => answer.map(Some).map_err(|answered| github.judge(action, answered)),
    }
}

fn client(target: &Target, base: &str) -> Result<Octocrab, PublishError> {
    let wrong = |_| PublishError::BadAddress(base.to_owned());
    Octocrab::builder()
        .base_uri(base)
        .map_err(wrong)?
        .upload_uri(base)
        .map_err(wrong)?
        .personal_token(target.token())
        .build()
        .map_err(wrong)
}
