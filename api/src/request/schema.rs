//! The bodies that are read by hand, described for the API's description. A test compares the names with those that are read.

use bulkhead_shared::domain::{failure::Reason, private_key::Algorithm, source::Dialect};
use serde_json::{Map, Value, json};

/// By name.
pub fn schemas() -> [(&'static str, Value); 4] {
    [("KickOff", kick_off()), ("Resume", resume()), ("RetryMany", retry_many()), ("DownloadedConfig", config())]
}

/// A closed object: unknown members are refused.
fn object(description: &str, properties: Map<String, Value>, example: &Value) -> Value {
    json!({"type": "object", "description": description, "properties": properties, "additionalProperties": false, "examples": [example]})
}

fn members(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}

/// A list of texts, or one text with commas.
fn texts(description: &str, example: &Value) -> Value {
    json!({
        "description": format!("{description} A list, or one string with commas."),
        "oneOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}, {"type": "null"}],
        "examples": [example]
    })
}

fn text(description: &str, example: &str) -> Value {
    json!({"type": ["string", "null"], "description": description, "examples": [example]})
}

fn url(description: &str, example: &str) -> Value {
    json!({"type": ["string", "null"], "format": "uri", "description": description, "examples": [example]})
}

fn flag(description: &str) -> Value {
    json!({"type": ["boolean", "null"], "description": description})
}

fn instant(description: &str, example: &str) -> Value {
    text(&format!("{description} A FHIR instant with its time zone, or a date (YYYY, YYYY-MM, YYYY-MM-DD)."), example)
}

/// A parameter that is passed on as it is.
fn passed_on(description: &str) -> Value {
    json!({
        "description": format!("{description} Passed on to the server as it is."),
        "oneOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "items": {"type": ["string", "number", "boolean"]}}
        ]
    })
}

/// Whom we are, to the server: the same in every body.
fn credentials() -> Map<String, Value> {
    members(json!({
        "use_smart_auth": flag("Authenticate by SMART Backend Services. Without it: when token_url, client_id or private_key is given."),
        "token_url": url("The server's token endpoint. Without it the server is asked for it (`.well-known/smart-configuration`, then its CapabilityStatement).", "https://bulk-data.smarthealthit.org/auth/token"),
        "client_id": text("The client, as it was registered.", "eyJhbGciOiJIUzI1Ni..."),
        "private_key": {
            "description": "The client's private key: a JWK or a JWKS, as an object or as a string that holds it (its quotes escaped), or a PEM. \
                            RSA or EC. At most 64 KiB. It is kept encrypted and never told again.",
            "type": ["object", "string", "null"],
            "examples": [
                {"kty": "RSA", "kid": "...", "n": "...", "e": "AQAB", "d": "..."},
                "{\"kty\":\"RSA\",\"kid\":\"...\",\"n\":\"...\",\"e\":\"AQAB\",\"d\":\"...\"}"
            ]
        },
        "algorithm": {"type": ["string", "null"], "enum": algorithms(), "description": "How the client signs; without it as the key says, else RS384 or ES384."},
        "kid": text("Which key signs: of `private_key` if that is a JWKS; without `private_key` one of ours, made by `bulkhead-api keys`.", "Zk3..."),
        "key_id": text("The same as `kid`.", "Zk3..."),
        "jwks_url": url("Where the client's public keys are, if it was registered by this URL.", "https://etl.example.org/.well-known/jwks.json"),
        "scope": text("The scopes to ask for; without it what the server lists and the export needs, else `system/*.read`.", "system/*.read"),
        "bearer_token": text("A token, sent as it is, to the server's own origin only. Not together with SMART authentication.", "your-token"),
        "accept_partial": flag("Gaps are accepted beforehand: the export becomes `completed` with its findings, not `failed` as `incomplete`."),
        "config": {"description": "The downloaded configuration, instead of its parts; as an object or as a string that holds it.", "oneOf": [{"$ref": "#/components/schemas/DownloadedConfig"}, {"type": "string"}, {"type": "null"}]},
    }))
}

fn algorithms() -> Vec<Option<&'static str>> {
    Algorithm::ALL.iter().map(|algorithm| Some(algorithm.as_str())).chain([None]).collect()
}

fn dialects() -> Vec<Option<&'static str>> {
    Dialect::ALL.iter().map(|dialect| Some(dialect.as_str())).chain([None]).collect()
}

fn kick_off() -> Value {
    let mut properties = members(json!({
        "fhir_server_url": url(
            "What is exported: the server's FHIR base URL (the whole system), or that with /Group/{id} or /Patient; /$export may follow. \
             https, or http to a loopback or allowed host. Needed, unless `config` has it.",
            "https://bulk-data.smarthealthit.org/eyJlcnIi.../fhir/Group/BMCHealthNet"
        ),
        "resource_types": texts("The types to export; all if it is not given.", &json!(["Patient", "Condition", "Observation", "MedicationRequest", "Encounter"])),
        "_type": texts("The same as `resource_types`, by the specification's name.", &json!("Patient,Condition")),
        "since": instant("Only what has changed since.", "2023-01-01T00:00:00Z"),
        "_since": instant("The same as `since`, by the specification's name.", "2023-01-01T00:00:00Z"),
        "_until": instant("Only what has changed until then.", "2024-01-01T00:00:00Z"),
        "_typeFilter": passed_on("FHIR searches that narrow the types."),
        "_elements": passed_on("The elements to export."),
        "patient": passed_on("The patients to export, as references."),
        "includeAssociatedData": passed_on("What else to export."),
        "organizeOutputBy": passed_on("The type by which files are organised."),
        "allowPartialManifests": passed_on("The server may answer its manifest in pages while it works on."),
        "_outputFormat": {
            "type": ["string", "null"], "enum": ["application/fhir+ndjson", "application/ndjson", "ndjson", null],
            "description": "The specification's words for NDJSON, which is what is loaded."
        },
        "lenient": flag("`Prefer: handling=lenient`: the server may ignore parameters that it does not support. Without it they are refused, left out once, and named in the findings."),
        "dialect": {
            "type": ["string", "null"], "enum": dialects(),
            "description": "How the server wants the kick-off's parameters: by GET or POST, several values joined by commas or repeated. Without it this is learned. It is kept for the server."
        },
        "parameters": {
            "type": ["object", "null"], "description": "A vendor's own parameters: passed on as they are.",
            "additionalProperties": {"oneOf": [
                {"type": ["string", "number", "boolean", "null"]},
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}}
            ]}
        },
    }));
    properties.extend(credentials());
    let example = json!({
        "fhir_server_url": "https://bulk-data.smarthealthit.org/eyJlcnIi.../fhir/Group/BMCHealthNet",
        "resource_types": ["Patient", "Condition", "Observation", "MedicationRequest", "Encounter"],
        "use_smart_auth": true,
        "token_url": "https://bulk-data.smarthealthit.org/auth/token",
        "client_id": "eyJhbGciOiJIUzI1Ni...",
        "private_key": {"kty": "RSA", "kid": "...", "n": "...", "e": "AQAB", "d": "..."},
        "algorithm": "RS384"
    });
    object("An export to be made. null counts as not given.", properties, &example)
}

fn resume() -> Value {
    let mut properties = members(json!({
        "status_url": {
            "type": "string", "format": "uri",
            "description": "The server's status URL (its `Content-Location`), as the kick-off answered it.",
            "examples": ["https://bulk-data.smarthealthit.org/status/..."]
        },
        "fhir_server_url": url("The server's FHIR base URL; the status URL's origin if it is not given.", "https://bulk-data.smarthealthit.org/fhir"),
    }));
    properties.extend(credentials());
    let example = json!({"status_url": "https://bulk-data.smarthealthit.org/status/...", "bearer_token": "your-token"});
    let mut schema = object("An export that its server has begun already. null counts as not given.", properties, &example);
    schema["required"] = json!(["status_url"]);
    schema
}

fn retry_many() -> Value {
    let reasons: Vec<Value> = Reason::ALL.iter().map(|reason| json!(reason.as_str())).chain([Value::Null]).collect();
    let properties = members(json!({
        "status": {"type": ["string", "null"], "enum": ["failed", null], "description": "Only failed exports can be retried, so it may be left out."},
        "group": text("Only this Group's.", "BMCHealthNet"),
        "source": url("Only this server's: its FHIR base URL.", "https://bulk-data.smarthealthit.org/eyJlcnIi.../fhir"),
        "reason": {"type": ["string", "null"], "enum": reasons, "description": "Only those that failed for this reason.", "examples": ["unreachable"]},
        "since": text("Only those that failed then or later: a moment with its time zone, or a date (its first moment, UTC).", "2026-01-31T08:00:00Z"),
        "until": text("Only those that failed then or earlier.", "2026-01-31T10:00:00Z"),
        "all": flag("All failed exports are meant. Needed when no filter is given, and refused together with one."),
        "dry_run": flag("Nothing is retried: the answer tells how many and which would be."),
    }));
    object(
        "Which failed exports are meant: those that match all that is given. null counts as not given.",
        properties,
        &json!({"reason": "unreachable", "since": "2026-01-31T08:00:00Z", "dry_run": true}),
    )
}

/// Others' file: further members are left alone, and each member has several names.
fn config() -> Value {
    json!({
        "type": "object",
        "description": "The JSON that the SMART page offers for download (\"Download as JSON\"), in its older or newer form, or the official client's. \
                        Other members are left alone. What it has must not be given beside it again, but fhir_server_url may be: it wins.",
        "properties": {
            "token_endpoint": {"type": "string", "description": "Or token_url, tokenUrl, tokenEndpoint, tokenURL. \"none\": an open server."},
            "client_id": {"type": "string", "description": "Or clientId, clientID."},
            "key": {"type": ["object", "string", "array"], "description": "Or private_key, privateKey, jwk, jwks."},
            "fhir_url": {"type": "string", "description": "Or fhir_server_url, fhirUrl, fhirServerUrl, fhirURL. The SMART page's file has none."},
            "jwks_url": {"type": "string", "description": "Or jwksUrl, jwks_uri, jwksURL."},
            "scope": {"type": "string", "description": "Or scopes."},
            "auth_type": {"type": "string", "description": "Or authType. \"none\" or \"open\": without authentication."}
        },
        "examples": [{
            "auth_type": "backend-services",
            "token_endpoint": "https://bulk-data.smarthealthit.org/auth/token",
            "client_id": "your-client-id",
            "key": {"kty": "RSA", "kid": "...", "n": "...", "e": "...", "d": "..."}
        }]
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::request::{KICK_OFF_FIELDS, RESUME_FIELDS, config as downloaded, retry::RETRY_FIELDS};

    #[test]
    fn every_field_that_is_read_is_described_and_no_other() {
        for ((name, schema), fields) in schemas().into_iter().zip([KICK_OFF_FIELDS, RESUME_FIELDS, RETRY_FIELDS]) {
            let described: BTreeSet<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            let read: BTreeSet<&str> = fields.iter().copied().collect();
            assert_eq!(described, read, "{name}: api/src/request/schema.rs and what is read differ");
            for (field, schema) in schema["properties"].as_object().unwrap() {
                assert!(schema["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}.{field} has no description");
            }
        }
    }

    #[test]
    fn every_name_of_the_downloaded_config_is_described() {
        let text = config().to_string();
        for name in downloaded::NAMES.concat() {
            assert!(text.contains(name), "{name}");
        }
    }
}
