use std::{collections::BTreeSet, fs, path::Path};

use super::*;

fn chinese(english: &str) -> Option<String> {
    said(Language::Chinese, english)
}

#[test]
fn sentences_in_sentences_are_said_and_servers_words_stay() {
    for (english, expected) in [
        ("Completed. Resources: 12, files: 3.", "已完成。资源：12，文件：3。"),
        (
            "The server could not start the export: busy. Try later (HTTP 503). Attempt 2 of 10, again in 4 s.",
            "服务器无法开始导出：busy. Try later（HTTP 503）。第 2 次尝试（共 10 次），4 秒后重试。",
        ),
        (
            "The export is incomplete: Condition file 2: 7 of its 8 lines are loaded. (3 more findings)",
            "导出不完整：Condition 文件 2：共 8 行，已加载 7 行。（另有 3 个问题）",
        ),
        ("Patients in the Group: 5. Groups in it: 2. Searches to make: 9.", "该 Group 的患者：5。其中的 Group：2。将进行的搜索：9。"),
        ("The server asks to slow down: 3 downloads at once from now on.", "服务器要求放慢速度：从现在起同时 3 个下载。"),
    ] {
        assert_eq!(chinese(english).as_deref(), Some(expected), "{english}");
    }
    for others in ["Patient not found", "", "Completed"] {
        assert_eq!(chinese(others), None, "{others}");
    }
    assert_eq!(said(Language::English, "anything").as_deref(), Some("anything"));
}

#[test]
fn every_pattern_has_the_same_places_in_both_languages() {
    for pattern in CHINESE.iter() {
        for n in 1..=9 {
            let has = pattern.said.contains(&format!("{{{n}}}"));
            assert_eq!(has, n < pattern.pieces.len(), "{{{n}}} in {:?} = {}", pattern.pieces, pattern.said);
        }
    }
}

/// What is no sentence for people: logs, names, SQL; or has its whole sentence elsewhere in the file.
const NOT_SAID: &[&str] = &[
    "command line",
    "resumed export",
    "whole system",
    "{} is not a {} this version knows",
    "the stage is no longer this worker's",
    "respond-async, handling=lenient",
    "this is the door",
    "cannot be reached",
    "broke the connection",
    "by patient",
    "cannot read HTTP_CA_FILE {}; give a file of certificates in PEM that this user may read",
    "HTTP_CA_FILE {} cannot be read as PEM; {}",
    "HTTP_CA_FILE {} holds no certificate (-----BEGIN CERTIFICATE-----); {}",
    "a DER file becomes PEM by: openssl x509 -inform der -in ca.cer -out ca.pem",
    "({} more types)",
    "({} more findings)",
    "The export is incomplete: {}{}",
    ", but not for {}",
    ", and more pages to come",
    ", and more types to come",
    "The server has finished. Files: {}{}.",
    "{}: others may be missing. A retry searches for each patient by itself.",
    "The server speaks FHIR {}{}; the tables are those of R4.",
    "The server speaks FHIR {}{} and lists $export for {}.",
    "The server speaks FHIR {}{} and does not list $export for {}; it may have it nevertheless.",
    "Groups met again and counted once",
    "Members that have left",
    "an export of more people than there are numbers",
];

/// Files whose texts are logs, SQL or words that are looked for.
const NOT_READ: &[&str] = &[
    "main.rs",
    "process.rs",
    "housekeeping.rs",
    "lease.rs",
    "tickets.rs",
    "settings.rs",
    "tests.rs",
    "src/polls/mod.rs",
    "summary/statements.rs",
    "summary/record.rs",
    "load/table.rs",
    "load/careful.rs",
    "fhir/outcome.rs",
];

#[test]
fn every_sentence_that_a_worker_can_write_is_said() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut missing = BTreeSet::new();
    for place in ["worker/src", "shared/src/queue", "shared/src/domain", "shared/src/blob.rs", "shared/src/secrets.rs"] {
        for file in files(&here.join(place)) {
            let name = file.display().to_string();
            if NOT_READ.iter().any(|end| name.ends_with(end)) || name.contains("private_key") {
                continue;
            }
            let source = fs::read_to_string(&file).expect("a source file");
            let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for sentence in sentences(source) {
                let example = sentence.replace("{}", "7");
                if !NOT_SAID.contains(&sentence.as_str()) && chinese(&example).is_none() {
                    missing.insert(format!("{sentence}    ({name})"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no Chinese in api/texts/zh/said.txt for:\n{}", missing.into_iter().collect::<Vec<_>>().join("\n"));
}

fn files(place: &Path) -> Vec<std::path::PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let entries = fs::read_dir(place).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The texts of a source file that read like sentences, their places as `{}`; not those of logs, of SQL, of panics.
fn sentences(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((start, end)) = literal(source, at) {
        at = end + 1;
        let before = &source[..start];
        let statement = before.rfind([';', '{', '}']).map_or(before, |from| &before[from..]);
        let is_log = ["tracing::", "info_span!", "query!", "query_as!", "query_scalar!", "#[doc", "concat!"]
            .iter()
            .any(|mark| statement.contains(mark));
        let is_reason = [".expect(", "reason = ", ".context("].iter().any(|mark| before.trim_end().ends_with(mark.trim_end()));
        let text = plain(&source[start + 1..end]);
        if !is_log && !is_reason && is_sentence(&text) {
            found.push(text);
        }
    }
    found
}

/// The next string literal: where its quotes are.
fn literal(source: &str, mut at: usize) -> Option<(usize, usize)> {
    let bytes = source.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => at += source[at..].find('\n')?,
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => at += 2 + source[at + 2..].find('\'').map_or(0, |n| n + 1),
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at += 3,
            b'r' if source[at..].starts_with("r#\"") => at += 3 + source[at + 3..].find("\"#")? + 2,
            b'"' => {
                let mut end = at + 1;
                while bytes[end] != b'"' {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                return Some((at, end));
            }
            _ => at += 1,
        }
    }
    None
}

fn plain(literal: &str) -> String {
    let mut text = String::new();
    let mut rest = literal.replace("\\\"", "\"").replace("\\\\u", "\\u");
    while let Some(at) = rest.find("\\\n") {
        text.push_str(&rest[..at]);
        rest = rest[at + 2..].trim_start().to_owned();
    }
    text.push_str(&rest);
    // `{name:?}` is a place, `{{` is a brace.
    let mut plain = String::new();
    let mut inside = false;
    for c in text.replace("{{", "\u{1}").replace("}}", "\u{2}").chars() {
        match c {
            '{' => (inside, plain) = (true, plain + "{"),
            '}' => (inside, plain) = (false, plain + "}"),
            '\u{1}' => plain.push('{'),
            '\u{2}' => plain.push('}'),
            _ if inside => {}
            c => plain.push(c),
        }
    }
    plain.trim().to_owned()
}

fn is_sentence(text: &str) -> bool {
    let sql = ["SELECT", "INSERT", "UPDATE", "DELETE FROM", "FROM ", "WHERE", "CREATE ", "LOCK ", "COPY ", "SAVEPOINT", "SET LOCAL"];
    let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 1).count();
    words > 1 && text.contains(' ') && !sql.iter().any(|word| text.contains(word))
}
