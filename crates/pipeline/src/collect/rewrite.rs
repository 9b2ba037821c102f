//! Image manifests whose bytes depend on nothing but their content.

use std::collections::BTreeMap;

use bundle::manifest::LayerRecord;
use oci_spec::image::Descriptor;
use serde::Serialize;

/// An image manifest whose form depends on nothing but its content: `oci-spec` keeps annotations in a
/// map without an order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderedManifest<'a> {
    schema_version: u32,
    media_type: &'static str,
    config: OrderedDescriptor<'a>,
    layers: Vec<OrderedDescriptor<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderedDescriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
}

pub(super) fn rewritten(
    config: &Descriptor,
    layers: &[LayerRecord],
    annotations: BTreeMap<String, String>,
) -> serde_json::Result<Vec<u8>> {
    let manifest = OrderedManifest {
        schema_version: 2,
        media_type: "application/vnd.oci.image.manifest.v1+json",
        config: OrderedDescriptor {
            media_type: "application/vnd.oci.image.config.v1+json",
            digest: config.digest().to_string(),
            size: config.size(),
        },
        layers: layers
            .iter()
            .map(|layer| OrderedDescriptor {
                media_type: &layer.media_type,
                digest: layer.digest.to_string(),
                size: layer.size,
            })
            .collect(),
        annotations,
    };
    serde_json::to_vec(&manifest)
}
