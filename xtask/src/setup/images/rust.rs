//! The substitute for the official Rust image: Debian's newest Rust, able to link for both platforms.
//!
//! Only for the platform that builds. Programs linked here must be static (`-C target-feature=+crt-static`): the C
//! library is newer than any device's.

use serde_json::{Value, json};

use super::recipe::Recipe;
use crate::setup::{apt::Suite, oci::Compression};

pub(super) fn recipe() -> Recipe {
    Recipe {
        reference: "rust:1-trixie",
        platforms: &["linux/amd64"],
        suite: Suite::Sid,
        variant: "minbase",
        foreign: &["arm64"],
        packages: &[
            "ca-certificates",
            "cargo",
            "gcc",
            "gcc-aarch64-linux-gnu",
            "libc6-dev",
            "libc6-dev:arm64",
            "libstd-rust-dev",
            "libstd-rust-dev:arm64",
            "rustc",
        ],
        // A compiler that would run on arm64, and what link-time optimisation of C needs.
        excluded: &[
            "/usr/bin/*lto-dump*",
            "/usr/lib/aarch64-linux-gnu/libLLVM*",
            "/usr/lib/aarch64-linux-gnu/librustc_driver*",
            "/usr/lib/aarch64-linux-gnu/libz3*",
            "/usr/libexec/gcc*/*/*/lto1",
        ],
        hook: "customize",
        script: include_str!("rust-root.sh"),
        files: &[],
        main_package: "rustc",
        compression: Compression::Zstd,
        config,
    }
}

fn config(version: &str) -> Value {
    json!({
        "Env": [
            "PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "CARGO_HOME=/usr/local/cargo",
            format!("RUST_VERSION={}", version.split('+').next().unwrap_or_default()),
        ],
        "Cmd": ["bash"],
    })
}
