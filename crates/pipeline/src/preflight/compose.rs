//! The compose file against the declaration.

use std::collections::BTreeMap;

use semver::Version;

use crate::{
    Problem,
    declaration::{ROOT, nearest},
    facts::{Facts, Workspace, compose, image_references},
};

pub(super) fn compose_file(workspace: &Workspace, facts: &Facts, version: &Version, problems: &mut Vec<Problem>) {
    let declaration = &workspace.declaration;
    let Some(text) = &facts.compose else { return };
    let file = declaration.compose_file.display().to_string();
    let variables = BTreeMap::from([(declaration.version_variable.clone(), version.to_string())]);
    let services = match compose::images(text, &variables) {
        Ok(services) => services,
        Err(message) => {
            problems.push(Problem::error(file, message));
            return;
        }
    };
    let declared = image_references(workspace, version);
    for service in &services {
        if declared.contains(&service.image) {
            continue;
        }
        let problem = Problem::error(
            &file,
            format!(
                "service `{}` runs {}, which is not declared",
                service.service, service.image
            ),
        );
        problems.push(match nearest(&service.image, declared.iter().map(String::as_str)) {
            Some(right) => problem.hint(format!("did you mean {right}? or declare it under [[{ROOT}.images]]")),
            None => problem.hint(format!("declare it under [[{ROOT}.images]]")),
        });
    }
    for image in declared
        .iter()
        .filter(|image| !services.iter().any(|service| service.image == **image))
    {
        problems.push(Problem::warning(
            &file,
            format!("no service runs {image}, which is declared"),
        ));
    }
    let named = [
        (
            "health.service",
            declaration.health.as_ref().map(|health| &health.service),
        ),
        (
            "backup.service",
            declaration.backup.as_ref().map(|backup| &backup.service),
        ),
        ("data.migrated-by", declaration.data.migrated_by.as_ref()),
    ];
    for (key, service) in named.into_iter().filter_map(|(key, service)| Some((key, service?))) {
        if !services.iter().any(|known| known.service == *service) {
            let problem = Problem::error(format!("{ROOT}.{key}"), format!("{file} has no service \"{service}\""));
            problems.push(
                match nearest(service, services.iter().map(|known| known.service.as_str())) {
                    Some(right) => problem.hint(format!("did you mean `{right}`?")),
                    None => problem,
                },
            );
        }
    }
}
