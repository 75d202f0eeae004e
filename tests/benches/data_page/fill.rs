//! Exports that ended before anybody summed up, by plain SQL: of each 500 rows one person, 60 encounters, 40 conditions, 60 prescriptions,
//! the rest observations. Few codes are frequent and many are rare; what a person has does not depend on their number.

use bulkhead_tests::App;
use uuid::Uuid;

/// The n-th export, of a Group of its own.
pub fn job(n: usize) -> Uuid {
    format!("00000000-0000-7000-8000-{:012}", n + 1).parse().expect("a UUID")
}

/// The id of a person of an export.
pub const PERSON: &str = "md5((n % {people})::text)";

pub async fn fill(app: &App, jobs: &[usize]) {
    let source = job(0);
    app.sql(&format!(
        "INSERT INTO bulkhead.sources (id, identity, base_url, auth) VALUES ('{source}', 'bench', 'http://127.0.0.1:9/fhir', 'open')"
    ))
    .await;
    for (n, rows) in jobs.iter().enumerate() {
        let job = job(n);
        app.sql(&format!(
            "INSERT INTO bulkhead.exports (id, source_id, level, group_id, same_as, state, manifest_pages, manifest_complete, finished_at)
             VALUES ('{job}', '{source}', 'group', 'bench {n}', '', 'completed', 1, true, clock_timestamp())"
        ))
        .await;
        for sql in statements(job, *rows) {
            app.sql(&sql).await;
        }
    }
    // As autovacuum does it, sooner or later.
    app.sql("ANALYZE").await;
}

fn statements(job: Uuid, rows: usize) -> Vec<String> {
    let people = rows / 500;
    let code = |prefix: &str, codes: usize| format!("'{prefix}' || (power((n::bigint * 7919 % 100003) / 100003.0, 3) * {codes})::int");
    let time = "timestamptz '1990-01-01' + (n::bigint * 104729 % 12000) * interval '1 day'";
    let table = |table: &str, kind: &str, rows: usize, columns: &str, values: &str| {
        format!(
            "INSERT INTO fhir.{table} (etl_job_id, id, part_id, patient_id, {columns}, resource)
             SELECT '{job}', lpad(n::text, 9, '0'), n / 80000, {PERSON}, {values},
                    jsonb_build_object('resourceType', '{kind}', 'id', lpad(n::text, 9, '0'), 'status', 'final', 'text', repeat(md5(n::text), 12),
                        'subject', jsonb_build_object('reference', 'Patient/' || {PERSON}))
               FROM generate_series(0, {rows} - 1) n"
        )
        .replace("{people}", &people.to_string())
    };
    vec![
        table(
            "patients",
            "Patient",
            people,
            "gender, birth_date",
            "(ARRAY['male', 'female'])[1 + n % 2], date '1930-01-01' + (n::bigint * 7919 % 33000)::int",
        ),
        table(
            "encounters",
            "Encounter",
            people * 60,
            "class, period_start",
            &format!("(ARRAY['AMB', 'WELLNESS', 'EMER', 'IMP'])[1 + (n::bigint * 31 % 97 % 4)::int], {time}"),
        ),
        table("conditions", "Condition", people * 40, "code, display, onset", &format!("{}, 'A condition', {time}", code("c", 250))),
        table(
            "medication_requests",
            "MedicationRequest",
            people * 60,
            "code, display, authored_on",
            &format!("{}, 'A medication', {time}", code("m", 180)),
        ),
        table(
            "observations",
            "Observation",
            rows - people * 161,
            "code, display, value, unit, effective",
            &format!("{}, 'An observation', 20 + (n::bigint * 15485863 % 10007) / 100.0, 'mm[Hg]', {time}", code("o", 160)),
        ),
    ]
}
