//! What pages load: everything is in the program, nothing is fetched from elsewhere. A file's address holds a digest of its bytes, so that
//! browsers may keep it for good.

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    body::Bytes,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::{
    headers,
    problem::{Kind, Problem},
};

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file: its name in templates, its kind, and what it is made of, one after the other.
struct Source {
    name: &'static str,
    kind: &'static str,
    pieces: &'static [&'static str],
}

/// Files of `api/static`, by their path there.
macro_rules! files {
    ($($file:literal),+ $(,)?) => { &[$(include_str!(concat!("../../static/", $file))),+] };
}

const SOURCES: &[Source] = &[
    Source {
        name: "bulkhead.css",
        kind: CSS,
        pieces: files!(
            "vendor/open-props/sizes-1.7.23.min.css",
            "vendor/open-props/borders-1.7.23.min.css",
            "vendor/open-props/fonts-1.7.23.min.css",
            "vendor/open-props/colors-1.7.23.min.css",
            "tokens.css",
            "base.css",
            "layout.css",
            "parts.css",
            "table.css",
        ),
    },
    Source { name: "htmx.js", kind: JS, pieces: files!("vendor/htmx/htmx-4.0.1.min.js", "vendor/htmx/hx-sse-4.0.1.min.js") },
    Source { name: "bulkhead.js", kind: JS, pieces: files!("bulkhead.js") },
    // Of the login and the pages about access only.
    Source { name: "access.css", kind: CSS, pieces: files!("access.css") },
    // Of the list of exports only.
    Source { name: "exports.css", kind: CSS, pieces: files!("exports.css") },
    Source { name: "exports.js", kind: JS, pieces: files!("exports.js") },
    // Of the pages of one export and of failures.
    Source { name: "export.css", kind: CSS, pieces: files!("export.css") },
    // Of the data page only.
    Source { name: "new.css", kind: CSS, pieces: files!("new.css") },
    Source { name: "new.js", kind: JS, pieces: files!("new.js") },
    Source { name: "data.css", kind: CSS, pieces: files!("data.css") },
    Source { name: "data-plain.css", kind: CSS, pieces: files!("data-plain.css") },
    Source { name: "echarts.js", kind: JS, pieces: files!("vendor/echarts/echarts.common-6.1.0.min.js") },
    Source { name: "data.js", kind: JS, pieces: files!("data-draw.js", "data.js") },
    Source { name: "icons.svg", kind: SVG, pieces: files!("icons.svg") },
    Source { name: "favicon.svg", kind: SVG, pieces: files!("favicon.svg") },
];

/// A file as it is served.
struct Asset {
    address: String,
    etag: String,
    kind: &'static str,
    bytes: Bytes,
}

static ASSETS: LazyLock<HashMap<&str, Asset>> = LazyLock::new(|| SOURCES.iter().map(|source| (source.name, asset(source))).collect());

fn asset(source: &Source) -> Asset {
    let bytes = Bytes::from(source.pieces.join("\n"));
    let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(&bytes)[..6]);
    let (stem, ending) = source.name.rsplit_once('.').unwrap_or((source.name, ""));
    Asset { address: format!("/static/{stem}-{digest}.{ending}"), etag: format!("\"{digest}\""), kind: source.kind, bytes }
}

/// Where a file is; a test asks for each that a template names.
pub fn address(name: &str) -> &'static str {
    ASSETS.get(name).map_or("", |asset| &asset.address)
}

/// `GET /static/{file}`
pub async fn read(Path(file): Path<String>, head: HeaderMap) -> Result<Response, Problem> {
    let address = format!("/static/{file}");
    let nothing = || Problem::new(Kind::NotFound, "There is no such file; load the page again, it names those of this version.");
    let asset = ASSETS.values().find(|asset| asset.address == address).ok_or_else(nothing)?;
    let mut response = if headers::has_it(&head, &asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.kind)], asset.bytes.clone()).into_response()
    };
    let all = response.headers_mut();
    all.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    all.extend(HeaderValue::try_from(asset.etag.as_str()).ok().map(|etag| (header::ETAG, etag)));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_content() {
        let address = address("bulkhead.css");
        assert!(
            address.starts_with("/static/bulkhead-") && address.rsplit_once('.').is_some_and(|(_, ending)| ending == "css"),
            "{address}"
        );
        assert_eq!(super::address("nothing.css"), "");
    }
}
