//! Draws the imports: which file takes which name from which other file.
//!
//! A name that a module only passes on is taken from the file that defines it. So is what is reached through an imported
//! module: `use crate::store;` by itself is no import, `store::open()` is one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::source::{ModuleId, Tree};

/// How many names may stand for other names until one is taken for unknown.
const DEEPEST: usize = 16;

/// A library crate of the workspace, by its name in Rust.
pub(super) type Libraries<'a> = BTreeMap<String, &'a Tree>;

/// One import.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Import {
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) name: String,
    pub(super) line: usize,
}

/// Where a path leads.
enum Target {
    Module,
    /// The name of what the file defines.
    Item(String),
}

/// All imports between files that start in `tree`, each name once, at its first line.
pub(super) fn of(tree: &Tree, libraries: &Libraries<'_>) -> Vec<Import> {
    let mut found: BTreeMap<(PathBuf, PathBuf, String), usize> = BTreeMap::new();
    for (id, module) in tree.modules.iter().enumerate() {
        let uses = module.uses.iter().filter(|one| !one.is_export);
        let uses = uses.map(|one| (&one.path, one.line, one.alias == "*"));
        let paths = module.paths.iter().map(|named| (&named.path, named.line, false));
        for (path, line, is_glob) in uses.chain(paths) {
            let target = start(tree, id, path, libraries, 0);
            let (to, name) = match target {
                Some((file, Target::Item(name))) => (file, name),
                Some((module, Target::Module)) if is_glob => (module, format!("{}::*", path.join("::"))),
                _ => continue,
            };
            if to == module.file {
                continue;
            }
            let known = found.entry((module.file.clone(), to.to_owned(), name)).or_insert(line);
            *known = line.min(*known);
        }
    }
    found
        .into_iter()
        .map(|((from, to, name), line)| Import { from, to, name, line })
        .collect()
}

/// The lines at which `module` names something of the library `name`, which is no crate of the workspace.
pub(super) fn outside<'a>(tree: &'a Tree, id: ModuleId, name: &'a str) -> impl Iterator<Item = (usize, String)> + 'a {
    let module = tree.modules.get(id);
    module.into_iter().flat_map(move |module| {
        let uses = module.uses.iter().map(|one| (&one.path, one.line));
        let paths = module.paths.iter().filter(|named| named.path.len() > 1);
        uses.chain(paths.map(|named| (&named.path, named.line)))
            .filter(move |(path, _)| {
                let mut segments = path.iter().filter(|segment| !segment.is_empty());
                segments.next().is_some_and(|first| first == name) && !module.children.contains_key(name)
            })
            .map(|(path, line)| (line, path.join("::")))
    })
}

fn start<'a>(
    tree: &'a Tree,
    id: ModuleId,
    path: &[String],
    libraries: &Libraries<'a>,
    depth: usize,
) -> Option<(&'a Path, Target)> {
    let module = tree.modules.get(id)?;
    let (first, rest) = path.split_first()?;
    if depth > DEEPEST {
        return None;
    }
    match first.as_str() {
        "crate" => walk(tree, 0, rest, libraries, depth),
        "self" => walk(tree, id, rest, libraries, depth),
        "super" => {
            // `super::super` goes on from the parent.
            let parent = module.parent?;
            match rest.first().map(String::as_str) {
                Some("super") => start(tree, parent, rest, libraries, depth + 1),
                _ => walk(tree, parent, rest, libraries, depth),
            }
        }
        name => step(tree, id, name, rest, libraries, depth).or_else(|| {
            let library = libraries.get(name)?;
            walk(library, 0, rest, libraries, depth + 1)
        }),
    }
}

/// From a module on; what it does not know is taken for its own.
fn walk<'a>(
    tree: &'a Tree,
    id: ModuleId,
    path: &[String],
    libraries: &Libraries<'a>,
    depth: usize,
) -> Option<(&'a Path, Target)> {
    let module = tree.modules.get(id)?;
    let Some((name, rest)) = path.split_first() else {
        return Some((&module.file, Target::Module));
    };
    step(tree, id, name, rest, libraries, depth).or(Some((&module.file, Target::Item(name.clone()))))
}

/// What `name` is in a module, and what `rest` is in that; `None` if the module does not know the name.
fn step<'a>(
    tree: &'a Tree,
    id: ModuleId,
    name: &str,
    rest: &[String],
    libraries: &Libraries<'a>,
    depth: usize,
) -> Option<(&'a Path, Target)> {
    let module = tree.modules.get(id)?;
    if depth > DEEPEST {
        return None;
    }
    let item = || Some((module.file.as_path(), Target::Item(name.to_owned())));
    if rest.is_empty() && module.items.contains(name) {
        return item();
    }
    if let Some(child) = module.children.get(name) {
        return walk(tree, *child, rest, libraries, depth);
    }
    if module.items.contains(name) {
        return item();
    }
    // `use name;` and a path that begins with its own alias lead nowhere new.
    let renamed = module
        .uses
        .iter()
        .filter(|one| one.alias == name && one.path.as_slice() != [name]);
    for one in renamed {
        let path = [one.path.as_slice(), rest].concat();
        if let Some(found) = start_outer(tree, id, &path, name, libraries, depth + 1) {
            return Some(found);
        }
    }
    for glob in module.uses.iter().filter(|one| one.alias == "*") {
        let path = [glob.path.as_slice(), &[name.to_owned()]].concat();
        let Some((file, Target::Item(_))) = start(tree, id, &path, libraries, depth + DEEPEST / 2) else {
            continue;
        };
        // A module to which the name was only attributed need not have it.
        let knows = tree
            .modules
            .iter()
            .any(|module| module.file == file && module.items.contains(name));
        if knows {
            return Some((file, Target::Item(name.to_owned())));
        }
    }
    None
}

/// As [`start`], for the path of a `use`: it does not lead back to the name that it introduces.
fn start_outer<'a>(
    tree: &'a Tree,
    id: ModuleId,
    path: &[String],
    alias: &str,
    libraries: &Libraries<'a>,
    depth: usize,
) -> Option<(&'a Path, Target)> {
    match path.split_first() {
        Some((first, rest)) if first == alias => {
            let module = tree.modules.get(id)?;
            match module.children.get(first) {
                Some(child) => walk(tree, *child, rest, libraries, depth),
                None => walk(libraries.get(first)?, 0, rest, libraries, depth),
            }
        }
        _ => start(tree, id, path, libraries, depth),
    }
}
