//! The exports that can be picked.

use bulkhead_shared::db::summaries::{self, WithRows};
use sqlx::PgPool;

use super::links::Links;

/// So many are offered; any other is named by its id.
const OFFERED: i64 = 40;

pub struct Offered {
    pub export: WithRows,
    pub picked: bool,
}

/// The newest exports that have rows, or are getting some.
pub async fn offered(pool: &PgPool, links: &Links) -> sqlx::Result<Vec<Offered>> {
    let found = summaries::with_rows(pool, OFFERED).await?;
    Ok(found.into_iter().map(|export| Offered { picked: links.asks_for(&export.id.to_string()), export }).collect())
}
