//! Every page that people can open, in one place: walked by the tests, photographed by the screenshots.

use sqlx::PgPool;

use crate::mix::Mix;

/// A page.
#[derive(Debug, Clone)]
pub struct Place {
    /// Of a file with its picture.
    pub name: &'static str,
    /// As the server's table has it.
    pub route: &'static str,
    pub path: String,
    /// Of the answer.
    pub status: u16,
    /// Nobody needs to be logged in, and nobody is.
    pub outside: bool,
}

impl Place {
    fn of(name: &'static str, route: &'static str, path: impl Into<String>) -> Self {
        Self { name, route, path: path.into(), status: 200, outside: false }
    }
}

/// With nothing exported yet.
pub fn empty() -> Vec<Place> {
    [("exports-empty", "/exports"), ("data-empty", "/data")].into_iter().map(|(name, route)| Place::of(name, route, route)).collect()
}

/// With exports in every state.
///
/// # Panics
/// If there is no data.
pub async fn filled(pool: &PgPool, mix: &Mix) -> Vec<Place> {
    let first = mix.completed[0];
    let patient: String = sqlx::query_scalar("SELECT id FROM fhir.patients WHERE etl_job_id = $1 ORDER BY id LIMIT 1")
        .bind(first)
        .fetch_one(pool)
        .await
        .expect("a patient");
    let compared = mix.completed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let not_found = Place { status: 404, ..Place::of("not-found", "", "/nowhere") };
    let login = Place { outside: true, ..Place::of("login", "/login", "/login?back=%2Fexports") };
    vec![
        login,
        not_found,
        Place::of("exports", "/exports", "/exports"),
        Place::of("data-choose", "/data", "/data"),
        Place::of("data", "/data", format!("/data?etl_job_id={first}")),
        Place::of("data-women", "/data", format!("/data?etl_job_id={first}&gender=female&by=quarter")),
        Place::of("data-compared", "/data", format!("/data?etl_job_id={compared}")),
        Place::of("data-loading", "/data", format!("/data?etl_job_id={}", mix.running)),
        Place::of("resources", "/data/{job_id}/resources", format!("/data/{first}/resources?type=Condition")),
        Place::of("resource", "/data/{job_id}/resources/{resource_type}/{id}", format!("/data/{first}/resources/Patient/{patient}")),
    ]
}
