//! `--plan` says everything and does nothing.

use crate::support::{
    files::snapshot,
    product::Product,
    run::{Outcome, run},
};

/// A product that cannot reach any engine.
fn without_engine(product: &Product, arguments: &[&str]) -> Outcome {
    run(product.command(arguments).env("DOCKER_HOST", "unix:///nowhere.sock"))
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn plan_changes_nothing() {
    let product = Product::new();
    let before = snapshot(product.root());
    let outcome = without_engine(&product, &["release", "1.0.0", "--plan"]).expect(0);
    assert_eq!(outcome.stderr, "");
    let steps: Vec<_> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.trim_start().split_once(". "))
        .collect();
    let expected = [
        ("1", "build with docker buildx bake on the current builder"),
        (
            "2",
            "collect 2 images for linux/amd64, linux/arm64, compress their layers",
        ),
        ("3", "sign and pack "),
        ("4", "sign and pack "),
        ("5", "sign and pack "),
        ("6", "write "),
    ];
    assert_eq!(steps.len(), expected.len(), "{outcome}");
    for ((number, step), (expected_number, start)) in steps.iter().zip(expected) {
        assert_eq!(*number, expected_number);
        assert!(step.starts_with(start), "{step} does not start with {start}");
    }
    assert_eq!(snapshot(product.root()), before);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_plan_in_json_names_every_step_and_changes_nothing() {
    let product = Product::new();
    let before = snapshot(product.root());
    let plan = without_engine(&product, &["release", "1.0.0", "--plan", "--json"])
        .expect(0)
        .json();
    let steps: Vec<_> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["build", "collect", "pack", "pack", "pack", "checksums"]);
    let targets: Vec<_> = plan["steps"][0]["bake"]["target"].as_object().unwrap().keys().collect();
    assert_eq!(targets, ["acme-api", "acme-web"]);
    assert_eq!(plan["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
    assert_eq!(snapshot(product.root()), before);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn offline_means_no_network_on_any_machine() {
    let product = Product::new();
    let mut command = product.command(&["release", "1.0.0", "--plan", "--json", "--offline"]);
    let plan = run(command.env("RELEASE_BUILD_NETWORK", "host")).expect(0).json();
    let target = |plan: &serde_json::Value| plan["steps"][0]["bake"]["target"]["acme-web"]["network"].clone();
    assert_eq!(target(&plan), "none");
    let mut command = product.command(&["release", "1.0.0", "--plan", "--json"]);
    let plan = run(command.env("RELEASE_BUILD_NETWORK", "host")).expect(0).json();
    assert_eq!(target(&plan), "host");
    let contradiction = ["release", "1.0.0", "--plan", "--offline", "--build-network", "host"];
    product.run(&contradiction).expect(2);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_plan_leaves_what_an_earlier_release_made_alone() {
    let product = Product::new();
    product.release(&[]);
    product.write("web/index.html", "<h1>changed</h1>\n");
    product.commit("another page");
    let before = snapshot(product.root());
    product
        .run(&["release", "1.0.0", "--plan", "--zip"])
        .expect(0)
        .prints("acme-update-1.0.0-arm64.zip");
    assert_eq!(snapshot(product.root()), before);
}
