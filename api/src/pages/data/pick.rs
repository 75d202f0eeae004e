//! The exports that can be picked.

use bulkhead_shared::{
    db::exports::{self, Filter, Is, Listed},
    domain::export::ExportState,
};
use sqlx::PgPool;

use super::links::Links;

/// So many are offered; any other is named by its id.
const OFFERED: i64 = 40;

pub struct Offered {
    pub export: Listed,
    pub picked: bool,
}

/// The newest exports that have rows, or are getting some.
pub async fn offered(pool: &PgPool, links: &Links) -> sqlx::Result<Vec<Offered>> {
    let states = [ExportState::Completed, ExportState::Failed, ExportState::Loading, ExportState::Downloading];
    let filter = Filter { states: Some(Is::a(states.to_vec())), ..Filter::default() };
    let listed = exports::page(pool, &filter, None, OFFERED).await?;
    let with_rows = listed.into_iter().filter(|export| export.rows > 0);
    Ok(with_rows.map(|export| Offered { picked: links.asks_for(&export.id.to_string()), export }).collect())
}
