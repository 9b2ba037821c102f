//! From rows to records: texts in columns are JSON, digests, versions.

use std::{path::PathBuf, str::FromStr};

use rusqlite::Row;
use serde::{Deserialize, Serialize};

use super::records::{Release, Update};
use crate::Result;

pub(super) const UPDATE_COLUMNS: &str = "id, public_id, version, changelog, bundle, manifest_digest, file_size, state, error, \
                              from_release, to_release, facts, created_on, started_on, completed_on";

pub(super) fn update_of_row(row: &Row<'_>) -> rusqlite::Result<Update> {
    Ok(Update {
        id: row.get(0)?,
        public_id: row.get(1)?,
        version: parsed(row, 2)?,
        changelog: row.get(3)?,
        bundle: row.get::<_, Option<String>>(4)?.map(PathBuf::from),
        manifest_digest: optional(row, 5)?,
        file_size: row.get(6)?,
        state: from_json(row, 7)?,
        error: row.get(8)?,
        from: row.get(9)?,
        to: row.get(10)?,
        facts: from_json(row, 11)?,
        created_on: row.get(12)?,
        started_on: row.get(13)?,
        completed_on: row.get(14)?,
    })
}

pub(super) fn release_of_row(row: &Row<'_>) -> rusqlite::Result<Release> {
    Ok(Release {
        id: row.get(0)?,
        version: parsed(row, 1)?,
        manifest_digest: optional(row, 2)?,
        directory: row.get::<_, Option<String>>(3)?.map(PathBuf::from),
        bundle: row.get::<_, Option<String>>(4)?.map(PathBuf::from),
        pins: from_json(row, 5)?,
        data: from_json(row, 6)?,
        made_on: row.get(7)?,
    })
}

pub(super) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()).into())
}

pub(super) fn from_json<T: for<'a> Deserialize<'a>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

pub(super) fn parsed<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(column, error))
}

pub(super) fn optional<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|error| unreadable(column, error)))
        .transpose()
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
