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
