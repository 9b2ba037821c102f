//! From a request to a plan that nothing blocks: every problem is found here, before anything is done.
//!
//! Facts are read, the plan is made, and both are judged; then the machine and the signing key are.

use std::{fmt, thread};

use serde::Serialize;

use super::{
    machine::{directories, machine_problems},
    publishing::publishing,
    registries::registries,
    repository::repository,
};
use crate::{
    Error, Problem, Result,
    facts::{Facts, Workspace},
    pack::keys::{self, Signer},
    plan::{Plan, pins::Pin, plan, stages::StagePin},
    request::{Output, Request},
};

/// A plan that the repository allows, with what the person should know about it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Prepared {
    /// What it was made from.
    #[serde(skip)]
    pub facts: Facts,
    /// The plan.
    #[serde(flatten)]
    pub plan: Plan,
    /// What the person should know.
    pub warnings: Vec<Problem>,
}

/// What a release starts from: nothing blocks it.
pub(crate) struct Ready {
    /// What is so in the repository.
    pub facts: Facts,
    /// The plan.
    pub plan: Plan,
    /// Who signs; none where no bundle is made.
    pub signer: Option<Signer>,
    /// What the person should know.
    pub warnings: Vec<Problem>,
}

/// Reads everything that a plan depends on, and makes it. Changes nothing.
pub(crate) fn prepare(workspace: &Workspace, request: &Request) -> Result<Prepared> {
    let facts = Facts::read(workspace, &request.version)?;
    judge(workspace, facts, request)
}

/// Makes the plan from `facts`, and judges both.
pub(super) fn judge(workspace: &Workspace, facts: Facts, request: &Request) -> Result<Prepared> {
    let plan = plan(workspace, &facts, request);
    let mut problems = repository(workspace, &facts, request);
    problems.extend(plan.unresolved.iter().cloned());
    if request.publish.is_some() {
        problems.extend(publishing(&facts, &workspace.declaration, &plan));
    }
    problems.extend(plan.pins.iter().filter_map(Pin::warning));
    problems.extend(plan.stages.iter().filter_map(StagePin::warning));
    let (errors, warnings): (Vec<_>, Vec<_>) = problems.into_iter().partition(Problem::is_error);
    if errors.is_empty() {
        Ok(Prepared { facts, plan, warnings })
    } else {
        Err(Error::Problems(errors.into_iter().chain(warnings).collect()))
    }
}

/// Every problem and warning of a release: of the repository, the machine and the key.
pub(crate) fn check(workspace: &Workspace, request: &Request) -> Result<Vec<Problem>> {
    let (prepared, outside, _) = look(workspace, request);
    let mut problems = match prepared {
        Ok(prepared) => prepared.warnings,
        Err(Error::Problems(problems)) => problems,
        Err(error) => return Err(error),
    };
    problems.extend(outside);
    Ok(problems)
}

/// Gives what a release starts from.
pub(crate) fn ready(workspace: &Workspace, request: &Request) -> Result<Ready> {
    let (prepared, outside, signer) = look(workspace, request);
    let Prepared {
        facts,
        plan,
        mut warnings,
    } = match prepared {
        Err(Error::Problems(found)) => return Err(Error::Problems(found.into_iter().chain(outside).collect())),
        prepared => prepared?,
    };
    let (errors, others): (Vec<_>, Vec<_>) = outside.into_iter().partition(Problem::is_error);
    if !errors.is_empty() {
        return Err(Error::Problems(errors));
    }
    warnings.extend(others);
    Ok(Ready {
        facts,
        plan,
        signer: signer?,
        warnings,
    })
}

/// Looks at the repository and, meanwhile, at the machine; then at the key.
fn look(workspace: &Workspace, request: &Request) -> (Result<Prepared>, Vec<Problem>, Result<Option<Signer>>) {
    let (prepared, machine, registries) = thread::scope(|scope| {
        let machine = scope.spawn(|| machine_problems(workspace, request));
        let prepared = prepare(workspace, request);
        // Where parts are merged, nothing is built.
        let registries = match &prepared {
            Ok(prepared) if request.parts.is_empty() => registries(&prepared.plan.pins, request.builder.as_deref()),
            _ => Vec::new(),
        };
        (prepared, machine.join(), registries)
    });
    let mut problems = directories(workspace);
    problems.extend(machine.unwrap_or_default());
    problems.extend(registries);
    let signer = match request.output {
        Output::Bundles => keys::load(workspace).map(Some),
        Output::Part(_) => Ok(None),
    };
    problems.extend(signer.as_ref().err().map(keys::problem));
    if request.output == Output::Bundles {
        problems.extend(keys::exposed(workspace));
    }
    (prepared, problems, signer)
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)?;
        for warning in &self.warnings {
            writeln!(f, "{warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use semver::Version;

    use super::*;
    use bundle::Digest;

    use crate::{
        publish::{self, Publication, Target},
        tests::fixture,
    };

    /// The problems with publishing `facts`.
    fn refused(facts: &Facts, platforms: &[&str]) -> String {
        let workspace = fixture::workspace(&fixture::declaration());
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
        match judge(&workspace, facts.clone(), &request) {
            Ok(prepared) => prepared.plan.steps.last().unwrap().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_may_be_built_but_not_published() {
        let facts = || fixture::facts(fixture::DOCKERFILE);
        assert_eq!(refused(&facts(), &[]), "publish v1.0.0 in acme/web");
        let mut substitute = facts();
        substitute.vendor.images[0].substitute = true;
        assert!(
            refused(&substitute, &[]).contains("error: rust:1-trixie: a substitute is used, which cannot be published")
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

    /// The plan for a release without a network, as text, or its problems.
    fn planned(facts: &Facts, offline: bool) -> String {
        let request = Request {
            version: semver::Version::new(1, 0, 0),
            platforms: Vec::new(),
            builder: None,
            offline,
            no_cache: false,
            network: None,
            parts: Vec::new(),
            zip: false,
            allow_dirty: false,
            output: Output::Bundles,
            publish: None,
        };
        match judge(&fixture::workspace(&fixture::declaration()), facts.clone(), &request) {
            Ok(prepared) => prepared.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_plan_says_which_stage_is_not_built() {
        let mut facts = fixture::facts(fixture::DOCKERFILE);
        facts.vendor.stages = vec![fixture::vendored(
            &fixture::workspace(&fixture::declaration()).declaration,
            &facts,
        )];
        let stage = format!(
            "  stage toolchain of Dockerfile is oci-layout:///acme/dist/vendor/stages/toolchain@{}\n",
            Digest::of(b"stage")
        );
        assert!(planned(&facts, true).contains(&stage), "{}", planned(&facts, true));
        // With a network it is built like any other.
        assert!(!planned(&facts, false).contains("stage toolchain"));
        facts.vendor.stages.clear();
        assert!(planned(&facts, true).contains("stage toolchain of Dockerfile: is not vendored"));
    }
}
