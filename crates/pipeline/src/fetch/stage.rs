//! Building stages beforehand, and saving them as OCI layouts in the vendor directory.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::{
    Error, Result,
    build::{
        BakeFile, Target,
        buildx::{self, Cache},
    },
    collect::layout::{self, Layout},
    declaration::VendorStage,
    facts::{
        Facts, Workspace, empty_directory, target_name,
        vendored::{StageInputs, Vendor, VendoredStage},
    },
    plan::{
        Timestamps, contexts, no_attestations, oci_output,
        pins::Pin,
        stages::{inputs, subject},
    },
    system::report::note,
};

/// Builds every declared stage that is not in `vendor` as it must be, from the images of `pins`; what is not declared
/// any more is taken off the list.
pub(crate) fn build(
    workspace: &Workspace,
    facts: &Facts,
    pins: &[Pin],
    builder: Option<&str>,
    network: Option<&str>,
    vendor: &mut Vendor,
) -> Result<()> {
    let declared = &workspace.declaration.vendor_stages;
    let is_declared = |stage: &VendoredStage| {
        declared
            .iter()
            .any(|declared| declared.dockerfile == stage.dockerfile && declared.stage == stage.stage)
    };
    vendor.stages.retain(is_declared);
    let mut wanted = Vec::new();
    for stage in declared {
        let subject = subject(&stage.dockerfile, &stage.stage);
        let Some(made_from) = inputs(&workspace.declaration, facts, pins, stage) else {
            let message = "an image that it is built on has no digest".to_owned();
            return Err(Error::Image { subject, message });
        };
        match vendor.stage(&stage.dockerfile, &stage.stage) {
            Some(vendored) if vendored.made_from == made_from => note(format_args!("{subject} is there")),
            _ => wanted.push((stage, made_from)),
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let empty = empty_directory(workspace);
    fs::create_dir_all(&empty).map_err(Error::io("create", &empty))?;
    let mut bake = BakeFile {
        target: BTreeMap::new(),
    };
    for (stage, _) in &wanted {
        let layout = layout_directory(workspace, stage);
        if layout.exists() {
            fs::remove_dir_all(&layout).map_err(Error::io("remove", &layout))?;
        }
        bake.target
            .insert(layout_name(stage), target(workspace, stage, pins, network));
    }
    buildx::bake(&workspace.root, &workspace.state, &bake, builder, Cache::Used)?;
    for (stage, made_from) in wanted {
        vendor
            .stages
            .retain(|other| other.dockerfile != stage.dockerfile || other.stage != stage.stage);
        vendor.stages.push(saved(workspace, stage, made_from, pins)?);
    }
    Ok(())
}

fn target(workspace: &Workspace, stage: &VendorStage, pins: &[Pin], network: Option<&str>) -> Target {
    let epoch = workspace.declaration.source_date_epoch.to_string();
    Target {
        context: empty_directory(workspace),
        dockerfile: Some(workspace.root.join(&stage.dockerfile)),
        dockerfile_inline: None,
        target: Some(stage.stage.clone()),
        platforms: Vec::new(),
        args: BTreeMap::from([("SOURCE_DATE_EPOCH".to_owned(), epoch)]),
        contexts: contexts(pins, |_| true),
        tags: Vec::new(),
        // As a release exports it, should it ship.
        output: vec![oci_output(&layout_directory(workspace, stage), Timestamps::Kept)],
        attest: no_attestations(),
        network: network.map(str::to_owned),
    }
}

/// The entry for a stage that was just built.
fn saved(workspace: &Workspace, stage: &VendorStage, made_from: StageInputs, pins: &[Pin]) -> Result<VendoredStage> {
    let layout = Layout::open(layout_directory(workspace, stage))?;
    let refused = |message: String| Error::Image {
        subject: subject(&stage.dockerfile, &stage.stage),
        message,
    };
    let images = layout.images()?;
    let [image] = images.as_slice() else {
        return Err(refused("the builder did not save exactly one image".to_owned()));
    };
    let platforms: Vec<_> = image.manifests.keys().collect();
    let [platform] = platforms.as_slice() else {
        return Err(refused("the builder did not save exactly one platform".to_owned()));
    };
    let on_a_substitute = |pin: &&Pin| pin.is_substitute() && made_from.images.contains_key(&pin.reference);
    Ok(VendoredStage {
        dockerfile: stage.dockerfile.clone(),
        stage: stage.stage.clone(),
        substitute: pins.iter().any(|pin| on_a_substitute(&pin)),
        digest: layout::digest(&image.entry).map_err(refused)?,
        layout: layout.directory().to_owned(),
        platform: (*platform).clone(),
        made_from,
    })
}

fn layout_directory(workspace: &Workspace, stage: &VendorStage) -> PathBuf {
    workspace.vendor_directory().join("stages").join(layout_name(stage))
}

fn layout_name(stage: &VendorStage) -> String {
    target_name(&format!("{}:{}", stage.dockerfile.display(), stage.stage))
}
