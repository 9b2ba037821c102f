//! A small product for unit tests, as data: nothing is read from anywhere.

use std::{collections::BTreeMap, path::Path};

use bundle::{Digest, Platform};
use serde_json::{Value, json};

use crate::{
    Problem,
    declaration::Declaration,
    facts::{
        Facts, Workspace,
        dockerfile::Dockerfile,
        git::Git,
        lock_file::{Lock, LockSource, LockedImage},
        vendored::{Vendor, VendoredImage, VendoredStage},
    },
    plan::{pins::Pin, stages::inputs},
};

/// The image that [`DOCKERFILE`] starts from.
pub(crate) const BASE: &str = "rust:1-trixie";

/// A stage that needs a network, and an image that is built with it.
pub(crate) const DOCKERFILE: &str = "\
FROM --platform=$BUILDPLATFORM rust:1-trixie AS toolchain
RUN apt-get update
FROM --platform=$BUILDPLATFORM toolchain AS build
ARG TARGETARCH
COPY . .
RUN make
FROM scratch AS web
COPY --from=build /out /
";

/// A product of one image, which declares its stage `toolchain`.
pub(crate) fn declaration() -> Value {
    json!({
        "product": "acme",
        "images": [{ "name": "acme-web", "target": "web" }],
        "vendor-stages": [{ "stage": "toolchain" }],
    })
}

/// The workspace with `declaration`, nowhere.
pub(crate) fn workspace(declaration: &Value) -> Workspace {
    Workspace {
        root: "/acme".into(),
        state: "/acme/target/release-pipeline".into(),
        dist: "/acme/dist".into(),
        declaration: Declaration::parse(declaration).unwrap(),
    }
}

/// What is so in the workspace with `dockerfile`: everything is committed, [`BASE`] is vendored.
pub(crate) fn facts(dockerfile: &str) -> Facts {
    Facts {
        directories: Vec::new(),
        git: Ok(Git {
            commit: "c0ffee".to_owned(),
            time: 1,
            dirty: Vec::new(),
            version_tags: Vec::new(),
        }),
        version_tag_commit: None,
        compose: Some("services: { web: { image: 'acme-web:${ACME_VERSION}' } }".to_owned()),
        dockerfiles: BTreeMap::from([("Dockerfile".into(), Dockerfile::parse(dockerfile))]),
        missing: Vec::new(),
        lock: Lock {
            images: vec![LockedImage {
                reference: BASE.to_owned(),
                source: LockSource::Registry,
                digest: Some(Digest::of(b"registry")),
            }],
            ..Lock::default()
        },
        vendor: Vendor {
            images: vec![base(b"registry")],
            ..Vendor::default()
        },
        vendored_crates: false,
        cargo_lock: Some(Digest::of(b"Cargo.lock")),
        changelog: Ok(String::new()),
    }
}

/// The vendored [`BASE`], fetched by the digest of `source`.
pub(crate) fn base(source: &[u8]) -> VendoredImage {
    VendoredImage {
        reference: BASE.to_owned(),
        digest: Digest::of(b"layout"),
        source_digest: Some(Digest::of(source)),
        substitute: false,
        made_by: None,
        layout: Path::new("/acme/dist/vendor/images/rust").to_owned(),
        platforms: Vec::new(),
    }
}

/// The stage `toolchain` as it was vendored from `facts`.
pub(crate) fn vendored(declaration: &Declaration, facts: &Facts) -> VendoredStage {
    let pins = pins(facts).unwrap();
    let substitute = pins.iter().any(Pin::is_substitute);
    VendoredStage {
        dockerfile: "Dockerfile".into(),
        stage: "toolchain".to_owned(),
        made_from: inputs(declaration, facts, &pins, &declaration.vendor_stages[0]).unwrap(),
        substitute,
        digest: Digest::of(b"stage"),
        layout: "/acme/dist/vendor/stages/toolchain".into(),
        platform: Platform::host(),
    }
}

/// The pinned [`BASE`].
pub(crate) fn pins(facts: &Facts) -> Result<Vec<Pin>, Problem> {
    Ok(vec![Pin::resolve(BASE, &facts.lock, &facts.vendor, true)?])
}
