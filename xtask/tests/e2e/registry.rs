//! Images from a registry: pinned in the lock file, vendored for builds without a network.

use std::fs;

use crate::support::{
    files::manifest,
    layout,
    product::{Product, VERSION},
    registry::Registry,
    run::run,
};

/// A registry with a base image and one that ships as it is, and a product made from them.
fn product_from(registry: &Registry) -> Product {
    push(registry, "base", "old");
    push(registry, "tool", "old");
    let product = Product::new();
    let (base, tool) = (registry.reference("base:1"), registry.reference("tool:1"));
    product.edit("Dockerfile", "FROM scratch AS web", &format!("FROM {base} AS web"));
    product.edit(
        "Cargo.toml",
        "images = [",
        &format!("images = [\n  {{ reference = \"{tool}\" }},"),
    );
    product.edit(
        "docker-compose.prod.yml",
        "services:",
        &format!("services:\n  tool: {{ image: \"{tool}\" }}"),
    );
    product
}

fn push(registry: &Registry, name: &str, content: &str) -> bundle::Digest {
    let directory = tempfile::tempdir().unwrap();
    let digest = layout::write(directory.path(), &["amd64", "arm64"], &format!("{name}, {content}"));
    registry.push(directory.path(), &format!("{name}:1"));
    digest
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_tag_that_moves_changes_nothing_until_lock() {
    let registry = Registry::start();
    let product = product_from(&registry);
    let tool = registry.reference("tool:1");
    product.commit("not locked yet");
    run(&mut product.command(&["release", VERSION]))
        .expect(3)
        .says("is not in the lock file")
        .says("cargo xtask lock");

    product.run(&["lock"]).expect(0).says(&format!("{tool} is sha256:"));
    product.commit("locked");
    let lock = fs::read_to_string(product.path("release.lock")).unwrap();
    let first = product.release(&[]);
    let source = manifest(&product.bundle())["image_details"][0]["source"].clone();
    let (name, digest) = source.as_str().unwrap().split_once('@').unwrap();
    assert_eq!(name, tool);
    assert!(lock.contains(digest), "{digest} is not in\n{lock}");

    let moved = push(&registry, "tool", "new");
    push(&registry, "base", "new");
    // Without the cache, so that the registry would be asked if anything were.
    assert_eq!(product.release(&["--no-cache"]).digests(), first.digests());

    product.run(&["lock"]).expect(0).says(&format!("{tool} is {moved}"));
    assert_ne!(fs::read_to_string(product.path("release.lock")).unwrap(), lock);
    product.run(&["release", VERSION, "--allow-dirty"]).expect(0);
    let now = manifest(&product.bundle())["image_details"][0]["source"].clone();
    assert_eq!(now, format!("{tool}@{moved}"));
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn vendored_images_give_the_same_bundle_without_a_network() {
    let mut registry = Registry::start();
    let product = product_from(&registry);
    product.run(&["lock"]).expect(0);
    product.commit("locked");
    let online = product.release(&[]);

    let clone = product.clone_elsewhere();
    clone
        .run(&["release", VERSION, "--offline"])
        .expect(3)
        .says("is not vendored")
        .says("cargo xtask vendor");
    clone.run(&["vendor"]).expect(0).says("2 images are in ");
    registry.stop();
    let offline = clone.release(&["--offline", "--no-cache"]);
    assert_eq!(offline.digests(), online.digests());

    // What is vendored is what is locked, or it is not used.
    let lock = fs::read_to_string(clone.path("release.lock")).unwrap();
    let (before, after) = lock.split_once("sha256:").unwrap();
    clone.write("release.lock", format!("{before}sha256:{:064}{}", 0, &after[64..]));
    clone
        .run(&["release", VERSION, "--offline", "--allow-dirty"])
        .expect(3)
        .says("is vendored in another version than the lock file names")
        .says("cargo xtask vendor");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_registry_image_that_lacks_a_platform_is_reported() {
    let registry = Registry::start();
    let product = product_from(&registry);
    let directory = tempfile::tempdir().unwrap();
    layout::write(directory.path(), &["amd64"], "for one platform only");
    registry.push(directory.path(), "tool:1");
    product.run(&["lock"]).expect(0);
    product.commit("locked");
    product
        .run(&["release", VERSION])
        .expect(4)
        .says("no match for platform")
        .says("hint: ");
    assert!(!product.bundle().exists());
    product.release(&["--platform", "linux/amd64"]);
}
