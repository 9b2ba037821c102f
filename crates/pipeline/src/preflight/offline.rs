//! What a build without a network cannot do, found before anything is built.
//!
//! `RUN` gets no network from BuildKit. But BuildKit itself fetches the frontend of a `# syntax=` line and what `ADD`
//! names by URL, with any network of `RUN`; so these are refused here, and crates that are not what Cargo.lock names. Images and
//! stages that are not vendored are [`crate::plan::pins`]' and [`crate::plan::stages`]' to refuse. Does no input or output.

use std::collections::BTreeSet;

use crate::{
    Problem,
    declaration::Declaration,
    facts::{Facts, vendored::CRATES_CONTEXT},
};

/// Problems with building without a network.
pub(crate) fn check(declaration: &Declaration, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, file) in &facts.dockerfiles {
        if file.syntax.is_some() {
            problems.push(
                Problem::error(
                    path.display().to_string(),
                    "has a `# syntax=` line, which fetches its frontend from a registry",
                )
                .hint("remove the line to build offline"),
            );
        }
        let vendored = declaration.vendor_stages.iter();
        let vendored: Vec<_> = vendored
            .filter(|stage| stage.dockerfile == *path)
            .map(|stage| stage.stage.as_str())
            .collect();
        let targets = declaration.build_sources().filter(|build| build.dockerfile == *path);
        let downloads: BTreeSet<_> = targets
            .flat_map(|build| file.built_stages(build.target.as_deref(), &vendored))
            .flat_map(|stage| &stage.downloads)
            .collect();
        for url in downloads {
            problems.push(
                Problem::error(
                    path.display().to_string(),
                    format!("has `ADD {url}`, which is fetched from the network"),
                )
                .hint("move it into a stage of its own and declare that under `vendor-stages`"),
            );
        }
    }
    problems.extend(crates(facts));
    problems
}

/// Crates that Dockerfiles ask for, and that are not those of Cargo.lock.
fn crates(facts: &Facts) -> Option<Problem> {
    let mut dockerfiles = facts.dockerfiles.values();
    if facts.cargo_lock.is_none() || !dockerfiles.any(|file| file.has_target(CRATES_CONTEXT)) {
        return None;
    }
    let (message, hint) = if !facts.vendored_crates {
        (
            "are not vendored, so they cannot be used without a network",
            "cargo xtask vendor, on a machine with a network",
        )
    } else if facts.vendor.cargo_lock != facts.cargo_lock {
        (
            "are stale: Cargo.lock has changed since they were vendored",
            "cargo xtask vendor",
        )
    } else {
        return None;
    };
    Some(Problem::error("crates", message).hint(hint))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tests::fixture::{declaration, facts, workspace};

    fn problems(dockerfile: &str) -> String {
        let mut value = declaration();
        value["vendor-stages"] = json!([{ "stage": "tools" }]);
        let problems = check(&workspace(&value).declaration, &facts(dockerfile));
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_buildkit_itself_would_fetch_is_refused() {
        let text = problems("# syntax=docker/dockerfile:1\nFROM scratch AS web\nADD https://example.com/a /a\n");
        assert!(text.contains("error: Dockerfile: has a `# syntax=` line"), "{text}");
        assert!(text.contains("has `ADD https://example.com/a`"), "{text}");
    }

    #[test]
    fn what_is_not_built_may_fetch_what_it_likes() {
        let tools = "FROM rust:1-trixie AS first\nADD https://example.com/a /a\nFROM first AS tools\n";
        let text = problems(&format!("{tools}FROM tools AS web\nFROM first AS other\n"));
        assert_eq!(text, "");
        let text = problems(&format!("{tools}FROM tools AS web\nCOPY --from=first /a /a\n"));
        assert!(text.contains("has `ADD https://example.com/a`"), "{text}");
    }
    #[test]
    fn crates_are_those_of_cargo_lock() {
        let mut facts = facts("FROM scratch AS vendored-crates\nFROM scratch AS web\n");
        let declaration = workspace(&declaration()).declaration;
        let text = |facts: &Facts| {
            check(&declaration, facts)
                .iter()
                .map(ToString::to_string)
                .collect::<String>()
        };
        assert!(
            text(&facts).starts_with("error: crates: are not vendored"),
            "{}",
            text(&facts)
        );
        facts.vendored_crates = true;
        assert!(text(&facts).starts_with("error: crates: are stale"), "{}", text(&facts));
        facts.vendor.cargo_lock = facts.cargo_lock;
        assert_eq!(text(&facts), "");
    }
}
