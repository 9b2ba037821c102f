//! Makes the plan from declaration, facts and request. No I/O.

use std::{path::PathBuf, slice};

use bundle::{Archive, BundleName, Platform, names::tag};

use super::{
    bake::{BuildRequest, bake_file},
    pins::Pin,
    stages,
    step::{Plan, Step},
};
use crate::{
    Problem,
    build::BuildImages,
    collect::{Collect, ImageSource, Import, layers::LayerOrigin},
    declaration::{ArchiveKind, BundleKind, Image},
    facts::{Facts, Workspace, image_references, layout_directory},
    pack::{Checksums, PackBundle, WritePart},
    publish::PublishRelease,
    request::{Output, Request},
};

/// Makes the plan. Does no input or output.
///
/// What cannot be resolved is in [`Plan::unresolved`]; nothing else is judged here.
pub(crate) fn plan(workspace: &Workspace, facts: &Facts, request: &Request) -> Plan {
    let declaration = &workspace.declaration;
    let mut unresolved = Vec::new();
    let platforms = platforms(workspace, request, &mut unresolved);
    let mut pins = Vec::new();
    if request.parts.is_empty() {
        for reference in facts.references(declaration) {
            match Pin::resolve(&reference, &facts.lock, &facts.vendor, request.offline) {
                Ok(pin) => pins.push(pin),
                Err(problem) => unresolved.push(problem),
            }
        }
    }
    let mut stages = Vec::new();
    if request.parts.is_empty() && request.offline {
        let (found, missing) = stages::resolve(declaration, facts, &pins);
        stages = found;
        unresolved.extend(missing);
    }
    let mut plan = Plan {
        product: declaration.product.to_string(),
        version: request.version.clone(),
        platforms,
        pins,
        stages,
        steps: Vec::new(),
        unresolved,
    };
    plan.steps = steps(workspace, facts, request, &plan);
    plan
}

fn steps(workspace: &Workspace, facts: &Facts, request: &Request, plan: &Plan) -> Vec<Step> {
    let last = match &request.output {
        Output::Part(path) => vec![Step::Part(WritePart {
            path: path.clone(),
            commit: facts.commit().to_owned(),
        })],
        Output::Bundles => {
            let bundles = packs(workspace, request, &plan.platforms).into_iter().map(Step::Pack);
            let checksums = Checksums {
                path: workspace.dist.join("SHA256SUMS"),
                installer: workspace.declaration.updater.is_some(),
                version: request.version.clone(),
            };
            bundles.chain([Step::Checksums(checksums)]).collect()
        }
    };
    let mut steps = first(workspace, facts, request, plan, paths(&last));
    steps.push(Step::Collect(collect(workspace, facts, request, plan)));
    steps.extend(last);
    if let Some(publication) = &request.publish {
        steps.push(Step::Publish(PublishRelease {
            repository: publication.target.repository.clone(),
            tag: tag::of(&request.version),
            publication: publication.clone(),
        }));
    }
    steps
}

/// Builds, or imports parts that were built elsewhere.
fn first(workspace: &Workspace, facts: &Facts, request: &Request, plan: &Plan, bundles: Vec<PathBuf>) -> Vec<Step> {
    if !request.parts.is_empty() {
        let parts = request.parts.iter().enumerate();
        let imports = parts.map(|(index, part)| {
            Step::Import(Import {
                part: part.clone(),
                scratch: workspace.state.join("parts").join(index.to_string()),
                commit: facts.commit().to_owned(),
            })
        });
        return imports.collect();
    }
    let build = BuildRequest {
        version: &request.version,
        platforms: &plan.platforms,
        pins: &plan.pins,
        stages: &plan.stages,
        offline: request.offline,
        network: request.network.as_deref(),
    };
    let declaration = &workspace.declaration;
    let layouts = declaration.images.iter().map(|image| layout(workspace, image));
    let built = declaration.built_images();
    vec![Step::Build(BuildImages {
        builder: request.builder.clone(),
        no_cache: request.no_cache,
        bake: bake_file(workspace, facts, &build),
        layouts: layouts.collect(),
        // Of registry images, layers are mostly carried as they come.
        compressed_early: built.map(|image| layout_directory(workspace, &image.name)).collect(),
        bundles,
    })]
}

fn paths(steps: &[Step]) -> Vec<PathBuf> {
    let bundles = steps.iter().filter_map(|step| match step {
        Step::Pack(pack) => Some(pack.path.clone()),
        _ => None,
    });
    bundles.collect()
}

fn layout(workspace: &Workspace, image: &Image) -> PathBuf {
    match image {
        Image::Built(built) => layout_directory(workspace, &built.name),
        Image::Registry(registry) => layout_directory(workspace, &registry.reference()),
    }
}

fn collect(workspace: &Workspace, facts: &Facts, request: &Request, plan: &Plan) -> Collect {
    let images = image_references(workspace, &request.version);
    let source = |(image, reference): (&Image, &String)| ImageSource {
        reference: reference.clone(),
        layout: layout(workspace, image),
        source: plan
            .pins
            .iter()
            .find(|pin| pin.reference == *reference)
            .map(Pin::source),
        substitute: is_made_from_a_substitute(facts, plan, image),
        layers: match image {
            Image::Built(_) => LayerOrigin::Builder,
            Image::Registry(_) => LayerOrigin::Elsewhere,
        },
    };
    let sources = match request.parts.as_slice() {
        [] => workspace.declaration.images.iter().zip(&images).map(source).collect(),
        _ => Vec::new(),
    };
    let unpinned = plan.pins.iter().filter(|pin| !pin.is_pinned());
    Collect {
        sources,
        images,
        platforms: plan.platforms.clone(),
        dirty: facts.is_dirty(),
        unpinned: unpinned.map(|pin| pin.reference.clone()).collect(),
    }
}

/// Whether a substitute is what `image` is, or what it is built on, itself or by a stage that was built beforehand.
fn is_made_from_a_substitute(facts: &Facts, plan: &Plan, image: &Image) -> bool {
    let is_substitute = |reference: &String| {
        let mut pins = plan.pins.iter().filter(|pin| pin.is_substitute());
        pins.any(|pin| pin.reference == *reference)
    };
    match image {
        Image::Registry(registry) => is_substitute(&registry.reference()),
        Image::Built(built) => {
            let dockerfile = &built.build.dockerfile;
            let bases = facts
                .dockerfiles
                .get(dockerfile)
                .map(|file| file.base_images.as_slice());
            let mut stages = plan.stages.iter();
            bases.unwrap_or_default().iter().any(is_substitute)
                || stages.any(|pin| pin.substitute && pin.dockerfile == *dockerfile)
        }
    }
}

fn packs(workspace: &Workspace, request: &Request, platforms: &[Platform]) -> Vec<PackBundle> {
    let declaration = &workspace.declaration;
    let mut archives = declaration.archives.clone();
    if request.zip && !archives.contains(&ArchiveKind::Zip) {
        archives.push(ArchiveKind::Zip);
    }
    let limited = platforms.len() < declaration.platforms.len();
    // The platforms that the name says, and those that are in the bundle.
    let mut scopes: Vec<(Vec<Platform>, Vec<Platform>)> = Vec::new();
    let mut add = |named: &[Platform], platforms: &[Platform]| {
        if !scopes.iter().any(|(known, _)| known == named) {
            scopes.push((named.to_vec(), platforms.to_vec()));
        }
    };
    for kind in &declaration.bundles {
        match kind {
            // A limited release must not look like a whole one.
            BundleKind::All if limited => add(platforms, platforms),
            BundleKind::All => add(&[], platforms),
            BundleKind::PerPlatform => {
                for platform in platforms {
                    add(slice::from_ref(platform), slice::from_ref(platform));
                }
            }
        }
    }
    let mut steps = Vec::new();
    for (named, platforms) in scopes {
        for archive in archives.iter().copied().map(Archive::from) {
            let name = BundleName::of_some(&declaration.product, &request.version, &named, archive);
            steps.push(PackBundle {
                path: workspace.dist.join(name.as_str()),
                archive,
                multi_platform: platforms.len() > 1,
                platforms: platforms.clone(),
            });
        }
    }
    steps
}

fn platforms(workspace: &Workspace, request: &Request, problems: &mut Vec<Problem>) -> Vec<Platform> {
    let declared = &workspace.declaration.platforms;
    if request.platforms.is_empty() {
        return declared.clone();
    }
    let mut platforms = Vec::new();
    for platform in &request.platforms {
        if !declared.contains(platform) {
            let known = declared.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            problems.push(
                Problem::error(format!("--platform {platform}"), "is not declared")
                    .hint(format!("declared are: {known}")),
            );
        } else if !platforms.contains(platform) {
            platforms.push(platform.clone());
        }
    }
    platforms.sort();
    platforms
}
