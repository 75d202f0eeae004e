//! The description of the API (OpenAPI 3.1): made from the handlers and their types, and from what `request` writes of the bodies that
//! it reads by hand. `api/openapi.json` is a copy; tests compare them, and both with the router.

mod problems;
mod words;

use std::sync::LazyLock;

use serde_json::{Value, json};
use utoipa::OpenApi;

pub use problems::{
    Always, BadBody, BadQuery, BadSubmission, Changes, JobDeleted, KeyReused, NoSuchFile, NotInThisState, OneJob, ProblemType,
};
pub use words::JobStatus;

use crate::{
    access::Needs,
    problem::{self, Kind},
    request, routes,
};

const ABOUT: &str = "Takes exports of FHIR Groups in, tells how they are, and lets people act on them.\n\n\
    All bodies are JSON, whatever their Content-Type says. Times are RFC 3339, UTC. Every problem is `application/problem+json` (RFC 9457): \
    programs compare its `type`, people read its `detail`, which always says what to do next. Any operation may also answer 405 \
    (`/problems/method-not-allowed`) to a wrong method.\n\n\
    Callers send `Authorization: Bearer` with a token, or come with the login of the web pages; `x-role` names the role that an operation \
    needs (viewer, operator, admin). On loopback nobody is asked, unless the operator sets `API_AUTH=required`.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Bulkhead", description = ABOUT, license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    paths(
        routes::kick_off::submit,
        routes::check::submit,
        routes::check::read,
        routes::resume::resume,
        routes::status::read,
        routes::jobs::list,
        routes::retry::many,
        routes::operations::delete,
        routes::operations::retry,
        routes::operations::cancel,
        routes::operations::accept,
        routes::data::read,
        routes::data::one,
        routes::resources::list,
        routes::resources::search,
        routes::resources::one,
        routes::health::live,
        routes::health::ready,
        routes::jwks::read,
        routes::docs::document,
        routes::docs::page,
        routes::docs::file,
    ),
    components(schemas(problem::Body, ProblemType, JobStatus)),
    tags(
        (name = "exports", description = "Submit exports and follow them."),
        (name = "operations", description = "Act on exports."),
        (name = "data", description = "Look at what was loaded."),
        (name = "about", description = "The service itself."),
    )
)]
struct Document;

/// The description, as it is served.
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = serde_json::to_string_pretty(&value()).unwrap_or_default();
        text.push('\n');
        text
    });
    &TEXT
}

fn value() -> Value {
    let mut document = serde_json::to_value(Document::openapi()).unwrap_or_default();
    // The same handler answers under two names.
    let status = document["paths"]["/api/bulk-data/status/{job_id}"]["get"].clone();
    let also = &mut document["paths"]["/api/bulk-data/jobs/{job_id}"]["get"];
    *also = status;
    also["operationId"] = "job".into();
    secure(&mut document);
    for (name, schema) in request::schemas() {
        document["components"]["schemas"][name] = schema;
    }
    document
}

/// What each operation needs, from the table of the routes.
fn secure(document: &mut Value) {
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "A token of a program: `bulkhead_` and 43 characters. `bulkhead-api tokens add` makes one." },
        "session": { "type": "apiKey", "in": "cookie", "name": "bulkhead_session",
            "description": "The login of the web pages. A request that changes something brings the session's `X-CSRF-Token` too." },
    });
    let refusals = json!(problems::responses(&[Kind::Unauthenticated, Kind::Forbidden, Kind::CsrfToken, Kind::CrossOrigin]));
    for route in routes::table() {
        let operation = &mut document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
        let Needs::Role(role) = route.needs else { continue };
        operation["security"] = json!([{ "token": [] }, { "session": [] }]);
        operation["x-role"] = json!(role);
        for status in ["401", "403"] {
            operation["responses"][status] = refusals[status].clone();
        }
    }
}

#[cfg(test)]
mod tests;
