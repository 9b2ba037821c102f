use serde_json::{Value, json};

use super::*;

fn minimal() -> Value {
    json!({
        "product": "webmacs",
        "images": [
            { "name": "webmacs-backend", "dockerfile": "Dockerfile", "target": "backend" },
            { "reference": "postgres:17-trixie" },
        ],
    })
}

/// Changes the minimal declaration and gives the problems as text.
fn check(change: impl FnOnce(&mut Value)) -> String {
    let mut value = minimal();
    change(&mut value);
    match Declaration::parse(&value) {
        Ok(_) => String::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

#[test]
fn defaults_are_what_the_reference_says() {
    let declaration = Declaration::parse(&minimal()).unwrap();
    assert_eq!(declaration.version_variable, "WEBMACS_VERSION");
    assert_eq!(declaration.signing.key_variable, "WEBMACS_SIGNING_KEY");
    assert_eq!(declaration.bundles, [BundleKind::All]);
    assert_eq!(
        declaration
            .platforms
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["linux/amd64", "linux/arm64"]
    );
    assert_eq!(declaration.layers.level(), 5);
}

#[test]
fn a_misspelt_key_is_named_with_the_right_one() {
    let text = check(|value| value["images"][0]["dockerfil"] = json!("x"));
    assert!(
        text.starts_with("error: workspace.metadata.release.images[0].dockerfil: unknown key"),
        "{text}"
    );
    assert!(text.ends_with("hint: did you mean `dockerfile`?"), "{text}");
}

#[test]
fn a_misspelt_value_is_named_with_the_right_one() {
    let text = check(|value| value["bundles"] = json!(["per-platfrom"]));
    assert!(text.contains("release.bundles[0]: unknown value"), "{text}");
    assert!(text.ends_with("did you mean `per-platform`?"), "{text}");
}

#[test]
fn a_wrong_type_names_the_path() {
    let text = check(|value| value["health"] = json!({ "service": "backend", "attempts": "ten" }));
    assert!(
        text.contains("release.health.attempts: invalid type: string \"ten\", expected u32"),
        "{text}"
    );
}

#[test]
fn all_contradictions_are_reported_at_once() {
    let text = check(|value| {
        value["product"] = json!("Web MACS");
        value["platforms"] = json!(["linux/amd64", "linux/amd64", "amd64"]);
        value["layers"] = json!({ "compression": "gzip", "level": 12 });
        value["compose-file"] = json!("../outside.yml");
    });
    for expected in [
        "product",
        "platforms[1]: linux/amd64 is declared twice",
        "platforms[2]",
        "layers.level: is 12, expected 1 to 9",
        "compose-file",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}

#[test]
fn two_images_with_one_name_are_refused() {
    let text = check(|value| value["images"][1] = value["images"][0].clone());
    assert!(
        text.contains("images[1]: two images are called \"webmacs-backend\""),
        "{text}"
    );
}

#[test]
fn a_stage_to_vendor_belongs_to_a_dockerfile_that_is_built_from() {
    let text = check(|value| {
        value["images"][0]["dockerfile"] = json!("docker/Dockerfile");
        value["vendor-stages"] = json!([
            { "dockerfile": "docker/Dockerfiel", "stage": "toolchain" },
            { "dockerfile": "docker/Dockerfile", "stage": "two words" },
            { "dockerfile": "docker/Dockerfile", "stage": "Tools" },
            { "dockerfile": "docker/Dockerfile", "stage": "tools" },
        ]);
    });
    for expected in [
        "error: workspace.metadata.release.vendor-stages[0].dockerfile: nothing is built from \"docker/Dockerfiel\", \
         expected one of: docker/Dockerfile\n  hint: did you mean `docker/Dockerfile`?",
        "vendor-stages[1].stage: \"two words\" is not a stage's name",
        "vendor-stages[3]: stage \"tools\" of docker/Dockerfile is declared twice",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    let text = check(|value| value["vendor-stages"] = json!([{ "target": "toolchain" }]));
    assert!(
        text.contains("vendor-stages[0].target: unknown key \"target\", expected one of: dockerfile, stage"),
        "{text}"
    );
}

#[test]
fn floating_references_are_refused() {
    for reference in ["postgres", "postgres:latest", "localhost:5000/postgres"] {
        let text = check(|value| value["images"][1] = json!({ "reference": reference }));
        assert!(text.contains("float"), "{reference}: {text}");
    }
    assert_eq!(
        check(|value| value["images"][1] = json!({ "reference": "localhost:5000/postgres:17" })),
        ""
    );
}

#[test]
fn keys_of_the_other_kind_of_image_are_refused() {
    let text = check(|value| value["images"][1]["target"] = json!("x"));
    assert!(text.contains("images[1].target: belongs to built images"), "{text}");
}

#[test]
fn a_built_image_has_a_name_without_a_tag() {
    let text = check(|value| value["images"][0]["name"] = json!("webmacs-backend:2.1.0"));
    assert!(
        text.contains("images[0].name: \"webmacs-backend:2.1.0\" is not an image name without a tag"),
        "{text}"
    );
}

#[test]
fn names_and_digests_are_checked_before_anything_is_built() {
    let text = check(|value| {
        value["files"] = json!([
            { "path": "a/manifest.json" },
            { "path": "tool", "sha256": "abc" },
        ]);
        value["environment"] = json!({ "1 KEY": { "default": "x" } });
        value["images"][1]["reference"] = json!("Postgres:17");
    });
    for expected in [
        "files[0].name: \"manifest.json\"",
        "files[1].sha256",
        "environment.1 KEY",
        "\"Postgres:17\" is not",
    ] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
}
