//! Calls by sid, and the ended ones in the order in which the bulk list pages through them.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::calls::Call;

/// A call's place in the order of creation.
pub(crate) type Place = (Timestamp, String);

/// All calls. The order of the ended ones is kept as it grows, so that a page costs what it holds and not what the
/// account holds.
#[derive(Debug, Default)]
pub(crate) struct CallStore {
    by_sid: HashMap<String, Call>,
    /// Per account, ended calls only, oldest first.
    ended: HashMap<String, Vec<Place>>,
    /// How many calls a filter matched, while nothing changes: the first page of a filtered list counts them all, the
    /// others need not.
    matched: HashMap<String, usize>,
}

impl CallStore {
    pub(crate) fn get(&self, sid: &str) -> Option<&Call> {
        self.by_sid.get(sid)
    }

    /// All calls, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.by_sid.values()
    }

    /// Ended calls of an account, oldest first.
    pub(crate) fn ended(&self, account: &str) -> &[Place] {
        self.ended.get(account).map_or(&[], Vec::as_slice)
    }

    /// Adds a call, or puts it in the place of the one that had its sid.
    pub(crate) fn insert(&mut self, call: Call) {
        self.insert_all(vec![call]);
    }

    /// Adds calls; the order is made once for all of them.
    pub(crate) fn insert_all(&mut self, calls: Vec<Call>) {
        let mut added: HashMap<String, Vec<Place>> = HashMap::new();
        for call in calls {
            let created = call.ended.map(|_| call.created);
            if created.is_some() {
                let place = (call.created, call.sid.clone());
                added.entry(call.account.clone()).or_default().push(place);
            }
            // Whoever comes back to his place need not leave it.
            if let Some(before) = self.by_sid.insert(call.sid.clone(), call)
                && before.ended.is_some()
                && created != Some(before.created)
            {
                self.leave(&before);
            }
        }
        for (account, mut places) in added {
            let row = self.ended.entry(account).or_default();
            row.append(&mut places);
            // The stable sort finds the row that is in order already and merges into it.
            row.sort();
            row.dedup();
        }
        self.changed();
    }

    /// Changes a call. A call that ends takes its place in the list.
    pub(crate) fn update(&mut self, sid: &str, change: impl FnOnce(&mut Call)) -> Option<()> {
        let call = self.by_sid.get_mut(sid)?;
        let was_ended = call.ended.is_some();
        change(call);
        if !was_ended && call.ended.is_some() {
            let place = (call.created, call.sid.clone());
            let places = self.ended.entry(call.account.clone()).or_default();
            let at = places.partition_point(|other| *other < place);
            places.insert(at, place);
        }
        self.changed();
        Some(())
    }

    fn leave(&mut self, call: &Call) {
        if let Some(places) = self.ended.get_mut(&call.account) {
            let place = (call.created, call.sid.clone());
            if let Ok(at) = places.binary_search(&place) {
                places.remove(at);
            }
        }
    }

    fn changed(&mut self) {
        self.matched.clear();
    }

    /// The count that `filter` stands for, counted at most once between two changes.
    pub(crate) fn count(&mut self, filter: String, count: impl FnOnce(&Self) -> usize) -> usize {
        if let Some(known) = self.matched.get(&filter) {
            return *known;
        }
        let counted = count(self);
        self.matched.insert(filter, counted);
        counted
    }
}
