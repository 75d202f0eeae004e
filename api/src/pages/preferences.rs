//! `GET /language/{word}` and `GET /theme/{word}`: links that work without scripts. They set a cookie and lead back.

use axum::{
    extract::{Path, Query},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{
    frame::{LANGUAGE_COOKIE, THEME_COOKIE, Theme},
    texts::Language,
};
use crate::problem::{Kind, Problem};

#[derive(Deserialize)]
pub struct Back {
    #[serde(default)]
    back: String,
}

pub async fn language(Path(word): Path<String>, Query(Back { back }): Query<Back>) -> Result<Response, Problem> {
    let language = Language::of(&word).ok_or_else(unknown)?;
    remember(LANGUAGE_COOKIE, language.word(), &back)
}

pub async fn theme(Path(word): Path<String>, Query(Back { back }): Query<Back>) -> Result<Response, Problem> {
    let theme = Theme::of(&word).ok_or_else(unknown)?;
    remember(THEME_COOKIE, theme.word(), &back)
}

fn unknown() -> Problem {
    Problem::new(Kind::NotFound, "There is no such language or theme; use the links at the foot of the navigation.")
}

fn remember(cookie: &str, value: &str, back: &str) -> Result<Response, Problem> {
    let cookie = format!("{cookie}={value}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly");
    let cookie = HeaderValue::try_from(cookie).map_err(Problem::internal)?;
    let back = HeaderValue::try_from(local(back)).map_err(Problem::internal)?;
    Ok((StatusCode::SEE_OTHER, [(header::SET_COOKIE, cookie), (header::LOCATION, back)]).into_response())
}

/// A page of ours; never another site's, which a link could name.
pub fn local(back: &str) -> &str {
    // Browsers read a backslash as a slash, and leave tabs and line breaks out before they look.
    let plain = back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let inside = back.starts_with('/') && !back.starts_with("//") && plain;
    if inside { back } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_leads_back_to_our_own_pages_only() {
        assert_eq!(local("/exports?state=failed"), "/exports?state=failed");
        for elsewhere in [
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            " //evil.example",
            "",
            "/a\r\nSet-Cookie: x=y",
        ] {
            assert_eq!(local(elsewhere), "/", "{elsewhere}");
        }
    }
}
