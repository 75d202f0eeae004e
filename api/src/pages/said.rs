//! What workers and the database say in English sentences that are kept, in the reader's language: `api/texts/zh/said.txt` has a pattern for each.
//! What a server said stays as it said it.

use std::sync::LazyLock;

use super::texts::Language;

/// A sentence with places for what varies, and how it is said.
struct Pattern {
    pieces: Vec<&'static str>,
    said: &'static str,
}

impl Pattern {
    /// A sentence that stands behind another, whatever that is.
    fn follows(&self) -> bool {
        self.said.starts_with("{1}") && self.pieces.first() == Some(&"") && self.pieces.get(1).is_some_and(|piece| piece.starts_with(' '))
    }
}

static CHINESE: LazyLock<Vec<Pattern>> = LazyLock::new(|| parse(include_str!("../../texts/zh/said.txt")));

/// Those with the most letters of their own first: they say the most.
fn parse(file: &'static str) -> Vec<Pattern> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &'static str| line.split_once(" = ");
    let mut all: Vec<_> = lines.filter_map(pair).map(|(english, said)| Pattern { pieces: english.split("{}").collect(), said }).collect();
    all.sort_by_key(|pattern| std::cmp::Reverse(pattern.pieces.iter().map(|piece| piece.len()).sum::<usize>()));
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
    let said = |value: &str| if depth > 0 { in_words_of(patterns, value, depth - 1) } else { None };
    let fitting = |follows: bool| {
        let of_this_sort = patterns.iter().filter(move |pattern| pattern.follows() == follows);
        let (pattern, values) = of_this_sort.into_iter().find_map(|pattern| Some((pattern, values(text, &pattern.pieces)?)))?;
        let values = values.into_iter().map(|value| said(value).unwrap_or_else(|| value.to_owned()));
        Some(values.zip(1..).fold(pattern.said.to_owned(), |said, (value, n)| said.replace(&format!("{{{n}}}"), &value)))
    };
    let two_sentences = || {
        let borders = text.match_indices(". ").filter(|(at, _)| depth > 0 && fits_any(patterns, &text[..=*at]));
        borders.into_iter().find_map(|(at, _)| Some(said(&text[..=at])? + &said(&text[at + 2..])?))
    };
    fitting(true).or_else(two_sentences).or_else(|| fitting(false))
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
