//! A kick-off request in each dialect (Bulk Data IG, "Kick-off Request", "Query Parameters").

use bulkhead_shared::domain::{export, source::Dialect};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use url::Url;

use super::http::Ask;

/// Parameters whose values may be joined by commas.
const LISTS: &[&str] = &["_type", "_typeFilter", "_elements", "patient", "includeAssociatedData"];

/// What is asked for, without what the server does not support.
#[derive(Debug)]
pub struct Parameters(Vec<(String, Vec<Value>)>);

impl Parameters {
    /// In the order of the IG.
    pub fn of(wanted: &export::Ask, types: &[String], dropped: &[String]) -> Self {
        let mut all: Vec<(String, Vec<Value>)> = Vec::new();
        if !types.is_empty() {
            all.push(("_type".to_owned(), types.iter().map(|name| json!(name)).collect()));
        }
        if let Some(since) = &wanted.since {
            all.push(("_since".to_owned(), vec![json!(since)]));
        }
        for (name, value) in &wanted.parameters {
            let values = if let Value::Array(values) = value { values.clone() } else { split(name, value) };
            all.push((name.clone(), values));
        }
        all.retain(|(name, values)| !values.is_empty() && !dropped.contains(name));
        Self(all)
    }

    /// Those that these words name. `_type` is not named by `_typeFilter`.
    pub fn named_in(&self, words: &str) -> Vec<String> {
        self.0.iter().map(|(name, _)| name).filter(|name| names(words, name)).cloned().collect()
    }

    /// Whether it is sent with several values, which servers want in different ways.
    pub fn is_list(&self, name: &str) -> bool {
        self.0.iter().any(|(known, values)| known == name && values.len() > 1)
    }

    /// Whether GET cannot carry them (`patient` is for POST only).
    pub fn need_post(&self) -> bool {
        self.0.iter().any(|(name, _)| name == "patient")
    }

    fn query(&self, joined: bool) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().flat_map(move |(name, values)| texts(name, values, joined).into_iter().map(|text| (name.as_str(), text)))
    }

    /// A `Parameters` resource.
    fn body(&self, joined: bool) -> Value {
        let mut parameter = Vec::new();
        for (name, values) in &self.0 {
            if joined && LISTS.contains(&name.as_str()) && name != "patient" {
                parameter.extend(texts(name, values, true).into_iter().map(|text| json!({"name": name, "valueString": text})));
            } else {
                parameter.extend(values.iter().map(|value| typed(name, value)));
            }
        }
        json!({"resourceType": "Parameters", "parameter": parameter})
    }
}

/// A list that the user wrote with commas. A `_typeFilter` may hold commas of its own.
fn split(name: &str, value: &Value) -> Vec<Value> {
    match value.as_str() {
        Some(text) if LISTS.contains(&name) && name != "_typeFilter" => text.split(',').map(|item| json!(item.trim())).collect(),
        _ => vec![value.clone()],
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn texts(name: &str, values: &[Value], joined: bool) -> Vec<String> {
    let texts: Vec<String> = values.iter().map(text).collect();
    // What holds a comma cannot be told apart when it is joined by commas.
    if joined && LISTS.contains(&name) && !texts.iter().any(|text| text.contains(',')) { vec![texts.join(",")] } else { texts }
}

/// A parameter with the type that the IG gives it; a vendor's by its JSON type.
fn typed(name: &str, value: &Value) -> Value {
    match (name, value) {
        ("_since" | "_until", value) => json!({"name": name, "valueInstant": instant(&text(value))}),
        ("patient", value) => {
            let id = text(value);
            let reference = if id.contains('/') || id.starts_with("urn:") { id } else { format!("Patient/{id}") };
            json!({"name": name, "valueReference": {"reference": reference}})
        }
        ("allowPartialManifests", value) if text(value) == "true" || text(value) == "false" => {
            json!({"name": name, "valueBoolean": text(value) == "true"})
        }
        (_, Value::Bool(_)) => json!({"name": name, "valueBoolean": value}),
        (_, Value::Number(number)) if number.is_i64() => json!({"name": name, "valueInteger": number}),
        (_, Value::Number(_)) => json!({"name": name, "valueDecimal": value}),
        (_, value) => json!({"name": name, "valueString": text(value)}),
    }
}

/// A date becomes its first moment: an instant has a time.
fn instant(text: &str) -> String {
    if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() }
}

/// As a word: `_type` stands in "_type", not in "_typeFilter".
pub fn names(words: &str, name: &str) -> bool {
    let part_of_a_name = |c: char| c.is_alphanumeric() || c == '_';
    words.match_indices(name).any(|(at, _)| {
        let before = words[..at].chars().next_back();
        let after = words[at + name.len()..].chars().next();
        !before.is_some_and(part_of_a_name) && !after.is_some_and(part_of_a_name)
    })
}

/// The request. It goes to the server's own origin only.
pub fn kick_off(base_url: &str, wanted: &export::Ask, parameters: &Parameters, dialect: Dialect) -> Result<Ask, url::ParseError> {
    let mut url = Url::parse(&format!("{base_url}/{}", wanted.operation()))?;
    let mut ask = if dialect.is_post() {
        let mut ask = Ask::new(Method::POST, url);
        ask.body = Some(parameters.body(dialect.joins()).to_string().into());
        ask.header(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"))
    } else {
        let pairs: Vec<_> = parameters.query(dialect.joins()).collect();
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Ask::get(url)
    };
    let prefer = if wanted.lenient { "respond-async, handling=lenient" } else { "respond-async" };
    ask = ask.accept("application/fhir+json").header(HeaderName::from_static("prefer"), HeaderValue::from_static(prefer));
    ask.same_origin_only = true;
    Ok(ask)
}

#[cfg(test)]
mod tests {
    use bulkhead_shared::domain::export::Level;

    use super::*;

    fn wanted(parameters: Value) -> export::Ask {
        let Value::Object(parameters) = parameters else { panic!("an object") };
        export::Ask {
            level: Level::Group,
            group_id: Some("g".to_owned()),
            resource_types: vec!["Patient".to_owned(), "Condition".to_owned()],
            since: Some("2023-01-01".to_owned()),
            parameters,
            lenient: false,
        }
    }

    fn url(ask: &export::Ask, dialect: Dialect, dropped: &[&str]) -> String {
        let dropped: Vec<String> = dropped.iter().map(|name| (*name).to_owned()).collect();
        let parameters = Parameters::of(ask, &ask.resource_types, &dropped);
        kick_off("https://h/fhir", ask, &parameters, dialect).unwrap().url.to_string()
    }

    fn body(ask: &export::Ask, dialect: Dialect) -> Value {
        let parameters = Parameters::of(ask, &ask.resource_types, &[]);
        let request = kick_off("https://h/fhir", ask, &parameters, dialect).unwrap();
        assert_eq!(request.url.as_str(), "https://h/fhir/Group/g/$export");
        serde_json::from_slice(&request.body.unwrap()).unwrap()
    }

    #[test]
    fn get_joins_or_repeats_and_leaves_out_what_was_dropped() {
        let ask = wanted(json!({"_elements": "id,name", "_typeFilter": ["Condition?code=a,b", "Patient?active=true"]}));
        let decoded = |dialect, dropped: &[&str]| {
            let url = Url::parse(&url(&ask, dialect, dropped)).unwrap();
            url.query_pairs().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" & ")
        };
        assert_eq!(
            decoded(Dialect::GetComma, &[]),
            "_type=Patient,Condition & _since=2023-01-01 & _elements=id,name & _typeFilter=Condition?code=a,b & _typeFilter=Patient?active=true"
        );
        assert_eq!(
            decoded(Dialect::GetRepeat, &["_since", "_typeFilter"]),
            "_type=Patient & _type=Condition & _elements=id & _elements=name"
        );
        assert_eq!(url(&wanted(json!({})), Dialect::GetComma, &["_type", "_since"]), "https://h/fhir/Group/g/$export");
    }

    #[test]
    fn post_gives_each_parameter_its_type() {
        let ask = wanted(json!({"patient": ["1", "Patient/2"], "allowPartialManifests": "true", "_mine": 3}));
        let expected = json!({"resourceType": "Parameters", "parameter": [
            {"name": "_type", "valueString": "Patient"},
            {"name": "_type", "valueString": "Condition"},
            {"name": "_since", "valueInstant": "2023-01-01T00:00:00Z"},
            {"name": "_mine", "valueInteger": 3},
            {"name": "allowPartialManifests", "valueBoolean": true},
            {"name": "patient", "valueReference": {"reference": "Patient/1"}},
            {"name": "patient", "valueReference": {"reference": "Patient/2"}},
        ]});
        let sorted = |value: &Value| {
            let mut items: Vec<String> = value["parameter"].as_array().unwrap().iter().map(Value::to_string).collect();
            items.sort();
            items
        };
        assert_eq!(sorted(&body(&ask, Dialect::PostRepeat)), sorted(&expected));
        let joined = body(&ask, Dialect::PostComma);
        assert_eq!(joined["parameter"][0], json!({"name": "_type", "valueString": "Patient,Condition"}));
    }

    #[test]
    fn a_parameter_is_named_as_a_word() {
        let ask = wanted(json!({"_typeFilter": "Patient?active=true", "_elements": "id"}));
        let parameters = Parameters::of(&ask, &ask.resource_types, &[]);
        for (words, named) in [
            ("The parameter _typeFilter is not supported", vec!["_typeFilter"]),
            ("Unknown: '_type'.", vec!["_type"]),
            ("_since,_elements: no", vec!["_since", "_elements"]),
            ("my_since and _sinces", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parameters.named_in(words), named, "{words}");
        }
    }
}
