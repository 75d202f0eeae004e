use std::{collections::BTreeSet, fs, path::Path};

use bulkhead_shared::domain::{
    check::{StepName, StepResult},
    export::ExportState,
    failure::Reason,
    file::{FileKind, FileState},
    finding::{FindingKind, Severity},
    role::Role,
    source::{Auth, Dialect},
    stage::{Lane, StageKind},
};

use super::*;

fn keys(files: &'static [&'static str]) -> Vec<(&'static str, &'static str)> {
    parse(files).collect()
}

/// Plurals: English has two forms, Chinese one.
fn without_plurals(keys: &[(&'static str, &'static str)]) -> BTreeSet<String> {
    keys.iter().map(|(key, _)| key.trim_end_matches(".one").trim_end_matches(".other").to_owned()).collect()
}

#[test]
fn both_languages_say_the_same_things_with_the_same_values() {
    let (english, chinese) = (keys(ENGLISH_FILES), keys(CHINESE_FILES));
    let (en, zh) = (without_plurals(&english), without_plurals(&chinese));
    assert_eq!(en.difference(&zh).collect::<Vec<_>>(), Vec::<&String>::new(), "Chinese lacks these");
    assert_eq!(zh.difference(&en).collect::<Vec<_>>(), Vec::<&String>::new(), "English lacks these");
    for (key, text) in &english {
        let other = Language::Chinese.text(key);
        if Language::Chinese.has(key) {
            assert_eq!(text.matches("{}").count(), other.matches("{}").count(), "the values of {key}");
        }
        assert!(!text.is_empty() && !other.is_empty(), "{key} is empty");
        if let Some(base) = key.strip_suffix(".one") {
            assert!(Language::English.has(&format!("{base}.other")), "{base} has no plural");
        }
    }
}

#[test]
fn no_key_is_written_twice() {
    for files in [ENGLISH_FILES, CHINESE_FILES] {
        let all = keys(files);
        let once: BTreeSet<_> = all.iter().map(|(key, _)| key).collect();
        let twice: Vec<_> = once.iter().filter(|key| all.iter().filter(|(other, _)| other == **key).count() > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

#[test]
fn what_is_chinese_is_chinese() {
    let same = ["ETag", "URL", "JSON", "CSV", "ID", "Group"];
    for (key, text) in keys(CHINESE_FILES) {
        let has_han = text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        assert!(
            has_han || same.contains(&text) || text.replace("{}", "").chars().all(|c| !c.is_alphabetic()) || key.ends_with(".as_is"),
            "{key} = {text}"
        );
    }
}

#[test]
fn every_word_of_the_domain_has_a_name_in_both_languages() {
    fn all<T: std::fmt::Display>(prefix: &str, words: &[T]) -> Vec<String> {
        words.iter().map(|word| format!("{prefix}.{word}")).collect()
    }
    let wanted = [
        all("state", ExportState::ALL),
        all("reason", Reason::ALL),
        all("reason.next", Reason::ALL),
        all("stage", StageKind::ALL),
        all("lane", Lane::ALL),
        all("file.state", FileState::ALL),
        all("file.kind", FileKind::ALL),
        all("finding", FindingKind::ALL),
        all("finding.next", FindingKind::ALL),
        all("severity", Severity::ALL),
        all("role", Role::ALL),
        all("auth", Auth::ALL),
        all("dialect", Dialect::ALL),
        all("step", StepName::ALL),
        all("step.result", StepResult::ALL),
    ];
    for key in wanted.concat() {
        for language in Language::ALL {
            assert!(language.has(&key), "{} lacks {key}", language.name());
        }
    }
}

/// The files below a folder with this ending, with their text.
fn sources(folder: &Path, ending: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn templates() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("templates"), "html", &mut found);
    assert!(!found.is_empty());
    found
}

#[test]
fn every_key_that_a_page_names_is_there() {
    let mut all = templates();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages"), "rs", &mut all);
    let mut seen = 0;
    for (file, text) in all {
        for call in [".t(\"", ".with(\"", ".count(\""] {
            for rest in text.split(call).skip(1) {
                let key = rest.split('"').next().unwrap_or_default();
                let there = |language: Language| language.has(key) || language.has(&format!("{key}.other"));
                assert!(Language::ALL.into_iter().all(there), "{file} names {key}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20);
}

/// What stands in a template outside of tags and expressions.
fn literal(template: &str) -> String {
    let mut text = template.to_owned();
    for (open, close) in [("{#", "#}"), ("{%", "%}"), ("{{", "}}"), ("<svg", "</svg>"), ("<", ">")] {
        while let Some(start) = text.find(open) {
            let Some(end) = text[start..].find(close) else { break };
            text.replace_range(start..start + end + close.len(), " ");
        }
    }
    text.replace("&middot;", " ").replace("&nbsp;", " ").replace("&hellip;", " ").replace("&times;", " ")
}

#[test]
fn no_template_says_anything_by_itself() {
    for (file, text) in templates() {
        let said: Vec<String> =
            literal(&text).split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).map(str::to_owned).collect();
        let allowed = ["Bulkhead"];
        assert!(said.iter().all(|word| allowed.contains(&word.as_str())), "{file} says {said:?}");
        for attribute in ["title=\"", "placeholder=\"", "aria-label=\"", "alt=\""] {
            for rest in text.split(attribute).skip(1) {
                let value = rest.split('"').next().unwrap_or_default();
                assert!(value.is_empty() || value.starts_with("{{") || value.starts_with("{%"), "{file}: {attribute}{value}");
            }
        }
    }
}
