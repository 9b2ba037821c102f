//! The rules: each takes what was read and gives what breaks it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    house::{Crate, House},
    imports::{self, Import},
    source::Tree,
};

/// A broken rule: what, where, and how to repair it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) what: String,
    pub(super) places: Vec<String>,
    pub(super) hint: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        for place in &self.places {
            write!(f, "\n    {place}")?;
        }
        write!(f, "\n  hint: {}", self.hint)
    }
}

/// Files that import each other, directly or through others.
pub(super) fn circles(name: &str, imports: &[Import]) -> Vec<Finding> {
    let mut below: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
    for import in imports {
        below.entry(&import.from).or_default().insert(&import.to);
    }
    let reached = |start: &Path| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Path> = below.get(start).into_iter().flatten().copied().collect();
        while let Some(file) = next.pop() {
            if seen.insert(file) {
                next.extend(below.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reach: BTreeMap<&Path, BTreeSet<&Path>> = below.keys().map(|file| (*file, reached(file))).collect();
    let mut done = BTreeSet::new();
    let mut findings = Vec::new();
    for (file, reached) in &reach {
        if !reached.contains(file) || done.contains(file) {
            continue;
        }
        let circle: BTreeSet<&Path> = reached
            .iter()
            .copied()
            .filter(|other| reach.get(other).is_some_and(|back| back.contains(file)))
            .collect();
        done.extend(circle.iter().copied());
        let inside = imports
            .iter()
            .filter(|import| circle.contains(import.from.as_path()) && circle.contains(import.to.as_path()));
        findings.push(Finding {
            what: format!("circle: {} files of `{name}` import each other", circle.len()),
            places: inside.map(place).collect(),
            hint: "move what both need to a file that imports neither, or pass it as an argument",
        });
    }
    findings
}

/// Imports that run up, or between modules on one floor.
pub(super) fn floors(rules: &Crate, source: &Path, imports: &[Import]) -> Vec<Finding> {
    if rules.floors.is_empty() {
        return Vec::new();
    }
    let floor = |room: &str| rules.floors.iter().position(|floor| floor.contains(&room));
    let mut unknown = BTreeSet::new();
    let mut forbidden: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for import in imports {
        let (Some(from), Some(to)) = (room(source, &import.from), room(source, &import.to)) else {
            continue;
        };
        if from == to || rules.gathers.contains(&from.as_str()) {
            continue;
        }
        for room in [&from, &to] {
            if floor(room).is_none() {
                unknown.insert(room.clone());
            }
        }
        if let (Some(above), Some(below)) = (floor(&from), floor(&to))
            && above >= below
        {
            forbidden.entry((from, to)).or_default().push(place(import));
        }
    }
    let unknown = unknown.into_iter().map(|room| Finding {
        what: format!("floors: module `{room}` of `{}` has no floor", rules.name),
        places: Vec::new(),
        hint: "move it into one of the directories, or give it a floor in xtask/src/architecture/house.rs",
    });
    let forbidden = forbidden.into_iter().map(|((from, to), places)| Finding {
        what: format!("floors: `{from}` of `{}` may not import from `{to}`", rules.name),
        places,
        hint: "imports run down only; see xtask/src/architecture/house.rs",
    });
    unknown.chain(forbidden).collect()
}

/// Crates of the workspace that this one may not depend on.
pub(super) fn dependencies(rules: &Crate, dependencies: &[String]) -> Vec<Finding> {
    dependencies
        .iter()
        .filter(|used| !rules.uses.contains(&used.as_str()))
        .map(|used| Finding {
            what: format!("crates: `{}` may not depend on `{used}`", rules.name),
            places: Vec::new(),
            hint: "see xtask/src/architecture/house.rs",
        })
        .collect()
}

/// Libraries that are used where they may not be.
pub(super) fn libraries(house: &House, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for library in house.libraries {
        let mut places = Vec::new();
        for (id, module) in tree.modules.iter().enumerate() {
            if library.only.iter().any(|only| module.file.starts_with(only)) {
                continue;
            }
            let lines = imports::outside(tree, id, library.name);
            places.extend(lines.map(|(line, path)| format!("{}:{line} names `{path}`", module.file.display())));
        }
        if !places.is_empty() {
            findings.push(Finding {
                what: format!(
                    "libraries: `{}` is for {} only",
                    library.name,
                    library.only.join(" and ")
                ),
                places,
                hint: "ask for it what that module offers, or extend the module",
            });
        }
    }
    findings
}

/// Programs that are run past the one file that runs programs.
pub(super) fn programs(house: &House, tree: &Tree) -> Vec<Finding> {
    // How `std::process::Command` and `xshell::Cmd` are run.
    const RUN: [&str; 6] = ["exec", "output", "read", "run", "spawn", "status"];
    let mut findings = Vec::new();
    for module in &tree.modules {
        let rules = house.programs.iter().find(|rules| module.file.starts_with(rules.under));
        let Some(rules) = rules.filter(|rules| module.file != Path::new(rules.only)) else {
            continue;
        };
        let mut paths = module
            .uses
            .iter()
            .map(|one| &one.path)
            .chain(module.paths.iter().map(|named| &named.path));
        let has_commands = paths.any(|path| {
            path.first().is_some_and(|first| first == "xshell") || path.ends_with(&["process".into(), "Command".into()])
        });
        let calls = module
            .calls
            .iter()
            .filter(|call| call.path.iter().any(|name| RUN.contains(&name.as_str())));
        let places: Vec<_> = calls
            .map(|call| {
                format!(
                    "{}:{} calls `{}`",
                    module.file.display(),
                    call.line,
                    call.path.join("::")
                )
            })
            .collect();
        if has_commands && !places.is_empty() {
            findings.push(Finding {
                what: format!("programs: only {} runs programs", rules.only),
                places,
                hint: "build the command here and have it run there",
            });
        }
    }
    findings
}

/// A root of sources with more entries than a reader can take in.
pub(super) fn entries(house: &House, root: &Path, source: &Path) -> Result<Vec<Finding>> {
    let directory = root.join(source);
    let count = fs::read_dir(&directory)
        .with_context(|| format!("cannot read {}", source.display()))?
        .count();
    Ok((count > house.most_entries)
        .then(|| Finding {
            what: format!(
                "entries: {} has {count}, at most {} are allowed",
                source.display(),
                house.most_entries
            ),
            places: Vec::new(),
            hint: "move files to the directory of their subject",
        })
        .into_iter()
        .collect())
}

/// Modules in the form `x.rs` beside `x/`.
pub(super) fn forms(root: &Path, directory: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let Ok(entries) = fs::read_dir(root.join(directory)) else {
        return Ok(findings);
    };
    let mut inner = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        if entry.path().is_dir() {
            inner.push(directory.join(entry.file_name()));
        }
    }
    inner.sort();
    for directory in inner {
        let file = directory.with_extension("rs");
        if root.join(&file).is_file() {
            findings.push(Finding {
                what: format!("modules: {} stands beside {}/", file.display(), directory.display()),
                places: Vec::new(),
                hint: "move the file into the directory, as mod.rs",
            });
        }
        findings.extend(forms(root, &directory)?);
    }
    Ok(findings)
}

/// The top-level module of a file.
fn room(source: &Path, file: &Path) -> Option<String> {
    let inner: PathBuf = file.strip_prefix(source).ok()?.with_extension("");
    let first = inner.components().next()?;
    Some(first.as_os_str().to_string_lossy().into_owned())
}

fn place(import: &Import) -> String {
    let Import { from, to, name, line } = import;
    format!("{}:{line} takes `{name}` from {}", from.display(), to.display())
}
