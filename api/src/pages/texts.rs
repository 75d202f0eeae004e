//! Every sentence of the pages, one catalogue a language: `api/texts/en/*.txt` and `api/texts/zh/*.txt`, lines of `key = text`. A test
//! compares the two, and both with what pages and templates use.

use std::{collections::HashMap, sync::LazyLock};

/// The languages of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// Its tag (BCP 47), as `lang` says it.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-Hans",
        }
    }

    /// The word in the cookie and in the switch's address.
    pub const fn word(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    /// Its own name, in its own script.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "中文",
        }
    }

    /// By the word, or by a tag such as `zh-CN`.
    pub fn of(text: &str) -> Option<Self> {
        let primary = text.trim().split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        Self::ALL.into_iter().find(|language| language.word() == primary)
    }

    /// The text of a key; a mark where there is none, which a test forbids.
    pub fn text(self, key: &str) -> &'static str {
        self.catalogue().get(key).copied().unwrap_or("⟦?⟧")
    }

    /// Whether there is such a text.
    pub fn has(self, key: &str) -> bool {
        self.catalogue().contains_key(key)
    }

    fn catalogue(self) -> &'static HashMap<&'static str, &'static str> {
        static ENGLISH: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| parse(ENGLISH_FILES).collect());
        static CHINESE: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| parse(CHINESE_FILES).collect());
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

/// One list of files for both languages: neither can lack one.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        const ENGLISH_FILES: &[&str] = &[$(include_str!(concat!("../../texts/en/", $name, ".txt"))),+];
        const CHINESE_FILES: &[&str] = &[$(include_str!(concat!("../../texts/zh/", $name, ".txt"))),+];
    };
}

files!("common", "words", "exports", "access", "data", "export", "new", "queue", "sources");

fn parse(files: &'static [&'static str]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = files.iter().flat_map(|file| file.lines()).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(key, text)| (key.trim(), text.trim()))
}

/// Puts values where the text has `{}`, one after the other.
pub fn fill(text: &str, values: &[&str]) -> String {
    let mut pieces = text.split("{}");
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    let mut values = values.iter();
    for piece in pieces {
        filled.push_str(values.next().copied().unwrap_or_default());
        filled.push_str(piece);
    }
    filled
}

#[cfg(test)]
mod tests;
