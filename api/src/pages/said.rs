//! What workers and the database say in English sentences that are kept, in the reader's language: `api/texts/zh/said.txt` has a pattern for each.
//! What a server said stays as it said it.

use std::sync::LazyLock;

use super::texts::Language;

/// A sentence with places for what varies, and how it is said.
struct Pattern {
    pieces: Vec<&'static str>,
    said: &'static str,
}

static CHINESE: LazyLock<Vec<Pattern>> = LazyLock::new(|| parse(include_str!("../../texts/zh/said.txt")));

/// Those that end with a sentence of their own first, behind whatever stands before it; then those with the most letters of their own.
fn parse(file: &'static str) -> Vec<Pattern> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &'static str| line.split_once(" = ");
    let mut all: Vec<_> = lines.filter_map(pair).map(|(english, said)| Pattern { pieces: english.split("{}").collect(), said }).collect();
    let follows = |pattern: &Pattern| pattern.pieces[0].is_empty() && pattern.pieces[1].starts_with(' ') && pattern.said.starts_with("{1}");
    let letters = |pattern: &Pattern| pattern.pieces.iter().map(|piece| piece.len()).sum::<usize>();
    all.sort_by_key(|pattern| std::cmp::Reverse((pattern.pieces.len() > 1 && follows(pattern), letters(pattern))));
    all
}

/// The sentence in this language. `None`: nobody has put it into it, or it is another's.
pub fn said(language: Language, english: &str) -> Option<String> {
    match language {
        Language::English => Some(english.to_owned()),
        Language::Chinese => in_words_of(&CHINESE, english, 4),
    }
}

/// `depth`: sentences in sentences, at most.
fn in_words_of(patterns: &[Pattern], english: &str, depth: u8) -> Option<String> {
    let text = english.trim();
    for pattern in patterns {
        let Some(values) = values(text, &pattern.pieces) else { continue };
        let values = values.into_iter().map(|value| {
            let known = if depth > 0 { in_words_of(patterns, value, depth - 1) } else { None };
            known.unwrap_or_else(|| value.to_owned())
        });
        return Some(values.zip(1..).fold(pattern.said.to_owned(), |said, (value, n)| said.replace(&format!("{{{n}}}"), &value)));
    }
    // Two sentences, one behind the other.
    let (at, _) = text.match_indices(". ").find(|(at, _)| depth > 0 && fits_any(patterns, &text[..=*at]))?;
    let rest = in_words_of(patterns, &text[at + 2..], depth - 1)?;
    Some(format!("{}{rest}", in_words_of(patterns, &text[..=at], depth - 1)?))
}

fn fits_any(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| values(text, &pattern.pieces).is_some())
}

/// What stands in the places of a pattern, if the text is one of it; each as short as can be.
fn values<'t>(text: &'t str, pieces: &[&str]) -> Option<Vec<&'t str>> {
    let (first, rest) = pieces.split_first()?;
    let text = text.strip_prefix(first)?;
    let Some((next, after)) = rest.split_first() else { return text.is_empty().then(Vec::new) };
    if next.is_empty() && after.is_empty() {
        return (!text.is_empty()).then(|| vec![text]);
    }
    text.match_indices(next).filter(|(at, _)| *at > 0).find_map(|(at, _)| {
        let mut found = values(&text[at..], rest)?;
        found.insert(0, &text[..at]);
        Some(found)
    })
}

#[cfg(test)]
mod tests;
