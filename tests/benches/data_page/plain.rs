//! The page's charts by plain SQL over the resources, one statement each: what the page would cost without summaries.

use std::time::Instant;

use bulkhead_tests::App;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

/// Milliseconds of all charts together, one after the other; of the people that `who` chooses, an SQL condition over patients.
pub async fn all_charts(app: &App, job: Uuid, who: Option<&str>) -> f64 {
    let only = who.map_or_else(String::new, |who| {
        format!(" AND patient_id IN (SELECT patient_id FROM fhir.patients WHERE etl_job_id = '{job}' AND {who})")
    });
    let began = Instant::now();
    for (what, table, group) in [
        ("code, count(DISTINCT patient_id), count(*)", "conditions", "GROUP BY code"),
        ("code, count(DISTINCT patient_id), count(*)", "observations", "GROUP BY code"),
        ("code, count(DISTINCT patient_id), count(*)", "medication_requests", "GROUP BY code"),
        ("extract(year FROM period_start AT TIME ZONE 'UTC') AS year, class, count(*)", "encounters", "GROUP BY 1, 2"),
        ("gender, extract(year FROM age(current_date, birth_date))::int / 10 AS band, count(*)", "patients", "GROUP BY 1, 2"),
        ("count(DISTINCT patient_id), count(*)", "encounters", ""),
        (
            "unit, extract(year FROM effective AT TIME ZONE 'UTC') AS year, count(*), avg(value), percentile_cont(ARRAY[0, 0.25, 0.5, 0.75, 1]) WITHIN GROUP (ORDER BY value)",
            "observations",
            "AND code = 'o0' GROUP BY 1, 2",
        ),
    ] {
        let sql = format!("SELECT {what} FROM fhir.{table} WHERE etl_job_id = '{job}'{only} {group}");
        sqlx::query(AssertSqlSafe(sql)).fetch_all(&app.pool).await.expect("rows");
    }
    began.elapsed().as_secs_f64() * 1000.0
}
