//! The stages that declared images are built from.

use std::path::Path;

use crate::{
    Problem,
    declaration::{BuildSource, Image, ROOT, Updater, nearest},
    facts::{Facts, Workspace, dockerfile::Dockerfile},
};

pub(super) fn targets(workspace: &Workspace, facts: &Facts, problems: &mut Vec<Problem>) {
    let declaration = &workspace.declaration;
    let mut check = |key: String, build: &BuildSource| {
        let (Some(file), Some(target)) = (facts.dockerfiles.get(&build.dockerfile), &build.target) else {
            return;
        };
        if file.has_target(target) {
            return;
        }
        problems.push(no_stage(&format!("{key}.target"), &build.dockerfile, file, target));
    };
    for (index, image) in declaration.images.iter().enumerate() {
        if let Image::Built(built) = image {
            check(format!("images[{index}]"), &built.build);
        }
    }
    if let Some(Updater::Built(build)) = &declaration.updater {
        check("updater".to_owned(), build);
    }
}

/// The problem of a `key` that names a stage which `dockerfile` does not have.
pub(super) fn no_stage(key: &str, dockerfile: &Path, file: &Dockerfile, stage: &str) -> Problem {
    let problem = Problem::error(
        format!("{ROOT}.{key}"),
        format!("{} has no stage \"{stage}\"", dockerfile.display()),
    );
    let names: Vec<_> = file.targets().collect();
    match nearest(stage, names.iter().copied()) {
        Some(right) => problem.hint(format!("did you mean `{right}`?")),
        None if names.is_empty() => problem.hint("give the stage a name: `FROM … AS name`"),
        None => problem.hint(format!("its stages are: {}", names.join(", "))),
    }
}
