//! Requests per minute: admits up to a limit in any window, and keeps its own count of what arrived.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// A sliding window over the requests of one class of one account.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    limit: usize,
    length: SignedDuration,
    admitted: VecDeque<Timestamp>,
    received: VecDeque<Timestamp>,
    figures: Figures,
}

/// What a window has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Requests admitted in any window at most.
    pub limit: usize,
    /// Length of the window in milliseconds.
    pub window_ms: i64,
    /// Requests that arrived, admitted or not.
    pub received: usize,
    /// Requests refused for the limit.
    pub refused: usize,
    /// The most requests that arrived within any one window, refused ones included.
    pub max_received_in_window: usize,
    /// The most requests admitted within any one window.
    pub max_admitted_in_window: usize,
}

impl Window {
    pub(crate) fn new(limit: usize, length: SignedDuration) -> Self {
        let window_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let figures = Figures {
            limit,
            window_ms,
            ..Figures::default()
        };
        Self {
            limit,
            length,
            admitted: VecDeque::new(),
            received: VecDeque::new(),
            figures,
        }
    }

    /// Counts a request that arrives at `now` and says whether it is admitted. A refused request takes no room.
    pub(crate) fn admit(&mut self, now: Timestamp) -> bool {
        let start = now - self.length;
        for seen in [&mut self.admitted, &mut self.received] {
            while seen.front().is_some_and(|at| *at <= start) {
                seen.pop_front();
            }
        }
        self.received.push_back(now);
        self.figures.received += 1;
        self.figures.max_received_in_window = self.figures.max_received_in_window.max(self.received.len());
        if self.admitted.len() >= self.limit {
            self.figures.refused += 1;
            return false;
        }
        self.admitted.push_back(now);
        self.figures.max_admitted_in_window = self.figures.max_admitted_in_window.max(self.admitted.len());
        true
    }

    pub(crate) fn figures(&self) -> Figures {
        self.figures.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn the_window_slides_and_is_not_reset_by_the_minute() {
        let mut window = Window::new(200, SignedDuration::from_secs(60));
        assert!((0..200).all(|n| window.admit(at(59_000 + n))));
        assert!(
            !window.admit(at(60_500)),
            "a new minute by the clock gives no new budget"
        );
        assert!(!window.admit(at(118_999)));
        assert!(
            window.admit(at(119_000)),
            "60 s after the first one there is room for one"
        );
        assert!(!window.admit(at(119_000)));
    }

    #[test]
    fn refused_requests_are_counted_but_take_no_room() {
        let mut window = Window::new(2, SignedDuration::from_secs(60));
        let answers: Vec<bool> = (0..5).map(|n| window.admit(at(n))).collect();
        assert_eq!(answers, [true, true, false, false, false]);
        let figures = window.figures();
        assert_eq!((figures.received, figures.refused), (5, 3));
        assert_eq!(
            (figures.max_received_in_window, figures.max_admitted_in_window),
            (5, 2)
        );
    }
}
