//! A stage that needs a network: built by `vendor`, and used in its place by a release without one.

use std::{fs, path::Path, sync::OnceLock};

use bundle::{Digest, Platform};
use serde_json::{Value, json};

use crate::support::{
    files::manifest,
    layout,
    product::{Product, VERSION},
    registry::Registry,
    run::tool,
    server::Server,
};

/// Copies what a server gives into a file, or says that there is more than the loopback interface; all that the base
/// image holds.
const FETCH: &str = r#"
fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    if arguments[1] == "alone" {
        let interfaces = std::fs::read_to_string("/proc/net/dev").expect("cannot read");
        let others: Vec<_> = interfaces.lines().skip(2).filter(|line| !line.trim().starts_with("lo:")).collect();
        assert!(others.is_empty(), "there is a network: {others:?}");
        std::fs::write(&arguments[2], "alone\n").expect("cannot write");
        return;
    }
    let mut from = std::net::TcpStream::connect(&arguments[1]).expect("cannot connect");
    let mut to = std::fs::File::create(&arguments[2]).expect("cannot write");
    std::io::copy(&mut from, &mut to).expect("cannot copy");
}
"#;

/// [`FETCH`] as a static program.
fn fetch() -> &'static [u8] {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("fetch.rs"), FETCH).unwrap();
        let options = [
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "strip=symbols",
            "fetch.rs",
        ];
        tool(directory.path(), "rustc", &options);
        fs::read(directory.path().join("fetch")).unwrap()
    })
}

/// Writes the base image into `directory`, for this machine only.
fn write_base(directory: &Path) -> Digest {
    let host = Platform::host();
    layout::write_program(directory, host.architecture(), "fetch", fetch())
}

/// A product whose stage `fetched` starts from `base` and fetches from `server`.
fn product_on(base: &str, server: &Server) -> Product {
    let product = Product::new();
    let stage = format!(
        "FROM --platform=$BUILDPLATFORM {base} AS Fetched\nRUN [\"/fetch\", \"{}\", \"/fetched\"]\nFROM scratch AS web\n\
         COPY --from=fetched /fetched /fetched",
        server.address()
    );
    product.edit("Dockerfile", "FROM scratch AS web", &stage);
    product.declare("vendor-stages = [{ stage = \"fetched\" }]");
    product
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_vendored_stage_gives_the_same_bundle_without_a_network() {
    let mut registry = Registry::start();
    let directory = tempfile::tempdir().unwrap();
    write_base(directory.path());
    registry.push(directory.path(), "fetch:1");
    let server = Server::start("from the network\n");
    let product = product_on(&registry.reference("fetch:1"), &server);
    product.run(&["lock"]).expect(0);
    product.commit("locked");
    let online = product.release(&["--build-network", "host"]);
    assert_eq!(server.answers(), 1);

    let clone = product.clone_elsewhere();
    let missing = "stage fetched of Dockerfile: is not vendored, so it cannot be used without a network";
    let outcome = clone.run(&["release", VERSION, "--offline"]).expect(3);
    outcome.says(missing).says("cargo xtask vendor");
    assert!(!clone.state().exists(), "refused before anything was built");
    clone
        .run(&["vendor", "--build-network", "host"])
        .expect(0)
        .says("1 images and 1 stage are in ");

    registry.stop();
    let address = server.address();
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
    let offline = clone.release(&["--offline", "--no-cache"]);
    assert_eq!(offline.digests(), online.digests());
    clone
        .run(&["release", VERSION, "--offline", "--plan"])
        .expect(0)
        .prints("stage fetched of Dockerfile is oci-layout://");

    // What is there is not built again, which would fail now.
    clone
        .run(&["vendor", "--build-network", "host"])
        .expect(0)
        .says("stage fetched of Dockerfile is there");
    // Without the vendored stage, nothing can be built.
    clone.edit("Cargo.toml", "vendor-stages = [{ stage = \"fetched\" }]\n", "");
    clone
        .run(&["release", VERSION, "--offline", "--no-cache", "--allow-dirty"])
        .expect(4)
        .says("cannot connect");
    clone.git(&["checkout", "--quiet", "."]);

    fs::remove_file(stages(&clone).join("index.json")).unwrap();
    clone.run(&["release", VERSION, "--offline"]).expect(3).says(missing);
}

/// The directory of the one stage that is vendored.
fn stages(product: &Product) -> std::path::PathBuf {
    let mut directories = fs::read_dir(product.path("dist/vendor/stages")).unwrap();
    directories.next().unwrap().unwrap().path()
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn what_runs_in_a_build_without_a_network_has_none() {
    let mut registry = Registry::start();
    let directory = tempfile::tempdir().unwrap();
    write_base(directory.path());
    registry.push(directory.path(), "fetch:1");
    let product = Product::new();
    let stage = format!(
        "FROM --platform=$BUILDPLATFORM {} AS alone\nRUN [\"/fetch\", \"alone\", \"/alone\"]\nFROM scratch AS web\n\
         COPY --from=alone /alone /alone",
        registry.reference("fetch:1")
    );
    product.edit("Dockerfile", "FROM scratch AS web", &stage);
    product.run(&["lock"]).expect(0);
    product.commit("locked");
    let with_network = product.run(&["release", VERSION]).expect(4);
    with_network.says("there is a network");
    product.run(&["vendor"]).expect(0);
    registry.stop();
    product.release(&["--offline", "--no-cache"]);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_stale_stage_is_refused_until_it_is_vendored_again() {
    let registry = Registry::start();
    let directory = tempfile::tempdir().unwrap();
    write_base(directory.path());
    registry.push(directory.path(), "fetch:1");
    let server = Server::start("from the network\n");
    let base = registry.reference("fetch:1");
    let product = product_on(&base, &server);
    product.run(&["lock"]).expect(0);
    product.commit("locked");
    let vendor = || product.run(&["vendor", "--build-network", "host"]).expect(0);
    vendor();
    product.release(&["--offline"]);

    // Later stages are not part of it.
    product.edit("Dockerfile", "COPY web /web", "COPY web /page");
    product.commit("another page");
    product.release(&["--offline"]);

    let refused = |message: &str| {
        let outcome = product.run(&["release", VERSION, "--offline"]).expect(3);
        outcome.says(message).says("hint: cargo xtask vendor\n");
        // With a network, it is built like any other stage.
        product.release(&["--build-network", "host"]);
        vendor();
        product.release(&["--offline"]);
    };
    product.edit("Dockerfile", "RUN [\"/fetch\"", "ENV CHANGED=1\nRUN [\"/fetch\"");
    product.commit("another stage");
    refused("stage fetched of Dockerfile: is stale: the Dockerfile has changed");

    let newer = tempfile::tempdir().unwrap();
    let mut program = fetch().to_vec();
    program.extend(b"newer");
    let host = Platform::host();
    layout::write_program(newer.path(), host.architecture(), "fetch", &program);
    registry.push(newer.path(), "fetch:1");
    product.run(&["lock"]).expect(0);
    product.commit("another base image");
    // The image itself is stale first; where only the image is brought, the stage is stale.
    let list = product.path("dist/vendor/vendor.json");
    let stages = read(&list)["stages"].clone();
    vendor();
    let mut mixed = read(&list);
    assert_ne!(mixed["stages"], stages);
    mixed["stages"] = stages;
    fs::write(&list, mixed.to_string()).unwrap();
    refused(&format!("is stale: it was vendored on another {base} than is used now"));
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn an_image_built_through_a_stage_on_a_substitute_is_marked() {
    let server = Server::start("from the network\n");
    let product = product_on("nowhere.invalid/fetch:1", &server);
    let layout = product.path("dist/vendor/images/fetch");
    let digest = write_base(&layout);
    let image = json!({
        "reference": "nowhere.invalid/fetch:1",
        "digest": digest,
        "substitute": true,
        "made_by": "a test",
        "layout": "images/fetch",
    });
    let list = json!({ "format": 1, "images": [image] });
    product.write("dist/vendor/vendor.json", list.to_string());
    product.run(&["lock"]).expect(0);
    product.commit("locked");
    product
        .run(&["vendor", "--build-network", "host"])
        .expect(0)
        .says("the substitute stays");
    assert_eq!(
        read(&product.path("dist/vendor/vendor.json"))["stages"][0]["substitute"],
        true
    );

    let outcome = product
        .run(&["release", VERSION, "--offline", "--no-cache", "--json"])
        .expect(0);
    // Both images come from the one Dockerfile.
    assert_eq!(
        outcome.json()["substitutes"],
        json!(["acme-web:1.0.0", "acme-api:1.0.0"])
    );
    let details = manifest(&product.bundle())["image_details"].clone();
    assert_eq!(details[0]["substitute"], true, "{details}");
}

fn read(list: &Path) -> Value {
    serde_json::from_slice(&fs::read(list).unwrap()).unwrap()
}
