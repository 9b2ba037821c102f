//! Makes the plan from declaration, facts and request. No I/O.

use bundle::{Platform, names::ProductName};
use semver::Version;

use super::{
    bake::{BuildRequest, bake_file},
    pins::Pin,
    stages::{self, StagePin},
    step::{Plan, Step, extension},
};
use crate::{
    Error, Problem, Result,
    declaration::{ArchiveKind, BundleKind},
    facts::{Facts, Workspace, git::tag_of, image_references},
    preflight,
    request::{Output, Request},
};

/// Makes the plan. Does no input or output.
///
/// # Errors
/// [`Error::Problems`] with everything that stands against the release.
pub fn plan(workspace: &Workspace, facts: &Facts, request: &Request) -> Result<Plan> {
    let declaration = &workspace.declaration;
    let mut problems = preflight::repository(workspace, facts, request);
    let platforms = platforms(workspace, request, &mut problems);
    let mut pins = Vec::new();
    if request.parts.is_empty() {
        for reference in facts.references(declaration) {
            match Pin::resolve(&reference, &facts.lock, &facts.vendor, request.offline) {
                Ok(pin) => pins.push(pin),
                Err(problem) => problems.push(problem),
            }
        }
    }
    let mut stages = Vec::new();
    if request.parts.is_empty() && request.offline {
        let (found, missing) = stages::resolve(declaration, facts, &pins);
        stages = found;
        problems.extend(missing);
    }
    if request.publish.is_some() {
        problems.extend(preflight::publishing(facts, &platforms, declaration, &pins, &stages));
    }
    problems.extend(pins.iter().filter_map(Pin::warning));
    problems.extend(stages.iter().filter_map(StagePin::warning));
    let (errors, warnings): (Vec<_>, Vec<_>) = problems.into_iter().partition(Problem::is_error);
    if !errors.is_empty() {
        return Err(Error::Problems(errors.into_iter().chain(warnings).collect()));
    }
    let steps = steps(workspace, facts, request, &platforms, &pins, &stages);
    let version = request.version.clone();
    Ok(Plan {
        product: declaration.product.to_string(),
        version,
        platforms,
        pins,
        stages,
        steps,
        warnings,
    })
}

fn steps(
    workspace: &Workspace,
    facts: &Facts,
    request: &Request,
    platforms: &[Platform],
    pins: &[Pin],
    stages: &[StagePin],
) -> Vec<Step> {
    let mut steps = Vec::new();
    if request.parts.is_empty() {
        let build = BuildRequest {
            version: &request.version,
            platforms,
            pins,
            stages,
            offline: request.offline,
            network: request.network.as_deref(),
        };
        let bake = bake_file(workspace, facts, &build);
        steps.push(Step::Build {
            builder: request.builder.clone(),
            no_cache: request.no_cache,
            bake,
        });
    } else {
        steps.extend(request.parts.iter().map(|part| Step::Import { part: part.clone() }));
    }
    let images = image_references(workspace, &request.version);
    steps.push(Step::Collect {
        images,
        platforms: platforms.to_vec(),
    });
    match &request.output {
        Output::Part(path) => steps.push(Step::Part { path: path.clone() }),
        Output::Bundles => {
            steps.extend(packs(workspace, request, platforms));
            steps.push(Step::Checksums {
                path: workspace.dist.join("SHA256SUMS"),
                installer: workspace.declaration.updater.is_some(),
            });
        }
    }
    if let Some(publication) = &request.publish {
        steps.push(Step::Publish {
            repository: publication.target.repository.clone(),
            tag: tag_of(&request.version),
        });
    }
    steps
}

fn packs(workspace: &Workspace, request: &Request, platforms: &[Platform]) -> Vec<Step> {
    let declaration = &workspace.declaration;
    let mut archives = declaration.archives.clone();
    if request.zip && !archives.contains(&ArchiveKind::Zip) {
        archives.push(ArchiveKind::Zip);
    }
    let limited = platforms.len() < declaration.platforms.len();
    let mut scopes: Vec<(String, Vec<Platform>)> = Vec::new();
    let mut add = |name: String, platforms: Vec<Platform>| {
        if !scopes.iter().any(|(known, _)| *known == name) {
            scopes.push((name, platforms));
        }
    };
    let suffix = |platforms: &[Platform]| platforms.iter().map(Platform::suffix).collect::<Vec<_>>().join("-");
    for kind in &declaration.bundles {
        match kind {
            // A limited release must not look like a whole one.
            BundleKind::All if limited => add(format!("-{}", suffix(platforms)), platforms.to_vec()),
            BundleKind::All => add(String::new(), platforms.to_vec()),
            BundleKind::PerPlatform => {
                for platform in platforms {
                    add(format!("-{}", platform.suffix()), vec![platform.clone()]);
                }
            }
        }
    }
    let mut steps = Vec::new();
    for (name, platforms) in scopes {
        for archive in &archives {
            let file = format!(
                "{}-update-{}{name}.{}",
                declaration.product,
                request.version,
                extension(*archive)
            );
            steps.push(Step::Pack {
                path: workspace.dist.join(file),
                archive: *archive,
                multi_platform: platforms.len() > 1,
                platforms: platforms.clone(),
            });
        }
    }
    steps
}

/// Whether `name` is that of a bundle of this very version, for any of the `declared` platforms. The bundle of
/// `1.0.0-rc.1` is none of `1.0.0`.
pub(crate) fn is_bundle_of(name: &str, product: &ProductName, version: &Version, declared: &[Platform]) -> bool {
    let Some(mut platforms) = name
        .strip_prefix(&format!("{product}-update-{version}"))
        .and_then(|rest| rest.strip_suffix(".tar.gz").or_else(|| rest.strip_suffix(".zip")))
    else {
        return false;
    };
    while !platforms.is_empty() {
        // `amd64` begins `amd64-v2`, so the shortest rest is right.
        let rests = declared
            .iter()
            .filter_map(|platform| platforms.strip_prefix('-')?.strip_prefix(&platform.suffix()));
        match rests.min_by_key(|rest| rest.len()) {
            Some(rest) => platforms = rest,
            None => return false,
        }
    }
    true
}

fn platforms(workspace: &Workspace, request: &Request, problems: &mut Vec<Problem>) -> Vec<Platform> {
    let declared = &workspace.declaration.platforms;
    if request.platforms.is_empty() {
        return declared.clone();
    }
    let mut platforms = Vec::new();
    for platform in &request.platforms {
        if !declared.contains(platform) {
            let known = declared.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            problems.push(
                Problem::error(format!("--platform {platform}"), "is not declared")
                    .hint(format!("declared are: {known}")),
            );
        } else if !platforms.contains(platform) {
            platforms.push(platform.clone());
        }
    }
    platforms.sort();
    platforms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{self, Publication, Target};

    #[test]
    fn bundles_of_a_version_and_of_others() {
        let declared = ["linux/amd64", "linux/arm64", "linux/arm/v7"].map(|platform| platform.parse().unwrap());
        let product = "hello".parse().unwrap();
        let is_one = |name: &str| is_bundle_of(name, &product, &Version::new(1, 0, 0), &declared);
        for name in [
            "hello-update-1.0.0.tar.gz",
            "hello-update-1.0.0.zip",
            "hello-update-1.0.0-arm-v7.tar.gz",
            "hello-update-1.0.0-amd64-arm64.zip",
        ] {
            assert!(is_one(name), "{name}");
        }
        for name in [
            "hello-update-1.0.0-rc.1.tar.gz",
            "hello-update-1.0.0-rc.1-amd64.tar.gz",
            "hello-update-1.0.01.tar.gz",
            "hello-update-1.0.0-amd64/../../secret.zip",
            "hello-update-1.0.0-riscv64.tar.gz",
            "hello-update-1.0.0",
            "install.sh",
        ] {
            assert!(!is_one(name), "{name}");
        }
    }

    /// Everything that stands against publishing `facts`.
    fn refused(facts: &Facts, platforms: &[&str]) -> String {
        let workspace = crate::tests::fixture::workspace(&crate::tests::fixture::declaration());
        let variable = |name: &str| match name {
            "GITHUB_TOKEN" => Some("token".to_owned()),
            "GITHUB_REPOSITORY" => Some("acme/web".to_owned()),
            _ => None,
        };
        let request = Request {
            version: Version::new(1, 0, 0),
            platforms: platforms.iter().map(|platform| platform.parse().unwrap()).collect(),
            builder: None,
            offline: false,
            no_cache: false,
            network: None,
            parts: Vec::new(),
            zip: false,
            allow_dirty: true,
            output: Output::Bundles,
            publish: Some(Publication {
                target: Target::find(&workspace.declaration, &variable).unwrap(),
                request: publish::Request {
                    bundles: Vec::new(),
                    assets: Vec::new(),
                    latest: None,
                    notes: None,
                },
            }),
        };
        match plan(&workspace, facts, &request) {
            Ok(plan) => plan.steps.last().unwrap().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_may_be_built_but_not_published() {
        let facts = || crate::tests::fixture::facts(crate::tests::fixture::DOCKERFILE);
        assert_eq!(refused(&facts(), &[]), "publish v1.0.0 in acme/web");
        let mut stand_in = facts();
        stand_in.vendor.images[0].substitute = true;
        assert!(
            refused(&stand_in, &[]).contains("error: rust:1-trixie: a stand-in is used, which cannot be published")
        );
        let mut unpinned = facts();
        unpinned.vendor.images.clear();
        unpinned.lock.images[0].digest = None;
        assert!(refused(&unpinned, &[]).contains("error: rust:1-trixie: is not pinned by digest"));
        let mut dirty = facts();
        dirty.git.as_mut().unwrap().dirty = vec![" M web".to_owned()];
        assert!(refused(&dirty, &[]).contains("what is not committed cannot be published"));
        assert!(refused(&facts(), &["linux/amd64"]).contains("published for all declared platforms"));
    }
}
