//! Table `deletions`: what servers say was deleted since the last export. Kept, not applied.

use sqlx::PgConnection;
use uuid::Uuid;

/// One DELETE entry of a Bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    /// As the entry says it.
    pub url: String,
}

/// Keeps the deletions of a part, in place of those an earlier load of it kept.
pub async fn replace(db: &mut PgConnection, export_id: Uuid, part_id: i64, deletions: &[Deletion]) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM bulkhead.deletions WHERE part_id = $1", part_id).execute(&mut *db).await?;
    let types: Vec<Option<String>> = deletions.iter().map(|deletion| deletion.resource_type.clone()).collect();
    let ids: Vec<Option<String>> = deletions.iter().map(|deletion| deletion.resource_id.clone()).collect();
    let urls: Vec<String> = deletions.iter().map(|deletion| deletion.url.clone()).collect();
    sqlx::query!(
        "INSERT INTO bulkhead.deletions (export_id, part_id, resource_type, resource_id, url)
         SELECT $1, $2, d.resource_type, d.resource_id, d.url
           FROM unnest($3::text[], $4::text[], $5::text[]) AS d(resource_type, resource_id, url)",
        export_id,
        part_id,
        &types as &[Option<String>],
        &ids as &[Option<String>],
        &urls
    )
    .execute(db)
    .await?;
    Ok(())
}
