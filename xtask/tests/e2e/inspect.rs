//! Looking into bundles.

use std::fs;

use serde_json::{Value, json};

use crate::support::{files::change_a_byte, product::Product, run::Outcome};

const BUNDLE: &str = "dist/acme-update-1.0.0.tar.gz";

fn verify(product: &Product, options: &[&str]) -> Outcome {
    product.run(&[&["bundle", "verify", BUNDLE], options].concat())
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn inspect_shows_what_is_in_a_bundle() {
    let product = Product::new();
    product.release(&[]);
    let text = product.run(&["bundle", "inspect", BUNDLE]).expect(0);
    for line in [
        "acme 1.0.0 for linux/amd64, linux/arm64\n",
        "\n  acme-web:1.0.0\n    linux/amd64     1 layers",
        "\n  acme-api:1.0.0\n    linux/amd64     2 layers",
        "nothing of this is verified",
    ] {
        assert!(text.stdout.contains(line), "{line:?} is not in {text}");
    }
    let manifest = product.run(&["bundle", "inspect", BUNDLE, "--json"]).expect(0).json();
    assert_eq!(manifest, crate::support::files::manifest(&product.bundle()));
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_bundle_in_parts_is_the_same_bundle() {
    let product = Product::new();
    product.release(&[]);
    let key = product.public.to_string();
    product
        .run(&["bundle", "split", BUNDLE])
        .expect(2)
        .says("needs no parts");
    let size = (fs::metadata(product.bundle()).unwrap().len() / 3).to_string();
    let split = product
        .run(&["bundle", "split", BUNDLE, "--size", &size, "--json"])
        .expect(0)
        .json();
    let parts = split["parts"].as_array().unwrap();
    assert!((3..=4).contains(&parts.len()), "{split}");
    let list = split["list"].as_str().unwrap();
    let verify = || product.run(&["bundle", "verify", list, "--trust", &key]);
    fs::remove_file(product.bundle()).unwrap();
    verify().expect(0).prints("acme 1.0.0 is whole: 2 images, signed by");
    product
        .run(&["bundle", "inspect", list])
        .expect(0)
        .prints("acme 1.0.0 for linux/amd64");
    change_a_byte(&product.path(parts[1].as_str().unwrap()));
    verify().expect(5).says("part-002 is damaged");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn verify_distinguishes_good_from_bad() {
    let product = Product::new();
    product.release(&[]);
    let key = product.public.to_string();
    verify(&product, &["--trust", &key])
        .expect(0)
        .prints("acme 1.0.0 is whole: 2 images, signed by");
    let report = verify(&product, &["--trust", &key, "--json"]).expect(0).json();
    assert_eq!((&report["version"], &report["images"]), (&json!("1.0.0"), &json!(2)));
    assert_eq!(report["signed_by"], key);

    let unsigned = verify(&product, &["--json"])
        .expect(0)
        .says("warning: no --trust key was given");
    assert_eq!(unsigned.json()["signed_by"], Value::Null);

    let stranger = bundle::signature::generate(None).unwrap().public().to_string();
    let refused = verify(&product, &["--trust", &stranger]).expect(5).says("error: ");
    assert_eq!(refused.stdout, "");
    verify(&product, &["--trust", &stranger, "--trust", &key]).expect(0);

    let whole = fs::read(product.bundle()).unwrap();
    for length in [whole.len() - 1, whole.len() / 2, 100, 1] {
        fs::write(product.bundle(), &whole[..length]).unwrap();
        verify(&product, &["--trust", &key]).expect(5).says("error: ");
    }
    fs::write(product.bundle(), [whole.as_slice(), b"x"].concat()).unwrap();
    verify(&product, &["--trust", &key]).expect(5).says("error: ");
    fs::write(product.bundle(), &whole).unwrap();
    change_a_byte(&product.bundle());
    verify(&product, &["--trust", &key]).expect(5).says("error: ");
    verify(&product, &[]).expect(5).says("error: ");
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn diff_counts_what_a_device_needs() {
    let product = Product::new();
    product.release(&[]);
    product.write("api/arm64/program", "something else\n");
    product.commit("another program for arm64");
    product.run(&["release", "1.1.0"]).expect(0);
    let to = "dist/acme-update-1.1.0.tar.gz";
    let diff = product.run(&["bundle", "diff", BUNDLE, to, "--json"]).expect(0).json();
    let (amd64, arm64) = (&diff["platforms"]["linux/amd64"], &diff["platforms"]["linux/arm64"]);
    assert_eq!(
        (&amd64["layers_new"], &amd64["bytes_needed"]),
        (&json!(0), &json!(0)),
        "{diff}"
    );
    assert_eq!(
        (&arm64["layers_new"], &arm64["layers_kept"]),
        (&json!(1), &json!(2)),
        "{diff}"
    );
    let image = &crate::support::files::manifest(&product.path(to))["image_details"][1]["platforms"][1];
    let bytes = [
        &image["manifest_size"],
        &image["config_size"],
        &image["layers"][0]["size"],
    ];
    let sum: u64 = bytes.iter().map(|size| size.as_u64().unwrap()).sum();
    assert_eq!(arm64["bytes_needed"], sum, "{diff}");
    let text = product.run(&["bundle", "diff", BUNDLE, to]).expect(0);
    text.prints("linux/arm64: a device needs ")
        .prints("1 new layers, 2 that it has");
}
