//! Calls whose request may have reached Exotel, and of which nothing is known for long.

use domain::call::CallState;
use jiff::{SignedDuration, Timestamp};
use table::{Table, TableError};

/// A call that is unconfirmed for longer should have been found: the look-ups come after 15 s, 60 s and 5 min.
pub const LONG: SignedDuration = SignedDuration::from_mins(10);
/// Pages of open calls that are read, of 100 each: what is older is looked at first, and a thousand calls that nobody
/// knows the end of say enough.
const PAGES: usize = 10;

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls that are unconfirmed.
    pub calls: u32,
    /// Whether there may be more, among open calls that were not read.
    pub is_at_least: bool,
}

/// Counts the calls wanted more than [`LONG`] ago that are unconfirmed: a query and a batch of rows for each hundred
/// open calls of that age, at most a thousand.
///
/// # Errors
/// [`TableError`].
pub async fn count(table: &Table, now: Timestamp) -> Result<Counted, TableError> {
    let mut counted = Counted::default();
    let mut cursor = None;
    for _ in 0..PAGES {
        let page = table.open_calls(now - LONG, cursor.as_deref()).await?;
        let rows = table.calls_at(&page.items).await?;
        let unconfirmed = rows.iter().filter(|row| {
            row.exotel()
                .is_some_and(|call| call.progress.state == CallState::Unconfirmed)
        });
        counted.calls += u32::try_from(unconfirmed.count()).expect("a page has a hundred rows");
        cursor = page.next;
        if cursor.is_none() {
            return Ok(counted);
        }
    }
    counted.is_at_least = true;
    Ok(counted)
}
