//! The same numbers by plain SQL over the resources themselves: the reference.

use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

/// The code of a concept: its first coding that has one, else its text.
fn code(concept: &str) -> String {
    format!(
        "coalesce((SELECT c.value->>'code' FROM jsonb_array_elements({concept}->'coding') WITH ORDINALITY c(value, n)
                    WHERE c.value->>'code' IS NOT NULL ORDER BY n LIMIT 1), {concept}->'coding'->0->>'display', {concept}->>'text')"
    )
}

/// Days as the loader reads them: in UTC, a partial one is its first.
fn day(text: &str) -> String {
    format!(
        "CASE length({text}) WHEN 4 THEN ({text} || '-01-01')::date WHEN 7 THEN ({text} || '-01')::date
                             ELSE (({text})::timestamptz AT TIME ZONE 'UTC')::date END"
    )
}

/// Left out: what its server says is not so.
fn so(table: &str) -> &'static str {
    match table {
        "conditions" => "coalesce(resource->'verificationStatus'->'coding'->0->>'code', '') NOT IN ('refuted', 'entered-in-error')",
        _ => "coalesce(resource->>'status', '') NOT IN ('cancelled', 'entered-in-error')",
    }
}

/// What was picked, as (name, value).
pub type Picks<'a> = &'a [(&'a str, &'a str)];

/// The ids of the people who meet all filters but those of some names. `None`: nothing is filtered.
fn chosen(job: Uuid, picks: Picks<'_>, but: &[&str]) -> Option<String> {
    let of = |name: &str| -> Vec<&str> { picks.iter().filter(|(n, _)| *n == name && !but.contains(n)).map(|(_, value)| *value).collect() };
    let any = |what: &str, values: &[&str]| {
        let each = values.iter().map(|v| if v.is_empty() { format!("{what} IS NULL") } else { format!("{what} = '{v}'") });
        format!("({})", each.collect::<Vec<_>>().join(" OR "))
    };
    let mut sets = Vec::new();
    if !of("gender").is_empty() {
        sets.push(format!("SELECT patient_id FROM patients WHERE etl_job_id = '{job}' AND {}", any("resource->>'gender'", &of("gender"))));
    }
    for age in of("age") {
        let years = age_sql(job);
        let (from, to) = age.split_once('-').unwrap_or_default();
        let fits = if age.is_empty() {
            format!("{years} IS NULL")
        } else {
            format!("{years} BETWEEN {from} AND {}", if to.is_empty() { "999" } else { to })
        };
        sets.push(format!("SELECT patient_id FROM patients WHERE etl_job_id = '{job}' AND {fits}"));
    }
    for (name, table, concept) in [
        ("condition", "conditions", "resource->'code'"),
        ("observation", "observations", "resource->'code'"),
        ("medication", "medication_requests", "resource->'medicationCodeableConcept'"),
    ] {
        if !of(name).is_empty() {
            let has = any(&code(concept), &of(name));
            sets.push(format!("SELECT patient_id FROM {table} WHERE etl_job_id = '{job}' AND {} AND {has}", so(table)));
        }
    }
    if !of("class").is_empty() || !of("period").is_empty() {
        let begin = day("(resource->'period'->>'start')");
        let class = if of("class").is_empty() { "true".to_owned() } else { any("resource->'class'->>'code'", &of("class")) };
        let year = of("period").first().map_or_else(|| "true".to_owned(), |year| format!("extract(year FROM {begin}) = {year}"));
        sets.push(format!("SELECT patient_id FROM encounters WHERE etl_job_id = '{job}' AND {} AND {class} AND {year}", so("encounters")));
    }
    if let Some(kind) = of("resource_type").first() {
        let table = bulkhead_shared::domain::resource::table_of(kind);
        sets.push(format!("SELECT patient_id FROM {table} WHERE etl_job_id = '{job}'"));
    }
    (!sets.is_empty()).then(|| sets.into_iter().map(|set| format!("({set})")).collect::<Vec<_>>().join(" INTERSECT "))
}

/// Completed years when the server took its data, or at death.
fn age_sql(job: Uuid) -> String {
    let (birth, death) = (day("(resource->>'birthDate')"), day("(resource->>'deceasedDateTime')"));
    format!(
        "extract(year FROM age(least((SELECT left(transaction_time, 10)::date FROM exports WHERE id = '{job}'), {death}), {birth}))::int"
    )
}

/// ` AND patient_id IN (...)`, where something is filtered.
fn only(job: Uuid, picks: Picks<'_>, but: &[&str]) -> String {
    chosen(job, picks, but).map(|sql| format!(" AND patient_id IN ({sql})")).unwrap_or_default()
}

async fn rows(pool: &PgPool, sql: String) -> Vec<Vec<String>> {
    let found: Vec<Vec<Option<String>>> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT ARRAY[{sql}")))
        .fetch_all(pool)
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
    let mut rows: Vec<Vec<String>> =
        found.into_iter().map(|row| row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect()).collect();
    rows.sort();
    rows
}

/// code, people, records.
pub async fn coded(pool: &PgPool, job: Uuid, picks: Picks<'_>, chart: &str) -> Vec<Vec<String>> {
    let (table, concept, own) = match chart {
        "conditions" => ("conditions", "resource->'code'", "condition"),
        "observations" => ("observations", "resource->'code'", "observation"),
        _ => ("medication_requests", "resource->'medicationCodeableConcept'", "medication"),
    };
    let code = code(concept);
    let only = only(job, picks, &[own]);
    rows(pool, format!("code, count(DISTINCT patient_id)::text, count(*)::text] FROM (SELECT {code} AS code, patient_id FROM {table} WHERE etl_job_id = '{job}' AND {}{only}) x GROUP BY code", so(table))).await
}

/// gender, from, to, people; in bands of ten years.
pub async fn people(pool: &PgPool, job: Uuid, picks: Picks<'_>) -> Vec<Vec<String>> {
    let only = only(job, picks, &["gender", "age"]);
    let age = age_sql(job);
    rows(
        pool,
        format!(
            "gender, CASE WHEN age >= 100 THEN '100' ELSE (age / 10 * 10)::text END, CASE WHEN age < 100 THEN (age / 10 * 10 + 9)::text END, count(*)::text]
               FROM (SELECT resource->>'gender' AS gender, {age} AS age FROM patients WHERE etl_job_id = '{job}'{only}) x
              GROUP BY gender, CASE WHEN age >= 100 THEN '100' ELSE (age / 10 * 10)::text END, CASE WHEN age < 100 THEN (age / 10 * 10 + 9)::text END"
        ),
    )
    .await
}

/// period, class, records.
pub async fn encounters(pool: &PgPool, job: Uuid, picks: Picks<'_>, by: &str) -> Vec<Vec<String>> {
    let format = match by {
        "month" => "YYYY-MM",
        "quarter" => "YYYY-\"Q\"Q",
        _ => "YYYY",
    };
    let only = only(job, picks, &["class", "period"]);
    let day = day("(resource->'period'->>'start')");
    rows(
        pool,
        format!(
            "period, class, count(*)::text] FROM (SELECT to_char({day}, '{format}') AS period, resource->'class'->>'code' AS class
               FROM encounters WHERE etl_job_id = '{job}' AND {}{only}) x GROUP BY period, class",
            so("encounters")
        ),
    )
    .await
}

/// resource type, people, records.
pub async fn resources(pool: &PgPool, job: Uuid, picks: Picks<'_>) -> Vec<Vec<String>> {
    let only = only(job, picks, &["resource_type"]);
    let mut all = Vec::new();
    for (table, _) in bulkhead_tests::rows::counts(pool, job).await {
        all.extend(
            rows(
                pool,
                format!(
                    "type, count(DISTINCT patient_id)::text, count(*)::text] FROM (SELECT resource->>'resourceType' AS type, patient_id
                       FROM {table} WHERE etl_job_id = '{job}'{only}) x GROUP BY type"
                ),
            )
            .await,
        );
    }
    all.sort();
    all
}

/// Those who meet all filters, of those there are.
pub async fn totals(pool: &PgPool, job: Uuid, picks: Picks<'_>) -> (i64, i64) {
    let tables = bulkhead_tests::rows::counts(pool, job).await;
    let everybody =
        tables.iter().map(|(table, _)| format!("SELECT patient_id FROM {table} WHERE etl_job_id = '{job}' AND patient_id IS NOT NULL"));
    let everybody = everybody.collect::<Vec<_>>().join(" UNION ");
    let chosen = chosen(job, picks, &[]).unwrap_or_else(|| everybody.clone());
    sqlx::query_as(AssertSqlSafe(format!(
        "SELECT (SELECT count(*) FROM ({everybody}) x), (SELECT count(*) FROM (({chosen}) INTERSECT ({everybody})) x)"
    )))
    .fetch_one(pool)
    .await
    .expect("counts")
}

/// The values of an observation and of its parts, of the people who meet the other filters.
fn values(job: Uuid, picks: Picks<'_>, code_wanted: &str) -> String {
    let only = only(job, picks, &["observation"]);
    let (code, part, day) = (code("resource->'code'"), code("c->'code'"), day("(resource->>'effectiveDateTime')"));
    let rows = format!("observations WHERE etl_job_id = '{job}' AND {} AND {code} = '{code_wanted}'{only}", so("observations"));
    let number = |of: &str| {
        format!(
            "({of}->'valueQuantity'->>'value')::float8 AS value, coalesce({of}->'valueQuantity'->>'unit', {of}->'valueQuantity'->>'code') AS unit"
        )
    };
    format!(
        "SELECT day, part, value, unit FROM (
             SELECT {day} AS day, NULL AS part, {} FROM {rows}
             UNION ALL
             SELECT {day}, coalesce(c->'code'->'coding'->0->>'display', c->'code'->>'text', {part}), {}
               FROM (SELECT resource, jsonb_array_elements(resource->'component') AS c FROM {rows}) x) y
          WHERE value IS NOT NULL",
        number("resource"),
        number("c")
    )
}

/// A bar: part, unit, and from where to where.
pub type Bar<'a> = (Option<&'a str>, Option<&'a str>, Option<f64>, Option<f64>);

/// How many values are in a bar.
pub async fn in_bar(pool: &PgPool, job: Uuid, picks: Picks<'_>, code: &str, (part, unit, from, to): Bar<'_>) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM ({}) x WHERE unit IS NOT DISTINCT FROM $1 AND part IS NOT DISTINCT FROM $2
                                       AND ($3::float8 IS NULL OR value >= $3) AND ($4::float8 IS NULL OR value < $4)",
        values(job, picks, code)
    );
    sqlx::query_scalar(AssertSqlSafe(sql)).bind(unit).bind(part).bind(from).bind(to).fetch_one(pool).await.expect("a count")
}

/// Part, unit and year; records; mean, lowest, quartiles and highest.
#[derive(sqlx::FromRow)]
pub struct Trend {
    pub part: Option<String>,
    pub unit: Option<String>,
    pub year: Option<String>,
    pub records: i64,
    pub numbers: Vec<f64>,
}

pub async fn trend(pool: &PgPool, job: Uuid, picks: Picks<'_>, code: &str) -> Vec<Trend> {
    let sql = format!(
        "SELECT part, unit, to_char(day, 'YYYY') AS year, count(*) AS records,
                ARRAY[avg(value), min(value)] || percentile_cont(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY value) || ARRAY[max(value)] AS numbers
           FROM ({}) x GROUP BY 1, 2, 3 ORDER BY unit COLLATE \"C\" NULLS FIRST, part COLLATE \"C\" NULLS FIRST, 3 NULLS FIRST",
        values(job, picks, code)
    );
    sqlx::query_as(AssertSqlSafe(sql)).fetch_all(pool).await.expect("values")
}
