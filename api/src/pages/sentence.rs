//! An entry of the audit log as a sentence: who did what, to what.

use askama::filters::Safe;
use bulkhead_shared::{
    db::audit_log::Row,
    domain::audit::{Act, ActorKind},
};

use super::{
    frame::Frame,
    texts::{Language, fill},
};

/// HTML, everything that comes from the entry escaped.
pub fn of(frame: &Frame, row: &Row) -> Safe<String> {
    let (key, values) = said(frame, row);
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let sentence = fill(frame.t(&key), &values);
    // Chinese sets names apart, and not its own words.
    let own = frame.t("audit.self");
    Safe(if frame.language == Language::Chinese { sentence.replace(&format!(" {own} "), own) } else { sentence })
}

/// The text, and what stands in it: the actor first, then the object, then what more there is.
fn said(frame: &Frame, row: &Row) -> (String, Vec<String>) {
    let act = row.act.parse::<Act>().ok();
    let key = format!("audit.{}", row.act);
    let detail = |name: &str| row.detail[name].as_str().unwrap_or_default();
    let role = |name: &str| escaped(frame.word("role", detail(name)));
    let mut key = key;
    let mut values = vec![actor(frame, row), object(frame, row)];
    match act {
        Some(Act::LoginFailed) if row.object.is_none() => key.push_str(".unknown"),
        Some(Act::SessionRevoked) if row.detail["session"].is_null() => {
            key.push_str(".all");
            values.push(frame.count("audit.browsers", row.detail["sessions_ended"].as_i64().unwrap_or_default()));
        }
        Some(Act::UserAdded) => values.push(role("role")),
        Some(Act::RoleChanged) => values.extend([role("from"), role("to")]),
        Some(Act::TokenAdded) => {
            let days = row.detail["days"].as_i64();
            values
                .extend([role("role"), days.map_or_else(|| frame.t("audit.for_good").to_owned(), |days| frame.count("audit.days", days))]);
        }
        Some(Act::Refused) => values.push(role("needs")),
        Some(Act::ResourceSeen) => {
            if let Some(ids) = row.detail["ids"].as_array() {
                key.push_str(".list");
                values.push(frame.number(i64::try_from(ids.len()).unwrap_or(i64::MAX)));
            }
            values.push(export(detail("export")));
        }
        _ => {}
    }
    // What a page wrote down that has no sentence of its own.
    if !frame.language.has(&key) {
        return ("audit.other".to_owned(), vec![actor(frame, row), escaped(frame.word("act", &row.act)), object(frame, row)]);
    }
    (key, values)
}

/// Who it was, in words.
pub fn who(frame: &Frame, row: &Row) -> String {
    match row.actor_kind.parse() {
        Ok(ActorKind::Token) => fill(frame.t("actor.token"), &[&row.actor]),
        Ok(ActorKind::User) | Err(_) => row.actor.clone(),
        Ok(kind) => frame.word("actor", kind).to_owned(),
    }
}

/// The same as HTML; of who has a name, a link to all that they did.
fn actor(frame: &Frame, row: &Row) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("actor", &row.actor).finish();
    let who = escaped(&who(frame, row));
    match row.actor_kind.parse() {
        Ok(ActorKind::User | ActorKind::Token) => format!("<a class=\"who\" href=\"/audit?{}\">{who}</a>", escaped(&query)),
        Ok(_) => format!("<span class=\"who\">{who}</span>"),
        Err(_) => who,
    }
}

fn object(frame: &Frame, row: &Row) -> String {
    let Some(object) = row.object.as_deref() else { return String::new() };
    match row.object_kind.as_deref() {
        // A check and an export that is deleted have no page.
        Some("export") if !matches!(row.act.as_str(), "export_checked" | "export_deleted") => export(object),
        Some("export") => format!("<code title=\"{0}\">{1}</code>", escaped(object), escaped(&short(object))),
        Some("user") if row.actor_kind == "user" && row.actor == object => frame.t("audit.self").to_owned(),
        Some("user" | "token") => format!("<b>{}</b>", escaped(object)),
        _ => format!("<code>{}</code>", escaped(object)),
    }
}

fn export(id: &str) -> String {
    format!("<a href=\"/exports/{0}\" title=\"{0}\"><code>{1}</code></a>", escaped(id), escaped(&short(id)))
}

/// Enough of an id to tell it from others on the page: its end, for those of the same hour begin alike.
fn short(id: &str) -> String {
    id.rsplit_once('-').map_or_else(|| id.to_owned(), |(_, end)| format!("…{end}"))
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, header};
    use bulkhead_shared::clock;
    use serde_json::{Value, json};

    use super::*;

    fn row(act: &str, object: Option<(&str, &str)>, detail: Value) -> Row {
        let (object_kind, object) = object.unzip();
        Row {
            id: 1,
            at: clock::now(),
            actor_kind: "user".to_owned(),
            actor: "ann".to_owned(),
            address: None,
            act: act.to_owned(),
            object_kind: object_kind.map(str::to_owned),
            object: object.map(str::to_owned),
            detail,
        }
    }

    fn text(language: &str, row: &Row) -> String {
        let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, language.parse().unwrap())]);
        let mut html = of(&Frame::of(&headers, &"/audit".parse().unwrap()), row).0;
        while let (Some(open), Some(close)) = (html.find('<'), html.find('>')) {
            html.replace_range(open..=close, "");
        }
        html
    }

    #[test]
    fn entries_are_sentences_in_both_languages() {
        let export = Some(("export", "0a1b2c3d-0000-4000-8000-00000000beef"));
        let detail = json!({"from": "viewer", "to": "admin", "role": "operator", "days": 90, "needs": "operator", "sessions_ended": 2});
        for (act, object, english, chinese) in [
            ("logged_in", Some(("user", "ann")), "ann logged in", "ann 登录"),
            ("login_failed", None, "ann failed to log in with an unknown name", "ann 使用未知的用户名登录失败"),
            (
                "role_changed",
                Some(("user", "ben")),
                "ann changed the role of ben from Viewer to Admin",
                "ann 将 ben 的角色从查看者改为管理员",
            ),
            ("password_changed", Some(("user", "ann")), "ann set a new password for themselves", "ann 为自己设置了新密码"),
            (
                "session_revoked",
                Some(("user", "ben")),
                "ann logged ben out everywhere (2 browsers)",
                "ann 将 ben 从所有设备登出（2 个浏览器）",
            ),
            (
                "token_added",
                Some(("token", "nightly")),
                "ann made the token nightly (Operator, good for 90 days)",
                "ann 创建了令牌 nightly（操作员，有效期 90 天）",
            ),
            ("export_retried", export, "ann retried the export …00000000beef", "ann 重试了导出 …00000000beef"),
            (
                "refused",
                Some(("page", "POST /x")),
                "ann was refused POST /x, which needs the role Operator",
                "ann 请求 POST /x 被拒绝：需要操作员角色",
            ),
        ] {
            let row = row(act, object, detail.clone());
            assert_eq!((text("en", &row), text("zh", &row)), (english.to_owned(), chinese.to_owned()));
        }
    }

    #[test]
    fn every_act_has_a_sentence_or_a_name() {
        for act in Act::ALL {
            for language in Language::ALL {
                assert!(language.has(&format!("act.{act}")), "{} has no name for {act}", language.name());
            }
        }
    }

    #[test]
    fn names_are_text_and_nothing_else() {
        let evil = Row { actor: "<script>".to_owned(), ..row("user_added", Some(("user", "\"><img src=x>")), json!({"role": "admin"})) };
        let html = of(&Frame::of(&HeaderMap::new(), &"/audit".parse().unwrap()), &evil).0;
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("\"\"&gt;"), "{html}");
    }
}
