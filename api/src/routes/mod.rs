//! One HTTP resource, one file.

pub mod check;
pub mod data;
pub mod docs;
pub mod health;
pub mod jobs;
pub mod jwks;
pub mod kick_off;
pub mod operations;
pub mod resources;
pub mod resume;
pub mod retry;
pub mod status;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest as _, MatchedPath, Request},
    handler::Handler,
    http::{HeaderValue, Method, Response, StatusCode, header},
    middleware,
    response::IntoResponse,
    routing::{self, MethodFilter, MethodRouter},
};
use bulkhead_shared::domain::{outgoing::without_query, role::Role};
use serde_json::Value;
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};
use tracing::Span;
use uuid::Uuid;

use crate::{
    ApiState,
    access::{Door, Needs, Surface, admit},
    hosts, pages,
    problem::{Kind, Problem},
    request,
};

/// A key, its certificate chain and a long list of patients fit well.
const LARGEST_BODY: usize = 1024 * 1024;
pub const SLOWEST_BODY: Duration = Duration::from_secs(30);

/// The whole API.
pub fn router(state: ApiState) -> Router {
    let state = Arc::new(state);
    with_surroundings(guarded(table(), &state, Surface::Api), &state).with_state(state)
}

/// The web pages, and beside them the API.
pub fn pages_router(state: ApiState) -> Router {
    let state = Arc::new(state);
    with_surroundings(guarded(table(), &state, Surface::Pages).merge(pages::routes(&state)), &state)
        .layer(middleware::from_fn_with_state(Arc::clone(&state), pages::page::troubles))
        .with_state(state)
}

/// A route, and who may use it: there is none without.
pub struct Route {
    pub needs: Needs,
    pub method: Method,
    pub path: &'static str,
    handler: MethodRouter<Arc<ApiState>>,
}

impl Route {
    pub fn of<H, T>(needs: Needs, method: Method, path: &'static str, handler: H) -> Self
    where
        H: Handler<T, Arc<ApiState>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        Self { needs, method, path, handler: routing::on(filter, handler) }
    }
}

/// The API's routes. What each needs stands here and nowhere else: the description of the API is made from the same table.
pub fn table() -> Vec<Route> {
    const ANYBODY: Needs = Needs::Nothing;
    const VIEWER: Needs = Needs::Role(Role::Viewer);
    const OPERATOR: Needs = Needs::Role(Role::Operator);
    vec![
        Route::of(OPERATOR, Method::POST, "/api/bulk-data/kick-off", kick_off::submit),
        Route::of(OPERATOR, Method::POST, "/api/bulk-data/check", check::submit),
        Route::of(VIEWER, Method::GET, "/api/bulk-data/check/{check_id}", check::read),
        Route::of(OPERATOR, Method::POST, "/api/bulk-data/resume", resume::resume),
        Route::of(OPERATOR, Method::POST, "/api/bulk-data/retry", retry::many),
        Route::of(VIEWER, Method::GET, "/api/bulk-data/status/{job_id}", status::read),
        Route::of(VIEWER, Method::GET, "/api/bulk-data/jobs", jobs::list),
        Route::of(VIEWER, Method::GET, "/api/bulk-data/jobs/{job_id}", status::read),
        Route::of(OPERATOR, Method::DELETE, "/api/bulk-data/jobs/{job_id}", operations::delete),
        Route::of(OPERATOR, Method::POST, "/api/bulk-data/jobs/{job_id}/retry", operations::retry),
        Route::of(OPERATOR, Method::POST, "/api/bulk-data/jobs/{job_id}/cancel", operations::cancel),
        Route::of(OPERATOR, Method::POST, "/api/bulk-data/jobs/{job_id}/accept", operations::accept),
        Route::of(VIEWER, Method::GET, "/api/bulk-data/data", data::read),
        Route::of(VIEWER, Method::GET, "/api/bulk-data/data/{chart}", data::one),
        Route::of(VIEWER, Method::GET, "/api/bulk-data/jobs/{job_id}/resources/{resource_type}", resources::list),
        Route::of(VIEWER, Method::POST, "/api/bulk-data/jobs/{job_id}/resources/{resource_type}", resources::search),
        Route::of(VIEWER, Method::GET, "/api/bulk-data/jobs/{job_id}/resources/{resource_type}/{id}", resources::one),
        Route::of(VIEWER, Method::GET, "/openapi.json", docs::document),
        Route::of(VIEWER, Method::GET, "/docs", docs::page),
        Route::of(VIEWER, Method::GET, "/docs/{file}", docs::file),
        Route::of(ANYBODY, Method::GET, "/.well-known/jwks.json", jwks::read),
        Route::of(ANYBODY, Method::GET, "/health/live", health::live),
        Route::of(ANYBODY, Method::GET, "/health/ready", health::ready),
    ]
}

/// Every door of both faces: which, what it needs, its method and its path.
pub fn doors() -> impl Iterator<Item = (Surface, Needs, Method, &'static str)> {
    let of = |surface: Surface| move |route: Route| (surface, route.needs, route.method, route.path);
    table().into_iter().map(of(Surface::Api)).chain(pages::table().into_iter().map(of(Surface::Pages)))
}

/// Each behind its door.
pub fn guarded(routes: Vec<Route>, state: &Arc<ApiState>, surface: Surface) -> Router<Arc<ApiState>> {
    routes.into_iter().fold(Router::new(), |router, route| {
        let door = Door { state: Arc::clone(state), surface, needs: route.needs };
        router.route(route.path, route.handler.route_layer(middleware::from_fn_with_state(door, admit)))
    })
}

/// What is around every route.
fn with_surroundings(routes: Router<Arc<ApiState>>, state: &Arc<ApiState>) -> Router<Arc<ApiState>> {
    let around = ServiceBuilder::new()
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(span)
                .on_request(())
                .on_response(|response: &Response<_>, latency: Duration, _: &Span| {
                    let millis = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
                    tracing::debug!(status = response.status().as_u16(), millis, "answered");
                })
                // Problems are logged where they are made, with their cause.
                .on_failure(()),
        )
        .map_response(harden)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(state), hosts::guard))
        .layer(DefaultBodyLimit::max(LARGEST_BODY));
    routes.fallback(nothing_here).method_not_allowed_fallback(wrong_method).layer(around)
}

/// Method and route, never the path as sent or its query.
fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
    tracing::info_span!("api", method = %request.method(), route)
}

/// What is told is about patients' data: no cache keeps it unless its route says so, no browser guesses what it is.
fn harden<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Our addresses go to nobody else. `no-referrer` would do that too, but with it browsers say `Origin: null` of our own forms.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // A page says itself what it may do.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

#[expect(clippy::needless_pass_by_value, reason = "the layer's signature")]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    Problem::internal(format!("panic: {}", said.unwrap_or_default())).into_response()
}

async fn nothing_here(request: Request) -> Problem {
    let path = without_query(request.uri().path());
    Problem::new(
        Kind::NotFound,
        format!("{path} is not part of this API; it begins at /api/bulk-data/kick-off, .../status/{{job_id}} and .../jobs."),
    )
}

async fn wrong_method(request: Request) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{} is not offered here; the Allow header lists what is.", request.method()))
}

/// The body as JSON, whatever its Content-Type says.
async fn json_body(request: Request) -> Result<Value, Problem> {
    let body = match tokio::time::timeout(SLOWEST_BODY, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return Err(Problem::new(Kind::BodyTooLarge, "The body is larger than 1 MiB; send only the fields of an export."));
        }
        Ok(Err(_)) => return Err(Problem::invalid("The body broke off; send it again.")),
        Err(_) => return Err(Problem::new(Kind::BodyTooSlow, "The body took longer than 30 seconds; send it again.")),
    };
    request::read_json(&body)
}

/// A job's id as it stands in a path.
pub fn job_id(text: &str) -> Result<Uuid, Problem> {
    text.parse()
        .map_err(|_| Problem::invalid("The job id is not a UUID; use the job_id that kick-off answered, or see /api/bulk-data/jobs."))
}

pub fn no_such_job(id: Uuid) -> Problem {
    Problem::new(Kind::NotFound, format!("There is no job {id}; /api/bulk-data/jobs lists those there are."))
}

pub fn being_deleted(id: Uuid) -> Problem {
    Problem::new(Kind::NotFound, format!("Job {id} is being deleted; /api/bulk-data/jobs lists those that stay."))
}
