//! The careful way: chunks go to a staging table, halved around what Postgres refuses until the single line is found; then they
//! are merged, the newer version of a resource winning.

use std::{collections::BTreeSet, ops::Range};

use bulkhead_shared::db::rejected_lines::{self, Rejected};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::{
    chunk::Chunk,
    copy::Copy,
    fast::{Added, count},
    prepare::{Preparation, Prepared},
    table::Table,
};

/// Loads a part inside a transaction; one careful load of an (export, table) at a time.
pub async fn load(db: &mut PgConnection, preparation: &mut Preparation, export_id: Uuid, part_id: i64) -> sqlx::Result<Added> {
    let mut added = Added::default();
    let mut tables = BTreeSet::new();
    while let Some(prepared) = preparation.ready.recv().await {
        let rejected = match prepared {
            Prepared::Rows(chunk) => {
                if tables.insert(chunk.table) {
                    prepare_staging(db, export_id, chunk.table).await?;
                }
                let refused = stage(db, &chunk).await?;
                added.lines += count(chunk.len() - refused.len());
                refused
            }
            Prepared::Rejected(lines) => lines,
        };
        added.refuse(rejected.len());
        rejected_lines::add(db, export_id, part_id, &rejected).await?;
    }
    for table in tables {
        added.rows += merge(db, table).await?;
    }
    Ok(added)
}

fn staging(table: Table) -> String {
    format!("pg_temp.staging_{}", table.name)
}

async fn prepare_staging(db: &mut PgConnection, export_id: Uuid, table: Table) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || $2, 3))")
        .bind(export_id.to_string())
        .bind(table.name)
        .execute(&mut *db)
        .await?;
    execute(db, format!("CREATE TEMP TABLE staging_{} (line bigint, {}) ON COMMIT DROP", table.name, table.definitions())).await
}

/// Copies into the staging table; what is refused is halved, around a savepoint, until one line is left. Returns those lines.
async fn stage(db: &mut PgConnection, chunk: &Chunk) -> sqlx::Result<Vec<Rejected>> {
    let mut rejected = Vec::new();
    let mut pieces: Vec<Range<usize>> = Vec::new();
    pieces.push(0..chunk.len());
    while let Some(piece) = pieces.pop() {
        execute(db, "SAVEPOINT piece".to_owned()).await?;
        let Err(error) = copy(db, chunk, piece.clone()).await else {
            execute(db, "RELEASE SAVEPOINT piece".to_owned()).await?;
            continue;
        };
        let Some(reason) = refusal(&error) else { return Err(error) };
        execute(db, "ROLLBACK TO SAVEPOINT piece".to_owned()).await?;
        execute(db, "RELEASE SAVEPOINT piece".to_owned()).await?;
        if piece.len() == 1 {
            rejected.push(chunk.rejected(piece.start, reason));
        } else {
            let middle = piece.start + piece.len() / 2;
            pieces.push(middle..piece.end);
            pieces.push(piece.start..middle);
        }
    }
    Ok(rejected)
}

async fn copy(db: &mut PgConnection, chunk: &Chunk, rows: Range<usize>) -> sqlx::Result<()> {
    let mut copy = Copy::into_staging(db, &staging(chunk.table), chunk.table).await?;
    copy.send(chunk, rows).await?;
    copy.finish().await?;
    Ok(())
}

/// From the staging table to its FHIR table. Returns how many resources were not there before.
async fn merge(db: &mut PgConnection, table: Table) -> sqlx::Result<i64> {
    let columns = table.columns();
    let key = table.key();
    let key_columns: Vec<&str> = key.split(", ").collect();
    let updates: Vec<String> = columns.split(", ").filter(|c| !key_columns.contains(c)).map(|c| format!("{c} = excluded.{c}")).collect();
    let sql = format!(
        "WITH merged AS (
             INSERT INTO fhir.{name} AS present ({columns})
             SELECT {columns} FROM (SELECT DISTINCT ON ({key}) * FROM {staging} ORDER BY {key}, {subsetted}, last_updated DESC NULLS LAST, line DESC) newest
             ON CONFLICT ({key}) DO UPDATE SET {sets}
              WHERE ({present}) > ({excluded}) OR (({present}) = ({excluded})
                AND (present.last_updated IS NULL OR excluded.last_updated >= present.last_updated))
             RETURNING present.xmax = 0 AS is_new)
         SELECT count(*) FILTER (WHERE is_new) FROM merged",
        name = table.name,
        staging = staging(table),
        sets = updates.join(", "),
        subsetted = subsetted("resource"),
        present = subsetted("present.resource"),
        excluded = subsetted("excluded.resource"),
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await
}

/// Whether a resource is not whole (FHIR R4, "Summary"): it never replaces one that is.
fn subsetted(resource: &str) -> String {
    format!("coalesce({resource} #> '{{meta,tag}}' @> '[{{\"code\":\"SUBSETTED\"}}]', false)")
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
