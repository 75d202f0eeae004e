//! The members of a request's object, taken by name and type.

use serde_json::{Map, Value};

use crate::problem::{Kind, Problem};

/// The members that were given. `null` counts as not given.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The members of `body`, all of which must be `known`.
    pub fn of(body: &Value, known: &[&str]) -> Result<Self, Problem> {
        let Value::Object(members) = body else {
            return Err(Problem::invalid("The body must be a JSON object, with fields in quotes and their values."));
        };
        if let Some(stranger) = members.keys().find(|name| !known.contains(&name.as_str())) {
            let shown: String = stranger.chars().take(60).collect();
            return Err(Problem::new(Kind::UnknownField, format!("unknown field {shown:?}; known fields are {}.", known.join(", "))));
        }
        Ok(Self(members.clone()))
    }

    /// A value as it was given.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// A text, trimmed; an empty one counts as not given.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(plain(name, &text)?.to_owned()).filter(|text| !text.is_empty())),
            Some(_) => Err(Problem::invalid(format!("{name} must be a string in quotes."))),
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(Problem::invalid(format!("{name} must be true or false, without quotes."))),
        }
    }

    /// A list of texts: an array, or one string with commas, as the IG writes it.
    pub fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let wrong = || Problem::invalid(format!("{name} must be a list of strings, such as [\"Patient\", \"Condition\"]."));
        let items = match self.take(name) {
            None => return Ok(None),
            Some(Value::String(text)) => text.split(',').map(str::to_owned).collect(),
            Some(Value::Array(items)) => items
                .into_iter()
                .map(|item| if let Value::String(text) = item { Ok(text) } else { Err(wrong()) })
                .collect::<Result<Vec<_>, _>>()?,
            Some(_) => return Err(wrong()),
        };
        items.iter().map(|item| plain(name, item).map(str::to_owned)).collect::<Result<Vec<_>, _>>().map(Some)
    }
}

/// Text that can be kept and shown: trimmed, without control characters (Postgres keeps no NUL).
pub fn plain<'a>(name: &str, text: &'a str) -> Result<&'a str, Problem> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(Problem::invalid(format!("{name} holds control characters, such as a line break; remove them.")));
    }
    Ok(text)
}
