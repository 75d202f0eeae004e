//! The polls of this process: asleep until their time, awake and waiting for their turn, or under way. No clock and no database here.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Bound,
};

use bulkhead_shared::queue::Claim;
use tokio::time::Instant;
use uuid::Uuid;

/// Status requests under way at once. One source may begin another only while it has fewer than are free: a server that hangs takes at most
/// half of the slots, a second one half of the rest.
const UNDER_WAY: usize = 256;

#[derive(Default)]
pub struct Sleepers {
    /// By the time they wake; the number tells those of one moment apart.
    asleep: BTreeMap<(Instant, u64), Claim>,
    /// By source; each in the order they woke.
    awake: BTreeMap<Uuid, VecDeque<Claim>>,
    under_way: HashMap<Uuid, usize>,
    /// The claims of all of them.
    held: HashSet<Uuid>,
    fallen_asleep: u64,
    /// The source after which the next turn begins.
    turn: Uuid,
}

impl Sleepers {
    /// New ones, awake.
    pub fn adopt(&mut self, claims: Vec<Claim>) {
        for claim in claims {
            self.held.insert(claim.claim_id);
            self.awake.entry(claim.source_id).or_default().push_back(claim);
        }
    }

    /// It was put to sleep in its row.
    pub fn sleep(&mut self, until: Instant, claim: Claim) {
        self.fallen_asleep += 1;
        self.asleep.insert((until, self.fallen_asleep), claim);
    }

    /// Wakes those whose time has come.
    pub fn wake(&mut self, now: Instant) {
        while let Some(first) = self.asleep.first_entry().filter(|first| first.key().0 <= now) {
            let claim = first.remove();
            self.awake.entry(claim.source_id).or_default().push_back(claim);
        }
    }

    /// Those that may be asked now: sources take turns. They count as under way until `ended`.
    pub fn take(&mut self) -> Vec<Claim> {
        let mut taken = Vec::new();
        let mut busy: usize = self.under_way.values().sum();
        loop {
            let before = taken.len();
            let after = self.awake.range((Bound::Excluded(self.turn), Bound::Unbounded));
            let turns: Vec<Uuid> = after.chain(self.awake.range(..=self.turn)).map(|(source, _)| *source).collect();
            for source in turns {
                let free = UNDER_WAY - busy;
                let own = self.under_way.get(&source).copied().unwrap_or(0);
                if own >= free {
                    continue;
                }
                let Some(claim) = self.awake.get_mut(&source).and_then(VecDeque::pop_front) else { continue };
                if self.awake[&source].is_empty() {
                    self.awake.remove(&source);
                }
                *self.under_way.entry(source).or_default() += 1;
                busy += 1;
                self.turn = source;
                taken.push(claim);
            }
            if taken.len() == before {
                return taken;
            }
        }
    }

    /// A request is over, or was not begun.
    pub fn ended(&mut self, source: Uuid) {
        if let Some(n) = self.under_way.get_mut(&source) {
            *n -= 1;
            if *n == 0 {
                self.under_way.remove(&source);
            }
        }
    }

    /// Not begun after all: next time again.
    pub fn put_back(&mut self, claims: Vec<Claim>) {
        for claim in claims {
            self.ended(claim.source_id);
            self.awake.entry(claim.source_id).or_default().push_front(claim);
        }
    }

    /// It is no longer ours.
    pub fn forget(&mut self, claim_id: Uuid) {
        self.held.remove(&claim_id);
    }

    /// All that this process holds under another id than this one is lost.
    pub fn forget_others(&mut self, worker_id: Uuid) {
        let held = &mut self.held;
        let mut keep = |claim: &Claim| {
            let ours = claim.worker_id == worker_id;
            if !ours {
                held.remove(&claim.claim_id);
            }
            ours
        };
        self.asleep.retain(|_, claim| keep(claim));
        for queue in self.awake.values_mut() {
            queue.retain(&mut keep);
        }
        self.awake.retain(|_, queue| !queue.is_empty());
    }

    pub fn held(&self) -> &HashSet<Uuid> {
        &self.held
    }

    /// Sources of which so many wait for their turn that others' come first, and how many of the others wait.
    pub fn crowds(&self, from: usize) -> (Vec<Uuid>, usize) {
        let crowded = |queue: &VecDeque<Claim>| queue.len() >= from;
        let sources = self.awake.iter().filter(|(_, queue)| crowded(queue)).map(|(source, _)| *source).collect();
        (sources, self.awake.values().filter(|queue| !crowded(queue)).map(VecDeque::len).sum())
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.awake.values().map(VecDeque::len).sum()
    }

    /// When the next one wakes.
    pub fn next(&self) -> Option<Instant> {
        self.asleep.keys().next().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bulkhead_shared::domain::stage::StageKind;

    use super::*;

    fn claim(source_id: Uuid) -> Claim {
        Claim {
            stage_id: Uuid::new_v4(),
            claim_id: Uuid::new_v4(),
            worker_id: Uuid::nil(),
            export_id: Uuid::new_v4(),
            source_id,
            file_id: None,
            part_id: None,
            kind: StageKind::Poll,
            attempt: 0,
            max_attempts: 5,
            snoozes: 0,
        }
    }

    fn many(source: Uuid, n: usize) -> Vec<Claim> {
        (0..n).map(|_| claim(source)).collect()
    }

    #[test]
    fn servers_that_hang_leave_slots_for_the_others() {
        let mut sleepers = Sleepers::default();
        let hanging = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        for source in hanging {
            sleepers.adopt(many(source, 1000));
            sleepers.take();
        }
        let well = Uuid::new_v4();
        sleepers.adopt(many(well, 10));
        let taken = sleepers.take();
        assert!(taken.iter().filter(|claim| claim.source_id == well).count() == 10, "{} were taken", taken.len());
    }

    #[test]
    fn sources_take_turns() {
        let mut sleepers = Sleepers::default();
        let (large, small) = (Uuid::from_u128(1), Uuid::from_u128(2));
        sleepers.adopt(many(large, 500));
        sleepers.adopt(many(small, 3));
        let taken = sleepers.take();
        assert!(taken.len() <= UNDER_WAY);
        assert_eq!(taken.iter().take(6).filter(|claim| claim.source_id == small).count(), 3);
    }

    #[test]
    fn a_source_of_which_too_many_wait_is_a_crowd_and_does_not_count() {
        let mut sleepers = Sleepers::default();
        let (hanging, well) = (Uuid::new_v4(), Uuid::new_v4());
        sleepers.adopt(many(hanging, 100));
        sleepers.adopt(many(well, 10));
        assert_eq!(sleepers.crowds(64), (vec![hanging], 10));
        assert_eq!(sleepers.crowds(101), (Vec::new(), 110));
    }

    #[test]
    fn nobody_wakes_early_and_nobody_is_forgotten() {
        let mut sleepers = Sleepers::default();
        let (now, source) = (Instant::now(), Uuid::new_v4());
        sleepers.adopt(many(source, 100));
        for (n, claim) in sleepers.take().into_iter().enumerate() {
            sleepers.ended(source);
            sleepers.sleep(now + Duration::from_secs(n as u64), claim);
        }
        assert_eq!((sleepers.next(), sleepers.held().len()), (Some(now), 100));
        sleepers.wake(now + Duration::from_secs(49));
        assert_eq!(sleepers.waiting(), 50);
        assert_eq!(sleepers.next(), Some(now + Duration::from_secs(50)));
        let taken = sleepers.take();
        assert_eq!(taken.len(), 50);
        sleepers.put_back(taken);
        assert_eq!(sleepers.take().len(), 50);
        sleepers.forget_others(Uuid::new_v4());
        assert_eq!((sleepers.next(), sleepers.held().len()), (None, 50), "only those under way are left");
    }
}
