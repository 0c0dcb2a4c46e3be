//! Names that a person may have mistyped, and names of any length on lines that have an end.

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

/// What becomes of a word that is longer than a line.
#[cfg(feature = "program")]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongWords {
    /// It stays whole, as a path that will be copied has to.
    Whole,
    /// It is broken behind a hyphen and the like, and anywhere where there is nothing of the kind.
    Broken,
}

/// A line of text in lines of at most `width` columns, broken between words. At least one line, which may be empty.
#[cfg(feature = "program")]
pub(crate) fn broken(text: &str, width: usize, long: LongWords) -> Vec<String> {
    use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut put = |piece: &str, gap: &str| {
        let Some(line) = lines.last_mut() else { return };
        if line.is_empty() {
            line.push_str(piece);
        } else if line.width() + gap.width() + piece.width() <= width {
            line.push_str(gap);
            line.push_str(piece);
        } else {
            lines.push(piece.to_owned());
        }
    };
    for word in text.split(' ') {
        if long == LongWords::Whole || word.width() <= width {
            put(word, " ");
            continue;
        }
        let mut gap = " ";
        for piece in word.split_inclusive(['-', '_', '/', '.', ',', '=', ';']) {
            let mut rest = piece;
            while rest.width() > width {
                let mut columns = 0;
                let end = rest.char_indices().find(|(_, c)| {
                    columns += c.width().unwrap_or(0);
                    columns > width
                });
                // One that is wider than a line stands alone.
                let first = rest.chars().next().map_or(0, char::len_utf8);
                let (now, then) = rest.split_at(end.map_or(rest.len(), |(at, _)| at.max(first)));
                put(now, gap);
                (rest, gap) = (then, "");
            }
            if !rest.is_empty() {
                put(rest, gap);
            }
            gap = "";
        }
    }
    lines
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

#[cfg(all(test, feature = "program"))]
mod tests {
    use super::*;

    #[test]
    fn names_are_broken_where_they_read_best() {
        for (text, width, lines) in [
            ("ankle boot", 10, &["ankle boot"][..]),
            ("ankle boot", 9, &["ankle", "boot"]),
            ("one a-name-of-mine", 9, &["one a-", "name-of-", "mine"]),
            ("abcdefgh", 3, &["abc", "def", "gh"]),
            ("a/b/c.toml", 6, &["a/b/c.", "toml"]),
            ("", 5, &[""]),
            ("ab", 0, &["a", "b"]),
            // Two columns each.
            ("靴靴靴", 5, &["靴靴", "靴"]),
            ("靴靴", 1, &["靴", "靴"]),
        ] {
            assert_eq!(broken(text, width, LongWords::Broken), lines, "{text}, {width}");
        }
    }

    #[test]
    fn no_character_is_lost() {
        let text = "a-recipe_of.mine/with-a-name  of more than_sixty,characters=in;its-file";
        for width in 0..80 {
            let lines = broken(text, width, LongWords::Broken);
            assert!(lines.iter().all(|line| line.chars().count() <= width.max(1)), "{lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }
}
