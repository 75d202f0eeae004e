//! A template's answer, and the page for people where a program would get `application/problem+json`.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
};

use super::frame::Frame;
use crate::{
    ApiState,
    access::Caller,
    problem::{Kind, Problem, Told},
};

/// What every handler of a page answers.
pub type Answer = Result<Response, Problem>;

/// Renders a page.
pub fn page(template: &impl Template) -> Answer {
    Ok(Html(template.render().map_err(Problem::internal)?).into_response())
}

#[derive(Template)]
#[template(path = "trouble.html")]
struct Trouble {
    frame: Frame,
    told: Told,
}

impl Trouble {
    /// What went wrong, in the reader's language.
    fn title(&self) -> &'static str {
        self.frame.word("problem", self.told.kind.word())
    }

    /// What to do next.
    fn next(&self) -> &'static str {
        self.frame.word("problem.next", self.told.kind.word())
    }

    /// The sentence itself, where the kind of the problem does not say it all.
    fn detail(&self) -> Option<&str> {
        let says_more = !matches!(self.told.kind, Kind::NotFound | Kind::MethodNotAllowed | Kind::CrossOrigin | Kind::Unavailable);
        (says_more && !self.told.detail.is_empty()).then_some(self.told.detail.as_str())
    }

    fn can_be_tried_again(&self) -> bool {
        matches!(self.told.kind, Kind::Internal | Kind::Unavailable)
    }
}

/// Addresses for programs: they get their problems as JSON on this port too.
const FOR_PROGRAMS: [&str; 6] = ["/api/", "/events", "/openapi.json", "/docs", "/health/", "/.well-known/"];

/// Turns problems into pages.
pub async fn troubles(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if FOR_PROGRAMS.iter().any(|prefix| parts.uri.path().starts_with(prefix)) {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let asked = parts.clone();
    let response = next.run(Request::from_parts(asked, body)).await;
    let Some(told) = response.extensions().get::<Told>().cloned() else { return response };
    if told.kind == Kind::Unauthenticated {
        return to_login(&parts);
    }
    if let Some(caller) = response.extensions().get::<Caller>() {
        parts.extensions.insert(caller.clone());
    }
    let Ok(frame) = Frame::from_request_parts(&mut parts, &state).await;
    let Ok(shown) = (Trouble { frame, told }).render() else { return response };
    let (mut head, _) = response.into_parts();
    // What was compressed is replaced by what is not.
    head.headers.remove(header::CONTENT_ENCODING);
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // The problem may come from where nobody knows of pages: its policy would forbid this one its style.
    head.headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(super::POLICY));
    Response::from_parts(head, shown.into())
}

/// And back to the page that was wanted; a script that asked for a part of a page makes its whole page go there.
fn to_login(asked: &Parts) -> Response {
    let is_script = asked.headers.contains_key("hx-request");
    let page = if is_script { current(asked) } else { (asked.method == Method::GET).then(|| here(&asked.uri)) };
    let back: String = url::form_urlencoded::byte_serialize(page.unwrap_or_default().as_bytes()).collect();
    let login = format!("/login?back={back}");
    if is_script {
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", login)]).into_response();
    }
    Redirect::to(&login).into_response()
}

fn here(uri: &Uri) -> String {
    uri.path_and_query().map_or("/", |here| here.as_str()).to_owned()
}

/// The page that a script runs on.
fn current(asked: &Parts) -> Option<String> {
    let uri: Uri = asked.headers.get("hx-current-url")?.to_str().ok()?.parse().ok()?;
    Some(here(&uri))
}
