//! The manifest of a finished export, read with the tolerance that real servers need
//! (Bulk Data IG, "Response - Complete Status").

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use url::Url;

use super::file::FileKind;

/// One page of a manifest. URLs are absolute.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub transaction_time: Option<String>,
    pub files: Vec<ManifestFile>,
    /// `link[rel=next]`
    pub next: Option<Url>,
}

/// One entry of `output`, `deleted`, `error` or `outcome`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFile {
    pub kind: FileKind,
    pub url: Url,
    /// The same file when the manifest is fetched again with fresh signatures.
    pub url_key: String,
    pub resource_type: Option<String>,
    pub count: Option<i64>,
    pub requires_token: Option<bool>,
}

/// A manifest we cannot read. Holds no content of it.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the manifest is not JSON of the expected shape ({0})")]
    Json(String),
    /// An empty object, an OperationOutcome, a gateway's message: read as a manifest, each would mean an empty export.
    #[error("the answer is JSON, but no manifest")]
    NotAManifest,
    #[error("entry {0} of the manifest's {1} array has no usable url")]
    Url(usize, &'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    transaction_time: serde_json::Value,
    #[serde(default)]
    requires_access_token: serde_json::Value,
    #[serde(default)]
    output: Option<Vec<Entry>>,
    #[serde(default)]
    deleted: Option<Vec<Entry>>,
    #[serde(default)]
    error: Option<Vec<Entry>>,
    #[serde(default)]
    outcome: Option<Vec<Entry>>,
    #[serde(default)]
    link: Option<Vec<Link>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    r#type: Option<String>,
    url: String,
    #[serde(default)]
    count: serde_json::Value,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    relation: Option<String>,
    #[serde(default)]
    rel: Option<String>,
    url: String,
}

impl Manifest {
    /// Reads a page; relative URLs are resolved against the URL it came from.
    pub fn read(body: &[u8], from: &Url) -> Result<Self, Unreadable> {
        let unreadable = |e: serde_json::Error| Unreadable::Json(format!("line {} column {}", e.line(), e.column()));
        let value: serde_json::Value = serde_json::from_slice(body).map_err(unreadable)?;
        let has_a_member = ["transactionTime", "output", "requiresAccessToken"].iter().any(|name| value.get(*name).is_some());
        if value.get("resourceType").is_some() || !has_a_member {
            return Err(Unreadable::NotAManifest);
        }
        // From the text, for the place of an error.
        let page: Page = serde_json::from_slice(body).map_err(unreadable)?;
        // A boolean, or the word: both are seen.
        let requires_token = match &page.requires_access_token {
            serde_json::Value::Bool(yes) => Some(*yes),
            serde_json::Value::String(word) => word.parse().ok(),
            _ => None,
        };
        let mut files = Vec::new();
        for (kind, name, entries) in [
            (FileKind::Output, "output", page.output),
            (FileKind::Deleted, "deleted", page.deleted),
            (FileKind::Error, "error", page.error),
            (FileKind::Error, "outcome", page.outcome),
        ] {
            for (at, entry) in entries.unwrap_or_default().into_iter().enumerate() {
                let url = from.join(&entry.url).map_err(|_| Unreadable::Url(at + 1, name))?;
                files.push(ManifestFile {
                    kind,
                    url_key: url_key(&url),
                    url,
                    resource_type: entry.r#type,
                    count: entry.count.as_i64().or_else(|| entry.count.as_str()?.parse().ok()),
                    requires_token,
                });
            }
        }
        tell_apart(&mut files);
        let next = page
            .link
            .unwrap_or_default()
            .into_iter()
            .find(|link| link.relation.as_deref().or(link.rel.as_deref()) == Some("next"))
            .map(|link| from.join(&link.url).map_err(|_| Unreadable::Url(1, "link")))
            .transpose()?;
        Ok(Self { transaction_time: page.transaction_time.as_str().map(str::to_owned), files, next })
    }
}

/// A key that two URLs share names neither: those files are known by their full URLs.
pub fn tell_apart(files: &mut [ManifestFile]) {
    let mut urls: HashMap<&str, &Url> = HashMap::new();
    let shared: HashSet<String> =
        files.iter().filter(|file| *urls.entry(&file.url_key).or_insert(&file.url) != &file.url).map(|file| file.url_key.clone()).collect();
    for file in files.iter_mut().filter(|file| shared.contains(&file.url_key)) {
        file.url_key = file.url.to_string();
    }
}

/// Query parameters that sign a URL (S3, Azure, Google, CloudFront): they change each time the
/// manifest is fetched, the file does not.
const SIGNATURES: &[&str] = &[
    "signature",
    "expires",
    "key-pair-id",
    "policy",
    "awsaccesskeyid",
    "googleaccessid",
    "sig",
    "se",
    "sp",
    "sv",
    "sr",
    "st",
    "spr",
    "skoid",
    "sktid",
    "skt",
    "ske",
    "sks",
    "skv",
    "until",
    "exp",
    "token",
];

/// The URL without its signature.
#[must_use]
pub fn url_key(url: &Url) -> String {
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| {
            let name = name.to_ascii_lowercase();
            !(SIGNATURES.contains(&name.as_str()) || name.starts_with("x-amz-") || name.starts_with("x-goog-"))
        })
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    let mut key = url.clone();
    key.set_fragment(None);
    key.set_query(None);
    if !kept.is_empty() {
        key.query_pairs_mut().extend_pairs(kept);
    }
    key.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from() -> Url {
        Url::parse("https://fhir.example.org/base/status/1").unwrap()
    }

    #[test]
    fn reads_a_manifest_with_nothing_but_output_and_a_relative_url() {
        let page = Manifest::read(br#"{"output":[{"type":"Patient","url":"../files/a.ndjson","count":"3"}]}"#, &from()).unwrap();
        assert_eq!(page.files.len(), 1);
        assert_eq!(page.files[0].url.as_str(), "https://fhir.example.org/base/files/a.ndjson");
        assert_eq!(page.files[0].count, Some(3));
        assert_eq!(page.files[0].requires_token, None);
        assert!(page.next.is_none());
    }

    #[test]
    fn tolerates_missing_arrays_and_a_malformed_transaction_time() {
        let page = Manifest::read(br#"{"transactionTime":17,"requiresAccessToken":"true","error":null}"#, &from()).unwrap();
        assert!(page.files.is_empty());
        assert_eq!(page.transaction_time, None);
    }

    #[test]
    fn a_fresh_signature_is_the_same_file_and_another_query_is_another() {
        let key = |text: &str| url_key(&Url::parse(text).unwrap());
        assert_eq!(key("https://s3/x?X-Amz-Signature=1&X-Amz-Date=2"), key("https://s3/x?X-Amz-Signature=3"));
        assert_ne!(key("https://h/x?file=1"), key("https://h/x?file=2"));
    }

    #[test]
    fn files_that_differ_in_what_looks_like_a_signature_only_stay_two() {
        let page = br#"{"output":[{"type":"Patient","url":"https://h/f?sp=1"},{"type":"Patient","url":"https://h/f?sp=2"}]}"#;
        let page = Manifest::read(page, &from()).unwrap();
        assert_ne!(page.files[0].url_key, page.files[1].url_key);
    }

    #[test]
    fn what_is_no_manifest_is_not_an_empty_one() {
        for body in ["{}", "[]", r#"["x"]"#, r#"{"message":"try later"}"#, r#"{"resourceType":"OperationOutcome","output":[]}"#] {
            assert!(matches!(Manifest::read(body.as_bytes(), &from()), Err(Unreadable::NotAManifest)), "{body}");
        }
    }

    #[test]
    fn an_error_tells_the_place_but_not_the_content() {
        let error = Manifest::read(br#"{"output":"Jane Doe"}"#, &from()).unwrap_err().to_string();
        assert!(!error.contains("Jane"), "{error}");
    }

    /// Any JSON, three levels deep.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            any::<f64>().prop_map(serde_json::Value::from),
            ".{0,20}".prop_map(serde_json::Value::from),
            "(https?://h)?/[a-z0-9?=&%./]{0,20}".prop_map(serde_json::Value::from),
        ];
        let names = prop_oneof![
            "[a-z]{1,8}",
            Just("url".to_owned()),
            Just("type".to_owned()),
            Just("count".to_owned()),
            Just("relation".to_owned())
        ];
        leaf.prop_recursive(3, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::hash_map(names.clone(), inner, 0..6).prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::read(&bytes, &from());
        }

        #[test]
        fn any_values_in_a_manifests_members_are_read_or_refused(
            members in prop::collection::hash_map(
                prop::sample::select(vec!["transactionTime", "requiresAccessToken", "output", "deleted", "error", "outcome", "link"]), json(), 0..7),
        ) {
            let text = serde_json::to_vec(&members).unwrap();
            if let Ok(page) = Manifest::read(&text, &from()) {
                // Each file can be told from each other one.
                let keys: HashSet<&str> = page.files.iter().map(|file| file.url_key.as_str()).collect();
                let urls: HashSet<&str> = page.files.iter().map(|file| file.url.as_str()).collect();
                prop_assert!(keys.len() <= urls.len());
                prop_assert!(page.files.iter().all(|file| file.count.is_none_or(|count| count != i64::MIN)));
            }
        }

        #[test]
        fn a_manifest_comes_out_as_it_went_in(
            files in prop::collection::vec(("[A-Z][a-z]{3,9}", "[a-z0-9]{1,12}", prop::option::of(0..1_000_000_i64)), 0..20),
            token in any::<bool>(),
        ) {
            let output: Vec<_> = files.iter().map(|(kind, name, count)| serde_json::json!({"type": kind, "url": name, "count": count})).collect();
            let text = serde_json::json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": token, "output": output}).to_string();
            let page = Manifest::read(text.as_bytes(), &from()).unwrap();
            prop_assert_eq!(page.files.len(), files.len());
            for (file, (kind, name, count)) in page.files.iter().zip(&files) {
                prop_assert_eq!(file.resource_type.as_ref(), Some(kind));
                prop_assert!(file.url.path().ends_with(name.as_str()));
                prop_assert_eq!(file.count, *count);
                prop_assert_eq!(file.requires_token, Some(token));
            }
        }
    }
}
