//! Every minute: rows that are not final and have nobody who would make them so.
//!
//! Ages decide which rows are looked at, so most are not even read. What waits is expired, what is in flight long
//! after every function has ended is unconfirmed, what Exotel knows is looked up, and what nobody knows is lost in
//! the end.

use domain::{
    call::CallState,
    ids::{CallLocator, SmsLocator},
    retry,
    sms::SmsState,
};
use jiff::{SignedDuration, Timestamp};
use table::TableError;

use super::{Account, Exotel, Outbound, clock::sleep_until, resolution::Evidence};

/// A row that could not be looked up for want of a slot is lost all the same this long after its time.
const LOST_UNSEEN_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Rows that a run of the sweep touched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Read, because their age said so.
    pub read: u32,
    /// Looked up at Exotel.
    pub looked_up: u32,
    /// Expired, lost or unconfirmed by this run.
    pub settled: u32,
    /// Found final, or gone, and struck off.
    pub closed: u32,
    /// Left for the next run: the time or the slots were used up.
    pub left: u32,
}

impl Outbound {
    /// One run, which ends soon after `until`. `account` is `None` while Exotel is not configured: then nothing is
    /// looked up, and what is too old is lost.
    ///
    /// # Errors
    /// When the table fails; the next run goes on.
    pub async fn sweep<E: Exotel>(
        &self,
        account: Option<&Account<E>>,
        until: Timestamp,
    ) -> Result<Swept, TableError> {
        let mut swept = Swept::default();
        let before = self.world.now() - retry::call_swept_from();
        let mut cursor = None;
        loop {
            let page = self.table.open_calls(before, cursor.as_deref()).await?;
            for call in &page.items {
                let age = self.world.now().duration_since(call.id.created_at());
                if !retry::is_call_swept(age) {
                    continue;
                }
                if self.world.now() >= until {
                    swept.left += 1;
                    continue;
                }
                let done = self.sweep_call(account, call, age, until, &mut swept).await;
                swept.go_on(call, done)?;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let before = self.world.now() - retry::sms_swept_from();
        loop {
            let page = self.table.open_sms_messages(before, cursor.as_deref()).await?;
            for sms in &page.items {
                let age = self.world.now().duration_since(sms.id.created_at());
                if !retry::is_sms_swept(age) {
                    continue;
                }
                if self.world.now() >= until {
                    swept.left += 1;
                    continue;
                }
                let done = self.sweep_sms(account, sms, age, until, &mut swept).await;
                swept.go_on(sms, done)?;
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(swept);
            }
        }
    }

    async fn sweep_call<E: Exotel>(
        &self,
        account: Option<&Account<E>>,
        locator: &CallLocator,
        age: SignedDuration,
        until: Timestamp,
        swept: &mut Swept,
    ) -> Result<(), TableError> {
        swept.read += 1;
        let row = self.table.call(locator).await?;
        let state = row
            .as_ref()
            .and_then(|row| row.exotel())
            .map(|call| call.progress.state);
        let (Some(row), Some(state)) = (row, state.filter(|state| !state.is_final())) else {
            self.table.close_call(locator).await?;
            swept.closed += 1;
            return Ok(());
        };
        if state == CallState::Waiting {
            let reason = "It waited too long for a free slot and was not placed.";
            let settled = self
                .table
                .settle_call(locator, &[state], CallState::Expired, Some(reason))
                .await?;
            swept.settled += u32::from(settled);
            return Ok(());
        }
        if state == CallState::InFlight
            && self
                .table
                .settle_call(locator, &[state], CallState::Unconfirmed, None)
                .await?
        {
            tracing::warn!(call.id = %locator.id, "was in flight for so long that it is unconfirmed");
            swept.settled += 1;
        }
        let mut evidence = Evidence::Nothing;
        if let Some(account) = account {
            evidence = self.find(account, &row).await?;
            if let Evidence::NoSlot { at } = evidence
                && at < until
            {
                sleep_until(&*self.world, at).await;
                evidence = self.find(account, &row).await?;
            }
        }
        swept.count(evidence);
        if age >= retry::CALL_LOST_AFTER && is_over(evidence, age, retry::CALL_LOST_AFTER) {
            let open = [
                CallState::InFlight,
                CallState::Unconfirmed,
                CallState::Accepted,
                CallState::Ringing,
                CallState::InProgress,
                CallState::Talking,
            ];
            let reason = "Nobody reported how it ended.";
            if self
                .table
                .settle_call(locator, &open, CallState::Lost, Some(reason))
                .await?
            {
                tracing::warn!(call.id = %locator.id, "lost: no evidence in {age:#}");
                swept.settled += 1;
            }
        }
        Ok(())
    }

    async fn sweep_sms<E: Exotel>(
        &self,
        account: Option<&Account<E>>,
        locator: &SmsLocator,
        age: SignedDuration,
        until: Timestamp,
        swept: &mut Swept,
    ) -> Result<(), TableError> {
        swept.read += 1;
        let row = self.table.sms(locator).await?;
        let Some(row) = row.filter(|row| !row.progress.state.is_final()) else {
            self.table.close_sms(locator).await?;
            swept.closed += 1;
            return Ok(());
        };
        let state = row.progress.state;
        if state == SmsState::Waiting {
            let reason = "It waited too long for a free slot and was not sent.";
            let settled = self
                .table
                .settle_sms(locator, &[state], SmsState::Expired, Some(reason))
                .await?;
            swept.settled += u32::from(settled);
            return Ok(());
        }
        if state == SmsState::InFlight
            && self
                .table
                .settle_sms(locator, &[state], SmsState::Unconfirmed, None)
                .await?
        {
            tracing::warn!(sms.id = %locator.id, "was in flight for so long that it is unconfirmed");
            swept.settled += 1;
        }
        let mut evidence = Evidence::Nothing;
        if let (Some(account), Some(sid)) = (account, &row.progress.sid) {
            evidence = self.find_sms(account, &row, sid).await?;
            if let Evidence::NoSlot { at } = evidence
                && at < until
            {
                sleep_until(&*self.world, at).await;
                evidence = self.find_sms(account, &row, sid).await?;
            }
        }
        swept.count(evidence);
        if age >= retry::SMS_LOST_AFTER && is_over(evidence, age, retry::SMS_LOST_AFTER) {
            let open = [
                SmsState::InFlight,
                SmsState::Unconfirmed,
                SmsState::Queued,
                SmsState::Sending,
                SmsState::Submitted,
            ];
            let reason = "Nobody reported whether it was delivered.";
            if self
                .table
                .settle_sms(locator, &open, SmsState::Lost, Some(reason))
                .await?
            {
                tracing::warn!(sms.id = %locator.id, "lost: no evidence in {age:#}");
                swept.settled += 1;
            } else {
                // `sent` without a receipt is final after a day.
                self.table.close_sms(locator).await?;
                swept.closed += 1;
            }
        }
        Ok(())
    }
}

impl Swept {
    /// One row that cannot be read must not keep the others from their end.
    fn go_on(
        &mut self,
        locator: &impl std::fmt::Display,
        done: Result<(), TableError>,
    ) -> Result<(), TableError> {
        match done {
            Err(error) if !error.is_retryable() => {
                tracing::error!(locator = %locator, "passed over by the sweep: {error}");
                self.left += 1;
                Ok(())
            }
            done => done,
        }
    }

    fn count(&mut self, evidence: Evidence) {
        match evidence {
            Evidence::Found | Evidence::Nothing | Evidence::Failed => self.looked_up += 1,
            Evidence::NoSlot { .. } => self.left += 1,
        }
    }
}

/// Whether a row past its time is lost now: not before it was looked up once more, unless there is no slot for long.
fn is_over(evidence: Evidence, age: SignedDuration, lost_after: SignedDuration) -> bool {
    match evidence {
        Evidence::Found => false,
        Evidence::Nothing | Evidence::Failed => true,
        Evidence::NoSlot { .. } => age >= lost_after + LOST_UNSEEN_AFTER,
    }
}
