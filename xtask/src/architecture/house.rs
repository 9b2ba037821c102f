//! The allowed imports, as data: this file is the architecture, the rest of the module holds the code to it.
//!
//! Floors run from top to bottom: a module imports from the floors below its own, and from itself. Modules on one floor
//! do not see each other. A crate without floors may arrange its modules as it likes; circles are refused everywhere.

/// The rules for a workspace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct House {
    /// Its crates.
    pub(crate) crates: &'static [Crate],
    /// Libraries that only some places may use.
    pub(crate) libraries: &'static [Library],
    /// Who may run programs.
    pub(crate) programs: &'static [Programs],
    /// How many entries the root of a crate's `src` may have.
    pub(crate) most_entries: usize,
}

/// The rules for one crate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crate {
    /// Its package name.
    pub(crate) name: &'static str,
    /// The workspace's crates that it may depend on; tests may depend on others.
    pub(crate) uses: &'static [&'static str],
    /// Its top-level modules, from the top floor to the bottom. `lib` and `main` are the crate's roots.
    pub(crate) floors: &'static [&'static [&'static str]],
    /// Modules that gather types of all floors, as the crate's one error type does: what they import is not held to the
    /// floors, only to the rule about circles.
    pub(crate) gathers: &'static [&'static str],
}

/// A library and the places, as prefixes of paths, that may use it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Library {
    /// The library's name in Rust.
    pub(crate) name: &'static str,
    /// Files or directories.
    pub(crate) only: &'static [&'static str],
}

/// The file through which a crate runs other programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Programs {
    /// The crate's directory.
    pub(crate) under: &'static str,
    /// The file.
    pub(crate) only: &'static str,
}

/// This workspace.
pub(crate) const HOUSE: House = House {
    crates: &[
        Crate {
            name: "bundle",
            uses: &[],
            floors: &[],
            gathers: &[],
        },
        Crate {
            name: "pipeline",
            uses: &["bundle"],
            floors: &[
                &["cli"],
                &["release"],
                &["fetch"],
                &["preflight"],
                &["plan"],
                &["request"],
                &["build"],
                &["collect"],
                &["pack"],
                &["publish"],
                &["inspect"],
                &["facts"],
                &["declaration"],
                &["system"],
                &["error"],
                &["lib"],
            ],
            gathers: &["error"],
        },
        Crate {
            name: "device",
            uses: &["bundle"],
            floors: &[
                &["testing"],
                &["engine"],
                &["stack"],
                &["containers", "config", "store", "control"],
                &["state", "system"],
                &["error"],
                &["lib"],
            ],
            gathers: &["error"],
        },
        Crate {
            name: "updater",
            uses: &["bundle", "device"],
            floors: &[
                &["main"],
                &["cli"],
                &["daemon", "install"],
                &["web"],
                &["github"],
                &["error"],
                &["lib"],
            ],
            gathers: &["error"],
        },
        Crate {
            name: "github-double",
            uses: &[],
            floors: &[],
            gathers: &[],
        },
        Crate {
            name: "demo",
            uses: &[],
            floors: &[],
            gathers: &[],
        },
        Crate {
            name: "xtask",
            uses: &["bundle", "github-double", "pipeline"],
            floors: &[],
            gathers: &[],
        },
    ],
    libraries: &[
        Library {
            name: "bollard",
            only: &["crates/device/src/containers/"],
        },
        Library {
            name: "octocrab",
            only: &["crates/pipeline/src/publish/"],
        },
        Library {
            name: "reqwest",
            only: &[
                "crates/device/src/containers/docker/",
                "crates/pipeline/src/publish/",
                "crates/updater/src/github/",
            ],
        },
    ],
    programs: &[
        Programs {
            under: "crates/pipeline/",
            only: "crates/pipeline/src/system/process.rs",
        },
        Programs {
            under: "crates/device/",
            only: "crates/device/src/system/process.rs",
        },
        // It builds commands and has `device` run them.
        Programs {
            under: "crates/updater/",
            only: "crates/device/src/system/process.rs",
        },
    ],
    most_entries: 18,
};
