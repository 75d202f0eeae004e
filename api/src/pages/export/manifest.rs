//! `/exports/{job_id}/manifest`: the first page of the server's manifest as it was sent, without what opens its files.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use bulkhead_shared::db::{exports, sources};
use serde_json::Value;

use super::{Head, export, shown_url};
use crate::{
    ApiState,
    pages::{
        frame::Frame,
        page::{Answer, page},
    },
    problem::{Kind, Problem},
};

/// Entries of a list that are shown; a manifest may name tens of thousands of files.
const ENTRIES: usize = 200;

#[derive(Template)]
#[template(path = "export_manifest.html")]
struct Manifest {
    frame: Frame,
    head: Head,
    pages: i32,
    left_out: usize,
    text: String,
}

pub async fn read(State(state): State<Arc<ApiState>>, frame: Frame, Path(id): Path<String>) -> Answer {
    let export = export(&state, &id).await?;
    let base_url = sources::base_url(&state.pool, export.source_id).await?;
    let nothing = || Problem::new(Kind::NotFound, "The export has no manifest yet, or is read by search and has none.");
    let mut manifest = exports::manifest(&state.pool, export.id).await?.ok_or_else(nothing)?;
    let mut left_out = 0;
    redact(&mut manifest, &mut left_out);
    let text = serde_json::to_string_pretty(&manifest).map_err(Problem::internal)?;
    page(&Manifest { head: Head::of(&frame, &export, &base_url), pages: export.manifest_pages, frame, left_out, text })
}

/// Takes out what opens a file: queries of URLs, which may be signatures, and whatever is called a secret.
fn redact(value: &mut Value, left_out: &mut usize) {
    match value {
        Value::Array(entries) => {
            *left_out += entries.len().saturating_sub(ENTRIES);
            entries.truncate(ENTRIES);
            for entry in entries {
                redact(entry, left_out);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let is_secret = ["token", "secret", "signature", "password", "authorization", "credential"]
                    .iter()
                    .any(|word| name.to_ascii_lowercase().contains(word));
                if is_secret && field.is_string() {
                    *field = Value::String("…".to_owned());
                } else {
                    redact(field, left_out);
                }
            }
        }
        Value::String(text) if text.contains("://") => *text = shown_url(text),
        Value::String(text) if text.trim_start().get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) => {
            "…".clone_into(text);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_opens_a_file_is_taken_out_wherever_it_stands() {
        let mut manifest = json!({
            "requiresAccessToken": true,
            "output": [{"type": "Patient", "url": "https://h/f?sig=s3cret"}],
            "extension": {"accessToken": "s3cret", "header": "Bearer s3cret", "next": ["https://u:s3cret@h/x#s3cret"]},
        });
        let mut left_out = 0;
        redact(&mut manifest, &mut left_out);
        let text = manifest.to_string();
        assert!(!text.contains("s3cret") && text.contains("https://h/f?…") && text.contains("\"requiresAccessToken\":true"), "{text}");
        let mut long = json!({"output": vec![json!({"url": "https://h/f"}); 500]});
        redact(&mut long, &mut left_out);
        assert_eq!((long["output"].as_array().map(Vec::len), left_out), (Some(200), 300));
    }
}
