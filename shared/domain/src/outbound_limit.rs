//! How fast requests may leave for Exotel, and how long somebody waits for a slot.
//!
//! One item per class holds `tat`, the time of the next free slot. A worker reserves a slot by moving `tat` on by one
//! interval, waits for the slot's time, and sends, unless it wakes too late. So in any 60 s no more is sent than the
//! slots within 60 s plus the slack plus what two clocks may disagree by.

use jiff::{SignedDuration, Timestamp};

/// The window that Exotel counts in: any 60 s.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// A worker that is later than this for its slot drops it and reserves again.
pub const SLACK: SignedDuration = SignedDuration::from_millis(800);

/// How far a host's clock may be off, either way. Lambda's hosts are disciplined.
pub const CLOCK_ERROR: SignedDuration = SignedDuration::from_millis(50);

/// How far everybody's next slot moves when Exotel says "too many" all the same (somebody else uses the account).
pub const PUSHED_BY: SignedDuration = SignedDuration::from_secs(5);

/// What has a budget of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Requests of Exotel's voice API: calls, call details, call lists.
    Voice,
    /// Requests of Exotel's SMS API.
    Sms,
}

impl Class {
    /// Both.
    pub const ALL: [Class; 2] = [Class::Voice, Class::Sms];

    /// The class as a word, as keys hold it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Voice => "voice",
            Class::Sms => "sms",
        }
    }
}

/// How far ahead of now somebody may reserve a slot, and so how long they wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A person waits for the answer: 3 s, then the request is queued.
    Inline,
    /// A person's request that was queued: 10 s.
    Queued,
    /// Nobody waits (campaigns, look-ups): 2 s, so that they never hold up a click.
    Bulk,
}

impl Patience {
    /// How far ahead.
    pub fn horizon(self) -> SignedDuration {
        SignedDuration::from_secs(match self {
            Patience::Inline => 3,
            Patience::Queued => 10,
            Patience::Bulk => 2,
        })
    }

    /// Which of the two conditional updates most likely succeeds.
    pub fn first_try(self) -> Attempt {
        match self {
            Patience::Inline | Patience::Queued => Attempt::Idle,
            Patience::Bulk => Attempt::Busy,
        }
    }
}

/// The two conditional updates that reserve a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// `tat = now + T`, if `tat` is not in the future: the slot is now.
    Idle,
    /// `tat = tat + T`, if `tat` is in the future and within the horizon: the slot is the old `tat`.
    Busy,
}

/// What to do after an update's condition did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try this update.
    Try(Attempt),
    /// Every slot within the horizon is taken; a slot comes within it at this time.
    ComeBack {
        /// When.
        at: Timestamp,
    },
}

/// What the item that did not meet the condition says about the next step.
pub fn next(tat: Option<Timestamp>, now: Timestamp, patience: Patience) -> Next {
    match tat {
        Some(tat) if tat > now + patience.horizon() => Next::ComeBack {
            at: tat - patience.horizon(),
        },
        Some(tat) if tat > now => Next::Try(Attempt::Busy),
        _ => Next::Try(Attempt::Idle),
    }
}

/// Whether a slot is still good at `now`, just before the request is sent.
pub fn is_usable(slot: Timestamp, now: Timestamp) -> bool {
    now <= slot + SLACK
}

/// The time between two slots for a budget of `per_minute` requests in any 60 s, in whole microseconds.
///
/// Sends in any 60 s are at most ⌊(60 s + slack + two clocks' error) / T⌋ + 1. T is 60 s divided by the largest whole
/// number for which that is within the budget: for 200 a minute, 60 s / 197. A budget of 0 counts as 1.
pub fn interval(per_minute: u32) -> SignedDuration {
    let span = reach().as_micros();
    let window = WINDOW.as_micros();
    let per_minute = i128::from(per_minute.max(1));
    let slots = (per_minute * window - 1) / span;
    let micros = match slots {
        // One a minute: no whole number of slots in 60 s leaves room for the slack.
        0 => span + 1,
        slots => (window + slots - 1) / slots,
    };
    SignedDuration::from_micros(i64::try_from(micros).expect("at most a minute and a second"))
}

/// The longest span of slots whose sends can all fall into one window.
fn reach() -> SignedDuration {
    WINDOW + SLACK + CLOCK_ERROR + CLOCK_ERROR
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_hundred_a_minute_is_a_slot_every_197th_of_a_minute() {
        assert_eq!(interval(200), SignedDuration::from_micros(304_569));
        assert_eq!(60_000_000_u64.div_ceil(197), 304_569);
    }

    #[test]
    fn what_did_not_hold_says_what_to_try() {
        let now: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
        let ahead = |ms| Some(now + SignedDuration::from_millis(ms));
        assert_eq!(next(None, now, Patience::Bulk), Next::Try(Attempt::Idle));
        assert_eq!(next(ahead(0), now, Patience::Bulk), Next::Try(Attempt::Idle));
        assert_eq!(next(ahead(1), now, Patience::Inline), Next::Try(Attempt::Busy));
        assert_eq!(next(ahead(2_000), now, Patience::Bulk), Next::Try(Attempt::Busy));
        assert_eq!(
            next(ahead(2_500), now, Patience::Bulk),
            Next::ComeBack {
                at: now + SignedDuration::from_millis(500)
            }
        );
        assert_eq!(
            next(ahead(2_500), now, Patience::Inline),
            Next::Try(Attempt::Busy)
        );
    }

    #[test]
    fn a_late_worker_gives_its_slot_up() {
        let slot: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
        assert!(is_usable(slot, slot + SLACK));
        assert!(!is_usable(slot, slot + SLACK + SignedDuration::from_micros(1)));
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_budget(per_minute in 1u32..5_000) {
            let t = interval(per_minute).as_micros();
            let sends = reach().as_micros() / t + 1;
            prop_assert!(sends <= i128::from(per_minute), "{sends} of {per_minute}");
        }

        #[test]
        fn hardly_anything_of_the_budget_is_left_unused(per_minute in 200u32..5_000) {
            let used = WINDOW.as_micros() as f64 / interval(per_minute).as_micros() as f64;
            prop_assert!(used >= f64::from(per_minute) * 0.98, "{used} of {per_minute}");
        }
    }
}
