//! What the sandbox can do, and where to get a token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use crate::app::App;
use crate::outcome::fhir;
use crate::world::TYPES;

const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";

/// `CapabilityStatement` (R4), with the `oauth-uris` extension older clients look for.
pub async fn capabilities(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let origin = app.origin(&headers);
    let export = |level: &str| json!([{"name": "export", "definition": format!("http://hl7.org/fhir/uv/bulkdata/OperationDefinition/{level}-export")}]);
    let mut resources: Vec<_> = TYPES.iter().map(|kind| json!({"type": kind})).collect();
    for resource in &mut resources {
        if resource["type"] == "Patient" {
            resource["operation"] = export("patient");
        }
    }
    let interaction = [json!({"code": "read"}), json!({"code": "search-type"})];
    resources.push(json!({"type": "Group", "interaction": interaction, "operation": export("group")}));
    let mut rest = json!({"mode": "server", "resource": resources, "operation": export("system")});
    if app.config.auth {
        rest["security"] = security(&origin);
    }
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-06-30",
        "kind": "instance",
        "software": {"name": "Bulkhead sandbox, not for production", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "Made-up patients to test with", "url": format!("{origin}/fhir")},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "instantiates": ["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"],
        "rest": [rest],
    });
    fhir(StatusCode::OK, &statement)
}

fn security(origin: &str) -> Value {
    json!({
        "extension": [{
            "url": OAUTH_URIS,
            "extension": [
                {"url": "token", "valueUri": format!("{origin}/auth/token")},
                {"url": "register", "valueUri": format!("{origin}/auth/register")},
            ],
        }],
        "service": [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
            "code": "SMART-on-FHIR",
        }]}],
    })
}

/// SMART App Launch 2.2, "Using Well-Known". An open sandbox has it too, so that clients can be tried on either.
pub async fn smart(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let origin = app.origin(&headers);
    Json(json!({
        "token_endpoint": format!("{origin}/auth/token"),
        "registration_endpoint": format!("{origin}/auth/register"),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["system/*.read", "system/*.rs"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }))
}
