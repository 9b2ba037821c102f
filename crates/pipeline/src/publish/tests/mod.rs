//! Publishing against a GitHub that keeps real state, and fails in every way that is known.

mod faults;
mod refused;

use std::{fs, time::Duration};

use github_double::{Access, Draft, GitHub as Double, State};
use semver::Version;
use tempfile::TempDir;

use super::{
    Patience, Published, Session, Target,
    asset::{Asset, Content},
    notes::mark,
    wanted::Wanted,
};
use crate::{Result, tests::fixture};

const REPOSITORY: &str = "acme/web";
const VERSION: Version = Version::new(2, 1, 0);

/// A repository with the tag of [`VERSION`], and files to publish there.
struct Site {
    double: Double,
    wanted: Wanted,
    patience: Patience,
    _directory: TempDir,
}

impl Site {
    /// Publishes so many versions before the one that is wanted.
    fn publish_older(&self, count: u32) {
        for patch in 0..count {
            let draft = Draft {
                tag: format!("v1.0.{patch}"),
                ..Draft::default()
            };
            self.double.world().publish(REPOSITORY, draft, &[]);
        }
    }

    fn new() -> Self {
        Self::at(Double::start().unwrap())
    }

    fn at(double: Double) -> Self {
        let commit = {
            let mut world = double.world();
            world.add_token("writer", Access::Write);
            world.add_token("reader", Access::Read);
            let repository = world.add_repository(REPOSITORY);
            let commit = repository.commit("main", "released");
            repository.annotated_tag("v2.1.0", &commit);
            commit
        };
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("acme-update-2.1.0.tar.gz");
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::write(&path, &content).unwrap();
        let file = |name: &str, offset: usize, size: usize| Asset {
            content: Content::File {
                path: path.clone(),
                offset: offset as u64,
            },
            ..Asset::of_bytes(name, content[offset..offset + size].to_vec())
        };
        let wanted = Wanted {
            version: VERSION,
            commit,
            tag: "v2.1.0".to_owned(),
            title: "acme 2.1.0".to_owned(),
            notes: format!("what changed\n{}", mark(&VERSION)),
            prerelease: false,
            latest: None,
            assets: vec![
                file("acme-update-2.1.0+x.tar.gz", 0, content.len()),
                file("acme.part", 70_000, 1000),
                Asset::of_bytes("SHA256SUMS", b"sums".to_vec()),
            ],
        };
        Self {
            double,
            wanted,
            patience: Patience {
                attempts: 4,
                first_wait: Duration::from_millis(1),
                longest_wait: Duration::from_millis(1),
                longest_limit: Duration::from_secs(5),
                stall: Duration::from_secs(5),
            },
            _directory: directory,
        }
    }

    fn target(&self, token: &str, repository: &str) -> Target {
        let declaration = fixture::workspace(&fixture::declaration()).declaration;
        let variable = |name: &str| match name {
            "GITHUB_API_URL" => Some(self.double.api_url()),
            "GITHUB_TOKEN" => Some(token.to_owned()),
            "GITHUB_REPOSITORY" => Some(repository.to_owned()),
            _ => None,
        };
        Target::find(&declaration, &variable).unwrap()
    }

    fn session(&self) -> Result<Session> {
        let target = self.target("writer", REPOSITORY);
        Session::open(target, &self.wanted.version, &self.wanted.commit, self.patience)
    }

    fn publish(&self) -> Result<Published> {
        self.session()?.publish(&self.wanted)
    }

    fn draft(&self) -> Draft {
        Draft {
            tag: self.wanted.tag.clone(),
            body: self.wanted.notes.clone(),
            ..Draft::default()
        }
    }

    /// Whether there is one release, published, with every byte that it should have and nothing else.
    #[track_caller]
    fn expect_complete(&self, case: &str) {
        let mut world = self.double.world();
        let releases = world.repository(REPOSITORY).releases_of("v2.1.0").into_iter().cloned();
        let releases: Vec<_> = releases.collect();
        assert_eq!(releases.len(), 1, "{case}: {releases:#?}");
        assert!(releases[0].published_at.is_some(), "{case}: not published");
        assert_eq!(releases[0].assets.len(), self.wanted.assets.len(), "{case}");
        for asset in &self.wanted.assets {
            let found = releases[0].assets.iter().find(|found| found.name == asset.name);
            let found = found.unwrap_or_else(|| panic!("{case}: {} is missing", asset.name));
            assert_eq!(found.state, State::Uploaded, "{case}: {}", asset.name);
            assert_eq!(found.digest.as_deref(), Some(asset.digest.as_str()), "{case}");
            let digest = bundle::Digest::of(&world.content(found.id).unwrap()).to_string();
            assert_eq!(digest, asset.digest, "{case}: {} was stored otherwise", asset.name);
        }
        drop(world);
        assert_eq!(self.double.violations(), Vec::<String>::new(), "{case}");
    }

    fn requests(&self) -> Vec<String> {
        let requests = self.double.requests().into_iter();
        requests
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }
}

#[test]
fn a_release_is_made_in_order_and_published_last() {
    let site = Site::new();
    let published = site.publish().unwrap();
    assert_eq!(published.uploaded, 3);
    assert!(
        published.url.ends_with("/acme/web/releases/tag/v2.1.0"),
        "{}",
        published.url
    );
    site.expect_complete("a release");
    let release = site.double.world().repository(REPOSITORY).releases[0].id;
    let upload = |name| format!("POST /repos/acme/web/releases/{release}/assets?name={name}");
    assert_eq!(
        site.requests(),
        [
            "GET /repos/acme/web/releases?per_page=100".to_owned(),
            "GET /repos/acme/web/commits/tags/v2.1.0".to_owned(),
            "POST /repos/acme/web/releases".to_owned(),
            upload("acme%2Dupdate%2D2%2E1%2E0%2Bx%2Etar%2Egz"),
            upload("acme%2Epart"),
            upload("SHA256SUMS"),
            "GET /repos/acme/web/releases?per_page=100".to_owned(),
            format!("PATCH /repos/acme/web/releases/{release}"),
            "GET /repos/acme/web/releases?per_page=100".to_owned(),
        ]
    );
}

#[test]
fn a_finished_release_costs_two_requests_and_no_upload() {
    let site = Site::new();
    site.publish().unwrap();
    site.double.forget_requests();
    assert_eq!(site.publish().unwrap().uploaded, 0);
    let requests = site.requests();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(
        requests.iter().all(|request| request.starts_with("GET")),
        "{requests:?}"
    );
    println!("rerun of a finished release: {} requests, 0 uploads", requests.len());
}

#[test]
fn an_enterprise_server_has_other_paths() {
    let site = Site::at(Double::start_enterprise().unwrap());
    site.publish().unwrap();
    site.expect_complete("an Enterprise server");
    let requests = site.requests();
    let hosts = ["/api/v3/repos/acme/web", "/api/uploads/repos/acme/web"];
    for request in &requests {
        assert!(
            hosts.iter().any(|host| request.contains(&format!(" {host}/"))),
            "{requests:#?}"
        );
    }
    // A list of more than one page is followed there, too.
    site.publish_older(150);
    assert_eq!(site.publish().unwrap().uploaded, 0);
}

#[test]
fn a_plan_changes_nothing() {
    let site = Site::new();
    let plan = site.session().unwrap().plan(&site.wanted).unwrap();
    assert_eq!(plan.actions.len(), 5);
    assert!(site.requests().iter().all(|request| request.starts_with("GET")));
    assert!(site.double.world().repository(REPOSITORY).releases.is_empty());
    site.publish().unwrap();
    let plan = site.session().unwrap().plan(&site.wanted).unwrap();
    assert!(
        plan.to_string()
            .ends_with("nothing to do: the release is published and complete")
    );
}

#[test]
fn every_page_of_releases_is_looked_at() {
    let site = Site::new();
    let draft = site.double.world().add_draft(REPOSITORY, site.draft(), &[]);
    site.publish_older(150);
    site.publish().unwrap();
    site.expect_complete("150 releases");
    let release = site.double.world().repository(REPOSITORY).releases_of("v2.1.0")[0].id;
    assert_eq!(release, draft, "another draft was made");
}

#[test]
fn prereleases_and_backports_are_not_the_latest() {
    let site = Site::new();
    let latest = || {
        site.double
            .world()
            .repository(REPOSITORY)
            .latest()
            .map(|latest| latest.draft.tag.clone())
    };
    site.double.world().publish(
        REPOSITORY,
        Draft {
            tag: "v3.0.0".to_owned(),
            ..Draft::default()
        },
        &[],
    );
    site.publish().unwrap();
    assert_eq!(latest().as_deref(), Some("v3.0.0"));

    let mut site = Site::new();
    site.wanted.prerelease = true;
    site.publish().unwrap();
    let mut world = site.double.world();
    assert!(world.repository(REPOSITORY).releases[0].draft.prerelease);
    assert!(world.repository(REPOSITORY).latest().is_none());
    drop(world);

    let site = Site::new();
    site.double.world().publish(
        REPOSITORY,
        Draft {
            tag: "v2.0.9".to_owned(),
            ..Draft::default()
        },
        &[],
    );
    site.publish().unwrap();
    let latest = site
        .double
        .world()
        .repository(REPOSITORY)
        .latest()
        .map(|latest| latest.draft.tag.clone());
    assert_eq!(latest.as_deref(), Some("v2.1.0"));
}

#[test]
fn a_release_that_cannot_be_changed_is_complete_before_it_is_published() {
    let site = Site::new();
    site.double.world().repository(REPOSITORY).immutable_releases = true;
    site.publish().unwrap();
    site.expect_complete("immutable");
    assert_eq!(site.publish().unwrap().uploaded, 0);
}
