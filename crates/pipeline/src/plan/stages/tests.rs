use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::{
    facts::dockerfile::Dockerfile,
    tests::fixture::{DOCKERFILE, base, declaration, facts, pins, vendored, workspace},
};

/// What a release without a network says of a stage that was vendored, after `change`.
fn after(change: impl FnOnce(&mut Value, &mut Facts)) -> String {
    let mut value = declaration();
    let mut facts = facts(DOCKERFILE);
    facts.vendor.stages = vec![vendored(&workspace(&value).declaration, &facts)];
    change(&mut value, &mut facts);
    let (found, problems) = resolve(&workspace(&value).declaration, &facts, &pins(&facts).unwrap());
    assert_eq!(found.len() + problems.len(), 1);
    problems.iter().map(ToString::to_string).collect()
}

fn edited(from: &str, to: &str) -> impl FnOnce(&mut Value, &mut Facts) {
    let text = DOCKERFILE.replacen(from, to, 1);
    assert_ne!(text, DOCKERFILE);
    move |_, facts| {
        facts.dockerfiles.insert("Dockerfile".into(), Dockerfile::parse(&text));
    }
}

#[test]
fn a_stage_stays_good_while_what_it_was_made_from_does() {
    assert_eq!(after(|_, _| {}), "");
    assert_eq!(after(edited("RUN make", "RUN make all")), "");
    assert_eq!(after(edited("FROM scratch", "# what ships\nFROM scratch")), "");
    // The layout may be another, when it holds the same image of the registry.
    assert_eq!(
        after(|_, facts| facts.vendor.images[0].digest = Digest::of(b"other")),
        ""
    );
}

#[test]
fn a_stage_is_stale_when_the_dockerfile_changed_up_to_it() {
    let expected = "error: stage toolchain of Dockerfile: is stale: the Dockerfile has changed, up to and including this \
                    stage, since it was vendored\n  hint: cargo xtask vendor";
    assert_eq!(after(edited("apt-get update", "apt-get upgrade")), expected);
    assert_eq!(after(edited("FROM", "ARG X=1\nFROM")), expected);
}

#[test]
fn a_stage_is_stale_when_an_image_that_it_is_built_on_is_another() {
    let text = after(|_, facts| {
        facts.lock.images[0].digest = Some(Digest::of(b"newer"));
        facts.vendor.images = vec![base(b"newer")];
    });
    let expected = "error: stage toolchain of Dockerfile: is stale: it was vendored on another rust:1-trixie than is \
                    used now\n  hint: cargo xtask vendor";
    assert_eq!(text, expected);
    let text = after(|_, facts| facts.vendor.images[0].substitute = true);
    assert_eq!(text, expected, "a substitute is another image");
}

#[test]
fn a_stage_is_stale_when_it_was_given_another_time() {
    let text = after(|value, _| value["source-date-epoch"] = json!(2));
    assert!(text.contains("is stale: `source-date-epoch` has changed"), "{text}");
}

#[test]
fn a_stage_that_is_not_vendored_is_told() {
    let text = after(|_, facts| facts.vendor.stages.clear());
    let expected = "error: stage toolchain of Dockerfile: is not vendored, so it cannot be used without a network\n  hint: \
                    cargo xtask vendor, on a machine with a network";
    assert_eq!(text, expected);
}

#[test]
fn a_stage_that_was_built_on_a_substitute_says_so() {
    let declaration = workspace(&declaration()).declaration;
    let mut facts = facts(DOCKERFILE);
    facts.vendor.images[0].substitute = true;
    facts.vendor.stages = vec![vendored(&declaration, &facts)];
    let (found, _) = resolve(&declaration, &facts, &pins(&facts).unwrap());
    assert!(found[0].substitute);
}

#[test]
fn the_builder_gets_the_saved_stage_under_its_name_and_no_network() {
    let mut facts = facts(DOCKERFILE);
    let workspace = workspace(&declaration());
    facts.vendor.stages = vec![vendored(&workspace.declaration, &facts)];
    let (stages, _) = resolve(&workspace.declaration, &facts, &pins(&facts).unwrap());
    let request = crate::plan::bake::BuildRequest {
        version: &semver::Version::new(1, 0, 0),
        platforms: &[],
        pins: &pins(&facts).unwrap(),
        stages: &stages,
        offline: true,
        network: Some("host"),
    };
    let bake = crate::plan::bake::bake_file(&workspace, &facts, &request);
    let target = &bake.target["acme-web"];
    assert_eq!(target.contexts.get("toolchain"), Some(&stages[0].context()));
    assert_eq!(target.network.as_deref(), Some("none"));
    let networks = json!({ "services": { "acme-web": { "build": { "network": "none" } } } });
    assert_eq!(bake.networks(), Some(networks));
}

#[test]
fn a_list_is_written_and_read_again_and_a_layout_that_is_not_there_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let facts = facts(DOCKERFILE);
    let mut stage = vendored(&workspace(&declaration()).declaration, &facts);
    stage.layout = directory.path().join("stages/toolchain");
    let mut vendor = facts.vendor;
    vendor.stages = vec![stage.clone()];
    vendor.write(directory.path()).unwrap();
    let text = std::fs::read_to_string(directory.path().join("vendor.json")).unwrap();
    assert!(text.contains("\"layout\": \"stages/toolchain\""), "{text}");
    let read = || crate::facts::vendored::Vendor::read(directory.path()).unwrap();
    assert_eq!(read().stages, []);
    std::fs::create_dir_all(&stage.layout).unwrap();
    std::fs::write(stage.layout.join("index.json"), "{}").unwrap();
    assert_eq!(read().stage(Path::new("Dockerfile"), "toolchain"), Some(&stage));
}
