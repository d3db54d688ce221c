//! A fact together with the rank of the report it came from.

use serde::{Deserialize, Serialize};

/// A value and the rank of the report that carried it. Of two, the higher rank wins, and at equal rank the greater
/// value: so merging any set of reports gives one answer, whatever their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranked<T> {
    /// The fact.
    #[serde(rename = "v")]
    pub value: T,
    /// Rank of the report it came from.
    #[serde(rename = "r")]
    pub rank: u32,
}

impl<T: Ord + Clone> Ranked<T> {
    /// Puts `value`, reported at `rank`, into `slot` if it wins over what stands there; tells whether it did.
    pub fn offer(slot: &mut Option<Self>, value: Option<&T>, rank: u32) -> bool {
        let Some(value) = value else { return false };
        let wins = match slot {
            None => true,
            Some(held) => (rank, value) > (held.rank, &held.value),
        };
        if wins {
            *slot = Some(Self {
                value: value.clone(),
                rank,
            });
        }
        wins
    }
}
