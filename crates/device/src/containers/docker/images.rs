//! Images of the engine: inspected, tagged, removed.

use std::{collections::BTreeSet, time::Duration};

use bollard::{
    models::ImageInspect,
    query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions, TagImageOptions},
};
use bundle::Digest;

use super::api::{Api, failed, status};
use crate::{Error, Result, containers::facts::ImageFacts};

/// How long an engine may take to delete layers: some have many small files, on slow disks.
const REMOVE: Duration = Duration::from_secs(30 * 60);

/// How long it may take to describe an image.
const INSPECT: Duration = Duration::from_secs(120);

/// The image called `name`.
pub(super) fn image(api: &Api, name: &str) -> Result<Option<ImageFacts>> {
    let action = format!("look at the image {name}");
    api.find(INSPECT, &action, async |docker| docker.inspect_image(name).await)?
        .map(facts)
        .transpose()
}

/// All images, each once.
pub(super) fn all(api: &Api) -> Result<Vec<ImageFacts>> {
    let action = "list the images";
    let list = api.call(action, async |docker| {
        docker.list_images(None::<ListImagesOptions>).await
    })?;
    let ids: BTreeSet<String> = list.into_iter().map(|image| image.id).collect();
    let mut images = Vec::with_capacity(ids.len());
    for id in ids {
        match api.raw(INSPECT, action, async |docker| docker.inspect_image(&id).await) {
            Ok(image) => images.push(facts(image)?),
            // Removed meanwhile, or incomplete: such an image is of no use.
            Err(error) if status(&error).is_some() => {}
            Err(error) => return Err(failed(action, error)),
        }
    }
    Ok(images)
}

/// Gives an image a name.
pub(super) fn tag(api: &Api, image: &Digest, reference: &str) -> Result<()> {
    let action = format!("name the image {image} {reference}");
    let (repo, tag) = match reference.rsplit_once(':') {
        Some((repo, tag)) if !tag.contains('/') => (repo, tag),
        _ => (reference, "latest"),
    };
    let options = TagImageOptions {
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
    };
    let id = image.to_string();
    api.call(&action, async |docker| docker.tag_image(&id, Some(options)).await)
}

/// Takes a name away, or an image with all its names.
pub(super) fn remove(api: &Api, name: &str) -> Result<()> {
    let action = format!("remove the image {name}");
    let by_id = name.parse::<Digest>().is_ok();
    if by_id {
        // With `force` the engine takes an image from stopped containers, too.
        if let Some(container) = user_of(api, &action, name)? {
            return Err(Error::engine(action, format!("the container {container} uses it")));
        }
    }
    let options = RemoveImageOptions {
        // Without it, an image with several names is not removed by its ID.
        force: by_id,
        ..RemoveImageOptions::default()
    };
    api.find(REMOVE, &action, async |docker| {
        docker.remove_image(name, Some(options), None).await
    })
    .map(drop)
}

/// A container of the image `id`, running or not.
fn user_of(api: &Api, action: &str, id: &str) -> Result<Option<String>> {
    let options = ListContainersOptions {
        all: true,
        ..ListContainersOptions::default()
    };
    let containers = api.call(action, async |docker| docker.list_containers(Some(options)).await)?;
    Ok(containers
        .into_iter()
        .find(|container| container.image_id.as_deref() == Some(id))
        .map(|container| match container.names.unwrap_or_default().first() {
            Some(name) => name.trim_start_matches('/').to_owned(),
            None => container.id.unwrap_or_default(),
        }))
}

fn facts(image: ImageInspect) -> Result<ImageFacts> {
    let digest = |text: &str| {
        text.parse::<Digest>()
            .map_err(|error| Error::engine_because("read what the Docker engine says of an image", error))
    };
    let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
    Ok(ImageFacts {
        id: digest(&image.id.unwrap_or_default())?,
        references: image.repo_tags.unwrap_or_default(),
        diff_ids: layers.iter().map(|layer| digest(layer)).collect::<Result<_>>()?,
        architecture: image.architecture.unwrap_or_default(),
    })
}
