//! Links that pick something, or let it go: each is this page with one thing changed.

use url::form_urlencoded;

use super::super::frame::Frame;
use crate::data::Data;

/// Parameters that say which exports, and how they are shown; the others pick people.
const NOT_FILTERS: [&str; 6] = ["etl_job_id", "latest", "by", "bands", "top", "values_of"];

/// A choice between several.
pub struct Choice {
    pub label: String,
    pub url: String,
    pub current: bool,
}

/// A filter in force, and the link that lets it go.
pub struct Chip {
    pub label: String,
    pub value: String,
    pub url: String,
}

/// The page's query, in pieces.
#[derive(Debug, Clone)]
pub struct Links {
    pairs: Vec<(String, String)>,
}

impl Links {
    pub fn of(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        // An empty field of the form is nothing that was asked for.
        Self { pairs: pairs.filter(|(name, value)| name != "etl_job_id" || !value.trim().is_empty()).collect() }
    }

    pub fn names_exports(&self) -> bool {
        self.pairs.iter().any(|(name, _)| name == "etl_job_id" || name == "latest")
    }

    pub fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.pairs).finish()
    }

    pub fn asks_for(&self, id: &str) -> bool {
        self.pairs.iter().any(|(name, value)| name == "etl_job_id" && value.contains(id))
    }

    fn is_picked(&self, picks: &[(&str, &str)]) -> bool {
        picks.iter().all(|(name, value)| self.pairs.iter().any(|(n, v)| n == name && v == value))
    }

    /// The page with these picked; without them, if they are.
    pub fn toggled(&self, picks: &[(&str, &str)]) -> (String, bool) {
        let picked = self.is_picked(picks);
        let is_one = |(name, value): &(String, String)| picks.iter().any(|(n, v)| n == name && v == value);
        let mut pairs: Vec<_> = self.pairs.iter().filter(|pair| !is_one(pair)).cloned().collect();
        if !picked {
            pairs.extend(picks.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        }
        (address(&pairs), picked)
    }

    pub fn without_filters(&self) -> String {
        let pairs: Vec<_> = self.pairs.iter().filter(|(name, _)| NOT_FILTERS.contains(&name.as_str())).cloned().collect();
        address(&pairs)
    }

    /// The page with one parameter at each of its values.
    pub fn choices<'a>(&self, name: &str, current: &str, all: impl Iterator<Item = (&'a str, String)>) -> Vec<Choice> {
        all.map(|(value, label)| {
            let mut pairs: Vec<_> = self.pairs.iter().filter(|(n, _)| n != name).cloned().collect();
            pairs.push((name.to_owned(), value.to_owned()));
            Choice { label, url: address(&pairs), current: value == current }
        })
        .collect()
    }

    /// A chart's numbers as a file.
    pub fn csv(&self, chart: &str) -> String {
        let mut pairs: Vec<_> = self.pairs.iter().filter(|(name, _)| name != "top").cloned().collect();
        pairs.push(("format".to_owned(), "csv".to_owned()));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        format!("/api/bulk-data/data/{chart}?{query}")
    }

    pub fn chips(&self, frame: &Frame, data: &Data) -> Vec<Chip> {
        let filters = self.pairs.iter().filter(|(name, _)| !NOT_FILTERS.contains(&name.as_str()));
        filters
            .map(|(name, value)| Chip {
                label: frame.word("data.filter", name).to_owned(),
                value: data.named(frame, name, (!value.is_empty()).then_some(value.as_str())),
                url: self.toggled(&[(name, value)]).0,
            })
            .collect()
    }
}

fn address(pairs: &[(String, String)]) -> String {
    format!("/data?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_picked_twice_is_let_go_and_the_rest_stays() {
        let links = Links::of("etl_job_id=&etl_job_id=1&gender=female&by=year");
        assert_eq!(links.query(), "etl_job_id=1&gender=female&by=year", "an empty field is left out");
        let (url, picked) = links.toggled(&[("condition", "a&b")]);
        assert_eq!((url.as_str(), picked), ("/data?etl_job_id=1&gender=female&by=year&condition=a%26b", false));
        assert_eq!(links.toggled(&[("gender", "female")]), ("/data?etl_job_id=1&by=year".to_owned(), true));
        assert_eq!(links.without_filters(), "/data?etl_job_id=1&by=year");
        assert_eq!(links.csv("people"), "/api/bulk-data/data/people?etl_job_id=1&gender=female&by=year&format=csv");
    }
}
