//! The audit log: who requested what, and the outcome.

use std::sync::Arc;

use device::{
    store::{Audit, Update},
    system::clock::stamp,
};

use super::caller::Caller;
use crate::web::{app::App, refusal::Refusal};

impl App {
    /// Writes a line of the audit log. A failure to write is logged and does not stop the call: the journal counts.
    pub(crate) async fn audit(self: &Arc<Self>, caller: &Caller, action: &str, subject: &str, outcome: &str) {
        let line = Audit {
            at: stamp(jiff::Timestamp::now()),
            who: caller.who.to_string(),
            address: caller.address.map(|address| address.to_string()),
            action: action.to_owned(),
            subject: subject.to_owned(),
            outcome: outcome.to_owned(),
        };
        if let Err(refusal) = self.record(move |store| store.add_audit(&line)).await {
            tracing::warn!("the audit log cannot be written: {}", refusal.detail());
        }
    }

    /// As [`App::audit`], with `accepted` or the reason of the refusal.
    pub(crate) async fn audit_outcome<T>(
        self: &Arc<Self>,
        caller: &Caller,
        action: &str,
        subject: &str,
        outcome: &Result<T, Refusal>,
    ) {
        let text = match outcome {
            Ok(_) => "accepted",
            Err(refusal) => refusal.detail(),
        };
        self.audit(caller, action, subject, text).await;
    }

    /// As [`App::audit_outcome`], for an upload.
    pub(crate) async fn audit_upload(self: &Arc<Self>, caller: &Caller, outcome: &Result<Update, Refusal>) {
        let version = outcome.as_ref().map(|update| update.version.to_string());
        self.audit_outcome(caller, "upload", &version.unwrap_or_default(), outcome)
            .await;
    }
}
