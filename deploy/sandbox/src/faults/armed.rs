//! The faults that wait for their request.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Fault, What, Where};

/// Armed faults, in the order they were given. The first that fits strikes.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Fault>>);

impl Faults {
    pub fn arm(&self, fault: Fault) {
        self.list().push(fault);
    }

    pub fn clear(&self) {
        self.list().clear();
    }

    /// The first fault for this request that `pick` knows how to do, counted as done once more.
    pub fn take<T>(&self, place: Where, path: &str, pick: impl Fn(&What) -> Option<T>) -> Option<T> {
        let mut list = self.list();
        let at = list.iter().position(|fault| fault.fits(place, path) && pick(&fault.what).is_some())?;
        let fault = &mut list[at];
        let picked = pick(&fault.what);
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                list.remove(at);
            }
        }
        picked
    }

    /// As [`Self::take`], but one fault of each kind, for moments at which several can strike together.
    pub fn take_each<T>(&self, place: Where, path: &str, pick: impl Fn(&What) -> Option<T>) -> Vec<T> {
        let mut taken: Vec<T> = Vec::new();
        let kinds = |taken: &[T]| taken.iter().map(std::mem::discriminant).collect::<Vec<_>>();
        loop {
            let before = kinds(&taken);
            let fresh = |what: &What| pick(what).filter(|one| !before.contains(&std::mem::discriminant(one)));
            match self.take(place, path, fresh) {
                Some(one) => taken.push(one),
                None => return taken,
            }
        }
    }

    /// Whether such a fault waits for this path, without counting it as done.
    pub fn waits(&self, place: Where, path: &str, what: &What) -> bool {
        self.list().iter().any(|fault| fault.fits(place, path) && fault.what == *what)
    }

    fn list(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    fn fits(&self, place: Where, path: &str) -> bool {
        (self.place == place || self.place == Where::Any) && self.on.as_ref().is_none_or(|on| path.contains(on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Before, Content};

    #[test]
    fn strikes_as_often_as_asked_and_only_where_asked() {
        let faults = Faults::default();
        faults.arm("file:bom*2@Condition".parse().unwrap());
        let bom = |what: &What| matches!(what, What::Content(Content::Bom)).then_some(());
        let drop = |what: &What| matches!(what, What::Before(Before::Drop)).then_some(());
        assert!(faults.take(Where::File, "/files/1/Patient", bom).is_none());
        assert!(faults.take(Where::File, "/files/1/Condition", drop).is_none());
        assert!(faults.take(Where::File, "/files/1/Condition", bom).is_some());
        assert!(faults.take(Where::File, "/files/1/Condition", bom).is_some());
        assert!(faults.take(Where::File, "/files/1/Condition", bom).is_none());
    }
}
