//! The careful way: rows go to a staging table, halved around what Postgres refuses until the single line is found; then they
//! are merged, the newer version of a resource winning.

use bulkhead_shared::db::rejected_lines::Rejected;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    copy::{self, Target},
    guard::Row,
};

/// What a careful load did.
#[derive(Debug, Default)]
pub struct Merged {
    /// Resources that were not there before.
    pub added: i64,
    pub rejected: Vec<Rejected>,
}

/// Loads rows of one table. Inside a transaction; one careful load of an (export, table) at a time.
pub async fn load(db: &mut PgConnection, target: Target<'_>, rows: &[&Row<'_>]) -> sqlx::Result<Merged> {
    let table = target.table;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || $2, 3))")
        .bind(target.export_id.to_string())
        .bind(table.name)
        .execute(&mut *db)
        .await?;
    let staging = format!("pg_temp.staging_{}", table.name);
    execute(db, format!("CREATE TEMP TABLE staging_{} (line bigint, {}) ON COMMIT DROP", table.name, table.definitions())).await?;
    let mut rejected = Vec::new();
    stage(db, Target { staging: Some(&staging), ..target }, rows, &mut rejected).await?;
    let columns = table.columns();
    let key = table.key();
    let key_columns: Vec<&str> = key.split(", ").collect();
    let updates: Vec<String> = columns.split(", ").filter(|c| !key_columns.contains(c)).map(|c| format!("{c} = excluded.{c}")).collect();
    let sql = format!(
        "WITH merged AS (
             INSERT INTO fhir.{name} AS present ({columns})
             SELECT {columns} FROM (SELECT DISTINCT ON ({key}) * FROM {staging} ORDER BY {key}, last_updated DESC NULLS LAST, line DESC) newest
             ON CONFLICT ({key}) DO UPDATE SET {sets}
              WHERE present.last_updated IS NULL OR excluded.last_updated >= present.last_updated
             RETURNING present.xmax = 0 AS is_new)
         SELECT count(*) FILTER (WHERE is_new) FROM merged",
        name = table.name,
        sets = updates.join(", ")
    );
    let added: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await?;
    Ok(Merged { added, rejected })
}

/// Copies into the staging table; what is refused is halved, around a savepoint, until one line is left.
async fn stage(db: &mut PgConnection, target: Target<'_>, rows: &[&Row<'_>], rejected: &mut Vec<Rejected>) -> sqlx::Result<()> {
    let mut pieces = vec![rows];
    while let Some(piece) = pieces.pop() {
        if piece.is_empty() {
            continue;
        }
        execute(db, "SAVEPOINT piece".to_owned()).await?;
        let Err(error) = copy::rows(db, target, piece).await else {
            execute(db, "RELEASE SAVEPOINT piece".to_owned()).await?;
            continue;
        };
        let Some(reason) = refusal(&error) else { return Err(error) };
        execute(db, "ROLLBACK TO SAVEPOINT piece".to_owned()).await?;
        execute(db, "RELEASE SAVEPOINT piece".to_owned()).await?;
        if let [row] = piece {
            rejected.push(Rejected { line: row.line, reason, bytes: row.text.to_vec(), byte_start: row.byte_start });
        } else {
            let (first, second) = piece.split_at(piece.len() / 2);
            pieces.push(second);
            pieces.push(first);
        }
    }
    Ok(())
}

/// Postgres refused the data, not the statement: data exceptions, program limits. Its message may quote the data, so
/// only the code is kept.
pub fn refusal(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    let words = match code.as_ref() {
        "22P02" => "not valid JSON to Postgres",
        "22P05" => "a character that Postgres cannot store",
        "22021" => "bytes that are not UTF-8",
        "22003" => "a number out of Postgres' range",
        "54001" => "nested too deeply for Postgres",
        "54000" => "too large for Postgres",
        _ if code.starts_with("22") || code.starts_with("54") => "Postgres refused it",
        _ => return None,
    };
    Some(format!("{words} (SQLSTATE {code})"))
}

async fn execute(db: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    sqlx::query(AssertSqlSafe(sql)).execute(db).await?;
    Ok(())
}
