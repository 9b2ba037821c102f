//! Small helpers for texts that come from outside.

/// The longest piece of foreign text that an error message repeats, in characters.
const SHOWN: usize = 80;

/// `text` made fit for an error message: short, on one line, without control characters.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// [`shorten`] for bytes that need not be UTF-8.
pub(crate) fn shorten_bytes(bytes: &[u8]) -> String {
    shorten(&String::from_utf8_lossy(bytes))
}
