//! The tables. New columns and tables may be added; nothing that an older updater reads ever changes.

/// Updates, releases, and what was loaded and downloaded for them.
pub(super) const UPDATES: &str = "
CREATE TABLE IF NOT EXISTS release (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version TEXT NOT NULL,
    manifest_digest TEXT UNIQUE,
    folder TEXT,
    bundle TEXT,
    pins TEXT NOT NULL,
    data TEXT NOT NULL,
    made_on TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS \"update\" (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    public_id TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL,
    changelog TEXT NOT NULL DEFAULT '',
    bundle TEXT,
    manifest_digest TEXT,
    file_size INTEGER,
    phase TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    from_release INTEGER REFERENCES release(id),
    to_release INTEGER REFERENCES release(id),
    facts TEXT NOT NULL DEFAULT '{}',
    created_on TEXT NOT NULL,
    started_on TEXT,
    completed_on TEXT
);
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    update_id INTEGER NOT NULL REFERENCES \"update\"(id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    phase TEXT NOT NULL,
    detail TEXT
);
CREATE INDEX IF NOT EXISTS journal_of_update ON journal(update_id);
CREATE TABLE IF NOT EXISTS loaded (
    image TEXT PRIMARY KEY,
    blobs TEXT NOT NULL,
    release INTEGER
);
CREATE TABLE IF NOT EXISTS download (
    update_id INTEGER NOT NULL REFERENCES \"update\"(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    file TEXT NOT NULL,
    at INTEGER NOT NULL,
    etag TEXT,
    PRIMARY KEY (update_id, position)
);
CREATE TABLE IF NOT EXISTS refused (
    manifest_digest TEXT PRIMARY KEY,
    why TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS setting (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
";

/// Who asked for an update.
pub(super) const REQUESTED: &str = "
CREATE TABLE IF NOT EXISTS origin (
    update_id INTEGER PRIMARY KEY REFERENCES \"update\"(id) ON DELETE CASCADE,
    requested_by TEXT,
    file_sha256 TEXT
);
";

/// Who may use the page and the API, and what they did.
pub(super) const ACCESS: &str = "
CREATE TABLE IF NOT EXISTS session (
    secret TEXT PRIMARY KEY,
    password TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS token (
    name TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    read_only INTEGER NOT NULL,
    created_on TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    subject TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL
);
";
