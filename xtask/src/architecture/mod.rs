//! `cargo xtask ci --only architecture`: holds the code to the architecture.
//!
//! Flow: ask Cargo for the workspace's crates → read the modules of each ([`source`]) → draw the imports between files
//! ([`imports`]) → hold them to the rules ([`rules`]) of [`house`], the one place that says what is allowed.
//!
//! Only production code is judged: tests may import what they like.

mod house;
mod imports;
mod rules;
mod source;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};

use self::{
    house::{HOUSE, House},
    rules::Finding,
    source::Tree,
};

/// A crate of the workspace, as Cargo sees it.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    /// Relative to the workspace.
    directory: PathBuf,
    /// Crates of the workspace that it depends on, except for tests.
    dependencies: Vec<String>,
}

/// Checks the workspace in `root`.
///
/// # Errors
/// A rule is broken: the message has each import that breaks it. Or the sources cannot be read.
pub(crate) fn check(root: &Path) -> Result<()> {
    let findings = findings(root, &members(root)?, &HOUSE)?;
    if findings.is_empty() {
        return Ok(());
    }
    let count = findings.len();
    let findings: Vec<_> = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    bail!("the architecture is broken in {count} places{}", findings.concat())
}

fn members(root: &Path) -> Result<Vec<Member>> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .context("cannot read the workspace")?;
    let is_member = |name: &str| metadata.packages.iter().any(|package| package.name.as_str() == name);
    let members = metadata.packages.iter().map(|package| {
        let directory = package.manifest_path.parent().context("a manifest has a directory")?;
        let directory = directory
            .strip_prefix(&metadata.workspace_root)
            .with_context(|| format!("{} is outside of the workspace", package.name))?;
        let mut dependencies: Vec<_> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development && is_member(&dependency.name))
            .map(|dependency| dependency.name.clone())
            .collect();
        dependencies.sort();
        dependencies.dedup();
        Ok(Member {
            name: package.name.to_string(),
            directory: directory.into(),
            dependencies,
        })
    });
    members.collect()
}

fn findings(root: &Path, members: &[Member], house: &House) -> Result<Vec<Finding>> {
    let trees = read(root, members)?;
    let libraries = trees
        .iter()
        .filter_map(|(member, trees)| Some((member.name.replace('-', "_"), trees.first()?)))
        .collect();
    let mut findings = Vec::new();
    for (member, trees) in &trees {
        let source = member.directory.join("src");
        let mut drawn = Vec::new();
        for tree in trees {
            drawn.extend(imports::of(tree, &libraries));
            findings.extend(rules::libraries(house, tree));
            findings.extend(rules::programs(house, tree));
        }
        findings.extend(rules::circles(&member.name, &drawn));
        match house.crates.iter().find(|rules| rules.name == member.name) {
            Some(rules) => {
                findings.extend(rules::dependencies(rules, &member.dependencies));
                findings.extend(rules::floors(rules, &source, &drawn));
            }
            None => findings.push(Finding {
                what: format!("crates: `{}` has no rules", member.name),
                places: Vec::new(),
                hint: "add it to xtask/src/architecture/house.rs",
            }),
        }
        findings.extend(rules::entries(house, root, &source)?);
        for directory in ["src", "tests", "examples", "benches"] {
            findings.extend(rules::forms(root, &member.directory.join(directory))?);
        }
    }
    Ok(findings)
}

/// The modules of each crate: those of its library first, then those of its programs.
fn read<'a>(root: &Path, members: &'a [Member]) -> Result<Vec<(&'a Member, Vec<Tree>)>> {
    thread::scope(|scope| {
        let reading: Vec<_> = members
            .iter()
            .map(|member| {
                let read = move || -> Result<Vec<Tree>> {
                    let source = member.directory.join("src");
                    let mut roots = vec![source.join("lib.rs"), source.join("main.rs")];
                    if let Ok(programs) = std::fs::read_dir(root.join(&source).join("bin")) {
                        let files = programs.filter_map(|entry| Some(source.join("bin").join(entry.ok()?.file_name())));
                        roots.extend(files.filter(|file| file.extension().is_some_and(|kind| kind == "rs")));
                    }
                    let roots = roots.iter().filter(|file| root.join(file).is_file());
                    roots.map(|file| source::read(root, file)).collect()
                };
                (member, scope.spawn(read))
            })
            .collect();
        reading
            .into_iter()
            .map(|(member, thread)| {
                let trees = thread.join().unwrap_or_else(|_| bail!("the parser panicked"));
                Ok((member, trees.with_context(|| format!("cannot read `{}`", member.name))?))
            })
            .collect()
    })
}
