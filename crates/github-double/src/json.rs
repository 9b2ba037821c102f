//! What GitHub says about the world.

use serde_json::{Map, Value, json};

use crate::world::{Asset, Commit, Origins, Refusal, Release, Repository, State};

/// Makes answers for one repository.
pub(crate) struct Voice<'a> {
    pub(crate) origins: &'a Origins,
    pub(crate) repository: &'a Repository,
}

impl Voice<'_> {
    fn api(&self) -> String {
        format!("{}/repos/{}", self.origins.api, self.repository.full_name)
    }

    fn web(&self) -> String {
        format!("{}/{}", self.origins.web, self.repository.full_name)
    }

    pub(crate) fn repository(&self, may_write: bool) -> Value {
        let api = self.api();
        let web = self.web();
        let (owner, name) = owner_and_name(&self.repository.full_name);
        let mut answer = Map::new();
        for (key, rest) in REPOSITORY_URLS {
            answer.insert(format!("{key}_url"), format!("{api}{rest}").into());
        }
        for key in [
            "forks",
            "open_issues",
            "stargazers",
            "network",
            "subscribers",
            "watchers",
        ] {
            answer.insert(format!("{key}_count"), 0.into());
        }
        for key in ["forks", "open_issues", "watchers", "size"] {
            answer.insert(key.to_owned(), 0.into());
        }
        for key in [
            "fork",
            "archived",
            "disabled",
            "has_pages",
            "has_discussions",
            "has_wiki",
        ] {
            answer.insert(key.to_owned(), false.into());
        }
        for key in ["description", "homepage", "language", "license", "mirror_url"] {
            answer.insert(key.to_owned(), Value::Null);
        }
        let Value::Object(rest) = json!({
            "id": self.repository.id,
            "node_id": node_id("R", self.repository.id),
            "name": name,
            "full_name": self.repository.full_name,
            "owner": self.user(owner),
            "private": self.repository.private,
            "html_url": web,
            "url": api,
            "clone_url": format!("{web}.git"),
            "git_url": format!("{web}.git"),
            "ssh_url": format!("ssh://git@github.test/{}.git", self.repository.full_name),
            "svn_url": web,
            "default_branch": "main",
            "has_issues": true,
            "has_projects": true,
            "pushed_at": "2026-01-01T00:00:00Z",
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
            "permissions": { "admin": false, "maintain": false, "push": may_write, "triage": may_write, "pull": true },
        }) else {
            return Value::Null;
        };
        answer.extend(rest);
        answer.into()
    }

    fn user(&self, login: &str) -> Value {
        let url = format!("{}/users/{login}", self.origins.api);
        let mut user = Map::new();
        for key in [
            "followers",
            "subscriptions",
            "organizations",
            "repos",
            "received_events",
        ] {
            user.insert(format!("{key}_url"), format!("{url}/{key}").into());
        }
        for (key, rest) in [
            ("events", "events{/privacy}"),
            ("following", "following{/other_user}"),
            ("gists", "gists{/gist_id}"),
            ("starred", "starred{/owner}{/repo}"),
        ] {
            user.insert(format!("{key}_url"), format!("{url}/{rest}").into());
        }
        let Value::Object(rest) = json!({
            "login": login,
            "id": 1,
            "node_id": node_id("U", 1),
            "avatar_url": format!("{}/u/1", self.origins.web),
            "gravatar_id": "",
            "html_url": format!("{}/{login}", self.origins.web),
            "url": url,
            "type": "User",
            "user_view_type": "public",
            "site_admin": false,
        }) else {
            return Value::Null;
        };
        user.extend(rest);
        user.into()
    }

    /// A release. A draft has no page under its tag, but under a name that cannot be guessed.
    pub(crate) fn release(&self, release: &Release) -> Value {
        let api = self.api();
        let id = release.id;
        let tag = &release.draft.tag;
        let published = release.published_at.is_some();
        let archive = |kind: &str| published.then(|| format!("{api}/{kind}/{tag}"));
        let target = if release.draft.target.is_empty() {
            "main"
        } else {
            &release.draft.target
        };
        json!({
            "url": format!("{api}/releases/{id}"),
            "assets_url": format!("{api}/releases/{id}/assets"),
            "upload_url": format!(
                "{}/repos/{}/releases/{id}/assets{{?name,label}}", self.origins.uploads, self.repository.full_name
            ),
            "html_url": format!("{}/releases/tag/{}", self.web(), page(release)),
            "id": id,
            "author": self.user("releaser"),
            "node_id": node_id("RE", id),
            "tag_name": tag,
            "target_commitish": target,
            "name": release.draft.name,
            "draft": !published,
            "immutable": release.immutable,
            "prerelease": release.draft.prerelease,
            "created_at": release.created_at,
            "updated_at": release.created_at,
            "published_at": release.published_at,
            "assets": release.assets.iter().map(|asset| self.asset(release, asset)).collect::<Vec<_>>(),
            "tarball_url": archive("tarball"),
            "zipball_url": archive("zipball"),
            "body": release.draft.body,
        })
    }

    pub(crate) fn asset(&self, release: &Release, asset: &Asset) -> Value {
        json!({
            "url": format!("{}/releases/assets/{}", self.api(), asset.id),
            "id": asset.id,
            "node_id": node_id("RA", asset.id),
            "name": asset.name,
            "label": asset.label,
            "uploader": self.user("releaser"),
            "content_type": asset.content_type,
            "state": match asset.state {
                State::Starter => "starter",
                State::Uploaded => "uploaded",
            },
            "size": asset.size,
            "digest": asset.digest,
            "download_count": asset.downloads,
            "created_at": asset.created_at,
            "updated_at": asset.created_at,
            "browser_download_url": format!("{}/releases/download/{}/{}", self.web(), page(release), asset.name),
        })
    }

    pub(crate) fn reference(&self, name: &str, kind: &str, sha: &str) -> Value {
        let kinds = if kind == "tag" { "tags" } else { "commits" };
        json!({
            "ref": format!("refs/{name}"),
            "node_id": node_id("REF", self.repository.id),
            "url": format!("{}/git/refs/{name}", self.api()),
            "object": { "type": kind, "sha": sha, "url": format!("{}/git/{kinds}/{sha}", self.api()) },
        })
    }

    pub(crate) fn tag_object(&self, sha: &str, name: &str, commit: &str) -> Value {
        json!({
            "node_id": node_id("TA", self.repository.id),
            "sha": sha,
            "url": format!("{}/git/tags/{sha}", self.api()),
            "tag": name,
            "message": format!("{name}\n"),
            "tagger": person("2026-01-01T00:00:00Z"),
            "object": { "type": "commit", "sha": commit, "url": format!("{}/git/commits/{commit}", self.api()) },
            "verification": unsigned(),
        })
    }

    pub(crate) fn commit(&self, sha: &str, commit: &Commit) -> Value {
        let api = self.api();
        let person = person(&commit.date.to_string());
        json!({
            "url": format!("{api}/commits/{sha}"),
            "sha": sha,
            "node_id": node_id("C", self.repository.id),
            "html_url": format!("{}/commit/{sha}", self.web()),
            "comments_url": format!("{api}/commits/{sha}/comments"),
            "commit": {
                "url": format!("{api}/git/commits/{sha}"),
                "author": person,
                "committer": person,
                "message": commit.message,
                "comment_count": 0,
                "tree": { "sha": sha, "url": format!("{api}/git/trees/{sha}") },
                "verification": unsigned(),
            },
            "author": self.user("releaser"),
            "committer": self.user("releaser"),
            "parents": [],
        })
    }
}

/// A refusal, as a 4xx has it.
pub(crate) fn refusal(refusal: &Refusal) -> Value {
    let mut answer = json!({
        "message": refusal.message,
        "documentation_url": "https://docs.github.com/rest",
        "status": refusal.status.to_string(),
    });
    if let Some([resource, field, code]) = refusal.error {
        answer["errors"] = json!([{ "resource": resource, "code": code, "field": field }]);
    }
    answer
}

/// The part of a release's page that names it.
pub(crate) fn page(release: &Release) -> String {
    match release.published_at {
        Some(_) => release.draft.tag.clone(),
        None => format!("untagged-{:016x}", release.id.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    }
}

fn owner_and_name(full_name: &str) -> (&str, &str) {
    full_name.split_once('/').unwrap_or((full_name, full_name))
}

fn node_id(kind: &str, id: u64) -> String {
    format!("{kind}_kwDO{id:08x}")
}

fn person(date: &str) -> Value {
    json!({ "name": "Releaser", "email": "releaser@example.com", "date": date })
}

/// The verification of an unsigned object.
fn unsigned() -> Value {
    json!({ "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null })
}

const REPOSITORY_URLS: [(&str, &str); 36] = [
    ("archive", "/{archive_format}{/ref}"),
    ("assignees", "/assignees{/user}"),
    ("blobs", "/git/blobs{/sha}"),
    ("branches", "/branches{/branch}"),
    ("collaborators", "/collaborators{/collaborator}"),
    ("comments", "/comments{/number}"),
    ("commits", "/commits{/sha}"),
    ("compare", "/compare/{base}...{head}"),
    ("contents", "/contents/{+path}"),
    ("contributors", "/contributors"),
    ("deployments", "/deployments"),
    ("downloads", "/downloads"),
    ("events", "/events"),
    ("forks", "/forks"),
    ("git_commits", "/git/commits{/sha}"),
    ("git_refs", "/git/refs{/sha}"),
    ("git_tags", "/git/tags{/sha}"),
    ("hooks", "/hooks"),
    ("issue_comment", "/issues/comments{/number}"),
    ("issue_events", "/issues/events{/number}"),
    ("issues", "/issues{/number}"),
    ("keys", "/keys{/key_id}"),
    ("labels", "/labels{/name}"),
    ("languages", "/languages"),
    ("merges", "/merges"),
    ("milestones", "/milestones{/number}"),
    ("notifications", "/notifications{?since,all,participating}"),
    ("pulls", "/pulls{/number}"),
    ("releases", "/releases{/id}"),
    ("stargazers", "/stargazers"),
    ("statuses", "/statuses/{sha}"),
    ("subscribers", "/subscribers"),
    ("subscription", "/subscription"),
    ("tags", "/tags"),
    ("teams", "/teams"),
    ("trees", "/git/trees{/sha}"),
];
