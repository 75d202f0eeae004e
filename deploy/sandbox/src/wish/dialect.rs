//! How real servers want parameters to come, and in what words they refuse them.

use axum::http::StatusCode;
use serde_json::json;

use crate::outcome::Refused;
use crate::search::Parameters;
use crate::switches::{KickOff, KickOffMethod, Lists, Wording};

/// By which way the kick-off came.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub post: bool,
    pub system: bool,
}

/// Refuses the method or the form of lists that this server does not know.
pub fn check_dialect(parameters: &Parameters, call: Call, switches: &KickOff) -> Result<(), Refused> {
    let refuse = |usual: StatusCode, text: String| {
        let status = switches.dialect_status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(usual);
        Err(Refused::new(status, "not-supported", text))
    };
    match switches.method {
        KickOffMethod::Get if call.post => return refuse(StatusCode::METHOD_NOT_ALLOWED, "$export is not supported by POST".to_owned()),
        KickOffMethod::Post if !call.post => return refuse(StatusCode::METHOD_NOT_ALLOWED, "$export is not supported by GET".to_owned()),
        _ => {}
    }
    for (nth, (name, value)) in parameters.iter().enumerate() {
        let again = parameters[..nth].iter().any(|(before, _)| before == name);
        if switches.lists == Lists::Comma && again {
            return refuse(StatusCode::BAD_REQUEST, format!("The parameter {name} may be there only once: separate its values by commas"));
        }
        let listed = ["_type", "_elements", "patient"].contains(&name.as_str());
        if switches.lists == Lists::Repeated && listed && value.contains(',') {
            return refuse(StatusCode::BAD_REQUEST, format!("The parameter {name} may have only one value: repeat it for more"));
        }
    }
    Ok(())
}

/// A parameter that is not supported, in the words of one server or another.
pub fn unsupported(wording: Wording, name: &str) -> Refused {
    let text = match wording {
        Wording::Plain => format!("The parameter {name} is not supported"),
        Wording::Hapi => format!("HAPI-0302: Unknown parameter \"{name}\" for operation $export"),
        Wording::Cerner => format!("Unsupported query parameter: {name}"),
        Wording::Azure => format!("The requested query parameter '{name}' is invalid for this operation."),
        Wording::Vague => "The request cannot be processed".to_owned(),
        Wording::Coded => {
            let issue = json!({"severity": "error", "code": "not-supported", "expression": [name]});
            return Refused::with(StatusCode::BAD_REQUEST, json!({"resourceType": "OperationOutcome", "issue": [issue]}));
        }
    };
    let issue = match wording {
        Wording::Plain | Wording::Azure => "not-supported",
        Wording::Cerner => "invalid",
        _ => "processing",
    };
    Refused::bad_request(issue, text)
}
