//! What the sandbox has to give: the guide's eight Groups, made from a seed, and folders of real NDJSON.

mod body;
mod codes;
mod folder;
mod lines;
mod person;
mod rng;
mod shapes;
mod visit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Result, ensure};

pub use self::lines::Lines;

/// The types a generated patient has.
pub const TYPES: [&str; 9] = [
    "AllergyIntolerance",
    "Condition",
    "DiagnosticReport",
    "Encounter",
    "Immunization",
    "MedicationRequest",
    "Observation",
    "Patient",
    "Procedure",
];

/// Id, name and number of patients: the Groups of the usage guide, 1,000 patients together, none in two Groups.
pub const GROUPS: [(&str, &str, u32); 8] = [
    ("BMCHealthNet", "BMC HealthNet", 100),
    ("BlueCrossBlueShield", "Blue Cross Blue Shield", 270),
    ("FallonHealth", "Fallon Health", 30),
    ("HarvardPilgrimHealthCare", "Harvard Pilgrim Health Care", 30),
    ("HealthNewEngland", "Health New England", 250),
    ("MinutemanHealth", "Minuteman Health", 30),
    ("NeighborhoodHealthPlan", "Neighborhood Health Plan", 70),
    ("TuftsHealthPlan", "Tufts Health Plan", 220),
];

/// The lines of a Group by resource type.
pub type Content = BTreeMap<String, Lines>;

#[derive(Debug)]
pub struct Group {
    pub id: String,
    pub name: String,
    source: Source,
    content: OnceLock<Arc<Content>>,
}

#[derive(Debug)]
enum Source {
    Made {
        seed: u64,
        patients: u64,
    },
    /// Read when the sandbox starts, so that a wrong folder is told at once and not in the middle of an export.
    Folder,
}

impl Group {
    /// Made at the first question and kept.
    pub fn content(&self) -> Arc<Content> {
        let made = || match self.source {
            Source::Made { seed, patients } => Arc::new(make(seed, &self.id, patients)),
            Source::Folder => Arc::default(),
        };
        self.content.get_or_init(made).clone()
    }

    /// Ids of the Group's patients.
    pub fn members(&self) -> Vec<String> {
        #[derive(serde::Deserialize)]
        struct Id {
            id: String,
        }
        let content = self.content();
        let Some(patients) = content.get("Patient") else {
            return Vec::new();
        };
        patients.iter().filter_map(|line| serde_json::from_slice::<Id>(line).ok()).map(|patient| patient.id).collect()
    }

    pub fn quantity(&self) -> u64 {
        match self.source {
            Source::Made { patients, .. } => patients,
            Source::Folder => self.content().get("Patient").map_or(0, |lines| lines.len() as u64),
        }
    }
}

/// All Groups, in the order they are listed.
#[derive(Debug)]
pub struct World {
    groups: Vec<Group>,
}

impl World {
    /// `scale` multiplies the number of patients of the eight Groups, with at least one each.
    pub fn new(seed: u64, scale: f64, data: &[(String, PathBuf)]) -> Result<Self> {
        ensure!(scale.is_finite() && scale > 0.0, "the scale must be above 0, not {scale}");
        let mut groups: Vec<_> = GROUPS
            .iter()
            .map(|(id, name, patients)| Group {
                id: (*id).to_owned(),
                name: (*name).to_owned(),
                source: Source::Made { seed, patients: scaled(*patients, scale) },
                content: OnceLock::new(),
            })
            .collect();
        for (id, dir) in data {
            ensure!(
                groups.iter().all(|group| group.id != *id),
                "there are two Groups called {id}: give the folder another name with --data NAME=DIR"
            );
            groups.push(Group {
                id: id.clone(),
                name: format!("{id} (files of {})", dir.display()),
                source: Source::Folder,
                content: OnceLock::from(Arc::new(folder::read(dir)?)),
            });
        }
        Ok(Self { groups })
    }

    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// The Groups of an export: one, or all of them at system and Patient level.
    pub fn scope(&self, group: Option<&str>) -> Vec<&Group> {
        match group {
            Some(id) => self.group(id).into_iter().collect(),
            None => self.groups.iter().collect(),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be positive and finite")]
fn scaled(patients: u32, scale: f64) -> u64 {
    ((f64::from(patients) * scale).round() as u64).max(1)
}

fn make(seed: u64, group: &str, patients: u64) -> Content {
    let mut raw: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for index in 0..patients {
        for resource in visit::record(seed, group, index) {
            let lines = raw.entry(resource.kind()).or_default();
            serde_json::to_writer(&mut *lines, &resource).expect("made resources are plain JSON");
            lines.push(b'\n');
        }
    }
    raw.into_iter().map(|(kind, raw)| (kind.to_owned(), Lines::parse(raw))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
        let bytes = |seed| {
            let world = World::new(seed, 0.05, &[]).unwrap();
            let content = world.group("FallonHealth").unwrap().content();
            content.values().map(Lines::bytes).collect::<Vec<_>>()
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn a_thousand_patients_have_about_sixty_resources_each_and_every_id_once() {
        let world = World::new(1, 1.0, &[]).unwrap();
        let mut totals: BTreeMap<String, usize> = BTreeMap::new();
        let mut seen = std::collections::HashSet::new();
        for group in world.groups() {
            assert_eq!(group.members().len() as u64, group.quantity());
            for (kind, lines) in group.content().iter() {
                *totals.entry(kind.clone()).or_default() += lines.len();
                for line in lines.iter() {
                    let text = std::str::from_utf8(line).unwrap();
                    let id = text.split("\"id\":\"").nth(1).unwrap()[..36].to_owned();
                    assert!(seen.insert((kind.clone(), id)), "twice: {text}");
                }
            }
        }
        assert_eq!(totals["Patient"], 1_000);
        assert_eq!(totals.keys().collect::<Vec<_>>(), TYPES.iter().collect::<Vec<_>>());
        let all: usize = totals.values().sum();
        assert!((55_000..65_000).contains(&all), "{all}: {totals:?}");
    }
}
