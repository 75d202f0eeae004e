//! What may be wrong with the pages of a search: a server that does not apply the question, pages that shift while they are read.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, BufRead as _, BufReader, Read},
};

use bulkhead_shared::domain::search::{Search, Seen};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::fhir::bundle::{Match, Page};

/// What is known of the pages that were read, by this claim or before it.
#[derive(Debug, Default)]
pub struct Doubts {
    /// Digests of the ids.
    ids: HashSet<u64>,
}

impl Doubts {
    /// Takes in what an earlier claim has stored: a resource a line.
    pub fn remember(mut self, stored: impl Read) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Named {
            id: Option<String>,
        }
        for line in BufReader::new(stored).split(b'\n') {
            let named = serde_json::from_slice::<Named>(&line?).ok();
            self.ids.extend(named.and_then(|named| named.id).as_deref().map(digest));
        }
        Ok(self)
    }

    /// Looks at a page. `true`: it is of other patients, for the most part.
    pub fn look_at(&mut self, page: &Page, search: &Search, seen: &mut Seen) -> bool {
        totals(page, seen);
        not_applied(page, search, seen);
        let mut strangers = 0;
        // Twice on one page is a server's clumsy join; on two pages it took the place of something else.
        let here: HashSet<u64> = page.matches.iter().filter_map(|found| found.id.as_deref().map(digest)).collect();
        seen.repeated += i64::try_from(here.intersection(&self.ids).count()).unwrap_or_default();
        self.ids.extend(here);
        for found in &page.matches {
            if is_out_of_time(found, search) {
                seen.out_of_time += 1;
            }
            let Some(patients) = &search.patients else { continue };
            let mut ours = found.owners.iter().filter(|owner| patients.ids.contains(owner)).peekable();
            strangers += i64::from(ours.peek().is_none() && !found.owners.is_empty());
            ours.for_each(|owner| seen.met(owner));
        }
        seen.strangers += strangers;
        usize::try_from(strangers).is_ok_and(|strangers| strangers * 2 > page.matches.len())
    }
}

fn digest(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

fn totals(page: &Page, seen: &mut Seen) {
    let Some(total) = page.total else { return };
    seen.first_total = seen.first_total.or(Some(total));
    seen.total = Some(total);
    seen.total_is_of_all |= usize::try_from(total).is_ok_and(|total| total != page.matches.len());
}

/// A link to itself that names some of what was asked names all that was applied (FHIR R4, "Search", "Server Conformance"). One that names
/// nothing of it says nothing. The patients are looked at themselves.
fn not_applied(page: &Page, search: &Search, seen: &mut Seen) {
    if seen.pages != 1 {
        return;
    }
    let asked = search.parameters();
    let applied = |name: &str| page.applied.iter().any(|applied| Some(applied.as_str()) == name.split([':', '.']).next());
    if !asked.iter().any(|(name, _)| applied(name)) {
        return;
    }
    for (name, _) in &search.query {
        if !applied(name) && !seen.not_applied.contains(name) {
            seen.not_applied.push(name.clone());
        }
    }
}

fn is_out_of_time(found: &Match, search: &Search) -> bool {
    let bounds = search.query.iter().filter(|(name, _)| name == "_lastUpdated");
    let Some(at) = found.last_updated else { return false };
    bounds.filter_map(|(_, value)| Some((value.get(..2)?, value.get(2..)?.parse::<DateTime<Utc>>().ok()?))).any(|(prefix, bound)| {
        match prefix {
            // Without fractions, on either side, a second is one moment.
            "ge" => at.timestamp() < bound.timestamp(),
            "le" => at.timestamp() > bound.timestamp(),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use bulkhead_shared::domain::search::Patients;
    use url::Url;

    use super::*;

    fn search() -> Search {
        let patients = Patients { by: "patient".to_owned(), ids: vec!["a".to_owned(), "b".to_owned()] };
        let query = vec![("_lastUpdated".to_owned(), "ge2024-01-01T00:00:00Z".to_owned()), ("code:in".to_owned(), "x".to_owned())];
        Search { resource_type: "Observation".to_owned(), patients: Some(patients), query }
    }

    fn page(total: Option<i64>, link: &str, entries: &[(&str, &str)], seen: &mut Seen) -> Page {
        let entries: Vec<_> = entries
            .iter()
            .map(|(id, patient)| {
                serde_json::json!({"resource": {"resourceType": "Observation", "id": id, "subject": {"reference": format!("Patient/{patient}")},
                                                "meta": {"lastUpdated": if *id == "old" { "2023-12-31T23:59:59Z" } else { "2024-01-01T00:00:00.5Z" }}}})
            })
            .collect();
        let bundle =
            serde_json::json!({"resourceType": "Bundle", "total": total, "link": [{"relation": "self", "url": link}], "entry": entries});
        let from = Url::parse("https://h/r4/Observation").unwrap();
        Page::read(bundle.to_string().as_bytes(), &from, &search(), seen).unwrap()
    }

    /// Total, link to itself, ids with their patients.
    type Told<'a> = (Option<i64>, &'a str, &'a [(&'a str, &'a str)]);

    /// What is seen after these pages, and whether the last one is of strangers.
    fn seen(pages: &[Told<'_>]) -> (Seen, bool) {
        let (mut seen, mut doubts, mut strange) = (Seen::default(), Doubts::default(), false);
        for (total, link, entries) in pages {
            let page = page(*total, link, entries, &mut seen);
            strange = doubts.look_at(&page, &search(), &mut seen);
        }
        (seen, strange)
    }

    #[test]
    fn pages_that_agree_leave_no_doubt() {
        let (seen, strange) = seen(&[(Some(3), "?patient=a,b", &[("1", "a"), ("2", "b")]), (Some(3), "", &[("3", "b")])]);
        assert!(!seen.is_doubtful() && !strange);
        assert_eq!((seen.expected(), seen.owners, seen.strangers), (Some(3), true, 0));
    }

    #[test]
    fn what_comes_twice_and_a_total_that_changes_are_doubtful() {
        let (twice, _) = seen(&[(Some(3), "", &[("1", "a"), ("2", "b")]), (Some(3), "", &[("2", "b")])]);
        assert!(twice.is_doubtful());
        assert_eq!((twice.repeated, twice.expected()), (1, Some(4)), "one of the three is missing");
        let (grown, _) = seen(&[(Some(2), "", &[("1", "a")]), (Some(3), "", &[("2", "b"), ("3", "b")])]);
        assert!(grown.is_doubtful());
        assert_eq!(grown.expected(), Some(3));
        let (short, _) = seen(&[(Some(9), "", &[("1", "a")])]);
        assert!(short.is_doubtful());
    }

    #[test]
    fn what_an_earlier_claim_stored_is_remembered() {
        let stored = b"{\"resourceType\":\"Observation\",\"id\":\"2\"}\n{\"id\":7}\nnonsense\n";
        let mut seen = Seen { pages: 1, matches: 2, ..Seen::default() };
        let page = page(Some(3), "", &[("2", "b")], &mut seen);
        Doubts::default().remember(&stored[..]).unwrap().look_at(&page, &search(), &mut seen);
        assert_eq!(seen.repeated, 1);
    }

    #[test]
    fn a_total_of_each_page_is_no_total() {
        let (seen, _) = seen(&[(Some(2), "", &[("1", "a"), ("2", "b")]), (Some(1), "", &[("3", "b")])]);
        assert_eq!((seen.announced(), seen.is_doubtful()), (None, false));
    }

    #[test]
    fn a_question_that_is_not_applied_shows() {
        let (others, strange) = seen(&[(None, "", &[("1", "c"), ("old", "d"), ("3", "a")])]);
        assert_eq!((others.strangers, others.out_of_time, strange, others.owner.as_deref()), (2, 1, true, Some("a")));
        let (named, _) = seen(&[(None, "?patient=a,b&_count=5", &[])]);
        assert_eq!(named.not_applied, ["_lastUpdated", "code:in"]);
        let (whole, _) = seen(&[(None, "?patient=a,b&_lastUpdated=ge2024&code=x", &[])]);
        let (opaque, _) = seen(&[(None, "?_getpages=1f", &[])]);
        assert!(whole.not_applied.is_empty() && opaque.not_applied.is_empty());
    }
}
