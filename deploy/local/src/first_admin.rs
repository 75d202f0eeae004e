//! The first start makes the first admin, and tells the password once; later starts tell how to set another.

use anyhow::Context as _;
use bulkhead_api::access::{accounts, secret};
use bulkhead_shared::{
    db::{self, users},
    domain::{audit::Actor, role::Role},
};
use secrecy::ExposeSecret as _;

const NAME: &str = "admin";

/// The lines that say how to log in. `shown_url`: the database as a shell writes it.
pub async fn lines(database_url: &str, shown_url: &str) -> anyhow::Result<Vec<String>> {
    let pool = db::pool(database_url, "bulkhead-first-admin", 1)?;
    let lines = if users::list(&pool).await?.is_empty() {
        let password = secret::password();
        let made = accounts::add_user(&pool, &Actor::command_line(), NAME, Role::Admin, password.clone()).await;
        made.context("the first admin could not be made")?;
        vec![format!("log in as                 {NAME}, password {} (shown once; keep it)", password.expose_secret())]
    } else {
        vec![format!("password lost             DATABASE_URL={shown_url} bulkhead-api users password {NAME}")]
    };
    pool.close().await;
    Ok(lines)
}
