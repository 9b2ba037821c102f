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

/// The longest message of another library that is repeated, in characters. Its end is kept: it says where.
const REPEATED: usize = 300;

/// The message of `error`, which may quote foreign text as it is, made fit for an error message.
pub(crate) fn one_line(error: &impl ToString) -> String {
    let shown: Vec<char> = error
        .to_string()
        .chars()
        .flat_map(|c| match c {
            // Quotes are the message's own.
            '"' | '\'' | '\\' => vec![c],
            c => c.escape_debug().collect(),
        })
        .collect();
    if shown.len() <= REPEATED {
        return shown.into_iter().collect();
    }
    let (begin, end) = (&shown[..REPEATED / 2], &shown[shown.len() - REPEATED / 2..]);
    begin.iter().chain(['…'].iter()).chain(end).collect()
}

/// [`shorten`] for bytes that need not be UTF-8.
pub(crate) fn shorten_bytes(bytes: &[u8]) -> String {
    shorten(&String::from_utf8_lossy(bytes))
}
