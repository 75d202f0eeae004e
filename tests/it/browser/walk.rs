//! Every page, in both themes and both languages: axe finds nothing, the browser complains of nothing, nothing sticks out.

use std::{collections::BTreeSet, path::Path};

use bulkhead_shared::domain::role::Role;
use bulkhead_tests::{
    Setup,
    browser::{Language, Theme},
    mix::Mix,
    places::{self, Place},
};

use super::{Stage, idle};

/// What is wrong with a page, in one theme and language.
async fn look(stage: &Stage, place: &Place, theme: Theme, language: Language) -> Vec<String> {
    let browser = &stage.browser;
    browser.theme(theme).await;
    browser.language(language).await;
    browser.go(&place.path).await;
    let mut wrong = browser.complaints().await;
    // The browser tells of each answer that is none of success.
    wrong.retain(|said| place.status == 200 || !said.contains(&format!("status of {}", place.status)));
    let tag = browser.script("return document.documentElement.lang").await;
    if !tag.as_str().is_some_and(|tag| tag.starts_with(language.word())) {
        wrong.push(format!("the language is {tag}"));
    }
    wrong.extend(browser.axe().await);
    if theme == Theme::Light {
        browser.size(360, 740).await;
        wrong.extend(browser.sticks_out().await.into_iter().map(|what| format!("at 360 px: {what}")));
        browser.size(1280, 900).await;
    }
    // What axe and the narrow window made it say.
    browser.complaints().await;
    wrong.into_iter().map(|what| format!("{} {theme:?} {language:?}: {what}", place.path)).collect()
}

async fn look_at_all(stage: &Stage, places: &[Place]) -> Vec<String> {
    let mut wrong = Vec::new();
    for place in places {
        for theme in Theme::ALL {
            for language in Language::ALL {
                wrong.extend(look(stage, place, theme, language).await);
            }
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_used_by_everybody_in_both_themes_and_languages() {
    let Some(stage) = Stage::set(Setup { sandbox: Mix::sandbox(0.02), ..crate::setup() }).await else { return };
    stage.pages.user("ada", Role::Admin).await;
    let mix = Mix::make(&stage.app, 2).await;
    let places = places::filled(&stage.app.pool, &mix).await;
    let (outside, inside): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| place.outside);
    let mut wrong = look_at_all(&stage, &outside).await;
    stage.browser.sign_in(&stage.pages, "ada").await;
    wrong.extend(look_at_all(&stage, &inside).await);
    assert!(wrong.is_empty(), "{} complaints\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_used_while_there_is_nothing_yet() {
    let Some(stage) = Stage::set(idle()).await else { return };
    stage.pages.user("ada", Role::Admin).await;
    stage.browser.sign_in(&stage.pages, "ada").await;
    let wrong = look_at_all(&stage, &places::empty()).await;
    assert!(wrong.is_empty(), "{} complaints\n{}", wrong.len(), wrong.join("\n"));
}

/// Addresses of the table that show no page: `/data/standings` is a part of the data page, which is walked with it.
const NO_PAGES: [&str; 7] = ["/", "/events", "/events/{job_id}", "/data/standings", "/language/{word}", "/theme/{word}", "/static/{file}"];

/// Pages that `submit` walks: they are there on the way only.
const ON_THE_WAY: [&str; 2] = ["/new/{check_id}", "/new/{check_id}/sent/{form}"];

#[test]
fn every_page_of_the_servers_table_is_walked() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(folder.join("../api/src/pages/mod.rs")).expect("the table");
    let walked = std::fs::read_to_string(folder.join("src/places.rs")).expect("the places");
    let pages: BTreeSet<&str> = table.split("Method::GET, \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(pages.len() > NO_PAGES.len(), "{pages:?}");
    for page in pages {
        let elsewhere = NO_PAGES.contains(&page) || ON_THE_WAY.contains(&page);
        assert!(elsewhere || walked.contains(&format!("\"{page}\"")), "nobody looks at {page}");
    }
}
