//! What may be built, but not published.

use crate::{
    Problem,
    declaration::Declaration,
    facts::Facts,
    plan::{Plan, pins::Origin},
};

/// Judges what may be built, but not published.
pub(super) fn publishing(facts: &Facts, declaration: &Declaration, plan: &Plan) -> Vec<Problem> {
    let fetch =
        "cargo xtask lock, commit the lock file, and cargo xtask vendor, on a machine that reaches the registry";
    let mut problems = Vec::new();
    for pin in &plan.pins {
        match pin.origin {
            Origin::Substitute { .. } => problems
                .push(Problem::error(&pin.reference, "a substitute is used, which cannot be published").hint(fetch)),
            Origin::Unpinned => problems.push(
                Problem::error(&pin.reference, "is not pinned by digest, so it cannot be published")
                    .hint("cargo xtask lock, and commit the lock file"),
            ),
            Origin::Registry { .. } | Origin::Vendored { .. } => {}
        }
    }
    for stage in plan.stages.iter().filter(|stage| stage.substitute) {
        let message = "was built on a substitute, which cannot be published";
        problems.push(Problem::error(format!("stage {}", stage.stage), message).hint(fetch));
    }
    if plan.platforms.len() < declaration.platforms.len() {
        problems.push(
            Problem::error(
                "--platform",
                "a release is published for all declared platforms or not at all",
            )
            .hint("leave --platform out"),
        );
    }
    if facts.is_dirty() {
        problems.push(
            Problem::error("work tree", "what is not committed cannot be published")
                .hint("commit it, and tag the commit"),
        );
    }
    problems
}
