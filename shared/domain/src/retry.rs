//! When something is tried again, looked up again, and given up.

use jiff::{SignedDuration, Timestamp};

/// How often a clear refusal (429, or 503 in Exotel's own words) is tried again before the dead-letter queue.
pub const MAX_RETRIES: u32 = 3;

/// A click that has waited longer is not placed any more: nobody wants their phone to ring for a forgotten click.
pub const CALL_EXPIRES_AFTER: SignedDuration = SignedDuration::from_secs(120);

/// The same for a message, which nobody sits beside.
pub const SMS_EXPIRES_AFTER: SignedDuration = SignedDuration::from_mins(15);

/// The longest a function works on one request; after it, a row in flight has nobody who works on it.
pub const LONGEST_RUN: SignedDuration = SignedDuration::from_secs(60);

/// Exotel cuts a call after 4 h.
pub const LONGEST_CALL: SignedDuration = SignedDuration::from_hours(4);

/// Without evidence, a call is lost after the longest possible call plus 15 min.
pub const CALL_LOST_AFTER: SignedDuration = SignedDuration::from_mins(4 * 60 + 15);

/// Without evidence, a message is lost after a day; `sent` is final by then.
pub const SMS_LOST_AFTER: SignedDuration = SignedDuration::from_secs(crate::sms::FINAL_AFTER_SECS);

/// The longest delay of a queue message (SQS).
pub const LONGEST_QUEUE_DELAY: SignedDuration = SignedDuration::from_secs(900);

/// When an unconfirmed call is looked for, counted from when it became so. After these, the sweep looks.
const LOOK_AFTER: [SignedDuration; 3] = [
    SignedDuration::from_secs(15),
    SignedDuration::from_secs(60),
    SignedDuration::from_mins(5),
];

/// Ages, in minutes, at which the sweep looks an open row up. The queue's own look-ups come before; from the last one
/// on it looks every minute, since then the row is to be closed.
const CALL_SWEPT_AT_MINS: [i64; 10] = [3, 5, 8, 12, 20, 30, 60, 120, 180, 255];
const SMS_SWEPT_AT_MINS: [i64; 6] = [16, 30, 60, 240, 720, 1_440];

/// The longest time between two runs of the sweep: a minute, and what the scheduler may be late.
const BETWEEN_RUNS: SignedDuration = SignedDuration::from_secs(62);

/// How long to wait before the retry that follows the `refusals`-th refusal (1 is the first): 4, 12 and 36 s, each
/// between half and one and a half of that, so that what was refused together does not come back together. All three
/// fit into [`CALL_EXPIRES_AFTER`].
pub fn delay_after(refusals: u32, random: u64) -> SignedDuration {
    let seconds = 4 * 3_i64.pow(refusals.clamp(1, MAX_RETRIES) - 1);
    let millis = seconds * 1_000;
    let jitter = i64::try_from(random % 1_000).expect("less than a thousand") * millis / 1_000;
    SignedDuration::from_millis(millis / 2 + jitter)
}

/// Whether another refusal, after `refusals` of them, is one too many.
pub fn is_used_up(refusals: u32) -> bool {
    refusals > MAX_RETRIES
}

/// How long to wait from the look-up number `step` (0 is "it just became unconfirmed") to the next one, or `None`
/// when the sweep takes over.
pub fn look_after(step: u32) -> Option<SignedDuration> {
    let step = usize::try_from(step).ok()?;
    let at = *LOOK_AFTER.get(step)?;
    let before = step
        .checked_sub(1)
        .map_or(SignedDuration::ZERO, |i| LOOK_AFTER[i]);
    Some(at - before)
}

/// Whether a call created at `created` is too old to be placed at `now`.
pub fn is_call_expired(created: Timestamp, now: Timestamp) -> bool {
    now > created + CALL_EXPIRES_AFTER
}

/// Whether a message created at `created` is too old to be sent at `now`.
pub fn is_sms_expired(created: Timestamp, now: Timestamp) -> bool {
    now > created + SMS_EXPIRES_AFTER
}

/// How old an open row must be for the sweep to touch it: by then nobody may place or send it any more, and no
/// function is at work on it.
pub fn call_swept_from() -> SignedDuration {
    CALL_EXPIRES_AFTER + LONGEST_RUN
}

/// The same for a message.
pub fn sms_swept_from() -> SignedDuration {
    SMS_EXPIRES_AFTER + LONGEST_RUN
}

/// Whether the sweep, which runs every minute, looks at a call of this age this time. Told from the age alone, so that
/// rows that are not due are not even read.
pub fn is_call_swept(age: SignedDuration) -> bool {
    is_due(age, &CALL_SWEPT_AT_MINS)
}

/// The same for a message.
pub fn is_sms_swept(age: SignedDuration) -> bool {
    is_due(age, &SMS_SWEPT_AT_MINS)
}

fn is_due(age: SignedDuration, at_mins: &[i64]) -> bool {
    let since = |mins: &i64| age - SignedDuration::from_mins(*mins);
    let is_next_run = |mins| (SignedDuration::ZERO..BETWEEN_RUNS).contains(&since(mins));
    at_mins.iter().any(is_next_run) || at_mins.last().is_some_and(|last| !since(last).is_negative())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_grow_and_all_retries_fit_before_a_click_expires() {
        let longest: SignedDuration =
            (1..=MAX_RETRIES).fold(SignedDuration::ZERO, |sum, n| sum + delay_after(n, 999));
        assert!(longest < CALL_EXPIRES_AFTER, "{longest}");
        for n in 1..MAX_RETRIES {
            assert!(delay_after(n, 999) <= delay_after(n + 1, 0), "{n}");
        }
    }

    #[test]
    fn three_retries_and_no_more() {
        assert!(!is_used_up(3));
        assert!(is_used_up(4));
    }

    #[test]
    fn an_unconfirmed_call_is_looked_for_after_15_s_60_s_and_5_min() {
        let mut at = SignedDuration::ZERO;
        let mut ats = vec![];
        for step in 0.. {
            let Some(wait) = look_after(step) else { break };
            at += wait;
            ats.push(at.as_secs());
        }
        assert_eq!(ats, [15, 60, 300]);
    }

    #[test]
    fn the_sweep_looks_ever_more_rarely_and_at_last_every_minute() {
        let due: Vec<i64> = (0..260)
            .filter(|m| is_call_swept(SignedDuration::from_secs(*m * 60 + 5)))
            .collect();
        assert_eq!(due, [3, 5, 8, 12, 20, 30, 60, 120, 180, 255, 256, 257, 258, 259]);
        assert!(
            !is_call_swept(SignedDuration::from_secs(179)) && is_call_swept(SignedDuration::from_secs(241))
        );
        assert!(is_sms_swept(SMS_LOST_AFTER) && is_sms_swept(SMS_LOST_AFTER + SignedDuration::from_mins(7)));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_half_and_one_and_a_half(refusals in 0u32..9, random in any::<u64>()) {
            let delay = delay_after(refusals, random);
            prop_assert!(delay >= SignedDuration::from_secs(2) && delay <= SignedDuration::from_secs(54));
        }
    }
}
