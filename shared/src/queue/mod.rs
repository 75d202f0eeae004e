//! The queue: apalis delivers tickets, our `stages` row decides.
//!
//! A stage's life: a ticket wakes a worker; the worker claims alone in a short transaction; it works without a
//! transaction; it finishes in one fenced transaction that takes the export's lock first, then the stage's row, then
//! everything else. `ARCHITECTURE.md` has the reasons.

mod claim;
mod enqueue;
mod fence;
mod finish;
mod purge;
mod sleep;
mod sweep;
mod ticket;

pub use claim::{Claim, claim_best, claim_ticket};
pub use enqueue::{NewStage, enqueue, insert, revive};
pub use fence::{Fence, Fenced, FinishError};
pub use finish::{
    Outcome, REPORT, Snooze, StageError, Tail, Trouble, Written, disown, finish, finish_in, hand_back, hand_back_sleeping, snooze_all,
};
pub use purge::{bury_leftovers, clean_up_failed, purge};
pub use sleep::{adopt, begin, sleep};
pub use sweep::{FreeSlots, Swept, sweep};
pub use ticket::{Ticket, announce, forget as forget_ticket};
