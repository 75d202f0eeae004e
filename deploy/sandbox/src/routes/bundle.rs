//! One page of a search: a Bundle of type `searchset` (R4, "Bundle").

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::App;
use crate::faults::{Search as Fault, What, Where};
use crate::outcome::outcome;
use crate::world::About;

pub struct Page<'a> {
    pub kind: &'a str,
    pub base: &'a str,
    /// The search's name, for the `next` link.
    pub name: &'a str,
    pub this: String,
    pub found: &'a [Bytes],
    pub offset: usize,
    pub size: usize,
    pub total: bool,
}

impl Page<'_> {
    pub fn faults(app: &App, path: &str) -> Vec<Fault> {
        app.faults.take_each(Where::Search, path, |what| match what {
            What::Search(fault) => Some(*fault),
            _ => None,
        })
    }

    pub fn is_not_the_last(&self) -> bool {
        self.size > 0 && self.offset + self.size < self.found.len()
    }

    pub fn answer(&self, faults: &[Fault]) -> Response {
        let mut bundle = json!({"resourceType": "Bundle", "type": "searchset"});
        if self.total {
            let wrong = u64::from(faults.contains(&Fault::WrongTotal)) * 7;
            bundle["total"] = json!(self.found.len() as u64 + wrong);
        }
        let mut links = vec![json!({"relation": "self", "url": self.this})];
        links.extend(self.next(faults).map(|next| json!({"relation": "next", "url": next})));
        bundle["link"] = json!(links);
        let entries = self.entries(faults);
        // The entries are put in as text: their resources stay the bytes that an export gives.
        let mut text = bundle.to_string().into_bytes();
        if !entries.is_empty() {
            text.pop();
            text.extend_from_slice(b",\"entry\":[");
            text.extend(entries.join(&b','));
            text.extend_from_slice(b"]}");
        }
        (StatusCode::OK, [(header::CONTENT_TYPE, "application/fhir+json; charset=utf-8")], text).into_response()
    }

    fn next(&self, faults: &[Fault]) -> Option<String> {
        let mut next = self.is_not_the_last().then_some(self.offset + self.size);
        let mut base = self.base.to_owned();
        for fault in faults {
            match *fault {
                Fault::MissingNext => return None,
                Fault::Circle(pages) if (self.offset / self.size.max(1) + 1).is_multiple_of(pages) => next = Some(0),
                Fault::EndlessPages => next = Some(self.offset + self.size),
                Fault::RelativeNext => base = String::new(),
                Fault::ForeignNext => "http://198.51.100.7/fhir".clone_into(&mut base),
                _ => {}
            }
        }
        let (kind, name, size) = (self.kind, self.name, self.size);
        let path = if base.is_empty() { kind.to_owned() } else { format!("{base}/{kind}") };
        next.map(|offset| format!("{path}?_cursor={name}.{offset}.{size}"))
    }

    fn entries(&self, faults: &[Fault]) -> Vec<Vec<u8>> {
        let overlap = usize::from(faults.contains(&Fault::Overlap) && self.size > 0);
        let end = (self.offset + self.size).min(self.found.len());
        let start = self.offset.saturating_sub(overlap).min(end);
        let mut entries: Vec<_> = self.found[start..end].iter().map(|line| self.entry(line)).collect();
        for fault in faults {
            let more = match fault {
                Fault::OutcomeEntry(severity) => {
                    let outcome = outcome(severity.code(), "incomplete", "Some resources could not be searched");
                    json!({"resource": outcome, "search": {"mode": "outcome"}})
                }
                Fault::IncludedEntry => self.extra("Organization", "include"),
                Fault::WrongEntry => self.extra("Basic", "match"),
                _ => continue,
            };
            entries.push(more.to_string().into_bytes());
        }
        entries
    }

    fn entry(&self, line: &[u8]) -> Vec<u8> {
        let id = About::read(line).map_or_else(String::new, |about| about.id);
        let url = json!(format!("{}/{}/{id}", self.base, self.kind)).to_string();
        [br#"{"fullUrl":"#, url.as_bytes(), br#","resource":"#, line, br#","search":{"mode":"match"}}"#].concat()
    }

    fn extra(&self, kind: &str, mode: &str) -> Value {
        let url = format!("{}/{kind}/extra", self.base);
        json!({"fullUrl": url, "resource": {"resourceType": kind, "id": "extra"}, "search": {"mode": mode}})
    }
}
