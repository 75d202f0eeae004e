//! Every page that people can open, in one place: walked by the tests, photographed by the screenshots.

use sqlx::PgPool;
use uuid::Uuid;

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
    [
        ("exports-empty", "/exports"),
        ("failures-empty", "/failures"),
        ("queue-empty", "/queue"),
        ("sources-empty", "/sources"),
        ("data-empty", "/data"),
    ]
    .into_iter()
    .map(|(name, route)| Place::of(name, route, route))
    .collect()
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
    let user: Uuid = sqlx::query_scalar("SELECT id FROM bulkhead.users ORDER BY name LIMIT 1").fetch_one(pool).await.expect("a user");
    let source: Uuid =
        sqlx::query_scalar("SELECT source_id FROM bulkhead.exports WHERE id = $1").bind(first).fetch_one(pool).await.expect("a source");
    let compared = mix.completed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let not_found = Place { status: 404, ..Place::of("not-found", "", "/nowhere") };
    let login = Place { outside: true, ..Place::of("login", "/login", "/login?back=%2Fexports") };
    let mut places = vec![
        login,
        not_found,
        Place::of("exports", "/exports", "/exports"),
        Place::of("exports-filtered", "/exports", "/exports?state=failed&reason=incomplete"),
        Place::of("exports-none", "/exports", "/exports?q=nothing-of-this-name"),
        Place::of("exports-retry", "/exports/act", "/exports/act?act=retry&all=1&state=failed"),
        Place::of("exports-delete", "/exports/act", format!("/exports/act?act=delete&export={first}")),
        Place::of("failures", "/failures", "/failures"),
        Place::of("queue", "/queue", "/queue"),
        Place::of("sources", "/sources", "/sources"),
        Place::of("source", "/sources/{source_id}", format!("/sources/{source}")),
        Place::of("new", "/new", "/new"),
        Place::of("new-again", "/new", format!("/new?again={first}")),
        Place::of("account", "/account", "/account"),
        Place::of("tokens", "/tokens", "/tokens"),
        Place::of("users", "/users", "/users"),
        Place::of("user", "/users/{user}", format!("/users/{user}")),
        Place::of("audit", "/audit", "/audit"),
    ];
    places.extend(exports(mix));
    places.extend([
        Place::of("data-choose", "/data", "/data"),
        Place::of("data", "/data", format!("/data?etl_job_id={first}")),
        Place::of("data-women", "/data", format!("/data?etl_job_id={first}&gender=female&by=quarter")),
        Place::of("data-compared", "/data", format!("/data?etl_job_id={compared}")),
        Place::of("data-loading", "/data", format!("/data?etl_job_id={}", mix.running)),
        Place::of("resources", "/data/{job_id}/resources", format!("/data/{first}/resources?type=Condition")),
        Place::of("resource", "/data/{job_id}/resources/{resource_type}/{id}", format!("/data/{first}/resources/Patient/{patient}")),
    ]);
    places
}

/// The page of one export, in each of its states, and what it asks.
fn exports(mix: &Mix) -> Vec<Place> {
    let page = "/exports/{job_id}";
    vec![
        Place::of("export-completed", page, format!("/exports/{}", mix.completed[0])),
        Place::of("export-running", page, format!("/exports/{}", mix.running)),
        Place::of("export-waiting", page, format!("/exports/{}", mix.waiting)),
        Place::of("export-incomplete", page, format!("/exports/{}", mix.incomplete)),
        Place::of("export-refused", page, format!("/exports/{}", mix.refused)),
        Place::of("export-not-found", page, format!("/exports/{}", mix.nowhere)),
        Place::of("export-cancelled", page, format!("/exports/{}", mix.cancelled)),
        Place::of("export-cancel", "/exports/{job_id}/cancel", format!("/exports/{}/cancel", mix.running)),
        Place::of("export-accept", "/exports/{job_id}/accept", format!("/exports/{}/accept", mix.incomplete)),
        Place::of("export-delete", "/exports/{job_id}/delete", format!("/exports/{}/delete", mix.incomplete)),
        Place::of("export-rejected", "/exports/{job_id}/rejected", format!("/exports/{}/rejected", mix.incomplete)),
        Place::of("export-manifest", "/exports/{job_id}/manifest", format!("/exports/{}/manifest", mix.completed[0])),
    ]
}
