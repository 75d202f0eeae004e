//! The export's own parameters (Bulk Data IG, "Query Parameters").

use bulkhead_shared::domain::resource;
use serde_json::{Map, Value};

use super::{
    fields::{Fields, plain},
    instant,
};
use crate::problem::Problem;

/// The IG's other parameters, passed on as they are.
const BY_NAME: &[&str] = &["_typeFilter", "_elements", "patient", "includeAssociatedData", "organizeOutputBy", "allowPartialManifests"];

/// What a parameter may be called, in `parameters`, only by its own field.
const OWN_FIELDS: &[(&str, &str)] = &[("_type", "resource_types"), ("_since", "since"), ("_outputFormat", "_outputFormat")];

/// `resource_types`, or its synonym `_type`: each once, in order.
pub fn resource_types(fields: &mut Fields) -> Result<Vec<String>, Problem> {
    let ours = fields.texts("resource_types")?.map(checked_types).transpose()?;
    let theirs = fields.texts("_type")?.map(checked_types).transpose()?;
    Ok(one_of("resource_types", ours, "_type", theirs)?.unwrap_or_default())
}

fn checked_types(given: Vec<String>) -> Result<Vec<String>, Problem> {
    let mut types: Vec<String> = Vec::new();
    for name in given {
        if !resource::is_type_name(&name) {
            let shown: String = name.chars().take(64).collect();
            return Err(Problem::invalid(format!("{shown:?} in resource_types is not a resource type; write for example \"Patient\".")));
        }
        if !types.contains(&name) {
            types.push(name);
        }
    }
    Ok(types)
}

/// `since`, or its synonym `_since`.
pub fn since(fields: &mut Fields) -> Result<Option<String>, Problem> {
    let ours = moment(fields, "since")?;
    let theirs = moment(fields, "_since")?;
    one_of("since", ours, "_since", theirs)
}

/// An empty one is refused: it would silently ask for everything.
fn moment(fields: &mut Fields, name: &str) -> Result<Option<String>, Problem> {
    match fields.take(name) {
        None => Ok(None),
        Some(Value::String(text)) => instant::check(name, &text).map(Some),
        Some(_) => Err(Problem::invalid(format!("{name} must be a string, such as \"2023-01-01T00:00:00Z\"."))),
    }
}

fn one_of<T: PartialEq>(name: &str, ours: Option<T>, synonym: &str, theirs: Option<T>) -> Result<Option<T>, Problem> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            Err(Problem::invalid(format!("{name} and {synonym} mean the same and differ here; give one of them.")))
        }
        (ours, theirs) => Ok(ours.or(theirs)),
    }
}

/// The IG's other parameters, then the vendor's.
pub fn others(fields: &mut Fields) -> Result<Map<String, Value>, Problem> {
    let mut all = Map::new();
    if let Some(until) = moment(fields, "_until")? {
        all.insert("_until".to_owned(), until.into());
    }
    for name in BY_NAME {
        if let Some(value) = fields.take(name) {
            all.insert((*name).to_owned(), checked(name, value)?);
        }
    }
    if let Some(format) = fields.text("_outputFormat")? {
        // Its words for NDJSON; other formats could not be loaded.
        if !matches!(format.as_str(), "application/fhir+ndjson" | "application/ndjson" | "ndjson") {
            return Err(Problem::invalid("_outputFormat must be application/fhir+ndjson, which is what Bulkhead loads; or leave it out."));
        }
        all.insert("_outputFormat".to_owned(), format.into());
    }
    match fields.take("parameters") {
        None => {}
        Some(Value::Object(vendor)) => add_vendor(&mut all, vendor)?,
        Some(_) => return Err(Problem::invalid("parameters must be an object of names and values, such as {\"_mine\": \"x\"}.")),
    }
    Ok(all)
}

fn add_vendor(all: &mut Map<String, Value>, vendor: Map<String, Value>) -> Result<(), Problem> {
    for (name, value) in vendor {
        if let Some((name, field)) = OWN_FIELDS.iter().find(|(own, _)| *own == name) {
            return Err(Problem::invalid(format!("parameters must not hold {name}; give it as {field} beside it.")));
        }
        if name.is_empty() || plain("parameters", &name)?.len() != name.len() {
            return Err(Problem::invalid("A name in parameters is empty or has spaces around it; correct it."));
        }
        if all.contains_key(&name) {
            return Err(Problem::invalid(format!("{name} is given in parameters and beside it; give it once.")));
        }
        if value.is_null() {
            continue;
        }
        let value = checked(&name, value)?;
        all.insert(name, value);
    }
    Ok(())
}

/// A value that can stand in a query: a scalar or a list of them.
fn checked(name: &str, value: Value) -> Result<Value, Problem> {
    let wrong = || Problem::invalid(format!("{name} must be a string, a number, true, false, or a list of these."));
    let scalar = |value: &Value| match value {
        Value::String(text) => plain(name, text).map(drop),
        Value::Number(_) | Value::Bool(_) => Ok(()),
        _ => Err(wrong()),
    };
    match &value {
        Value::Array(items) => items.iter().try_for_each(scalar)?,
        single => scalar(single)?,
    }
    Ok(value)
}
