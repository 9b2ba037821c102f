//! Stages that would be something else when they are built beforehand.

use super::targets::no_stage;
use crate::{
    Problem,
    declaration::{Declaration, ROOT, VendorStage},
    facts::{
        Facts,
        dockerfile::{Dockerfile, Stage},
    },
};

/// Arguments that BuildKit sets differently for each platform.
const PLATFORM_ARGS: [&str; 4] = ["TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT"];

/// Refuses stages that would be something else when they are built beforehand.
pub(crate) fn check(declaration: &Declaration, facts: &Facts) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, declared) in declaration.vendor_stages.iter().enumerate() {
        let key = format!("vendor-stages[{index}].stage");
        // A Dockerfile that is not there is a problem already.
        let Some(file) = facts.dockerfiles.get(&declared.dockerfile) else {
            continue;
        };
        if !file.has_target(&declared.stage) {
            problems.push(no_stage(&key, &declared.dockerfile, file, &declared.stage));
            continue;
        }
        let refused = |(message, hint): (String, &str)| Problem::error(format!("{ROOT}.{key}"), message).hint(hint);
        problems.extend(obstacles(declaration, file, declared).into_iter().map(refused));
    }
    problems
}

/// What makes a stage depend on more than its Dockerfile and its images, each with a fix.
fn obstacles(declaration: &Declaration, file: &Dockerfile, declared: &VendorStage) -> Vec<(String, &'static str)> {
    let mut obstacles = Vec::new();
    let stages = file.with_sources(&declared.stage);
    let name = &declared.stage;
    let called = |stage: &Stage| stage.name.clone().unwrap_or_else(|| stage.from.clone());
    for stage in &stages {
        let is_itself = stage.name.as_ref() == Some(name);
        let from_image = file.base_images.contains(&stage.from);
        if (is_itself || from_image) && !is_pinned_to_the_builder(stage) {
            let message = format!(
                "\"{}\" is built for every platform, and a vendored stage for the machine that builds only",
                called(stage)
            );
            obstacles.push((message, "start it with `FROM --platform=$BUILDPLATFORM`"));
        }
        if stage.reads_context {
            let message = format!(
                "\"{}\" reads the build context, and a vendored stage has none",
                called(stage)
            );
            obstacles.push((
                message,
                "move what copies or mounts files into a stage that starts from this one",
            ));
        }
        if let Some(arg) = stage.args.iter().find(|arg| PLATFORM_ARGS.contains(&arg.as_str())) {
            let message = format!(
                "\"{}\" uses {arg}, and a vendored stage is the same for all platforms",
                called(stage)
            );
            obstacles.push((message, "move what needs it into a stage that starts from this one"));
        }
    }
    let args = stages.iter().flat_map(|stage| &stage.args).chain(&file.args);
    let args: Vec<_> = args.collect();
    let same_file = declaration
        .built_images()
        .filter(|image| image.build.dockerfile == declared.dockerfile);
    for image in same_file {
        if let Some(arg) = image.args.keys().find(|arg| args.contains(arg)) {
            let message = format!(
                "\"{name}\" takes the argument {arg} of {}, and a vendored stage is built without arguments",
                image.name
            );
            obstacles.push((
                message,
                "declare the argument in a later stage, or give it its value in the Dockerfile",
            ));
        }
    }
    obstacles
}

fn is_pinned_to_the_builder(stage: &Stage) -> bool {
    matches!(stage.platform.as_deref(), Some("$BUILDPLATFORM" | "${BUILDPLATFORM}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::fixture::{DOCKERFILE, declaration, facts, workspace};

    /// The problems of the declared stages in `dockerfile`, as text.
    fn check_stages(dockerfile: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut value = declaration();
        change(&mut value);
        let problems = check(&workspace(&value).declaration, &facts(dockerfile));
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_misspelt_stage_is_named_with_the_right_one() {
        let text = check_stages(DOCKERFILE, |value| {
            value["vendor-stages"][0]["stage"] = json!("toolchian");
        });
        let expected = "error: workspace.metadata.release.vendor-stages[0].stage: Dockerfile has no stage \"toolchian\"\n  \
                        hint: did you mean `toolchain`?";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_stage_that_is_more_than_its_dockerfile_and_images_is_refused() {
        let pinned = "FROM --platform=$BUILDPLATFORM";
        for (dockerfile, expected) in [
            ("FROM rust:1-trixie AS toolchain", "is built for every platform"),
            (
                &format!("{pinned} rust:1-trixie AS toolchain\nCOPY a b\n"),
                "reads the build context",
            ),
            (
                &format!("{pinned} rust:1-trixie AS toolchain\nRUN --mount=target=/src ls\n"),
                "reads the build context",
            ),
            (
                &format!("{pinned} rust:1-trixie AS toolchain\nARG TARGETARCH\n"),
                "uses TARGETARCH",
            ),
            (
                &format!("FROM rust:1-trixie AS first\n{pinned} scratch AS toolchain\nCOPY --from=first / /\n"),
                "\"first\" is built for every platform",
            ),
            (
                &format!("{pinned} rust:1-trixie\nCOPY . .\n{pinned} scratch AS toolchain\nCOPY --from=0 / /\n"),
                "\"rust:1-trixie\" reads the build context",
            ),
        ] {
            let text = check_stages(dockerfile, |_| {});
            assert!(text.contains(expected), "{dockerfile}\n{text}");
        }
        let text = check_stages(&format!("ARG TAG=1\n{pinned} rust:1-trixie AS toolchain\n"), |value| {
            value["images"][0]["args"] = json!({ "TAG": "2" });
        });
        assert!(text.contains("takes the argument TAG of acme-web"), "{text}");
        assert_eq!(check_stages(DOCKERFILE, |_| {}), "");
    }
}
