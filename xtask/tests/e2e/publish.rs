//! From a commit to a GitHub Release, by the commands that a person types.

use std::{fs, process::Command};

use github_double::{Access, Break, Effect, Fault, GitHub, Host, Release, State};

use crate::support::{
    product::Product,
    run::{Outcome, run, tool},
};

const REPOSITORY: &str = "acme/web";

/// A product whose images come from nowhere else, and the GitHub that knows its commit.
struct Site {
    product: Product,
    github: GitHub,
}

impl Site {
    fn new() -> Self {
        let product = Product::new();
        product.declare(r#"repository = "acme/web""#);
        product.commit("feat: be published");
        let github = GitHub::start().unwrap();
        github.world().add_repository(REPOSITORY);
        github.world().add_token("secret", Access::Write);
        Self { product, github }
    }

    /// `git tag v1.0.0 && git push --tags`
    fn tag(&self) {
        self.product.git(&["tag", "v1.0.0"]);
        let commit = tool(self.product.root(), "git", &["rev-parse", "HEAD"])
            .trim()
            .to_owned();
        let mut world = self.github.world();
        let repository = world.repository(REPOSITORY);
        repository.push("main", &commit, "be published", "2026-01-02T03:04:05Z".parse().unwrap());
        repository.tag("v1.0.0", &commit);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.product.command(arguments);
        command
            .env("GITHUB_API_URL", self.github.api_url())
            .env("GITHUB_TOKEN", "secret");
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Outcome {
        run(&mut self.command(arguments))
    }

    fn releases(&self) -> Vec<Release> {
        self.github.world().repository(REPOSITORY).releases.clone()
    }

    /// Downloads all assets as they are stored, and has `sha256sum` check them.
    fn expect_complete(&self, names: &[&str]) {
        let releases = self.releases();
        assert_eq!(releases.len(), 1, "{releases:#?}");
        assert!(releases[0].published_at.is_some());
        let directory = tempfile::tempdir().unwrap();
        let mut found = Vec::new();
        for asset in &releases[0].assets {
            assert_eq!(asset.state, State::Uploaded);
            let content = self.github.world().content(asset.id).unwrap();
            fs::write(directory.path().join(&asset.name), content).unwrap();
            found.push(asset.name.as_str());
        }
        found.sort_unstable();
        assert_eq!(found, names);
        let checked = tool(directory.path(), "sha256sum", &["--check", "--strict", "SHA256SUMS"]);
        assert_eq!(checked.lines().count(), names.len() - 1, "{checked}");
        assert_eq!(self.github.violations(), Vec::<String>::new());
    }
}

const BUNDLES: [&str; 3] = [
    "dist/acme-update-1.0.0.tar.gz",
    "dist/acme-update-1.0.0-amd64.tar.gz",
    "dist/acme-update-1.0.0-arm64.tar.gz",
];

const ASSETS: [&str; 5] = [
    "SHA256SUMS",
    "acme-sbom.cdx.json",
    "acme-update-1.0.0-amd64.tar.gz",
    "acme-update-1.0.0-arm64.tar.gz",
    "acme-update-1.0.0.tar.gz",
];

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_commit_becomes_a_release() {
    let site = Site::new();
    let publish = ["release", "1.0.0", "--publish"];
    site.run(&publish).expect(3).says("error: acme/web has no tag v1.0.0");
    assert!(
        !site.product.bundle().exists(),
        "it was built before the tag was looked for"
    );
    site.tag();

    site.run(&["release", "--publish", "--plan"])
        .expect(0)
        .prints("publish v1.0.0 in acme/web");
    assert!(site.releases().is_empty());

    site.run(&publish).expect(0).prints("/acme/web/releases/tag/v1.0.0");
    site.expect_complete(&ASSETS);
    let release = site.releases().remove(0);
    assert_eq!(release.draft.name, "acme 1.0.0");
    assert!(release.draft.body.contains("- be published"), "{}", release.draft.body);
    assert!(release.draft.body.contains("curl -fLO"), "{}", release.draft.body);

    site.github.forget_requests();
    site.run(&publish)
        .expect(0)
        .says("nothing changed: the release was complete");
    let requests = site.github.requests();
    assert!(requests.len() <= 3, "{requests:#?}");
    assert!(requests.iter().all(|request| request.method == "GET"), "{requests:#?}");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn what_was_interrupted_is_finished_by_publish() {
    let site = Site::new();
    site.tag();
    site.product.release(&[]);
    // The second upload breaks, and what it left cannot be deleted: waiting for so long is not worth it.
    let ending = Break::Reset;
    let broken = Effect::Upload { after: 10, ending };
    site.github
        .fault(Fault::new(Host::Uploads, "POST", "", broken).after(1));
    site.github
        .fault(Fault::new(Host::Api, "DELETE", "", Effect::SecondaryLimit(3600)));
    let publish = [["publish"].as_slice(), BUNDLES.as_slice()].concat();
    site.run(&publish)
        .expect(6)
        .says("GitHub allows no request for another 3600 s")
        .says("the same command again");
    let releases = site.releases();
    assert!(releases[0].published_at.is_none(), "half a release was published");
    assert!(releases[0].assets.iter().any(|asset| asset.state == State::Starter));

    let plan = [publish.as_slice(), ["--plan"].as_slice()].concat();
    site.run(&plan)
        .expect(0)
        .prints("its upload did not end (state `starter`)");
    site.run(&publish).expect(0).prints("/releases/tag/v1.0.0");
    site.expect_complete(&ASSETS);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn what_must_not_be_published() {
    let site = Site::new();
    site.tag();
    let publish = ["release", "1.0.0", "--publish"];
    run(site.command(&publish).env_remove("GITHUB_TOKEN"))
        .expect(3)
        .says("error: there is no token for GitHub");
    run(site.command(&publish).env("GITHUB_REPOSITORY", "fork/web"))
        .expect(3)
        .says("error: acme/web is declared, but GITHUB_REPOSITORY is fork/web");
    site.run(&["release", "1.0.0", "--publish", "--platform", "linux/amd64"])
        .expect(3)
        .says("published for all declared platforms");
    site.product.write("web/index.html", "changed");
    site.run(&publish)
        .expect(3)
        .says("what is not committed cannot be published");
    site.product.git(&["checkout", "--quiet", "."]);

    site.product.write("web/index.html", "changed");
    site.product.release(&["--allow-dirty"]);
    site.run(&["publish", BUNDLES[0]])
        .expect(3)
        .says("made from files that were not committed");
    site.product.git(&["checkout", "--quiet", "."]);

    site.product.release(&[]);
    site.run(&["publish", BUNDLES[1]])
        .expect(3)
        .says("no bundle is for linux/arm64, which is declared");
    site.product.write("dist/odd name.txt", "x");
    site.run(&["publish", BUNDLES[0], "--asset", "dist/odd name.txt"])
        .expect(3)
        .says("odd name.txt cannot be an asset");
    crate::support::files::change_a_byte(&site.product.bundle());
    site.run(&["publish", BUNDLES[0]]).expect(5);
    assert!(site.releases().is_empty());
    assert!(site.github.requests().iter().all(|request| request.method == "GET"));
}

/// The shell lines of release.yml, in their order, said of this product.
fn workflow_lines() -> Vec<String> {
    let path = xtask::checkout::root().unwrap().join(".github/workflows/release.yml");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("- run: "));
    lines.map(|line| line.replace("webmacs", "acme")).collect()
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn the_lines_of_the_workflow_make_a_release() {
    let site = Site::new();
    site.tag();
    let lines = workflow_lines();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    let shell = |line: &str, variables: &[(&str, &str)]| {
        let rest = line.strip_prefix("cargo xtask ");
        let rest = rest.unwrap_or_else(|| panic!("not a line of xtask: {line}"));
        let program = site.command(&[]);
        let mut command = Command::new("bash");
        command
            .args(["-euc", &format!("{} {rest}", program.get_program().to_str().unwrap())])
            .current_dir(site.product.root())
            .envs(variables.iter().copied());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        run(&mut command).expect(0)
    };
    let (build, others) = lines.split_first().unwrap();
    shell(build, &[("PLATFORM", "linux/amd64"), ("PART", "part-amd64")]);
    shell(build, &[("PLATFORM", "linux/arm64"), ("PART", "part-arm64")]);
    for line in others {
        shell(line, &[]);
    }
    // The document is the one that was attested.
    site.expect_complete(&ASSETS);
    let sbom = site.releases()[0]
        .assets
        .iter()
        .find(|asset| asset.name == ASSETS[1])
        .unwrap()
        .id;
    let attested = fs::read(site.product.path("dist/acme-sbom.cdx.json")).unwrap();
    assert_eq!(site.github.world().content(sbom).unwrap(), attested);
}
