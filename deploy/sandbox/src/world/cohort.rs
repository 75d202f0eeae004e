//! Odd Groups, for clients that read members: Groups of Groups, circles, and references in every form.

use std::collections::HashSet;

/// A Group that has no patients of its own. It can be asked for and exported by its id.
#[derive(Debug)]
pub struct Cohort {
    pub id: &'static str,
    pub name: &'static str,
    pub members: &'static [Member],
}

#[derive(Debug, Clone, Copy)]
pub enum Member {
    /// The patients of one of the eight Groups, each referred to in this form.
    Patients(&'static str, Form),
    Group(&'static str, Form),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `Patient/1`
    Relative,
    /// `http://host/fhir/Patient/1`
    Absolute,
    /// `urn:uuid:1`
    Urn,
}

impl Form {
    pub fn reference(self, base: &str, kind: &str, id: &str) -> String {
        match self {
            Self::Relative => format!("{kind}/{id}"),
            Self::Absolute => format!("{base}/{kind}/{id}"),
            Self::Urn => format!("urn:uuid:{id}"),
        }
    }
}

pub const COHORTS: &[Cohort] = &[
    Cohort {
        id: "nested",
        name: "Groups in a Group, and patients who are in one of them too",
        members: &[
            Member::Group("inner", Form::Relative),
            Member::Group("MinutemanHealth", Form::Absolute),
            Member::Patients("FallonHealth", Form::Relative),
        ],
    },
    Cohort {
        id: "inner",
        name: "A Group in a Group",
        members: &[Member::Group("FallonHealth", Form::Relative), Member::Patients("HarvardPilgrimHealthCare", Form::Absolute)],
    },
    Cohort {
        id: "cyclic",
        name: "A Group that contains itself, at once and by another",
        members: &[
            Member::Group("cyclic", Form::Relative),
            Member::Group("circle", Form::Absolute),
            Member::Patients("FallonHealth", Form::Relative),
        ],
    },
    Cohort {
        id: "circle",
        name: "The other half of a circle",
        members: &[Member::Group("cyclic", Form::Relative), Member::Patients("MinutemanHealth", Form::Relative)],
    },
    Cohort { id: "absolute", name: "Members by absolute URLs", members: &[Member::Patients("FallonHealth", Form::Absolute)] },
    Cohort { id: "urn", name: "Members by urn:uuid", members: &[Member::Patients("FallonHealth", Form::Urn)] },
    Cohort {
        id: "broken",
        name: "A member Group that does not exist",
        members: &[Member::Group("nobody", Form::Relative), Member::Patients("FallonHealth", Form::Relative)],
    },
];

pub fn cohort(id: &str) -> Option<&'static Cohort> {
    COHORTS.iter().find(|cohort| cohort.id == id)
}

/// The Groups with patients that are in this one, each once.
pub fn leaves(cohort: &'static Cohort) -> Vec<&'static str> {
    let (mut seen, mut leaves, mut open) = (HashSet::from([cohort.id]), Vec::new(), vec![cohort]);
    while let Some(cohort) = open.pop() {
        for member in cohort.members {
            let (Member::Patients(id, _) | Member::Group(id, _)) = *member;
            if !seen.insert(id) {
                continue;
            }
            match self::cohort(id) {
                Some(inner) => open.push(inner),
                None => leaves.push(id),
            }
        }
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_end_and_nobody_is_there_twice() {
        let of = |id| {
            let mut leaves = leaves(cohort(id).unwrap());
            leaves.sort_unstable();
            leaves
        };
        assert_eq!(of("nested"), ["FallonHealth", "HarvardPilgrimHealthCare", "MinutemanHealth"]);
        assert_eq!(of("cyclic"), ["FallonHealth", "MinutemanHealth"]);
        assert_eq!(of("urn"), ["FallonHealth"]);
    }
}
