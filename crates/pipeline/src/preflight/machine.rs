//! The machine: Docker, buildx, the builder, emulation, the image store, the disk.

use std::path::Path;

use bundle::Platform;
use semver::Version;

use crate::{Problem, build::buildx::Machine, facts::Workspace, request::Request};

/// The oldest buildx whose bake knows all that is used here.
const OLDEST_BUILDX: Version = Version::new(0, 12, 0);

/// Space that a release needs beside its images, in bytes.
const LEAST_DISK: u64 = 2 << 30;

/// Problems with the directories that a release writes to.
pub(super) fn directories(workspace: &Workspace) -> Vec<Problem> {
    let refused = |directory: &Path| {
        let existing = directory.ancestors().find(|directory| directory.exists())?;
        let error = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).err()?;
        let error = std::io::Error::from(error);
        Some(
            Problem::error(existing.display().to_string(), format!("cannot be written: {error}"))
                .hint("a release writes to dist/ and target/: change their owner or mode"),
        )
    };
    [&workspace.dist, &workspace.state]
        .into_iter()
        .filter_map(|directory| refused(directory))
        .collect()
}

/// Judges the machine: Docker, buildx, the builder, emulation, the image store, the disk.
fn machine(machine: &Machine, platforms: &[Platform]) -> Vec<Problem> {
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

pub(super) fn machine_problems(workspace: &Workspace, request: &Request) -> Vec<Problem> {
    if !request.parts.is_empty() {
        // Merging needs no Docker.
        return Vec::new();
    }
    let platforms = if request.platforms.is_empty() {
        &workspace.declaration.platforms
    } else {
        &request.platforms
    };
    machine(
        &Machine::inspect(&workspace.state, request.builder.as_deref()),
        platforms,
    )
}
