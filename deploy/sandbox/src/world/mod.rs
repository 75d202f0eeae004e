//! What the sandbox has to give: the guide's eight Groups, made from a seed, and folders of real NDJSON.

mod body;
mod claims;
mod codes;
mod cohort;
mod folder;
mod generated;
mod index;
mod lines;
mod person;
mod rng;
mod shapes;
mod shaping;
mod visit;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use anyhow::{Result, ensure};

pub use self::cohort::{COHORTS, Cohort, Member, cohort};
pub use self::generated::Recipe;
pub use self::index::{About, Index, patient_id};
pub use self::lines::{Lines, last_updated};
use crate::config::{Generated, SandboxConfig};
use crate::switches::Data;

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
    indexes: OnceLock<BTreeMap<String, Index>>,
}

#[derive(Debug)]
enum Source {
    Made {
        seed: u64,
        patients: u64,
        data: Data,
    },
    /// Read when the sandbox starts, so that a wrong folder is told at once and not in the middle of an export.
    Folder,
    /// Files that are never in memory.
    Generated(Vec<Recipe>),
}

impl Group {
    /// Made at the first question and kept.
    pub fn content(&self) -> Arc<Content> {
        let made = || match self.source {
            Source::Made { seed, patients, data } => Arc::new(make(seed, &self.id, patients, data)),
            Source::Folder | Source::Generated(_) => Arc::default(),
        };
        self.content.get_or_init(made).clone()
    }

    /// The files that are made while they are served; all else is in the content.
    pub fn recipes(&self) -> &[Recipe] {
        match &self.source {
            Source::Generated(recipes) => recipes,
            _ => &[],
        }
    }

    /// Ids of the Group's patients.
    pub fn members(&self) -> Vec<String> {
        let content = self.content();
        let Some(patients) = content.get("Patient") else {
            return Vec::new();
        };
        patients.iter().filter_map(About::read).map(|patient| patient.id).collect()
    }

    /// Whose its lines are, by type. Made at the first question and kept.
    pub fn indexes(&self) -> &BTreeMap<String, Index> {
        let made = || self.content().iter().map(|(kind, lines)| (kind.clone(), Index::new(kind, lines))).collect();
        self.indexes.get_or_init(made)
    }

    pub fn quantity(&self) -> u64 {
        match self.source {
            Source::Made { patients, .. } => patients,
            Source::Folder | Source::Generated(_) => self.content().get("Patient").map_or(0, |lines| lines.len() as u64),
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
    pub fn new(config: &SandboxConfig, data: Data) -> Result<Self> {
        let (seed, scale) = (config.seed, config.scale);
        ensure!(scale.is_finite() && scale > 0.0, "the scale must be above 0, not {scale}");
        let mut world = Self { groups: Vec::new() };
        for (id, name, patients) in &GROUPS {
            world.add(id, (*name).to_owned(), Source::Made { seed, patients: scaled(*patients, scale), data })?;
        }
        for (id, dir) in &config.data {
            world.add(id, format!("{id} (files of {})", dir.display()), Source::Folder)?;
            let group = world.groups.last_mut().expect("it was added");
            group.content = OnceLock::from(Arc::new(folder::read(dir)?));
        }
        for (id, recipes) in recipes(seed, &config.generated) {
            world.add(&id, format!("{id} (made while it is served)"), Source::Generated(recipes))?;
        }
        Ok(world)
    }

    fn add(&mut self, id: &str, name: String, source: Source) -> Result<()> {
        ensure!(
            self.group(id).is_none(),
            "there are two Groups called {id}: give the other another name, with --data NAME=DIR or --generate NAME=TYPE:SIZE"
        );
        self.groups.push(Group { id: id.to_owned(), name, source, content: OnceLock::new(), indexes: OnceLock::new() });
        Ok(())
    }

    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// Whether there is a Group of that id, an odd one too.
    pub fn knows(&self, id: &str) -> bool {
        self.group(id).is_some() || cohort(id).is_some()
    }

    /// The Groups of an export: one, those in an odd one, or all of them at system and Patient level.
    pub fn scope(&self, group: Option<&str>) -> Vec<&Group> {
        let Some(id) = group else { return self.groups.iter().collect() };
        match (self.group(id), cohort(id)) {
            (Some(group), _) => vec![group],
            (None, Some(cohort)) => cohort::leaves(cohort).into_iter().filter_map(|id| self.group(id)).collect(),
            (None, None) => Vec::new(),
        }
    }

    /// Every type somebody can search, and whether it is searched by patient.
    pub fn kinds(&self) -> BTreeMap<String, bool> {
        let mut kinds: BTreeMap<String, bool> = TYPES.iter().map(|kind| ((*kind).to_owned(), true)).collect();
        let read = self.groups.iter().filter(|group| matches!(group.source, Source::Folder)).map(Group::content);
        for content in read {
            for (kind, lines) in content.iter() {
                let of_patient = lines.iter().next().and_then(About::read).is_some_and(|about| about.patient(kind).is_some());
                *kinds.entry(kind.clone()).or_default() |= of_patient;
            }
        }
        kinds
    }
}

/// The files to generate, by Group; files of one type share what is repeated.
fn recipes(seed: u64, wanted: &[Generated]) -> BTreeMap<String, Vec<Recipe>> {
    let mut blocks = BTreeMap::new();
    let mut recipes: BTreeMap<String, Vec<Recipe>> = BTreeMap::new();
    for wanted in wanted {
        let block = blocks.entry(wanted.kind.as_str()).or_insert_with(|| Arc::new(generated::Block::new(seed, wanted.kind)));
        let files = recipes.entry(wanted.group.clone()).or_default();
        files.push(Recipe::new(seed, wanted, files.len() as u64, block.clone()));
    }
    recipes
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be positive and finite")]
fn scaled(patients: u32, scale: f64) -> u64 {
    ((f64::from(patients) * scale).round() as u64).max(1)
}

fn make(seed: u64, group: &str, patients: u64, data: Data) -> Content {
    let mut raw: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for index in 0..patients {
        for resource in visit::record(seed, group, index) {
            let line = serde_json::to_vec(&resource).expect("made resources are plain JSON");
            let lines = raw.entry(resource.kind()).or_default();
            if data == Data::default() {
                lines.extend_from_slice(&line);
            } else {
                lines.extend(shaping::shape(line, data));
            }
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
            let world = World::new(&SandboxConfig { seed, scale: 0.05, ..SandboxConfig::default() }, Data::default()).unwrap();
            let content = world.group("FallonHealth").unwrap().content();
            content.values().map(Lines::bytes).collect::<Vec<_>>()
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn a_thousand_patients_have_about_sixty_resources_each_and_every_id_once() {
        let world = World::new(&SandboxConfig::default(), Data::default()).unwrap();
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
