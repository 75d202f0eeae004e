//! Which problems an operation may answer.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{
        ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Schema, Type,
        example::{Example, ExampleBuilder},
    },
};

use crate::problem::Kind;

/// The `type` of a problem.
pub struct ProblemType;

impl PartialSchema for ProblemType {
    fn schema() -> RefOr<Schema> {
        let types = Kind::ALL.iter().map(|kind| kind.facts().1);
        Schema::Object(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(types)).build()).into()
    }
}

impl ToSchema for ProblemType {}

/// A `detail` as it may be read.
const fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidRequest => "since is not a FHIR instant; write for example 2023-01-01T00:00:00Z (with its time zone) or 2023-01-01.",
        Kind::InvalidJson => "The body is not valid JSON at line 3 column 14; check quotes and commas there.",
        Kind::UnknownField => "unknown field \"recource_types\"; known fields are fhir_server_url, resource_types, ...",
        Kind::UnescapedKey => "The quotes inside private_key are not escaped, so its string ends too early. Pass the key as an object, ...",
        Kind::BodyTooLarge => "The body is larger than 1 MiB; send only the fields of an export.",
        Kind::BodyTooSlow => "The body took longer than 30 seconds; send it again.",
        Kind::CrossOrigin => {
            "The request comes from a page of another origin (its Origin header says so). Call the API from a program, ..."
        }
        Kind::Unauthenticated => "Say who you are: send `Authorization: Bearer bulkhead_...`. A token is made on the page Tokens, ...",
        Kind::Forbidden => "This needs the role operator, and yours is viewer. Ask an admin for that role, or use a token that has it.",
        Kind::CsrfToken => "The request came with a session's cookie and without its CSRF token: ... Reload the page and try again; ...",
        Kind::NotFound => "There is no job 019b0000-0000-7000-8000-000000000000; /api/bulk-data/jobs lists those there are.",
        Kind::MethodNotAllowed => "PUT is not offered here; the Allow header lists what is.",
        Kind::Conflict => "export 019b0000-0000-7000-8000-000000000000 is completed; only a failed export can be retried. ...",
        Kind::WrongHost => "Call it as localhost or by its address, or add the host's name to API_ALLOWED_HOSTS and restart.",
        Kind::IdempotencyKeyReused => {
            "This Idempotency-Key came with another body before (job 019b...). Use a new key for a new request, ..."
        }
        Kind::Internal => "It is logged with the error id 0b0c... Try again; if it stays, report it with this id.",
        Kind::Unavailable => "Postgres does not answer; nothing is lost. Ask again in a moment.",
    }
}

/// One response for each status: the problems that have it.
pub(super) fn responses(kinds: &[Kind]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in kinds {
        by_status.entry(kind.facts().0.as_u16()).or_default().push(*kind);
    }
    by_status.into_iter().map(|(status, kinds)| (status.to_string(), response(&kinds).into())).collect()
}

fn response(kinds: &[Kind]) -> Response {
    let titles: Vec<&str> = kinds.iter().map(|kind| kind.facts().2).collect();
    let examples = kinds.iter().map(|kind| {
        let (status, of_type, title) = kind.facts();
        let value = json!({"type": of_type, "title": title, "status": status.as_u16(), "detail": example(*kind)});
        let name = of_type.trim_start_matches("/problems/").to_owned();
        (name, RefOr::<Example>::T(ExampleBuilder::new().value(Some(value)).build()))
    });
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
    let mut response = ResponseBuilder::new().description(format!("{}.", titles.join("; "))).content("application/problem+json", content);
    if kinds.contains(&Kind::Unavailable) {
        let seconds =
            HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::Integer))).description(Some("Seconds.")).build();
        response = response.header("Retry-After", seconds);
    }
    response.build()
}

macro_rules! problems {
    ($($(#[$meta:meta])* $name:ident = [$($kind:ident),+];)+) => { $(
        $(#[$meta])*
        pub struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&[$(Kind::$kind),+])
            }
        }
    )+ };
}

problems! {
    /// Of every request.
    Always = [WrongHost, Internal, Unavailable];
    /// Of a request that changes something.
    Changes = [CrossOrigin];
    /// Of a body that cannot be used.
    BadBody = [InvalidRequest, InvalidJson, UnknownField, BodyTooLarge, BodyTooSlow];
    /// Of a body that may hold a key.
    BadSubmission = [InvalidRequest, InvalidJson, UnknownField, UnescapedKey, BodyTooLarge, BodyTooSlow];
    /// Of parameters that cannot be used.
    BadQuery = [InvalidRequest, UnknownField];
    KeyReused = [IdempotencyKeyReused];
    /// Of a job that is named in the path.
    OneJob = [InvalidRequest, NotFound];
    NotInThisState = [Conflict];
    JobDeleted = [Conflict];
    NoSuchFile = [NotFound];
}
