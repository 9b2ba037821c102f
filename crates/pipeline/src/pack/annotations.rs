//! The annotations and media types of parts.

/// The annotation of a part's index with the commit that it was built from.
pub(crate) const COMMIT: &str = "org.update-bundle.commit";

/// The annotation of a part's index that says that files were not committed.
pub(crate) const DIRTY: &str = "org.update-bundle.dirty";

/// The annotation of a part's index with the images that no registry's digest pinned, with spaces between.
pub(crate) const UNPINNED: &str = "org.update-bundle.unpinned";

/// Marks the updater's binaries among the images of a part.
pub(crate) const ROLE: &str = "org.update-bundle.role";

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) const BINARY: &str = "application/vnd.update-bundle.updater.v1";

/// The annotation under which an image's full name is kept, as containerd reads it.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";

/// The annotation that marks an image as made from a substitute.
pub(crate) const SUBSTITUTE: &str = "org.update-bundle.substitute";

/// The annotation that keeps where a registry image came from.
pub(crate) const SOURCE: &str = "org.update-bundle.source";
