//! Rows in Postgres' binary COPY format ("COPY", "Binary Format"), with the computed columns of each table.

use bulkhead_shared::domain::resource::table_of;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::guard::{Fields, Row};

/// 2000-01-01, from which Postgres counts, in days since 1970-01-01.
const POSTGRES_EPOCH_DAYS: i64 = 10_957;

/// One FHIR table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    pub name: &'static str,
    /// Columns after `last_updated` and before `resource`, with their types.
    extra: &'static [(&'static str, &'static str)],
}

impl Table {
    /// The table of a resource type.
    pub fn of(resource_type: &str) -> Self {
        let name = table_of(resource_type);
        let extra: &[_] = match name {
            "patients" => &[("gender", "text"), ("birth_date", "date")],
            "conditions" => &[("code", "text"), ("display", "text"), ("onset", "timestamptz")],
            "observations" => {
                &[("code", "text"), ("display", "text"), ("value", "double precision"), ("unit", "text"), ("effective", "timestamptz")]
            }
            "encounters" => &[("class", "text"), ("period_start", "timestamptz")],
            "medication_requests" => &[("code", "text"), ("display", "text"), ("authored_on", "timestamptz")],
            _ => &[],
        };
        Self { name, extra }
    }

    /// The table all types share that R4 does not know; its rows carry their type.
    pub fn is_shared(self) -> bool {
        self.name == "other_resources"
    }

    /// Column names, in the order of `encode`.
    pub fn columns(self) -> String {
        self.names_and_types().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }

    /// Columns with types, for a staging table.
    pub fn definitions(self) -> String {
        self.names_and_types().map(|(name, kind)| format!("{name} {kind}")).collect::<Vec<_>>().join(", ")
    }

    /// What makes a resource the same.
    pub fn key(self) -> &'static str {
        if self.is_shared() { "etl_job_id, resource_type, id" } else { "etl_job_id, id" }
    }

    fn names_and_types(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let own_type = self.is_shared().then_some(("resource_type", "text COLLATE \"C\""));
        [("etl_job_id", "uuid")]
            .into_iter()
            .chain(own_type)
            .chain([("id", "text COLLATE \"C\""), ("part_id", "bigint"), ("patient_id", "text"), ("last_updated", "timestamptz")])
            .chain(self.extra.iter().copied())
            .chain([("resource", "jsonb")])
    }

    fn encode_extra(self, fields: &Fields<'_>, out: &mut Vec<u8>) {
        match self.name {
            "patients" => {
                put(out, string(fields.gender).as_deref().map(str::as_bytes));
                let days = string(fields.birth_date).and_then(|text| date(&text)).map(days);
                put(out, days.as_ref().map(<[u8; 4]>::as_slice));
            }
            "conditions" => {
                concept(fields.code, out);
                time(string(fields.onset_date_time).as_deref(), out);
            }
            "observations" => {
                concept(fields.code, out);
                let quantity: Quantity = parse(fields.value_quantity).unwrap_or_default();
                let value = quantity.value.filter(|v| v.is_finite()).map(f64::to_be_bytes);
                put(out, value.as_ref().map(<[u8; 8]>::as_slice));
                put(out, quantity.unit.as_deref().or(quantity.code.as_deref()).map(str::as_bytes));
                let at = string(fields.effective_date_time).or_else(|| start(fields.effective_period));
                time(at.or_else(|| string(fields.effective_instant)).as_deref(), out);
            }
            "encounters" => {
                put(out, class(fields.class).as_deref().map(str::as_bytes));
                // `actualPeriod` is R5's word for it.
                time(start(fields.period).or_else(|| start(fields.actual_period)).as_deref(), out);
            }
            "medication_requests" => {
                concept(fields.medication_codeable_concept, out);
                time(string(fields.authored_on).as_deref(), out);
            }
            _ => {}
        }
    }
}

/// Encodes the rows of one part.
pub struct Encoder {
    /// The first columns of every row, which are the same: etl_job_id.
    export: Vec<u8>,
    part: Vec<u8>,
    /// With the line in front, for a staging table.
    staged: bool,
}

/// Where something stands in the buffer after a row was encoded.
pub struct Place {
    pub id: usize,
    pub text: usize,
}

impl Encoder {
    pub fn new(export_id: Uuid, part_id: i64, staged: bool) -> Self {
        let (mut export, mut part) = (Vec::new(), Vec::new());
        put(&mut export, Some(export_id.as_bytes()));
        put(&mut part, Some(&part_id.to_be_bytes()));
        Self { export, part, staged }
    }

    /// Appends a row.
    pub fn encode(&self, table: Table, row: &Row<'_>, out: &mut Vec<u8>) -> Place {
        let fields = &row.fields;
        let columns = 6 + table.extra.len() + usize::from(table.is_shared()) + usize::from(self.staged);
        out.extend_from_slice(&u16::try_from(columns).unwrap_or(u16::MAX).to_be_bytes());
        if self.staged {
            put(out, Some(&row.line.to_be_bytes()));
        }
        out.extend_from_slice(&self.export);
        if table.is_shared() {
            put(out, Some(fields.resource_type.as_bytes()));
        }
        put(out, Some(fields.id.as_bytes()));
        let id = out.len() - fields.id.len();
        out.extend_from_slice(&self.part);
        put(out, patient_id(fields).as_deref().map(str::as_bytes));
        put(out, last_updated(fields).map(instant).as_ref().map(<[u8; 8]>::as_slice));
        table.encode_extra(fields, out);
        let length = i32::try_from(row.text.len() + 1).unwrap_or(i32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        // jsonb on the wire: version 1, then the text.
        out.push(1);
        let text = out.len();
        out.extend_from_slice(row.text);
        Place { id, text }
    }
}

#[derive(Default, Deserialize)]
struct Reference {
    reference: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    last_updated: Option<String>,
}

#[derive(Default, Deserialize)]
struct CodeableConcept {
    #[serde(default)]
    coding: Vec<Coding>,
    text: Option<String>,
}

#[derive(Default, Deserialize)]
struct Coding {
    code: Option<String>,
    display: Option<String>,
}

#[derive(Default, Deserialize)]
struct Quantity {
    value: Option<f64>,
    unit: Option<String>,
    code: Option<String>,
}

#[derive(Default, Deserialize)]
struct Period {
    start: Option<String>,
}

/// A computed column is a convenience: what does not have the expected shape is NULL, the resource keeps it.
fn parse<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

/// Text for a column; Postgres has no NUL, which the guard has refused.
fn string(value: Option<&RawValue>) -> Option<String> {
    parse(value)
}

/// The logical id of the patient a resource is about: `Patient/1`, absolute, or versioned (FHIR R4, "References").
fn patient_id(fields: &Fields<'_>) -> Option<String> {
    if fields.resource_type == "Patient" {
        return Some(fields.id.to_string());
    }
    [fields.subject, fields.patient, fields.beneficiary].into_iter().find_map(|value| {
        let reference: Reference = parse(value)?;
        let text = reference.reference?;
        let mut segments = text.split('/').skip_while(|segment| *segment != "Patient");
        segments.next()?;
        segments.next().map(str::to_owned)
    })
}

/// `meta.lastUpdated`: what tells the newer of two versions.
fn last_updated(fields: &Fields<'_>) -> Option<DateTime<Utc>> {
    let meta: Meta = parse(fields.meta)?;
    parse_instant(&meta.last_updated?)
}

/// A FHIR date or dateTime; a partial one stands for its first moment, without a zone it is UTC.
pub fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    date(text.get(..10).unwrap_or(text))?.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc())
}

fn date(text: &str) -> Option<NaiveDate> {
    let full = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        _ => text.to_owned(),
    };
    full.parse().ok()
}

fn instant(at: DateTime<Utc>) -> [u8; 8] {
    (at.timestamp_micros() - POSTGRES_EPOCH_DAYS * 86_400_000_000).to_be_bytes()
}

fn days(date: NaiveDate) -> [u8; 4] {
    let since_1970 = (date - NaiveDate::default()).num_days();
    i32::try_from(since_1970 - POSTGRES_EPOCH_DAYS).unwrap_or(0).to_be_bytes()
}

fn time(text: Option<&str>, out: &mut Vec<u8>) {
    put(out, text.and_then(parse_instant).map(instant).as_ref().map(<[u8; 8]>::as_slice));
}

/// When a period began.
fn start(value: Option<&RawValue>) -> Option<String> {
    parse::<Period>(value)?.start
}

/// An encounter's class: a Coding in R4, a list of concepts in R5, a word before.
fn class(value: Option<&RawValue>) -> Option<String> {
    if let Some(coding) = parse::<Coding>(value) {
        return coding.code;
    }
    let concepts = parse::<Vec<CodeableConcept>>(value).unwrap_or_default();
    concepts.into_iter().flat_map(|concept| concept.coding).find_map(|coding| coding.code).or_else(|| string(value))
}

/// Code and display of a concept: its first coding that has a code.
fn concept(value: Option<&RawValue>, out: &mut Vec<u8>) {
    let concept: CodeableConcept = parse(value).unwrap_or_default();
    let coding = concept.coding.iter().find(|coding| coding.code.is_some()).or(concept.coding.first());
    put(out, coding.and_then(|c| c.code.as_deref()).map(str::as_bytes));
    put(out, coding.and_then(|c| c.display.as_deref()).or(concept.text.as_deref()).map(str::as_bytes));
}

fn put(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(bytes) => {
            out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_dates_stand_for_their_first_moment() {
        for (text, expected) in [
            ("2020", "2020-01-01T00:00:00Z"),
            ("2020-03", "2020-03-01T00:00:00Z"),
            ("2020-03-04", "2020-03-04T00:00:00Z"),
            ("2020-03-04T05:06:07.5+02:00", "2020-03-04T03:06:07.500Z"),
        ] {
            assert_eq!(parse_instant(text), Some(DateTime::parse_from_rfc3339(expected).unwrap().to_utc()), "{text}");
        }
        assert_eq!(parse_instant("yesterday"), None);
    }

    #[test]
    fn a_class_is_found_in_the_form_of_every_version() {
        for (class_is, expected) in [
            (r#"{"system":"s","code":"AMB"}"#, Some("AMB")),
            (r#"[{"text":"first"},{"coding":[{"display":"no code"},{"code":"EMER"}]}]"#, Some("EMER")),
            (r#""inpatient""#, Some("inpatient")),
            ("7", None),
            ("{}", None),
        ] {
            let value: Box<RawValue> = serde_json::from_str(class_is).unwrap();
            assert_eq!(class(Some(&value)).as_deref(), expected, "{class_is}");
        }
        assert_eq!(class(None), None);
    }

    #[test]
    fn a_patient_is_found_in_every_form_of_reference() {
        for reference in ["Patient/7", "https://fhir.example.org/r4/Patient/7", "Patient/7/_history/2"] {
            let line = format!(r#"{{"resourceType":"Condition","id":"c","subject":{{"reference":"{reference}"}}}}"#);
            let fields = crate::load::guard::check(line.as_bytes(), None).unwrap();
            assert_eq!(patient_id(&fields).as_deref(), Some("7"), "{reference}");
        }
    }
}
