//! Files that are read by search.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use crate::domain::search::{Cursor, Search};

/// A search to come.
#[derive(Debug, Clone)]
pub struct NewSearch {
    /// The type's URL, without what is searched for.
    pub url: String,
    /// Unique in its export.
    pub key: String,
    pub search: Search,
}

fn json<T: serde::Serialize>(value: &T) -> sqlx::Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| sqlx::Error::Encode(e.into()))
}

/// Adds searches; those whose key is there are left alone. Returns the new ones as (id, n).
pub async fn add(db: &mut PgConnection, export_id: Uuid, new: &[NewSearch]) -> sqlx::Result<Vec<(i64, i32)>> {
    let urls: Vec<String> = new.iter().map(|s| s.url.clone()).collect();
    let keys: Vec<String> = new.iter().map(|s| s.key.clone()).collect();
    let types: Vec<String> = new.iter().map(|s| s.search.resource_type.clone()).collect();
    let searches: Vec<serde_json::Value> = new.iter().map(|s| json(&s.search)).collect::<sqlx::Result<_>>()?;
    let rows = sqlx::query!(
        r#"WITH known AS (SELECT coalesce(max(n), 0) AS n FROM bulkhead.export_files WHERE export_id = $1)
           INSERT INTO bulkhead.export_files (export_id, n, url, url_key, kind, resource_type, requires_token, search)
           SELECT $1, known.n + row_number() OVER (ORDER BY l.place), l.url, l.key, 'output', l.resource_type, true, l.search
             FROM known, unnest($2::text[], $3::text[], $4::text[], $5::jsonb[]) WITH ORDINALITY AS l(url, key, resource_type, search, place)
           ON CONFLICT (export_id, url_key) DO NOTHING
           RETURNING id, n"#,
        export_id,
        &urls,
        &keys,
        &types,
        &searches,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.n)).collect())
}

/// All that an export searches for.
pub async fn all(db: impl PgExecutor<'_>, export_id: Uuid) -> sqlx::Result<Vec<Search>> {
    let searches = sqlx::query_scalar!(
        r#"SELECT search AS "search!" FROM bulkhead.export_files WHERE export_id = $1 AND search IS NOT NULL ORDER BY n"#,
        export_id
    )
    .fetch_all(db)
    .await?;
    searches.into_iter().map(|search| serde_json::from_value(search).map_err(|e| sqlx::Error::Decode(e.into()))).collect()
}

/// What is searched for, and where it stands; `None` for a file that is no search.
pub async fn get(db: impl PgExecutor<'_>, file_id: i64) -> sqlx::Result<Option<(Search, Cursor)>> {
    let row = sqlx::query!("SELECT search, cursor FROM bulkhead.export_files WHERE id = $1", file_id).fetch_optional(db).await?;
    let Some((Some(search), cursor)) = row.map(|row| (row.search, row.cursor)) else { return Ok(None) };
    let decode = |e: serde_json::Error| sqlx::Error::Decode(e.into());
    let cursor = cursor.map(serde_json::from_value).transpose().map_err(decode)?.unwrap_or_default();
    Ok(Some((serde_json::from_value(search).map_err(decode)?, cursor)))
}

/// It stands here now.
pub async fn set_cursor(db: &mut PgConnection, file_id: i64, cursor: &Cursor) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.export_files SET cursor = $2, expected_count = $3 WHERE id = $1",
        file_id,
        json(cursor)?,
        cursor.seen.expected()
    )
    .execute(db)
    .await?;
    Ok(())
}

/// It asks for less from now on, and begins anew.
pub async fn narrow(db: &mut PgConnection, file_id: i64, search: &Search) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE bulkhead.export_files SET search = $2, cursor = NULL, expected_count = NULL WHERE id = $1",
        file_id,
        json(search)?
    )
    .execute(db)
    .await?;
    Ok(())
}

/// It holds resources of other types too: nobody may take its type for granted.
pub async fn set_mixed(db: &mut PgConnection, file_id: i64) -> sqlx::Result<()> {
    sqlx::query!("UPDATE bulkhead.export_files SET resource_type = NULL WHERE id = $1", file_id).execute(db).await?;
    Ok(())
}
