//! The preflight: everything that stands against a release, all at once, each with what mends it.
//!
//! [`repository`] judges facts without any I/O. [`machine`] judges what [`crate::build::buildx`] found out
//! about Docker and the disk.

pub(crate) mod offline;

use std::{collections::BTreeMap, path::Path};

use bundle::Platform;
use semver::Version;

use crate::{
    Problem,
    build::buildx::Machine,
    declaration::{BuildSource, Declaration, Image, ROOT, RegistryImage, Updater},
    facts::{Facts, Workspace, compose, dockerfile::Dockerfile},
    plan::{
        Request, image_references,
        pins::{Origin, Pin},
        stages::{self, StagePin},
    },
    problem::nearest,
};

/// The oldest buildx whose bake knows all that is used here.
const OLDEST_BUILDX: Version = Version::new(0, 12, 0);

/// Space that a release needs beside its images, in bytes.
const LEAST_DISK: u64 = 2 << 30;

/// Judges the repository.
pub fn repository(workspace: &Workspace, facts: &Facts, request: &Request) -> Vec<Problem> {
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

/// Judges what may be built, but not published.
pub(crate) fn publishing(
    facts: &Facts,
    platforms: &[Platform],
    declaration: &Declaration,
    pins: &[Pin],
    stages: &[StagePin],
) -> Vec<Problem> {
    let fetch =
        "cargo xtask lock, commit the lock file, and cargo xtask vendor, on a machine that reaches the registry";
    let mut problems = Vec::new();
    for pin in pins {
        match pin.origin {
            Origin::Substitute { .. } => problems
                .push(Problem::error(&pin.reference, "a stand-in is used, which cannot be published").hint(fetch)),
            Origin::Unpinned => problems.push(
                Problem::error(&pin.reference, "is not pinned by digest, so it cannot be published")
                    .hint("cargo xtask lock, and commit the lock file"),
            ),
            Origin::Registry { .. } | Origin::Vendored { .. } => {}
        }
    }
    for stage in stages.iter().filter(|stage| stage.substitute) {
        let message = "was built on a stand-in, which cannot be published";
        problems.push(Problem::error(format!("stage {}", stage.stage), message).hint(fetch));
    }
    if platforms.len() < declaration.platforms.len() {
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

fn work_tree(facts: &Facts, request: &Request, problems: &mut Vec<Problem>) {
    let version = &request.version;
    let git = match &facts.git {
        Ok(git) => git,
        Err(message) => {
            problems.push(
                Problem::error("git", format!("cannot tell the commit: {message}"))
                    .hint("a release needs a git repository with at least one commit"),
            );
            return;
        }
    };
    if !git.dirty.is_empty() {
        let count = git.dirty.len();
        let first = git
            .dirty
            .iter()
            .take(3)
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!(
            "{count} files are not committed ({first}{})",
            if count > 3 { ", …" } else { "" }
        );
        problems.push(if request.allow_dirty {
            Problem::warning("work tree", message).hint("commit them, or the bundle cannot be made again")
        } else {
            Problem::error("work tree", message)
                .hint("commit them, or say --allow-dirty: the bundle then cannot be made again")
        });
    }
    let tag = format!("v{version}");
    match &facts.version_tag_commit {
        Some(commit) if *commit != git.commit => {
            problems.push(
                Problem::error(&tag, format!("is a tag on another commit ({})", short(commit)))
                    .hint(format!("git checkout {tag}, or choose another version")),
            );
        }
        None if !git.version_tags.is_empty() => {
            problems.push(
                Problem::error(&tag, format!("this commit is tagged {}", git.version_tags.join(", ")))
                    .hint(format!("release that version, or `git tag {tag}`")),
            );
        }
        _ => {}
    }
}

fn files(workspace: &Workspace, facts: &Facts, problems: &mut Vec<Problem>) {
    for missing in &facts.missing {
        let mut problem = Problem::error(missing.display().to_string(), "is declared and not there");
        problem = match missing
            .file_name()
            .and_then(|name| similar_file(workspace, missing, &name.to_string_lossy()))
        {
            Some(similar) => problem.hint(format!("did you mean {similar}?")),
            None => problem.hint(format!("create it, or mend its path in [{ROOT}] of Cargo.toml")),
        };
        problems.push(problem);
    }
    for folder in &facts.folders {
        problems.push(
            Problem::error(folder.display().to_string(), "is declared as a file, and is a folder")
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
    let folder = workspace.root.join(missing).parent()?.to_owned();
    let names: Vec<_> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

fn targets(workspace: &Workspace, facts: &Facts, problems: &mut Vec<Problem>) {
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
pub(crate) fn no_stage(key: &str, dockerfile: &Path, file: &Dockerfile, stage: &str) -> Problem {
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

fn compose_file(workspace: &Workspace, facts: &Facts, version: &Version, problems: &mut Vec<Problem>) {
    let declaration = &workspace.declaration;
    let Some(text) = &facts.compose else { return };
    let file = declaration.compose_file.display().to_string();
    let variables = BTreeMap::from([(declaration.version_variable.clone(), version.to_string())]);
    let services = match compose::images(text, &variables) {
        Ok(services) => services,
        Err(message) => {
            problems.push(Problem::error(file, message));
            return;
        }
    };
    let declared = image_references(workspace, version);
    for service in &services {
        if declared.contains(&service.image) {
            continue;
        }
        let problem = Problem::error(
            &file,
            format!(
                "service `{}` runs {}, which is not declared",
                service.service, service.image
            ),
        );
        problems.push(match nearest(&service.image, declared.iter().map(String::as_str)) {
            Some(right) => problem.hint(format!("did you mean {right}? or declare it under [[{ROOT}.images]]")),
            None => problem.hint(format!("declare it under [[{ROOT}.images]]")),
        });
    }
    for image in declared
        .iter()
        .filter(|image| !services.iter().any(|service| service.image == **image))
    {
        problems.push(Problem::warning(
            &file,
            format!("no service runs {image}, which is declared"),
        ));
    }
    let named = [
        (
            "health.service",
            declaration.health.as_ref().map(|health| &health.service),
        ),
        (
            "backup.service",
            declaration.backup.as_ref().map(|backup| &backup.service),
        ),
        ("data.migrated-by", declaration.data.migrated_by.as_ref()),
    ];
    for (key, service) in named.into_iter().filter_map(|(key, service)| Some((key, service?))) {
        if !services.iter().any(|known| known.service == *service) {
            let problem = Problem::error(format!("{ROOT}.{key}"), format!("{file} has no service \"{service}\""));
            problems.push(
                match nearest(service, services.iter().map(|known| known.service.as_str())) {
                    Some(right) => problem.hint(format!("did you mean `{right}`?")),
                    None => problem,
                },
            );
        }
    }
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
                    .hint("`cargo xtask vendor` again (`cargo xtask setup` for a stand-in), or leave the platform out with --platform"),
            );
        }
    }
}

/// What stands against writing into the folders that a release writes to.
pub(crate) fn folders(workspace: &Workspace) -> Vec<Problem> {
    let refused = |folder: &Path| {
        let existing = folder.ancestors().find(|folder| folder.exists())?;
        let error = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).err()?;
        let error = std::io::Error::from(error);
        Some(
            Problem::error(existing.display().to_string(), format!("cannot be written: {error}"))
                .hint("a release writes to dist/ and target/: mend their owner or mode"),
        )
    };
    [&workspace.dist, &workspace.state]
        .into_iter()
        .filter_map(|folder| refused(folder))
        .collect()
}

/// Judges the machine: Docker, buildx, the builder, emulation, the image store, the disk.
pub fn machine(machine: &Machine, platforms: &[Platform]) -> Vec<Problem> {
    let mut problems = Vec::new();
    match &machine.free_disk {
        Some(free) if *free < LEAST_DISK => problems.push(
            Problem::error("disk", format!("only {} MiB are free under target/", free >> 20))
                .hint("free at least 2 GiB; `docker buildx prune` removes old build caches"),
        ),
        _ => {}
    }
    match &machine.buildx {
        Ok(version) if *version < OLDEST_BUILDX => problems.push(
            Problem::error(
                "docker buildx",
                format!("is version {version}, at least {OLDEST_BUILDX} is needed"),
            )
            .hint("update the docker-buildx plugin"),
        ),
        Ok(_) => {}
        Err(message) => {
            problems
                .push(Problem::error("docker buildx", message.clone()).hint("install Docker with the buildx plugin"));
            return problems;
        }
    }
    let builder = match &machine.builder {
        Ok(builder) => builder,
        Err(message) => {
            problems.push(
                Problem::error("builder", message.clone())
                    .hint("start the Docker engine, or name a builder of `docker buildx ls` with --builder"),
            );
            return problems;
        }
    };
    if builder.platforms.is_empty() {
        problems.push(
            Problem::error(
                "builder",
                format!(
                    "{} has not been started, so what it can build is not known",
                    builder.name
                ),
            )
            .hint(format!("docker buildx inspect --bootstrap {}", builder.name)),
        );
        return problems;
    }
    for platform in platforms
        .iter()
        .filter(|platform| !builder.platforms.contains(platform))
    {
        problems.push(
            Problem::error(
                "builder",
                format!("{} cannot run programs for {platform}", builder.name),
            )
            .hint(format!(
                "on Debian `apt-get install qemu-user-static binfmt-support`, elsewhere `docker run --privileged --rm \
                 tonistiigi/binfmt --install {}`, or name a builder that can with --builder",
                platform.architecture()
            )),
        );
    }
    if builder.driver == "docker" && !machine.containerd_store {
        problems.push(
            Problem::error(
                "builder",
                format!(
                    "{} cannot export OCI layouts: its engine has the classic image store",
                    builder.name
                ),
            )
            .hint(
                "`docker buildx create --use` makes a builder that can; or turn on the containerd image store \
                 ({\"features\":{\"containerd-snapshotter\":true}} in daemon.json)",
            ),
        );
    }
    problems
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
