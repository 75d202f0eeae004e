//! `_elements`: resources with some of their elements, marked as such.

use serde_json::{Value, json};

/// What R4 demands of the types there are, and what names a resource.
const KEPT: [&str; 12] = [
    "resourceType",
    "id",
    "meta",
    "status",
    "intent",
    "class",
    "code",
    "subject",
    "patient",
    "vaccineCode",
    "medicationCodeableConcept",
    "clinicalStatus",
];
const SUBSETTED: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

/// The elements wanted of one type; `None` is all.
pub struct Elements(Vec<String>);

impl Elements {
    pub fn of(kind: &str, wanted: &[String]) -> Option<Self> {
        let of_kind = |element: &String| match element.split_once('.') {
            Some((of, element)) => (of == kind).then(|| element.to_owned()),
            None => Some(element.clone()),
        };
        let elements: Vec<_> = wanted.iter().filter_map(of_kind).collect();
        (!elements.is_empty()).then_some(Self(elements))
    }
}

/// The line with these elements and the mandatory ones, and `SUBSETTED` in `meta.tag`.
pub fn subset(line: &[u8], elements: &Elements) -> Vec<u8> {
    let Ok(Value::Object(resource)) = serde_json::from_slice::<Value>(line) else { return line.to_vec() };
    let kept = |name: &str| KEPT.contains(&name) || elements.0.iter().any(|element| element == name);
    let mut resource: Value = resource.into_iter().filter(|(name, _)| kept(name)).collect::<serde_json::Map<_, _>>().into();
    let tag = json!({"system": SUBSETTED, "code": "SUBSETTED"});
    match resource["meta"]["tag"].as_array_mut() {
        Some(tags) => tags.push(tag),
        None => resource["meta"]["tag"] = json!([tag]),
    }
    let mut line = resource.to_string().into_bytes();
    line.push(b'\n');
    line
}
