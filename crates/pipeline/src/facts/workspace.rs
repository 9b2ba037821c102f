//! The workspace: where it is, where a release keeps what it makes, and what it declares.

use std::path::{Path, PathBuf};

use semver::Version;
use serde_json::Value;

use crate::{
    Error, Problem, Result,
    declaration::{Declaration, Image, ROOT},
};

/// A workspace and what it declares.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Its directory.
    pub root: PathBuf,
    /// The directory for what need not be kept.
    pub state: PathBuf,
    /// The directory for output.
    pub dist: PathBuf,
    /// Its declaration.
    pub declaration: Declaration,
}

impl Workspace {
    /// Reads the workspace that `directory` lies in, through `cargo metadata`.
    ///
    /// # Errors
    /// There is no workspace, or its declaration is missing or wrong.
    pub fn read(directory: &Path) -> Result<Self> {
        let metadata = cargo_metadata::MetadataCommand::new()
            .current_dir(directory)
            .no_deps()
            .exec()
            .map_err(|error| {
                Error::Problems(vec![
                    Problem::error(directory.display().to_string(), error.to_string().trim_end()).hint(format!(
                        "run this inside of a cargo workspace whose Cargo.toml has [{ROOT}]"
                    )),
                ])
            })?;
        let value = metadata.workspace_metadata.get("release").unwrap_or(&Value::Null);
        if value.is_null() {
            return Err(Error::Problems(vec![
                Problem::error(ROOT, "is not in Cargo.toml, so nothing is declared")
                    .hint("docs/src/guide/declaring.md has a declaration to start from"),
            ]));
        }
        let root = PathBuf::from(metadata.workspace_root);
        Ok(Self {
            declaration: Declaration::parse(value).map_err(Error::Problems)?,
            state: PathBuf::from(metadata.target_directory).join("release-pipeline"),
            dist: root.join("dist"),
            root,
        })
    }

    /// The vendor directory.
    pub fn vendor_directory(&self) -> PathBuf {
        self.dist.join("vendor")
    }
}

/// The images' references as the compose file has them on the device, in the declaration's order.
pub(crate) fn image_references(workspace: &Workspace, version: &Version) -> Vec<String> {
    let reference = |image: &Image| match image {
        Image::Built(built) => format!("{}:{version}", built.name),
        Image::Registry(registry) => registry.reference(),
    };
    workspace.declaration.images.iter().map(reference).collect()
}

/// The directory that an image's layout is exported to.
pub(crate) fn layout_directory(workspace: &Workspace, image: &str) -> PathBuf {
    workspace.state.join("images").join(target_name(image))
}

/// The directory that the updater's binaries are exported to.
pub(crate) fn updater_directory(workspace: &Workspace) -> PathBuf {
    workspace.state.join("updater")
}

/// An empty directory, the context of images that are taken as they are.
pub(crate) fn empty_directory(workspace: &Workspace) -> PathBuf {
    workspace.state.join("empty")
}

/// A name that bake accepts as a target's and that can be a directory's, different for different images.
pub(crate) fn target_name(image: &str) -> String {
    image
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => c.to_string(),
            '_' => "__".to_owned(),
            other => format!("_{:x}_", u32::from(other)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_names_stay_different() {
        let names = ["a.b", "a/b", "a:b", "a_b", "a-b", "ab"].map(target_name);
        let mut unique = names.to_vec();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "{names:?}");
    }
}
