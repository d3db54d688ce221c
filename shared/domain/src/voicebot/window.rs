//! Which of the newest sequence numbers of a stream have been taken in, as a number and sixteen bits.

use serde::{Deserialize, Serialize};

/// How many numbers back a message is still told from one that was there before.
const WIDTH: u64 = 16;

/// The newest number and, bit by bit, which of those before it came. Only what matters is noted: silence outside a turn
/// leaves no trace, so a bit that is not set says nothing there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Window(u64, u16);

/// What a window says of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was not there.
    Never,
    /// It was.
    Before,
    /// It is too far back to say.
    TooFarBack,
}

impl Window {
    /// The newest number that was noted; 0 at first.
    pub(super) fn newest(self) -> u64 {
        self.0
    }

    /// The oldest number that it can tell something of.
    pub(super) fn oldest(self) -> u64 {
        self.0.saturating_sub(WIDTH - 1)
    }

    /// Whether a number was noted.
    pub(super) fn look(self, number: u64) -> Seen {
        let Some(behind) = self.0.checked_sub(number) else {
            return Seen::Never;
        };
        match behind {
            WIDTH.. => Seen::TooFarBack,
            _ if self.1 >> behind & 1 == 1 => Seen::Before,
            _ => Seen::Never,
        }
    }

    /// Notes a number. One that is too far back changes nothing.
    pub(super) fn note(&mut self, number: u64) {
        match self.0.checked_sub(number) {
            None => {
                let ahead = number - self.0;
                self.1 = if ahead < WIDTH { self.1 << ahead } else { 0 } | 1;
                self.0 = number;
            }
            Some(behind @ 0..WIDTH) => self.1 |= 1 << behind,
            Some(_) => {}
        }
    }

    /// Takes everything as noted that lies further back than `reach` numbers before the newest, or below `from`.
    pub(super) fn forget_before(&mut self, reach: u64, from: u64) {
        for behind in 1..WIDTH {
            if behind > reach || self.0.saturating_sub(behind) < from {
                self.1 |= 1 << behind;
            }
        }
    }
}

#[cfg(test)]
impl Window {
    pub(super) fn largest(number: u64) -> Self {
        Self(number, u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once_in_whatever_order_they_come() {
        let mut window = Window::default();
        for number in [5, 7, 6, 20, 8, 19] {
            assert_eq!(window.look(number), Seen::Never, "{number}");
            window.note(number);
            assert_eq!(window.look(number), Seen::Before, "{number}");
        }
        assert_eq!(window.newest(), 20);
        assert_eq!([5, 6, 7, 8].map(|number| window.look(number)), [Seen::Before; 4]);
        assert_eq!(window.look(9), Seen::Never);
        assert_eq!(window.look(4), Seen::TooFarBack);
        window.note(u64::MAX);
        assert_eq!(window.look(20), Seen::TooFarBack);
        assert_eq!(window.look(u64::MAX - 1), Seen::Never);
    }

    #[test]
    fn what_is_forgotten_counts_as_noted() {
        let mut window = Window::default();
        window.note(100);
        window.forget_before(3, 98);
        let seen = [99, 98, 97, 96, 90].map(|number| window.look(number));
        assert_eq!(
            seen,
            [Seen::Never, Seen::Never, Seen::Before, Seen::Before, Seen::Before]
        );
    }
}
