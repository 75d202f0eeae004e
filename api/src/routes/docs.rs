//! `GET /openapi.json`: the API's description; `GET /docs`: Swagger UI, which shows it and tries it out. All of it is in the program:
//! nothing is fetched from elsewhere.

use std::{io::Read as _, sync::Arc};

use axum::{
    extract::Path,
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Response},
};
use flate2::read::GzDecoder;

use crate::{
    openapi::{self, Always, NoSuchFile},
    problem::{Kind, Problem},
};

/// What Swagger UI needs: scripts and requests of our own, and the styles and pictures that it makes itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bulkhead: HTTP API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs scripts; the description itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#;

/// No validator is asked: nothing leaves this machine.
const START: &str = "SwaggerUIBundle({url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null});\n";

/// Of Swagger UI's files these are needed.
const FILES: [&str; 3] = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"];

/// This description (OpenAPI 3.1).
#[utoipa::path(get, path = "/openapi.json", tag = "about",
    responses((status = 200, description = "The description.", content_type = "application/json", body = Object), Always))]
pub async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::document()).into_response()
}

/// This description as a page: Swagger UI.
#[utoipa::path(get, path = "/docs", tag = "about",
    responses((status = 200, description = "The page.", content_type = "text/html", body = String), Always))]
pub async fn page() -> Response {
    with_policy(Html(PAGE).into_response())
}

/// The page's own files.
#[utoipa::path(get, path = "/docs/{file}", tag = "about", params(("file" = String, Path)),
    responses((status = 200, description = "The file.", content_type = "application/octet-stream", body = String), NoSuchFile, Always))]
pub async fn file(Path(name): Path<String>, head: HeaderMap) -> Result<Response, Problem> {
    if name == "start.js" {
        return Ok(with_policy(([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], START).into_response()));
    }
    let nothing = || Problem::new(Kind::NotFound, "The documentation has no such file; it begins at /docs.");
    if !FILES.contains(&name.as_str()) {
        return Err(nothing());
    }
    let found = utoipa_swagger_ui::serve(&name, Arc::new(utoipa_swagger_ui::Config::from("/openapi.json")));
    let file = found.map_err(|error| Problem::internal(error.to_string()))?.ok_or_else(nothing)?;
    let mut response = if !file.gzpipped {
        file.bytes.into_owned().into_response()
    } else if takes_gzip(&head) {
        ([(header::CONTENT_ENCODING, "gzip")], file.bytes.into_owned()).into_response()
    } else {
        let mut plain = Vec::new();
        GzDecoder::new(&*file.bytes).read_to_end(&mut plain).map_err(Problem::internal)?;
        plain.into_response()
    };
    let kind = HeaderValue::try_from(file.content_type).map_err(Problem::internal)?;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    Ok(with_policy(response))
}

fn takes_gzip(head: &HeaderMap) -> bool {
    let given = head.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    given.map(|coding| coding.split(';').map(str::trim)).any(|mut coding| coding.next() == Some("gzip") && coding.next() != Some("q=0"))
}

fn with_policy(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}
