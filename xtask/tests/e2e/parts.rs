//! Machines share the work: each builds its platform, one merges.

use crate::support::{
    files::{change_a_byte, snapshot},
    product::{Product, Released},
    run::tool,
};

/// What a release that builds everything itself gives.
fn direct(product: &Product) -> Vec<Released> {
    product.clone_elsewhere().release(&[]).bundles
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn merged_parts_give_the_same_bundles_as_one_machine() {
    let product = Product::new();
    let expected = direct(&product);
    let machines = ["linux/amd64", "linux/arm64"].map(|platform| {
        let machine = product.clone_elsewhere();
        machine
            .run(&["build", "1.0.0", "--platform", platform, "--output", "target/part"])
            .expect(0);
        machine
    });
    let parts = [machines[0].path("part.tar"), machines[1].path("part.zip")];
    tool(
        &machines[0].path("target/part"),
        "tar",
        &["--create", "--file", parts[0].to_str().unwrap(), "."],
    );
    let zip = [
        "-m",
        "zipfile",
        "--create",
        parts[1].to_str().unwrap(),
        "blobs",
        "index.json",
        "oci-layout",
    ];
    tool(&machines[1].path("target/part"), "python3", &zip);
    let [tar, zip] = parts.each_ref().map(|part| part.to_str().unwrap());
    // The machine that merges has no engine.
    let mut command = product.command(&["release", "1.0.0", "--json", "--part", tar, "--part", zip]);
    let outcome = crate::support::run::run(command.env("DOCKER_HOST", "unix:///nowhere.sock")).expect(0);
    let merged: Vec<_> = outcome.json()["bundles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bundle| bundle["sha256"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        merged,
        expected.iter().map(|bundle| bundle.sha256.clone()).collect::<Vec<_>>()
    );
    // Directories do as well, in any order.
    let directories = machines.each_ref().map(|machine| machine.path("target/part"));
    let [amd64, arm64] = directories.each_ref().map(|part| part.to_str().unwrap());
    let again = product.release(&["--part", arm64, "--part", amd64]);
    assert!(again.bundles.iter().all(|bundle| bundle.unchanged), "{again:?}");
}

fn build(product: &Product, platform: &str, directory: &str) {
    product
        .run(&[
            "build",
            "1.0.0",
            "--allow-dirty",
            "--platform",
            platform,
            "--output",
            directory,
        ])
        .expect(0);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn parts_that_contradict_each_other_are_refused() {
    let product = Product::new();
    build(&product, "linux/amd64", "target/amd64");
    build(&product, "linux/arm64", "target/arm64");
    product.write("api/arm64/program", "something else\n");
    build(&product, "linux/arm64", "target/other");
    let parts = ["target/amd64", "target/arm64", "target/other"]
        .map(|part| ["--part", part])
        .concat();
    let arguments = [&["release", "1.0.0", "--allow-dirty"], parts.as_slice()].concat();
    let outcome = product.run(&arguments).expect(4);
    outcome.says("error: acme-api:1.0.0: two parts hold different images for linux/arm64");
    assert!(!product.bundle().exists());
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_platform_that_no_part_holds_is_reported() {
    let product = Product::new();
    build(&product, "linux/amd64", "target/amd64");
    let outcome = product.run(&["release", "1.0.0", "--part", "target/amd64"]).expect(4);
    outcome.says("error: acme-web:1.0.0: has no image for linux/arm64");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_part_with_a_changed_byte_is_refused() {
    let product = Product::new();
    build(&product, "linux/amd64", "target/amd64");
    build(&product, "linux/arm64", "target/arm64");
    // A machine that has no good copy of anything.
    let merging = product.clone_elsewhere();
    let [amd64, arm64] = ["amd64", "arm64"].map(|part| product.path("target").join(part).display().to_string());
    let release = ["release", "1.0.0", "--part", &amd64, "--part", &arm64];
    let blobs = snapshot(&product.path("target/amd64/blobs"));
    // A manifest and a configuration for each image, and three layers.
    assert_eq!(blobs.len(), 7);
    for blob in blobs.keys() {
        change_a_byte(blob);
        let outcome = merging.run(&release);
        assert!(
            matches!(outcome.code, Some(1 | 4)),
            "after damage to {}: {outcome}",
            blob.display()
        );
        assert!(!merging.bundle().exists());
        // The same change once more takes it back.
        change_a_byte(blob);
    }
    merging.run(&release).expect(0);
}
