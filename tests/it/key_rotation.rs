//! The key that seals secrets is replaced by another, in the middle of exports.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_api::{
    command::{
        Place,
        reseal::{self, ResealSettings},
    },
    keys::{self, KeySettings},
};
use bulkhead_shared::{
    config::{DatabaseSettings, LogSettings, SecretSettings},
    db::{signing_keys, sources},
    domain::private_key::Algorithm,
};
use bulkhead_tests::{App, SandboxConfig, Setup, app::secret_key};

use crate::setup;

const GROUP: &str = "FallonHealth";

fn new_key() -> String {
    STANDARD.encode([8; 32])
}

fn log() -> LogSettings {
    LogSettings { log_level: "info".to_owned(), log_json: false }
}

async fn reseal(app: &App, secrets: SecretSettings) -> Result<String, String> {
    let place = Place { database: DatabaseSettings { database_url: app.database.url.clone() }, log: log() };
    let mut out = Vec::new();
    reseal::run(&ResealSettings { place, secrets }, &mut out).await.map_err(|error| format!("{error:#}"))?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_under_a_new_key_and_the_old_one_is_needed_no_longer() {
    let sandbox = SandboxConfig { auth: true, ..setup().sandbox };
    let mut app = App::start(Setup { sandbox, workers: 0, ..setup() }).await;
    let job = app.export(GROUP).await;
    let settings = KeySettings {
        database_url: Some(app.database.url.clone()),
        secrets: SecretSettings { secret_key: Some(secret_key()), ..SecretSettings::default() },
        log: log(),
        algorithm: Algorithm::Es384,
        out: None,
        list: false,
        retire: None,
    };
    keys::run(&settings, &mut Vec::new(), &mut Vec::new()).await.expect("a key of our own");

    let alone = SecretSettings { secret_key: Some(new_key()), ..SecretSettings::default() };
    let refused = reseal(&app, alone.clone()).await.expect_err("nothing opens what the old key sealed");
    assert!(refused.contains("BULKHEAD_SECRET_KEY_OTHER"), "{refused}");

    let both = SecretSettings { secret_key_other: Some(secret_key()), ..alone.clone() };
    let done = reseal(&app, both.clone()).await.expect("both keys are there");
    assert_eq!(done.matches(": 1 sealed anew").count(), 2, "{done}");
    let again = reseal(&app, both).await.expect("it may be run twice");
    assert_eq!(again.matches(": 0 sealed anew").count(), 2, "{again}");

    app.add_worker_with(&[("BULKHEAD_SECRET_KEY", &new_key())]);
    app.until(job, "completed").await;
    let cipher = alone.cipher().expect("a key");
    let kid = signing_keys::list(&app.pool).await.expect("rows").remove(0).kid;
    signing_keys::get(&app.pool, &cipher, &kid).await.expect("a row").expect("opens with the new key alone");
    for source in sources::at(&app.pool, &app.sandbox.base_url()).await.expect("rows") {
        sources::secret(&app.pool, &cipher, source).await.expect("a row").expect("opens with the new key alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_knows_both_keys_runs_what_either_sealed() {
    let sandbox = SandboxConfig { auth: true, ..setup().sandbox };
    let mut app = App::start(Setup { sandbox, workers: 0, ..setup() }).await;
    let job = app.export(GROUP).await;
    app.add_worker_with(&[("BULKHEAD_SECRET_KEY", &new_key()), ("BULKHEAD_SECRET_KEY_OTHER", &secret_key())]);
    app.until(job, "completed").await;
}
