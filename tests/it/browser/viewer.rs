//! Who may only look: no button, and no way around it.

use bulkhead_shared::domain::role::Role;
use bulkhead_tests::{Setup, mix::Mix};

use super::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_a_failed_export_and_may_not_retry_it() {
    let Some(stage) = Stage::set(Setup { sandbox: Mix::sandbox(0.01), ..crate::setup() }).await else { return };
    stage.pages.user("victor", Role::Viewer).await;
    stage.browser.sign_in(&stage.pages, "victor").await;
    let (app, browser) = (&stage.app, &stage.browser);
    let job = app.export("ClosedHealth").await;
    app.until(job, "failed").await;

    browser.go("/exports").await;
    assert_eq!(browser.count("#rows tr").await, 1);
    let acts = "return [...document.querySelectorAll(`#rows input, #all, [name=act], a[href='/new']`)].map((one) => one.outerHTML)";
    assert_eq!(browser.script(acts).await, serde_json::json!([]), "nothing that acts");
    browser.go(&format!("/exports/{job}")).await;
    browser.until_says(".standing", "Failed").await;
    for words in ["Retry", "Delete", "Cancel", "Accept the gaps"] {
        assert!(!browser.offers(words).await, "{words}");
    }

    // As the page of an operator would send it, with the viewer's own session.
    for (path, fields) in [
        (format!("/exports/{job}/retry"), String::new()),
        (format!("/exports/{job}/delete"), String::new()),
        ("/exports/act".to_owned(), format!("&act=retry&count=1&export={job}")),
    ] {
        let post = format!(
            "const csrf = encodeURIComponent(document.querySelector('[name=csrf]').value);
             return fetch('{path}', {{ method: 'POST', body: new URLSearchParams('csrf=' + csrf + '{fields}') }}).then((answer) => answer.status)"
        );
        assert_eq!(browser.script(&post).await, 403, "{path}");
    }
    assert_eq!(app.status(job).await["status"], "failed");
}
