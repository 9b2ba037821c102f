//! Images made by hand: OCI layouts with one small layer per platform.

use std::{fs, path::Path};

use bundle::Digest;
use serde_json::{Value, json};

/// Writes a layout with one image that holds `content` in a file, for `architectures`; gives its digest.
pub(crate) fn write(directory: &Path, architectures: &[&str], content: &str) -> Digest {
    write_layers(directory, architectures, |architecture| {
        tar_with("base", 0o644, format!("{content} for {architecture}\n").as_bytes())
    })
}

/// Writes a layout with one image that holds nothing but a program, for one architecture; gives its digest.
pub(crate) fn write_program(directory: &Path, architecture: &str, name: &str, program: &[u8]) -> Digest {
    write_layers(directory, &[architecture], |_| tar_with(name, 0o755, program))
}

fn write_layers(directory: &Path, architectures: &[&str], layer: impl Fn(&str) -> Vec<u8>) -> Digest {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, bytes: &[u8]| -> Value {
        let digest = Digest::of(bytes);
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let mut manifests = Vec::new();
    for architecture in architectures {
        let layer = layer(architecture);
        let config = json!({
            // As every real image has them; where they are missing, BuildKit fills them in when it exports.
            "created": "2026-01-01T00:00:00Z",
            "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "a test" }],
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer)] },
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()),
            "layers": [put("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let mut descriptor = put(
            "application/vnd.oci.image.manifest.v1+json",
            manifest.to_string().as_bytes(),
        );
        descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
        manifests.push(descriptor);
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
    let descriptor = put(media_type, index.to_string().as_bytes());
    let entry = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": [descriptor] });
    fs::write(directory.join("index.json"), entry.to_string()).unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    Digest::of(index.to_string().as_bytes())
}

fn tar_with(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(1);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content).unwrap();
    archive.into_inner().unwrap()
}
