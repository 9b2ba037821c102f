//! The repository: files, Dockerfiles, images and the changelog.

use std::path::Path;

use bundle::Platform;

use super::{compose::compose_file, offline, stages, targets::targets, work_tree::work_tree};
use crate::{
    Problem,
    declaration::{ROOT, RegistryImage, nearest},
    facts::{Facts, Workspace},
    request::Request,
};

/// Judges the repository.
pub(super) fn repository(workspace: &Workspace, facts: &Facts, request: &Request) -> Vec<Problem> {
    let mut problems = Vec::new();
    work_tree(facts, request, &mut problems);
    files(workspace, facts, &mut problems);
    targets(workspace, facts, &mut problems);
    problems.extend(stages::check(&workspace.declaration, facts));
    compose_file(workspace, facts, &request.version, &mut problems);
    vendored_platforms(workspace, facts, request, &mut problems);
    base_images(facts, &mut problems);
    // Without a commit there is nothing to list, and that has been said.
    if let Err(message) = &facts.changelog
        && (facts.git.is_ok() || workspace.declaration.changelog.file.is_some())
    {
        problems.push(Problem::error("changelog", message.clone()));
    }
    if request.offline && request.parts.is_empty() {
        problems.extend(offline::check(&workspace.declaration, facts));
    }
    problems
}

fn files(workspace: &Workspace, facts: &Facts, problems: &mut Vec<Problem>) {
    for missing in &facts.missing {
        let mut problem = Problem::error(missing.display().to_string(), "is declared and not there");
        problem = match missing
            .file_name()
            .and_then(|name| similar_file(workspace, missing, &name.to_string_lossy()))
        {
            Some(similar) => problem.hint(format!("did you mean {similar}?")),
            None => problem.hint(format!("create it, or correct its path in [{ROOT}] of Cargo.toml")),
        };
        problems.push(problem);
    }
    for directory in &facts.directories {
        problems.push(
            Problem::error(
                directory.display().to_string(),
                "is declared as a file, and is a directory",
            )
            .hint("name its files one by one"),
        );
    }
}

/// Images that no registry can have, as they come of a variable without a value.
fn base_images(facts: &Facts, problems: &mut Vec<Problem>) {
    for (path, file) in &facts.dockerfiles {
        for image in &file.base_images {
            if !image.starts_with(|c: char| c.is_ascii_alphanumeric()) {
                problems.push(
                    Problem::error(
                        path.display().to_string(),
                        format!("builds on \"{image}\", which is not an image"),
                    )
                    .hint("a variable in FROM needs a value: an ARG with a default before the first FROM"),
                );
            }
        }
    }
}

fn similar_file(workspace: &Workspace, missing: &Path, name: &str) -> Option<String> {
    let directory = workspace.root.join(missing).parent()?.to_owned();
    let names: Vec<_> = std::fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

/// Images that ship must be there for every platform; those that others are built on need not, since a stage may run
/// on the building machine's platform only.
fn vendored_platforms(workspace: &Workspace, facts: &Facts, request: &Request, problems: &mut Vec<Problem>) {
    if !request.parts.is_empty() {
        return;
    }
    let declaration = &workspace.declaration;
    let platforms = match request.platforms.as_slice() {
        [] => &declaration.platforms,
        limited => limited,
    };
    for reference in declaration.registry_images().map(RegistryImage::reference) {
        let Some(vendored) = facts.vendor.get(&reference) else {
            continue;
        };
        // Without a list of platforms, the build finds out.
        let lacks = |platform: &&Platform| !vendored.platforms.is_empty() && !vendored.platforms.contains(platform);
        for platform in platforms.iter().filter(lacks) {
            problems.push(
                Problem::error(&reference, format!("is vendored, but not for {platform}"))
                    .hint("`cargo xtask vendor` again (`cargo xtask setup` for a substitute), or leave the platform out with --platform"),
            );
        }
    }
}
