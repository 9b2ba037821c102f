//! What goes over the wire: readings on their way in, stored ones on their way out, and the health report.

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A reading, as `POST /api/v1/datapoints` takes it.
///
/// Unknown keys are ignored, so that a newer controller can talk to an older backend after a rollback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Made by the measuring program, so that handing in the same reading twice stores it once.
    pub id: Uuid,
    /// The device or plant that was measured; 1 to 100 characters.
    pub source: String,
    /// What was measured; 1 to 100 characters.
    pub name: String,
    /// The value in `unit`.
    pub value: f64,
    /// The unit, where there is one; at most 20 characters.
    #[serde(default)]
    pub unit: Option<String>,
    /// When it was measured, by the measurer's clock.
    pub measured_at: Timestamp,
}

impl Reading {
    /// Checks lengths, and rounds the time to microseconds, which is what PostgreSQL keeps.
    ///
    /// # Errors
    /// A text of the wrong length or with a NUL (which PostgreSQL cannot store), or a time out of range;
    /// the message names the key.
    pub fn checked(mut self) -> Result<Self, String> {
        check_text("source", &self.source, 1, 100)?;
        check_text("name", &self.name, 1, 100)?;
        check_text("unit", self.unit.as_deref().unwrap_or_default(), 0, 20)?;
        self.measured_at = self
            .measured_at
            .round(Unit::Microsecond)
            .map_err(|error| format!("`measured_at` is out of range: {error}"))?;
        Ok(self)
    }
}

fn check_text(key: &str, text: &str, min: usize, max: usize) -> Result<(), String> {
    let length = text.chars().count();
    if !(min..=max).contains(&length) {
        return Err(format!("`{key}` has {length} characters, expected {min} to {max}"));
    }
    if text.contains('\0') {
        return Err(format!("`{key}` contains a NUL character"));
    }
    Ok(())
}

/// A reading that is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Its place in the order of arrival. Rises, with gaps.
    pub seq: i64,
    /// The reading.
    #[serde(flatten)]
    pub reading: Reading,
    /// When the database stored it.
    pub stored_at: Timestamp,
    /// The backend version that stored it; from schema revision 2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_by: Option<String>,
}

/// An answer of `GET /api/v1/datapoints`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Newest first.
    pub data: Vec<Stored>,
    /// How many readings are stored altogether.
    pub total: i64,
    /// The `after` that asks for the next, older page; none on the last one.
    pub next: Option<i64>,
}

/// An answer of the backend's `GET /health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok` with status 200; `starting` or `unavailable` with status 503.
    pub status: HealthStatus,
    /// The product's version, from `WEBMACS_VERSION`.
    pub version: String,
    /// The database's schema revision, if it can be asked.
    pub schema_revision: Option<i32>,
    /// The database.
    pub database: DatabaseHealth,
}

/// Whether the backend does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    /// It does.
    Ok,
    /// Not yet: it waits for the database or migrates it.
    Starting,
    /// It does not.
    Unavailable,
}

/// Whether the database answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseHealth {
    /// It does.
    pub reachable: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        Reading {
            id: Uuid::nil(),
            source: "revpi".to_owned(),
            name: "temperature".to_owned(),
            value: 21.5,
            unit: Some("°C".to_owned()),
            measured_at: "2026-01-02T03:04:05.123456789Z".parse().unwrap(),
        }
    }

    #[test]
    fn times_are_kept_in_microseconds() {
        let at = reading().checked().unwrap().measured_at;
        assert_eq!(at.to_string(), "2026-01-02T03:04:05.123457Z");
    }

    #[test]
    fn wrong_texts_are_named() {
        let check = |change: fn(&mut Reading)| {
            let mut reading = reading();
            change(&mut reading);
            reading.checked().unwrap_err()
        };
        assert_eq!(
            check(|r| r.source.clear()),
            "`source` has 0 characters, expected 1 to 100"
        );
        assert_eq!(
            check(|r| r.name = "ä".repeat(101)),
            "`name` has 101 characters, expected 1 to 100"
        );
        assert_eq!(
            check(|r| r.unit = Some("a\0".to_owned())),
            "`unit` contains a NUL character"
        );
    }

    #[test]
    fn the_wire_format_is_this() {
        let stored = Stored {
            seq: 7,
            reading: reading(),
            stored_at: Timestamp::UNIX_EPOCH,
            stored_by: None,
        };
        assert_eq!(
            serde_json::to_string(&stored).unwrap(),
            r#"{"seq":7,"id":"00000000-0000-0000-0000-000000000000","source":"revpi","name":"temperature","value":21.5,"unit":"°C","measured_at":"2026-01-02T03:04:05.123456789Z","stored_at":"1970-01-01T00:00:00Z"}"#
        );
        let minimal = r#"{"id":"00000000-0000-0000-0000-000000000000","source":"s","name":"n","value":1,"measured_at":"2026-01-02T03:04:05+01:00","later":true}"#;
        let reading: Reading = serde_json::from_str(minimal).unwrap();
        assert_eq!((reading.value, reading.unit), (1.0, None));
    }
}
