//! What is read of a table's rows, as SQL: whom a record is about, code, display, unit, what it is a part of, whether it is void, day and value.
//! What a server may write in any shape is read by functions that know no error: one odd resource must not spoil a summary.

use bulkhead_shared::domain::summary::Kind;
use uuid::Uuid;

/// The statements of a table, each with what its records are.
pub fn of(table: &str, export_id: Uuid) -> Vec<(Kind, String)> {
    let of_export = format!("r.etl_job_id = '{export_id}'");
    let one = |kind, select: &str| vec![(kind, format!("SELECT {select} FROM fhir.{table} r WHERE {of_export}"))];
    match table {
        // When somebody died is text that Rust reads; empty: they did, nobody says when.
        "patients" => one(
            Kind::Patient,
            "patient_id, gender, NULL, coalesce(resource ->> 'deceasedDateTime', CASE WHEN resource -> 'deceasedBoolean' = 'true' THEN '' END), NULL, false,
             (birth_date - date '1970-01-01')::int4, NULL::float8",
        ),
        "conditions" => one(
            Kind::Condition,
            "patient_id, code, display, NULL, NULL,
             resource ->> 'verificationStatus' IN ('entered-in-error', 'refuted')
             OR jsonb_path_exists(resource, '$.verificationStatus.coding[*].code ? (@ == \"entered-in-error\" || @ == \"refuted\")'), NULL::int4, NULL::float8",
        ),
        "encounters" => {
            let void = "resource ->> 'status' IN ('entered-in-error', 'cancelled', 'planned')";
            one(Kind::Encounter, &format!("patient_id, class, NULL, NULL, NULL, {void}, {}, NULL::float8", day("period_start")))
        }
        "observations" => {
            // A value that is only known to be more or less is none. Whether there are parts is said in their place.
            let select = format!(
                "patient_id, code, display, unit, CASE WHEN resource ? 'component' THEN '' END, {VOID}, {},
                 CASE WHEN resource #> '{{valueQuantity,comparator}}' IS NULL THEN value END",
                day("effective")
            );
            let mut both = one(Kind::Observation, &select);
            both.push((Kind::Component, components(&of_export)));
            both
        }
        "medication_requests" => vec![(Kind::Medication, medications(&of_export))],
        "other_resources" => one(Kind::Resource, "patient_id, resource_type, NULL, NULL, NULL, false, NULL::int4, NULL::float8"),
        _ => one(Kind::Resource, "patient_id, NULL, NULL, NULL, NULL, false, NULL::int4, NULL::float8"),
    }
}

const VOID: &str = "resource ->> 'status' IN ('entered-in-error', 'cancelled')";

fn day(column: &str) -> String {
    format!("(({column} AT TIME ZONE 'UTC')::date - date '1970-01-01')::int4")
}

/// A concept's coding as the loader reads it: the first one with a code, else the first.
fn coding(concept: &str) -> String {
    format!("coalesce(jsonb_path_query_first({concept}, '$.coding[*] ? (exists (@.code))'), {concept} #> '{{coding,0}}')")
}

/// The values of an observation's parts. A number that no double holds is none.
fn components(of_export: &str) -> String {
    let day = day("r.effective");
    let coding = coding("c -> 'code'");
    format!(
        "SELECT r.patient_id, k ->> 'code', coalesce(k ->> 'display', c #>> '{{code,text}}'),
                coalesce(c #>> '{{valueQuantity,unit}}', c #>> '{{valueQuantity,code}}'), coalesce(r.code, r.display), false, {day},
                CASE WHEN abs(v::numeric) < 1e300 AND (v::numeric = 0 OR abs(v::numeric) > 1e-300) THEN v::numeric::float8 END
           FROM fhir.observations r
          CROSS JOIN LATERAL jsonb_path_query(r.resource, '$.component[*] ? (@.valueQuantity.value.type() == \"number\" && !exists(@.valueQuantity.comparator))') c
          CROSS JOIN LATERAL (SELECT {coding} AS k, c #> '{{valueQuantity,value}}' AS v) p
          WHERE {of_export} AND ({VOID}) IS NOT TRUE"
    )
}

/// Prescriptions; of one that only refers to its medication, what that is called: contained, in the same export, or in the reference's own words.
fn medications(of_export: &str) -> String {
    let coding = coding("concept");
    format!(
        "SELECT r.patient_id, coalesce(r.code, m.k ->> 'code'), coalesce(r.display, m.k ->> 'display', m.concept ->> 'text', m.words),
                NULL, NULL, resource ->> 'status' IN ('entered-in-error', 'cancelled', 'draft') OR resource ->> 'intent' IN ('proposal', 'plan', 'option')
                OR resource -> 'doNotPerform' = 'true', NULL::int4, NULL::float8
           FROM fhir.medication_requests r
           LEFT JOIN LATERAL (
               SELECT concept, {coding} AS k, ref ->> 'display' AS words
                 FROM (SELECT coalesce(r.resource -> 'medicationReference', r.resource #> '{{medication,reference}}') AS ref) s
                CROSS JOIN LATERAL (SELECT coalesce(
                    r.resource #> '{{medication,concept}}',
                    jsonb_path_query_first(r.resource, '$.contained[*] ? (@.id == $id).code', jsonb_build_object('id', ltrim(ref ->> 'reference', '#'))),
                    (SELECT d.resource -> 'code' FROM fhir.medications d
                      WHERE d.etl_job_id = r.etl_job_id AND d.id = substring(ref ->> 'reference' FROM 'Medication/([^/]+)'))) AS concept) t) m
             ON r.code IS NULL AND r.display IS NULL
          WHERE {of_export}"
    )
}
