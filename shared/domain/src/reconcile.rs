//! How the account's call list is read: in which windows, how far back, and when a callback counts as missing.
//!
//! The list leaves out calls in progress and is filtered by when a call was placed, so a window looks back over calls
//! that may have ended since it was last read: 45 minutes each time, and each hour over the longest possible call.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{call_record::Gap, ids::CallSid};

/// How far a regular pass looks back behind the end of the one before.
pub const OVERLAP: SignedDuration = SignedDuration::from_mins(45);
/// How far a long pass does: the longest possible call, and a quarter of an hour for it to settle.
pub const LONG_BACK: SignedDuration = SignedDuration::from_mins(4 * 60 + 15);
/// How often there is a long pass.
pub const LONG_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// A schedule is never on the minute.
const LONG_SLACK: SignedDuration = SignedDuration::from_mins(2);
/// How far the first pass ever looks back.
const FIRST_BACK: SignedDuration = SignedDuration::from_hours(24);
/// The widest window: Exotel takes a month, whose shortest has 28 days.
pub const WIDEST: SignedDuration = SignedDuration::from_hours(28 * 24);
/// How far back Exotel's list goes: six months, a day less for its clock and ours.
pub const OLDEST: SignedDuration = SignedDuration::from_hours(181 * 24);
/// Calls that lasted longer were still going on when a regular pass last looked for them.
const LONG_CALL: SignedDuration = SignedDuration::from_hours(1);
/// How long after it was placed an ended call may still lack price, duration or end time before it is asked for by sid.
pub const SETTLES_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// So many pages in a row that bring nothing further mean that the cursor runs in a circle.
const MOST_STALLS: u32 = 3;

/// Why the list is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Every few minutes.
    Recent,
    /// Every hour, for calls that lasted long.
    Long,
    /// An operator wants history.
    Backfill,
}

impl Pass {
    /// The word in keys and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Pass::Recent => "recent",
            Pass::Long => "long",
            Pass::Backfill => "backfill",
        }
    }

    fn back(self) -> SignedDuration {
        match self {
            Pass::Recent => OVERLAP,
            Pass::Long => LONG_BACK,
            Pass::Backfill => SignedDuration::ZERO,
        }
    }
}

/// A span of creation times that is read from the first page to the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// From when (inclusive).
    pub from: Timestamp,
    /// Until when (inclusive).
    pub to: Timestamp,
    /// Calls placed before this are seen for the last time by this kind of pass: now it is judged what callbacks told
    /// of them.
    pub judged_before: Timestamp,
}

/// What reading a window came to so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Pages read.
    pub pages: u64,
    /// Calls on them.
    pub calls: u64,
    /// Records that changed.
    pub changed: u64,
    /// Rows of ours that changed.
    pub repaired: u64,
    /// Entries that could not be read.
    pub unreadable: u64,
    /// Calls judged.
    pub judged: u64,
    /// Of them, calls that no callback told of.
    pub only_listed: u64,
    /// Of them, calls whose end no callback told.
    pub end_untold: u64,
    /// Of them, calls of which callbacks told another end.
    pub contradicted: u64,
    /// Calls judged that we placed, for which callbacks were asked for.
    pub own_judged: u64,
    /// Of them, those with any gap.
    pub own_gaps: u64,
}

impl Tally {
    /// Counts a judged call.
    pub fn judge(&mut self, gap: Option<Gap>, own: bool) {
        self.judged += 1;
        self.own_judged += u64::from(own);
        self.own_gaps += u64::from(own && gap.is_some());
        match gap {
            Some(Gap::OnlyListed) => self.only_listed += 1,
            Some(Gap::EndUntold) => self.end_untold += 1,
            Some(Gap::Contradicted) => self.contradicted += 1,
            None => {}
        }
    }
}

/// Where reading stands, kept after each page so that the next run goes on there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Why the list is read.
    pub pass: Pass,
    /// Until when everything was read; the next window looks back from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_until: Option<Timestamp>,
    /// From when a backfill goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Until when a backfill goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The window under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Exotel's cursor of its next page; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The last call, in the order of the list, that a page of this window brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<(Timestamp, CallSid)>,
    /// Pages in a row that brought nothing behind it.
    #[serde(default)]
    pub stalls: u32,
    /// What the window came to so far; a backfill's whole span.
    #[serde(default)]
    pub tally: Tally,
}

impl Position {
    /// A regular or long pass that was never made.
    pub fn new(pass: Pass) -> Self {
        Self {
            pass,
            done_until: None,
            since: None,
            until: None,
            window: None,
            cursor: None,
            high: None,
            stalls: 0,
            tally: Tally::default(),
        }
    }

    /// A backfill of this span.
    pub fn backfill(from: Timestamp, to: Timestamp) -> Self {
        Self {
            done_until: Some(from),
            since: Some(from),
            until: Some(to),
            ..Self::new(Pass::Backfill)
        }
    }

    /// Whether a backfill has read its whole span.
    pub fn is_done(&self) -> bool {
        self.window.is_none() && self.until.is_some() && self.done_until >= self.until
    }

    /// Opens the next window, if one is due and none is under way; tells whether one is under way now.
    pub fn open(&mut self, now: Timestamp) -> bool {
        if self.window.is_some() {
            return true;
        }
        let last = self.done_until;
        let to = match self.pass {
            Pass::Long if last.is_some_and(|last| now < last + LONG_EVERY - LONG_SLACK) => return false,
            Pass::Recent | Pass::Long if last.is_some_and(|last| last >= now) => return false,
            Pass::Recent | Pass::Long => now,
            Pass::Backfill if self.is_done() => return false,
            Pass::Backfill => {
                let until = self.until.unwrap_or(now);
                last.map_or(until, |last| until.min(last + WIDEST))
            }
        };
        let from = match (self.pass, last) {
            (_, Some(last)) => last - self.pass.back(),
            (Pass::Long, None) => now - LONG_BACK,
            (_, None) => now - FIRST_BACK,
        };
        let from = from.max(to - WIDEST);
        self.window = Some(Window {
            from,
            to,
            judged_before: to - self.pass.back(),
        });
        (self.cursor, self.high, self.stalls) = (None, None, 0);
        if self.pass != Pass::Backfill {
            self.tally = Tally::default();
        }
        true
    }

    /// Goes on behind a page whose last call, in the order of the list, is `last`; `next` is its cursor.
    pub fn turn(&mut self, last: Option<(Timestamp, CallSid)>, next: Option<String>) -> Turned {
        let Some(window) = &self.window else {
            return Turned::End;
        };
        let further = match (&last, &self.high) {
            (None, _) => false,
            (Some(last), Some(high)) => last > high,
            (Some(_), None) => true,
        };
        if further {
            (self.high, self.stalls) = (last, 0);
        } else {
            self.stalls += 1;
        }
        if next.is_none() {
            self.done_until = Some(window.to);
            (self.window, self.cursor) = (None, None);
            return Turned::End;
        }
        if next == self.cursor || self.stalls >= MOST_STALLS {
            // What was read counts; the next window begins where this one did.
            (self.window, self.cursor, self.high, self.stalls) = (None, None, None, 0);
            return Turned::Circle;
        }
        self.cursor = next;
        Turned::Page
    }

    /// Whether this window is the one in which a call is judged; Exotel counts in whole seconds and lists what came just
    /// before it, too. A long pass judges the calls that were still going
    /// on when the regular one last looked.
    pub fn judges(&self, created: Timestamp, ended: Option<Timestamp>) -> bool {
        let Some(window) = &self.window else { return false };
        let lasted_long = ended.is_some_and(|ended| ended.duration_since(created) >= LONG_CALL);
        created >= window.from
            && created < window.judged_before
            && match self.pass {
                Pass::Recent => !lasted_long,
                Pass::Long => lasted_long,
                Pass::Backfill => false,
            }
    }
}

/// What comes behind a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// The next one.
    Page,
    /// The window was read to its end.
    End,
    /// The list leads in a circle; the window was given up.
    Circle,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minutes: i64) -> Timestamp {
        let base: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
        base + SignedDuration::from_mins(minutes)
    }

    fn sid(n: u32) -> CallSid {
        format!("sid{n:05}").parse().unwrap()
    }

    fn read_to_the_end(position: &mut Position, now: Timestamp) -> Option<Window> {
        position.open(now).then(|| {
            let window = position.window.clone().unwrap();
            assert_eq!(position.turn(None, None), Turned::End);
            window
        })
    }

    #[test]
    fn a_call_of_up_to_half_an_hour_is_seen_within_two_polls_and_a_longer_one_within_the_hour() {
        for (pass, every, longest, within) in [(Pass::Recent, 15, 30, 30), (Pass::Long, 60, 240, 60)] {
            let mut position = Position::new(pass);
            let windows: Vec<(i64, Window)> = (0..100)
                .map(|n| n * every)
                .filter_map(|now| Some((now, read_to_the_end(&mut position, at(now))?)))
                .collect();
            for created in 300..1_200 {
                for lasted in [0, 1, longest / 2, longest] {
                    let ended = created + lasted;
                    // A window lists what has ended when it is read.
                    let seen = windows.iter().find(|(now, window)| {
                        *now >= ended && window.from <= at(created) && at(created) <= window.to
                    });
                    let (seen, _) = seen.unwrap_or_else(|| panic!("{pass:?}: {created}, {lasted}"));
                    assert!(
                        seen - ended <= within,
                        "{pass:?}: placed {created}, ended {ended}, seen {seen}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_call_is_judged_once() {
        let mut recent = Position::new(Pass::Recent);
        let mut long = Position::new(Pass::Long);
        let mut judged = std::collections::BTreeMap::<(i64, i64), u32>::new();
        for now in (0..3_000).step_by(15) {
            for position in [&mut recent, &mut long] {
                if !position.open(at(now)) {
                    continue;
                }
                let window = position.window.clone().unwrap();
                for created in 500..2_000 {
                    for lasted in [1, 44, 90, 240] {
                        let listed =
                            window.from <= at(created) && at(created) <= window.to && created + lasted <= now;
                        if listed && position.judges(at(created), Some(at(created + lasted))) {
                            *judged.entry((created, lasted)).or_default() += 1;
                        }
                    }
                }
                position.turn(None, None);
            }
        }
        assert_eq!(judged.len(), 1_500 * 4);
        assert!(judged.values().all(|times| *times == 1));
    }

    #[test]
    fn a_backfill_goes_through_its_span_in_windows_that_exotel_takes() {
        let mut position = Position::backfill(at(0), at(0) + OLDEST);
        let mut from = at(0);
        let mut windows = 0;
        while position.open(at(0) + OLDEST) {
            let window = position.window.clone().unwrap();
            assert_eq!(window.from, from);
            assert!(window.to.duration_since(window.from) <= WIDEST);
            assert!(!position.is_done());
            from = window.to;
            windows += 1;
            position.turn(None, None);
        }
        assert!(position.is_done() && from == at(0) + OLDEST);
        assert_eq!(windows, 7);
    }

    #[test]
    fn what_runs_in_a_circle_is_given_up_and_begun_again() {
        let mut position = Position::new(Pass::Recent);
        position.done_until = Some(at(0));
        position.open(at(15));
        let token = |n: u32| Some(format!("token{n}"));
        assert_eq!(position.turn(Some((at(1), sid(1))), token(1)), Turned::Page);
        assert_eq!(position.turn(Some((at(1), sid(1))), token(2)), Turned::Page);
        assert_eq!(
            position.turn(Some((at(2), sid(2))), token(1)),
            Turned::Page,
            "it brought more"
        );
        for n in [2, 3] {
            assert_eq!(position.turn(Some((at(2), sid(1))), token(n)), Turned::Page);
        }
        assert_eq!(position.turn(None, token(4)), Turned::Circle);
        assert_eq!(position.done_until, Some(at(0)));
        assert!(position.open(at(30)));
        assert_eq!(position.window.as_ref().unwrap().from, at(0) - OVERLAP);
        position.turn(Some((at(1), sid(1))), token(1));
        assert_eq!(
            position.turn(Some((at(3), sid(1))), token(1)),
            Turned::Circle,
            "the same cursor"
        );
    }

    proptest! {
        /// However long the poller stood still, nothing is left out that Exotel still lists.
        #[test]
        fn windows_leave_no_hole(pauses in prop::collection::vec(0i64..40_000, 1..20)) {
            let mut position = Position::new(Pass::Recent);
            let mut now = 0;
            let mut covered: Option<Window> = None;
            for pause in pauses {
                now += pause;
                if let Some(window) = read_to_the_end(&mut position, at(now)) {
                    if let Some(before) = &covered {
                        prop_assert!(window.from <= before.to || window.to.duration_since(window.from) >= WIDEST);
                    }
                    prop_assert!(window.from < window.to);
                    covered = Some(window);
                }
            }
        }

        #[test]
        fn a_kept_position_goes_on_where_it_was(pages in prop::collection::vec(0i64..9, 0..9)) {
            let mut position = Position::new(Pass::Recent);
            position.open(at(100));
            for (n, minutes) in (0..).zip(pages) {
                position.turn(Some((at(minutes), sid(n))), Some(format!("t{n}")));
                let kept = serde_json::to_string(&position).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Position>(&kept).unwrap(), &position);
            }
        }
    }
}
