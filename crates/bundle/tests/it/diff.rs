//! What a device needs for the next version.

use bundle::Digest;
use bundle::diff::{ImageChange, PlatformNeeds, diff};

use crate::fixture::{Sample, platform};

#[test]
fn nothing_changed() {
    let manifest = Sample::new().manifest;
    let diff = diff(&manifest, &manifest);
    assert!(diff.images.values().all(|change| *change == ImageChange::Unchanged));
    let kept = PlatformNeeds {
        layers_kept: 3,
        ..PlatformNeeds::default()
    };
    assert_eq!(diff.platforms[&platform("linux/arm64")], kept);
    assert_eq!(diff.platforms.len(), 2);
}

#[test]
fn one_layer_changed_on_one_platform() {
    let from = Sample::new().manifest;
    let mut to = from.clone();
    to.version = "2.2.0".parse().unwrap();
    let image = &mut to.image_details[0].platforms[1];
    (image.manifest, image.manifest_size) = (Digest::of(b"manifest"), 100);
    (image.config, image.config_size) = (Digest::of(b"config"), 50);
    let layer = &mut image.layers[2];
    (layer.digest, layer.diff_id) = (Digest::of(b"layer"), Digest::of(b"diff id"));
    (layer.size, layer.uncompressed_size) = (7, 70);
    let diff = diff(&from, &to);
    assert_eq!(diff.images["app-backend"], ImageChange::Changed);
    assert_eq!(diff.images["app-web"], ImageChange::Unchanged);
    let arm64 = PlatformNeeds {
        layers_new: 1,
        layers_kept: 2,
        bytes_needed: 157,
        uncompressed_bytes: 70,
    };
    assert_eq!(diff.platforms[&platform("linux/arm64")], arm64);
    assert_eq!(diff.platforms[&platform("linux/amd64")].bytes_needed, 0);
}

#[test]
fn images_come_and_go() {
    let from = Sample::new().manifest;
    let mut to = from.clone();
    let web = to.image_details.pop().unwrap();
    let gone = diff(&from, &to);
    assert_eq!(gone.images["app-web"], ImageChange::Removed);
    let come = diff(&to, &from);
    assert_eq!(come.images["app-web"], ImageChange::Added);
    // Its only layer is shared with the other image.
    let needs = &come.platforms[&platform("linux/arm64")];
    let image = web.on(&platform("linux/arm64")).unwrap();
    assert_eq!((needs.layers_new, needs.layers_kept), (0, 3));
    assert_eq!(needs.bytes_needed, image.manifest_size + image.config_size);
}
