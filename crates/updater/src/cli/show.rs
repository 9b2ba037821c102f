//! Results as text.

use std::fmt::Write as _;

use serde::Serialize;

use device::{
    Plan,
    state::Phase,
    store::{Fetched, Release, Update},
};

/// What `updater status` tells.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    pub(super) product: String,
    /// The version that runs; none if nothing is installed.
    pub(super) current: Option<Release>,
    /// The version that a rollback brings back.
    pub(super) previous: Option<Release>,
    /// The update that is under way or stuck, or else the newest one.
    pub(super) update: Option<UpdateView>,
    /// What comes from GitHub.
    pub(super) downloads: Vec<DownloadView>,
    /// The holder of the lock.
    pub(super) busy: Option<String>,
    /// What the containers do.
    pub(super) containers: Vec<device::containers::ContainerFacts>,
    /// Why the containers are not known.
    pub(super) engine_error: Option<String>,
}

/// A download as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct DownloadView {
    pub(super) version: semver::Version,
    /// How far it is; none before it is known what is to be fetched.
    #[serde(flatten)]
    pub(super) fetched: Option<Fetched>,
    /// Why it does not go on just now.
    pub(super) interruption: Option<String>,
}

/// An update as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct UpdateView {
    status: device::state::Status,
    phase: Phase,
    #[serde(flatten)]
    update: Update,
}

impl From<Update> for UpdateView {
    fn from(update: Update) -> Self {
        Self {
            status: update.state.phase.status(),
            phase: update.state.phase,
            update,
        }
    }
}

pub(super) fn status(status: &Status) -> String {
    let mut text = String::new();
    let out = &mut text;
    // Writing to a String cannot fail.
    match &status.current {
        Some(release) => writeln!(out, "{} {}", status.product, release.version),
        None => writeln!(out, "{} is not installed", status.product),
    }
    .ok();
    if let Some(release) = &status.previous {
        writeln!(out, "  before     {}", release.version).ok();
    }
    if let Some(busy) = &status.busy {
        writeln!(out, "  at work    {busy}").ok();
    }
    if let Some(UpdateView { update, phase, .. }) = &status.update {
        writeln!(out, "  update     {} {phase}", update.version).ok();
        if let Some(error) = &update.error {
            writeln!(out, "  error      {}", indented(error)).ok();
        }
        if *phase == Phase::Stuck {
            writeln!(out, "  hint       fix what the error names, then `updater retry`").ok();
        }
    }
    for download in &status.downloads {
        let Fetched { bytes, total } = download.fetched.unwrap_or_default();
        writeln!(out, "  download   {}: {bytes} of {total} bytes", download.version).ok();
        if let Some(why) = &download.interruption {
            writeln!(out, "  waits      {}", indented(why)).ok();
        }
    }
    for container in &status.containers {
        writeln!(
            out,
            "  {:<10} {}{}",
            container.service,
            container.state,
            match container.health {
                device::containers::ContainerHealth::None => String::new(),
                health => format!(", {health:?}").to_lowercase(),
            }
        )
        .ok();
    }
    if let Some(error) = &status.engine_error {
        writeln!(out, "  containers not known: {}", indented(error)).ok();
    }
    text.trim_end().to_owned()
}

pub(super) fn history(updates: &[UpdateView]) -> String {
    let mut text = String::new();
    for UpdateView { update, phase, .. } in updates {
        let when = update
            .completed_on
            .as_deref()
            .or(update.started_on.as_deref())
            .unwrap_or(&update.created_on);
        writeln!(text, "{when}  {:<12} {phase}", update.version.to_string()).ok();
        if let Some(error) = &update.error {
            writeln!(text, "    {}", indented(error)).ok();
        }
        for warning in &update.facts.warnings {
            writeln!(text, "    warning: {warning}").ok();
        }
    }
    match text.trim_end() {
        "" => "no update was ever tried".to_owned(),
        text => text.to_owned(),
    }
}

pub(super) fn plan(plan: &Plan) -> String {
    let mut text = String::new();
    let out = &mut text;
    let current = plan.current.as_ref().map_or("nothing".to_owned(), ToString::to_string);
    writeln!(out, "{current} → {}", plan.version).ok();
    match &plan.signed_by {
        Some(id) => writeln!(out, "  signed by  {id} (trusted)"),
        None => writeln!(out, "  signed by  no trusted key"),
    }
    .ok();
    writeln!(out, "  load       {} bytes", plan.bytes_to_send).ok();
    match plan.restarts.as_slice() {
        [] => writeln!(out, "  restarts   nothing"),
        services => writeln!(out, "  restarts   {}", services.join(", ")),
    }
    .ok();
    match plan.expected_downtime_seconds {
        Some(seconds) if plan.gated => writeln!(
            out,
            "  downtime   about {seconds} s or more, from before the migration until the target version has stayed healthy: \
             the previous one could not read the data"
        ),
        Some(seconds) => writeln!(out, "  downtime   about {seconds} s for what restarts"),
        None => writeln!(out, "  downtime   of what restarts, as long as it takes to start"),
    }
    .ok();
    writeln!(out, "  rollback   {}", plan.rollback).ok();
    for disk in &plan.disk {
        writeln!(out, "  disk       {disk}").ok();
    }
    for problem in &plan.problems {
        writeln!(out, "{problem}").ok();
    }
    text.trim_end().to_owned()
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n             ")
}
