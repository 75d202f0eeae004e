//! What people use: psql's `\copy` of a TSV that is ready, and Python's psycopg2.

use std::{
    collections::HashMap,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use bulkhead_tests::Database;
use futures::TryStreamExt as _;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::Shape;

pub const SAME: &str = "psql \\copy, same definition";
pub const DEFAULT: &str = "psql \\copy, default table";
pub const PYTHON: &str = "psycopg2 execute_values, same definition";

/// What people write, kindly: NDJSON line by line, the same columns, the line itself as the resource, `execute_values` as its
/// documentation shows it, one transaction.
const SCRIPT: &str = r"
import sys, json, psycopg2
from psycopg2.extras import execute_values
ndjson, table, columns, export, dsn = sys.argv[1:6]
def value(column, r, line):
    code = lambda: (r.get('code') or {}).get('coding', [{}])[0]
    quantity = lambda: r.get('valueQuantity') or {}
    return {
        'etl_job_id': lambda: export, 'id': lambda: r['id'], 'part_id': lambda: 0,
        'patient_id': lambda: (r.get('subject') or r.get('patient') or {}).get('reference', '/').split('/')[1],
        'last_updated': lambda: (r.get('meta') or {}).get('lastUpdated'),
        'code': lambda: code().get('code'), 'display': lambda: code().get('display'),
        'value': lambda: quantity().get('value'), 'unit': lambda: quantity().get('unit'),
        'effective': lambda: r.get('effectiveDateTime'), 'resource': lambda: line,
    }[column]()
names = columns.split(', ')
def rows():
    with open(ndjson, encoding='utf-8') as lines:
        for line in lines:
            r = json.loads(line)
            yield [value(name, r, line) for name in names]
db = psycopg2.connect(dsn)
with db, db.cursor() as cursor:
    execute_values(cursor, f'INSERT INTO {table} ({columns}) VALUES %s', rows())
";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opponent {
    Same,
    Default,
    Python,
}

impl Opponent {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Same => SAME,
            Self::Default => DEFAULT,
            Self::Python => PYTHON,
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Self::Same | Self::Python => "public.bench_same",
            Self::Default => "public.bench_default",
        }
    }
}

/// Their tables and their input.
pub struct Opponents<'d> {
    database: &'d Database,
    table: &'static str,
    columns: String,
    tsv: PathBuf,
    dsn: String,
    export_id: Uuid,
    python: bool,
    /// Rows of the input.
    pub lines: usize,
}

impl<'d> Opponents<'d> {
    /// Computes the TSV, in the order of the file.
    pub async fn prepare(database: &'d Database, shape: Shape, ndjson: &Path, export_id: Uuid) -> Self {
        let table = shape.table();
        let columns: Vec<(String, String)> = sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, NULL) FROM pg_attribute
              WHERE attrelid = ('fhir.' || $1)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        )
        .bind(table)
        .fetch_all(&database.pool)
        .await
        .expect("a catalogue");
        let defaults: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        execute(
            database,
            format!(
                "CREATE TABLE public.bench_same (LIKE fhir.{table} INCLUDING ALL);
                 CREATE TABLE public.bench_default ({}, PRIMARY KEY (etl_job_id, id))",
                defaults.join(", ")
            ),
        )
        .await;
        let columns = columns.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
        let tsv = ndjson.with_extension("tsv");
        let dsn = database.url.clone();
        let mut opponents = Self { database, table, columns, tsv, dsn, export_id, python: false, lines: 0 };
        opponents.write_tsv(ndjson).await;
        let importable = Command::new("python3").args(["-c", "import psycopg2"]).stderr(Stdio::null()).status();
        opponents.python = importable.is_ok_and(|status| status.success());
        if !opponents.python {
            println!("python3 with psycopg2 is not on this machine: it does not run");
        }
        opponents
    }

    pub fn all(&self) -> impl Iterator<Item = Opponent> + use<> {
        let python = self.python.then_some(Opponent::Python);
        [Opponent::Same, Opponent::Default].into_iter().chain(python)
    }

    /// Seconds of the whole process.
    pub async fn run(&self, opponent: Opponent) -> f64 {
        let table = opponent.table();
        execute(self.database, format!("TRUNCATE {table}")).await;
        self.database.checkpoint().await;
        let tsv = self.tsv.display().to_string();
        let mut command = if opponent == Opponent::Python {
            let mut python = Command::new("python3");
            let ndjson = self.tsv.with_extension("ndjson").display().to_string();
            python.args(["-c", SCRIPT, &ndjson, table, &self.columns, &self.export_id.to_string(), &self.dsn]);
            python
        } else {
            let mut psql = Command::new("psql");
            psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &self.dsn, "-c"]);
            psql.arg(format!("\\copy {table} ({}) from '{tsv}'", self.columns));
            psql
        };
        let began = Instant::now();
        let status = tokio::task::spawn_blocking(move || command.status()).await.expect("a thread").expect("the opponent starts");
        assert!(status.success(), "{opponent:?} failed");
        began.elapsed().as_secs_f64()
    }

    /// Sorted, all columns: what we loaded is what psql loaded.
    pub async fn assert_same_rows(&self) {
        let columns = self.columns.replace("part_id, ", "");
        let md5 = |table: &str| {
            let sql = format!("SELECT md5(string_agg(md5(({columns})::text), '' ORDER BY id COLLATE \"C\")) FROM {table}");
            sqlx::query_scalar::<_, Option<String>>(AssertSqlSafe(sql)).fetch_one(&self.database.pool)
        };
        let (ours, theirs) = (md5(&format!("fhir.{}", self.table)).await, md5("public.bench_same").await);
        let (ours, theirs) = (ours.expect("our rows"), theirs.expect("psql's rows"));
        assert!(ours.is_some() && ours == theirs, "not the same rows: {ours:?} {theirs:?}");
    }

    /// The computed columns are taken from Postgres' own casts of the resource, not from our loader.
    async fn write_tsv(&mut self, ndjson: &Path) {
        let text = std::fs::read_to_string(ndjson).expect("the input");
        let computed = self.computed(&text).await;
        self.lines = computed.len();
        let mut out = std::io::BufWriter::new(std::fs::File::create(&self.tsv).expect("a file"));
        for line in text.lines() {
            let id = line.split_once("\"id\":\"").and_then(|(_, rest)| rest.split_once('"')).expect("an id").0;
            writeln!(out, "{}\t{}", computed[id], line.replace('\\', "\\\\")).expect("room on the disk");
        }
        out.flush().expect("room on the disk");
    }

    /// id -> the columns before the resource, in COPY's text format.
    async fn computed(&self, text: &str) -> HashMap<String, String> {
        execute(self.database, "CREATE UNLOGGED TABLE public.bench_raw (j jsonb)".to_owned()).await;
        let mut raw = self.database.pool.acquire().await.expect("a connection");
        let mut copy = raw.copy_in_raw("COPY public.bench_raw FROM STDIN").await.expect("a COPY");
        for piece in text.as_bytes().chunks(1 << 20) {
            let piece = String::from_utf8_lossy(piece).replace('\\', "\\\\");
            copy.send(piece.as_bytes()).await.expect("rows");
        }
        copy.finish().await.expect("rows");
        let columns: Vec<&str> = self.columns.split(", ").filter(|column| *column != "resource").map(expression).collect();
        let sql =
            format!("COPY (SELECT {} FROM public.bench_raw) TO STDOUT", columns.join(", ").replace("$export", &self.export_id.to_string()));
        let rows: Vec<u8> = raw
            .copy_out_raw(&sql)
            .await
            .expect("a COPY")
            .try_fold(Vec::new(), |mut all, bytes| async move {
                all.extend_from_slice(&bytes);
                Ok(all)
            })
            .await
            .expect("rows");
        drop(raw);
        execute(self.database, "DROP TABLE public.bench_raw".to_owned()).await;
        let rows = String::from_utf8(rows).expect("UTF-8");
        rows.lines().map(|row| (row.split('\t').nth(1).expect("an id").to_owned(), row.to_owned())).collect()
    }
}

/// A column as Postgres computes it from a resource `j`.
fn expression(column: &str) -> &'static str {
    match column {
        "etl_job_id" => "'$export'",
        "id" => "j->>'id'",
        "part_id" => "0",
        "patient_id" => "coalesce(split_part(j->'subject'->>'reference', '/', 2), split_part(j->'patient'->>'reference', '/', 2))",
        "last_updated" => "(j->'meta'->>'lastUpdated')::timestamptz",
        "code" => "j->'code'->'coding'->0->>'code'",
        "display" => "j->'code'->'coding'->0->>'display'",
        "value" => "(j->'valueQuantity'->>'value')::float8",
        "unit" => "j->'valueQuantity'->>'unit'",
        "effective" => "(j->>'effectiveDateTime')::timestamptz",
        other => panic!("{other}: no expression for this column"),
    }
}

async fn execute(database: &Database, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.expect("SQL");
}
