//! Names that a person may have mistyped.

/// The candidate that looks most like `name`, if any does.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // Jaro-Winkler favours a common beginning, which is how ids such as nlp-cnn are mistyped;
    // below 0.7 the suggestions stop being helpful.
    let scored = candidates.map(|c| (strsim::jaro_winkler(&name.to_lowercase(), c), c));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score > 0.7).map(|(_, c)| c)
}

/// The most characters of quoted input that a message repeats.
const ECHO: usize = 60;

/// A text as a message shows it: not too long, on one line, with control characters escaped.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(ECHO) {
        None => visible(text),
        Some((at, _)) => format!("{}...", visible(&text[..at])),
    }
}

/// Shortens a message in its middle, where its long value is, to about `most` characters.
pub(crate) fn shortened_middle(message: &str, most: usize) -> String {
    let message = message.replace(['\n', '\r'], " ");
    let characters = message.chars().count();
    if characters <= most {
        return visible(&message);
    }
    let head: String = message.chars().take(most / 2).collect();
    let tail: String = message.chars().skip(characters - most / 2).collect();
    format!("{}...{}", visible(&head), visible(&tail))
}

/// A text with its control characters as they are written in source text, such as `\n`.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}
