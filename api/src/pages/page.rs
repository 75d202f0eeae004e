//! A template's answer, and the page for people where a program would get `application/problem+json`.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderValue, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
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
const FOR_PROGRAMS: [&str; 5] = ["/api/", "/openapi.json", "/docs", "/health/", "/.well-known/"];

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
        let back: String =
            url::form_urlencoded::byte_serialize(parts.uri.path_and_query().map_or("/", |here| here.as_str()).as_bytes()).collect();
        let back = if parts.method == axum::http::Method::GET { back } else { String::new() };
        return axum::response::Redirect::to(&format!("/login?back={back}")).into_response();
    }
    if let Some(caller) = response.extensions().get::<Caller>() {
        parts.extensions.insert(caller.clone());
    }
    let Ok(frame) = Frame::from_request_parts(&mut parts, &state).await;
    let Ok(shown) = (Trouble { frame, told }).render() else { return response };
    let (mut head, _) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    head.headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(super::POLICY));
    Response::from_parts(head, shown.into())
}
