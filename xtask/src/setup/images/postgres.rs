//! The substitute for the official PostgreSQL image.
//!
//! Packages are unpacked, not installed, so that nothing of arm64 is emulated: 35 s instead of 5 minutes. What
//! their installation would have done and the server needs is done by `postgres-root.sh`. The just-in-time compiler
//! (LLVM, half of the image) is left out; the server does without it by itself.

use serde_json::{Value, json};

use super::recipe::Recipe;
use crate::setup::{apt::Suite, oci::Compression};

pub(super) fn recipe() -> Recipe {
    Recipe {
        reference: "postgres:17-trixie",
        platforms: &["linux/amd64", "linux/arm64"],
        suite: Suite::Trixie,
        variant: "extract",
        foreign: &[],
        packages: &[
            "base-files",
            "base-passwd",
            "bash",
            "coreutils",
            "dash",
            "debianutils",
            "diffutils",
            "findutils",
            "grep",
            "gzip",
            "hostname",
            "libc-bin",
            "mawk",
            "ncurses-base",
            "ncurses-bin",
            "postgresql-17",
            "sed",
            "tar",
            "tzdata",
            "util-linux",
        ],
        excluded: &[
            "/usr/lib/*/libLLVM*",
            "/usr/lib/*/libz3*",
            "/usr/lib/postgresql/*/lib/bitcode/*",
            "/usr/lib/postgresql/*/lib/llvmjit*",
        ],
        hook: "extract",
        script: include_str!("postgres-root.sh"),
        files: &[("docker-entrypoint.sh", include_str!("postgres-entrypoint.sh"))],
        main_package: "postgresql-17",
        compression: Compression::Gzip,
        config,
    }
}

fn config(version: &str) -> Value {
    json!({
        "Env": [
            "PATH=/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG=C.UTF-8",
            "PG_MAJOR=17",
            format!("PG_VERSION={version}"),
            "PGDATA=/var/lib/postgresql/data",
        ],
        "Volumes": { "/var/lib/postgresql/data": {} },
        "Entrypoint": ["docker-entrypoint.sh"],
        "Cmd": ["postgres"],
        "ExposedPorts": { "5432/tcp": {} },
        "StopSignal": "SIGINT",
    })
}
