//! Metrics for Prometheus, in its text format.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use axum::{extract::State, http::header, response::IntoResponse};

use crate::web::{
    access::Reader,
    app::App,
    refusal::{Refusal, Refused},
};
use device::state::Phase;

/// Metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "device",
    responses((status = 200, description = "Metrics", content_type = "text/plain", body = String), Refused))]
pub(crate) async fn metrics(State(app): State<Arc<App>>, _: Reader) -> Result<impl IntoResponse, Refusal> {
    let (updates, current, stuck, active) = app
        .record(|store| {
            Ok((
                store.updates()?,
                store.current()?,
                store.stuck()?.is_some(),
                store.active()?,
            ))
        })
        .await?;
    let mut page = Exposition::default();
    page.metric("ota_updater_info", "gauge", "The updater's version");
    page.value(&[("version", &device::version().to_string())], 1.0);
    page.metric("ota_version_info", "gauge", "The version of the product that runs");
    if let Some(current) = current {
        page.value(&[("version", &current.version.to_string())], 1.0);
    }
    page.metric(
        "ota_updates",
        "gauge",
        "Recorded updates by the phase that they rest in",
    );
    let mut by_phase: BTreeMap<&str, f64> = Phase::ALL.map(|phase| (phase.name(), 0.0)).into();
    for update in &updates {
        *by_phase.entry(update.state.phase.name()).or_default() += 1.0;
    }
    for (phase, count) in by_phase {
        page.value(&[("phase", phase)], count);
    }
    page.metric("ota_update_active", "gauge", "Whether an update is under way");
    page.value(&[], f64::from(u8::from(active.is_some())));
    page.metric(
        "ota_stuck",
        "gauge",
        "Whether the device is stuck between two versions and needs a person",
    );
    page.value(&[], f64::from(u8::from(stuck)));
    page.metric(
        "ota_last_update_phase_seconds",
        "gauge",
        "How long each phase of the newest update took",
    );
    if let Some(newest) = updates.first() {
        for (phase, milliseconds) in &newest.facts.durations_ms {
            page.value(&[("phase", phase)], *milliseconds as f64 / 1000.0);
        }
    }
    page.metric(
        "ota_http_answers_total",
        "counter",
        "Answers by the class of their status",
    );
    for (class, count) in app.counters.responses() {
        page.value(&[("class", &format!("{class}xx"))], count as f64);
    }
    page.metric("ota_received_bytes_total", "counter", "Bytes of uploaded bundles");
    page.value(&[], app.counters.received_bytes() as f64);
    page.metric("ota_refused_logins_total", "counter", "Logins with a wrong password");
    page.value(&[], app.counters.refused_logins() as f64);
    page.metric("ota_event_listeners", "gauge", "Open event streams");
    page.value(&[], app.events.listeners() as f64);
    Ok((
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        page.text,
    ))
}

/// The text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
#[derive(Default)]
struct Exposition {
    name: &'static str,
    text: String,
}

impl Exposition {
    fn metric(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a String cannot fail.
        write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").ok();
    }

    fn value(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{name}=\"{value}\"")
            })
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        writeln!(self.text, "{}{labels} {value}", self.name).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_quoted() {
        let mut page = Exposition::default();
        page.metric("a", "gauge", "What it is");
        page.value(&[("b", "c\"d")], 1.5);
        page.value(&[], 2.0);
        assert_eq!(
            page.text,
            "# HELP a What it is\n# TYPE a gauge\na{b=\"c\\\"d\"} 1.5\na 2\n"
        );
    }
}
