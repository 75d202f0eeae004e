//! What the sandbox can do, and where to get a token.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};

use crate::app::App;
use crate::outcome::{Refused, fhir};
use crate::switches::Permission;

const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";

/// `CapabilityStatement` (R4), with the `oauth-uris` extension older clients look for.
pub async fn capabilities(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let origin = app.origin(&headers);
    let mut resources: Vec<Value> = app.world.kinds().iter().map(|(kind, of_patient)| resource(&app, kind, *of_patient)).collect();
    resources.push(resource(&app, "Group", false));
    let mut rest = json!({"mode": "server", "resource": resources});
    if !app.switches.kick_off.none {
        rest["operation"] = export("system-");
    }
    if app.config.auth {
        rest["security"] = security(&origin);
    }
    let mut statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-06-30",
        "kind": "instance",
        "software": {"name": "Bulkhead sandbox, not for production", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "Made-up patients to test with", "url": format!("{origin}/fhir")},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [rest],
    });
    if !app.switches.kick_off.none {
        statement["instantiates"] = json!(["http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data"]);
    }
    fhir(StatusCode::OK, &statement)
}

/// A type, and what it can be searched by.
fn resource(app: &App, kind: &str, of_patient: bool) -> Value {
    let searched = app.switches.search.on || kind == "Group";
    let mut interaction = vec![json!({"code": "read"})];
    let mut resource = json!({"type": kind});
    if searched {
        interaction.push(json!({"code": "search-type"}));
        let mut parameters = vec![json!({"name": "_id", "type": "token"}), json!({"name": "_lastUpdated", "type": "date"})];
        if of_patient && kind != "Patient" {
            parameters.push(json!({"name": "patient", "type": "reference"}));
        }
        resource["searchParam"] = json!(parameters);
    }
    resource["interaction"] = json!(interaction);
    let level = match kind {
        "Patient" => "patient-",
        "Group" => "group-",
        _ => return resource,
    };
    if !app.switches.kick_off.none {
        resource["operation"] = export(level);
    }
    resource
}

fn export(level: &str) -> Value {
    json!([{"name": "export", "definition": format!("http://hl7.org/fhir/uv/bulkdata/OperationDefinition/{level}export")}])
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
pub async fn smart(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Result<Json<Value>, Refused> {
    let access = &app.switches.access;
    if access.no_discovery {
        return Err(super::nothing(uri).await);
    }
    let (scopes, mut capabilities) = match access.permission {
        Permission::Both => (vec!["system/*.read", "system/*.rs"], vec!["permission-v1", "permission-v2"]),
        Permission::V1 => (vec!["system/*.read"], vec!["permission-v1"]),
        Permission::V2 => (vec!["system/*.rs"], vec!["permission-v2"]),
    };
    capabilities.insert(0, "client-confidential-asymmetric");
    let origin = app.origin(&headers);
    let mut document = json!({
        "token_endpoint": format!("{origin}/auth/token"),
        "registration_endpoint": format!("{origin}/auth/register"),
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "grant_types_supported": ["client_credentials"],
        "capabilities": capabilities,
    });
    if !access.no_scopes_supported {
        document["scopes_supported"] = json!(scopes);
    }
    Ok(Json(document))
}
