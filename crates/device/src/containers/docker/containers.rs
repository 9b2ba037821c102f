//! Containers of the engine: the product's, and the probe that proves an image complete.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use bollard::{
    models::{
        ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, HealthStatusEnum,
        HostConfig, RestartPolicyNameEnum,
    },
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, ListContainersOptions, RemoveContainerOptions,
    },
};
use bundle::Digest;

use super::api::Api;
use crate::{
    Error, Result,
    containers::facts::{ContainerFacts, ContainerHealth},
};

/// The label by which Compose knows a project's containers.
pub(super) const PROJECT: &str = "com.docker.compose.project";
/// The label with the service's name.
const SERVICE: &str = "com.docker.compose.service";
/// The label with the hash of the service definition that the container was created from.
const DEFINITION: &str = "com.docker.compose.config-hash";
/// The label that tells `compose run` from `compose up`.
const ONE_OFF: &str = "com.docker.compose.oneoff";

/// The prefix of the names of containers that are created to try an image.
const PROBE: &str = "updater-probe-";

/// How long creating or removing a container may take: the content of an image's volumes is copied meanwhile.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The hashes of the definitions that the containers of each service were created from.
pub(super) fn definitions(api: &Api, project: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut definitions: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for container in inspected(api, &[format!("{PROJECT}={project}")])? {
        if is_lasting(&container) {
            let text = |name| label(&container, name).unwrap_or_default().to_owned();
            definitions.entry(text(SERVICE)).or_default().insert(text(DEFINITION));
        }
    }
    Ok(definitions)
}

/// The containers of a project.
pub(super) fn of_project(api: &Api, project: &str) -> Result<Vec<ContainerFacts>> {
    let mut containers = Vec::new();
    for container in inspected(api, &[format!("{PROJECT}={project}")])? {
        if is_lasting(&container) {
            containers.push(facts(container)?);
        }
    }
    containers.sort_by(|a, b| (&a.service, &a.id).cmp(&(&b.service, &b.id)));
    Ok(containers)
}

/// The container of a service; a running one if there are several.
pub(super) fn of_service(api: &Api, project: &str, service: &str) -> Result<Option<ContainerInspectResponse>> {
    let labels = [format!("{PROJECT}={project}"), format!("{SERVICE}={service}")];
    let mut containers = inspected(api, &labels)?;
    containers.retain(is_lasting);
    let running = |container: &ContainerInspectResponse| {
        let state = container.state.as_ref();
        state.and_then(|state| state.running).unwrap_or_default()
    };
    containers.sort_by_key(|container| !running(container));
    Ok(containers.into_iter().next())
}

/// Creates a container of an image and removes it.
pub(super) fn try_create(api: &Api, image: &Digest) -> Result<()> {
    let action = format!("make a container of the image {image}");
    remove_probes(api)?;
    let options = CreateContainerOptions {
        name: Some(format!("{PROBE}{}", &image.hex()[..12])),
        ..CreateContainerOptions::default()
    };
    let body = ContainerCreateBody {
        image: Some(image.to_string()),
        // It never runs; the engine refuses an image without a command.
        entrypoint: Some(vec!["/updater-probe".to_owned()]),
        network_disabled: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let created = api.call_within(LIMIT, &action, async |docker| {
        docker.create_container(Some(options), body).await
    });
    // Even a refused one can leave a container behind.
    let removed = remove_probes(api);
    created?;
    removed
}

/// Removes a container, running or not; does nothing if it does not exist.
pub(super) fn remove(api: &Api, id: &str, anonymous_volumes: bool) -> Result<()> {
    let options = RemoveContainerOptions {
        force: true,
        v: anonymous_volumes,
        ..RemoveContainerOptions::default()
    };
    let action = format!("remove the container {id}");
    api.find(LIMIT, &action, async |docker| {
        docker.remove_container(id, Some(options)).await
    })
    .map(drop)
}

/// The project that the container with this name or ID belongs to; none if there is no such container.
pub(super) fn project_of(api: &Api, id: &str) -> Result<Option<String>> {
    Ok(inspect(api, id)?.and_then(|container| label(&container, PROJECT).map(str::to_owned)))
}

/// Removes the containers that [`try_create`] left, in this call or an interrupted one.
fn remove_probes(api: &Api) -> Result<()> {
    let filters = HashMap::from([("name".to_owned(), vec![format!("^/?{PROBE}")])]);
    for probe in list(api, filters)? {
        // The volumes were created for the container, because the image declares them, and are empty.
        remove(api, &probe.id.unwrap_or_default(), true)?;
    }
    Ok(())
}

fn inspected(api: &Api, labels: &[String]) -> Result<Vec<ContainerInspectResponse>> {
    let filters = HashMap::from([("label".to_owned(), labels.to_vec())]);
    let mut containers = Vec::new();
    for container in list(api, filters)? {
        // A container that was removed meanwhile does not count.
        containers.extend(inspect(api, &container.id.unwrap_or_default())?);
    }
    Ok(containers)
}

fn inspect(api: &Api, id: &str) -> Result<Option<ContainerInspectResponse>> {
    let action = format!("look at the container {id}");
    api.find(LIMIT, &action, async |docker| {
        docker.inspect_container(id, None::<InspectContainerOptions>).await
    })
}

fn list(api: &Api, filters: HashMap<String, Vec<String>>) -> Result<Vec<ContainerSummary>> {
    let options = ListContainersOptions {
        all: true,
        filters: Some(filters),
        ..ListContainersOptions::default()
    };
    api.call("list the containers", async |docker| {
        docker.list_containers(Some(options)).await
    })
}

fn label<'a>(container: &'a ContainerInspectResponse, name: &str) -> Option<&'a str> {
    let labels = container.config.as_ref()?.labels.as_ref()?;
    labels.get(name).map(String::as_str)
}

/// Whether it belongs to the service, and not to a `compose run`.
fn is_lasting(container: &ContainerInspectResponse) -> bool {
    label(container, ONE_OFF).is_none_or(|one_off| one_off != "True")
}

fn facts(container: ContainerInspectResponse) -> Result<ContainerFacts> {
    let service = label(&container, SERVICE).unwrap_or_default().to_owned();
    let state = container.state.unwrap_or_default();
    let image = container.image.unwrap_or_default();
    let health = state.health.and_then(|health| health.status);
    let restarted = container.host_config.and_then(|host| host.restart_policy?.name);
    Ok(ContainerFacts {
        once: matches!(
            restarted,
            None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO)
        ),
        id: container.id.unwrap_or_default(),
        service,
        image: image
            .parse()
            .map_err(|error| Error::engine_because("read what the Docker engine says of a container", error))?,
        // A container between two starts is `running` and `restarting` at once.
        running: state.running.unwrap_or_default() && !state.restarting.unwrap_or_default(),
        state: state.status.unwrap_or(ContainerStateStatusEnum::EMPTY).to_string(),
        health: match health {
            Some(HealthStatusEnum::STARTING) => ContainerHealth::Starting,
            Some(HealthStatusEnum::HEALTHY) => ContainerHealth::Healthy,
            Some(HealthStatusEnum::UNHEALTHY) => ContainerHealth::Unhealthy,
            Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) | None => ContainerHealth::None,
        },
        restarts: container
            .restart_count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        exit_code: state.exit_code.unwrap_or_default(),
    })
}
