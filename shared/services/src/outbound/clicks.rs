//! A person's click: call this lead, or send this text.

use domain::{
    access::Caller,
    call::{Call, CallOrigin, CallProgress, CallReport, CallState, ExotelCall},
    directory::Lead,
    ids::{CallId, CallLocator, LeadId, SmsId, SmsLocator},
    outbound_limit::Patience,
    phone::PhoneNumber,
    sms::{Sms, SmsProgress, SmsReport, SmsState},
    toll_fraud::{Counted, Period, Quota, Window},
};
use jiff::{SignedDuration, Timestamp};
use table::{
    Create, TableError,
    limits::Reserving,
    quota::{CallsOf, Counted as Count},
};

use super::{
    Account, Exotel, Outbound, OutboundError, OutboundQueue, Step,
    dispatch::Attempted,
    items::{Intent, Item},
    limiter::Permission,
};

/// A click on a lead's Call button.
#[derive(Debug, Clone, Copy)]
pub struct Click<'a> {
    /// Who clicked.
    pub caller: &'a Caller,
    /// The lead, which is in the caller's scope.
    pub lead: &'a Lead,
    /// The call's id.
    pub id: &'a CallId,
    /// Whether somebody may have begun this click before and died: then the row may be there.
    pub resumed: bool,
}

/// A text for a lead.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Who sends it.
    pub caller: &'a Caller,
    /// The lead, which is in the caller's scope.
    pub lead: &'a Lead,
    /// The message's id.
    pub id: &'a SmsId,
    /// What it says: 1 to 1 000 characters, trimmed.
    pub body: &'a str,
    /// As [`Click::resumed`].
    pub resumed: bool,
}

/// What became of a click, with the row as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed<T> {
    /// Exotel has it: 201.
    Dispatched(T),
    /// It waits for a slot or a retry: 202.
    Queued(T),
    /// It may have reached Exotel; evidence will tell: 202.
    Unconfirmed(T),
    /// Exotel refused it, or it was given up: 502, with the row's reason.
    Refused(T),
}

impl<T> Placed<T> {
    /// The row.
    pub fn row(&self) -> &T {
        match self {
            Placed::Dispatched(row)
            | Placed::Queued(row)
            | Placed::Unconfirmed(row)
            | Placed::Refused(row) => row,
        }
    }
}

/// What differs between the two kinds of click.
pub(super) trait Clicked: Item {
    fn with(self, state: Intent, attempt: u32, reason: Option<String>) -> Self;
    fn merged(self, report: &Self::Report) -> Self;
    fn placed(self) -> Placed<Self>;
    async fn create(&self, table: &table::Table) -> Result<Create, TableError>;
    async fn read(table: &table::Table, locator: &Self::Locator) -> Result<Option<Self>, TableError>;
}

impl Clicked for Call {
    fn with(mut self, state: Intent, attempt: u32, reason: Option<String>) -> Self {
        if let CallOrigin::Exotel(call) = &mut self.origin {
            call.progress = CallProgress::new(state.into());
            call.attempt = attempt;
            call.reason = reason;
        }
        self
    }

    fn merged(mut self, report: &CallReport) -> Self {
        if let CallOrigin::Exotel(call) = &mut self.origin {
            call.progress.merge(report);
        }
        self
    }

    fn placed(self) -> Placed<Self> {
        match self.exotel().map(|call| call.progress.state) {
            Some(CallState::Waiting) => Placed::Queued(self),
            Some(CallState::Unconfirmed) => Placed::Unconfirmed(self),
            Some(CallState::Refused | CallState::GaveUp | CallState::Expired) => Placed::Refused(self),
            _ => Placed::Dispatched(self),
        }
    }

    async fn create(&self, table: &table::Table) -> Result<Create, TableError> {
        if self.locator.lead_id.is_unlisted() {
            table.create_unlisted_call(self).await
        } else {
            table.create_call(self).await
        }
    }

    async fn read(table: &table::Table, locator: &CallLocator) -> Result<Option<Self>, TableError> {
        table.call(locator).await
    }
}

impl Clicked for Sms {
    fn with(mut self, state: Intent, attempt: u32, reason: Option<String>) -> Self {
        self.progress = SmsProgress::new(state.into());
        self.attempt = attempt;
        self.reason = reason;
        self
    }

    fn merged(mut self, report: &SmsReport) -> Self {
        self.progress.merge(report);
        self
    }

    fn placed(self) -> Placed<Self> {
        match self.progress.state {
            SmsState::Waiting => Placed::Queued(self),
            SmsState::Unconfirmed => Placed::Unconfirmed(self),
            SmsState::Refused | SmsState::GaveUp | SmsState::Expired => Placed::Refused(self),
            _ => Placed::Dispatched(self),
        }
    }

    async fn create(&self, table: &table::Table) -> Result<Create, TableError> {
        table.create_sms(self).await
    }

    async fn read(table: &table::Table, locator: &SmsLocator) -> Result<Option<Self>, TableError> {
        table.sms(locator).await
    }
}

impl Outbound {
    /// Rings the caller's phone, then the lead's.
    ///
    /// # Errors
    /// [`OutboundError`]: then no row was made and nobody is rung.
    pub async fn place_call<E: Exotel>(
        &self,
        account: &Account<E>,
        queue: &OutboundQueue,
        click: Click<'_>,
    ) -> Result<Placed<Call>, OutboundError> {
        let locator = CallLocator {
            id: click.id.clone(),
            lead_id: click.lead.id.clone(),
        };
        if let Some(placed) = self.resume::<Call>(click.resumed, &locator).await? {
            return Ok(placed);
        }
        let user = self.table.user(&click.caller.user_id).await?;
        let agent_phone = user.and_then(|user| user.phone).ok_or(OutboundError::NoPhone)?;
        self.allow("caller's", &agent_phone)?;
        self.allow("lead's", &click.lead.phone)?;
        self.count(click.caller, &click.lead.id).await?;
        let caller_id = self.caller_id(&account.caller_id).await;
        let call = Call {
            called_by: Some(click.caller.user_id.clone()),
            called_at: locator.id.created_at(),
            notes: None,
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone,
                lead_phone: click.lead.phone.clone(),
                caller_id,
                to_bot: false,
                attempt: 0,
                reason: None,
                progress: CallProgress::new(CallState::Waiting),
            })),
            locator,
        };
        self.click(account, queue, call).await
    }

    /// Sends a text to the lead.
    ///
    /// # Errors
    /// [`OutboundError`]: then no row was made and nothing is sent.
    pub async fn send_sms<E: Exotel>(
        &self,
        account: &Account<E>,
        queue: &OutboundQueue,
        text: Text<'_>,
    ) -> Result<Placed<Sms>, OutboundError> {
        let locator = SmsLocator {
            id: text.id.clone(),
            lead_id: text.lead.id.clone(),
        };
        if let Some(placed) = self.resume::<Sms>(text.resumed, &locator).await? {
            return Ok(placed);
        }
        self.allow("lead's", &text.lead.phone)?;
        let sms = Sms {
            sent_by: text.caller.user_id.clone(),
            sent_at: locator.id.created_at(),
            to_phone: text.lead.phone.clone(),
            body: text.body.to_owned(),
            attempt: 0,
            reason: None,
            progress: SmsProgress::new(SmsState::Waiting),
            locator,
        };
        self.click(account, queue, sms).await
    }

    /// What became of a click whose function died.
    pub(super) async fn resume<I: Clicked>(
        &self,
        resumed: bool,
        locator: &I::Locator,
    ) -> Result<Option<Placed<I>>, OutboundError> {
        if !resumed {
            return Ok(None);
        }
        Ok(I::read(&self.table, locator).await?.map(I::placed))
    }

    /// A slot, the row, the request.
    pub(super) async fn click<I: Clicked, E: Exotel>(
        &self,
        account: &Account<E>,
        queue: &OutboundQueue,
        row: I,
    ) -> Result<Placed<I>, OutboundError> {
        let slot = match self
            .limiter
            .slot(I::CLASS, Reserving::ToSend, Patience::Inline)
            .await?
        {
            Permission::Go(slot) => slot,
            Permission::Later { at } => {
                let row = row.with(Intent::Waiting, 0, None);
                if let Some(placed) = self.create(&row).await? {
                    return Ok(placed);
                }
                let task = I::task(row.locator().clone(), 1, 0);
                let delay = at.duration_since(self.world.now());
                return self.queue(queue, row, Step::next(task, delay)).await;
            }
            Permission::Paused => return Err(OutboundError::Paused),
        };
        let row = row.with(Intent::InFlight, 1, None);
        if let Some(placed) = self.create(&row).await? {
            return Ok(placed);
        }
        match self.attempt(account, &row, slot, 0).await {
            Attempted::Accepted { report, recorded } => {
                let sid = I::sid(&report);
                let task = I::resolution(row.locator().clone(), 0, sid).filter(|_| !recorded);
                if let Some(task) = task
                    && let Err(error) = queue.send(&task, SignedDuration::from_secs(15)).await
                {
                    tracing::error!(locator = %row.locator(), "nobody will write what Exotel answered: {error}");
                }
                Ok(row.merged(&report).placed())
            }
            Attempted::NotSent { refusals, delay } => {
                let task = I::task(row.locator().clone(), row.attempt() + 1, refusals);
                let attempt = row.attempt();
                let row = row.with(Intent::Waiting, attempt, None);
                self.queue(queue, row, Step::next(task, delay)).await
            }
            Attempted::GaveUp { reason } => Ok(row.with(Intent::GaveUp, 1, Some(reason)).placed()),
            Attempted::Refused { reason } => Ok(row.with(Intent::Refused, 1, Some(reason)).placed()),
            Attempted::Unconfirmed => {
                let step = self.first_look::<I>(row.locator());
                if let Step::Next { task, delay } = step
                    && let Err(error) = queue.send(&task, delay).await
                {
                    // The sweep looks, only later.
                    tracing::warn!(locator = %row.locator(), "not looked for by message: {error}");
                }
                Ok(row.with(Intent::Unconfirmed, 1, None).placed())
            }
            Attempted::Moved => {
                let read = I::read(&self.table, row.locator()).await;
                Ok(read.ok().flatten().unwrap_or(row).placed())
            }
        }
    }

    /// Writes the row. If it is there already, what became of it: this click was begun twice.
    async fn create<I: Clicked>(&self, row: &I) -> Result<Option<Placed<I>>, OutboundError> {
        match row.create(&self.table).await? {
            Create::Created => Ok(None),
            Create::NoLead => Err(OutboundError::LeadGone),
            Create::Exists => Ok(I::read(&self.table, row.locator()).await?.map(I::placed)),
        }
    }

    /// Sends what comes next to the queue. If that fails, the row does not wait for nobody. An error means that nobody
    /// will send it: whether the queue took it all the same decides, and only the row can tell.
    async fn queue<I: Clicked>(
        &self,
        queue: &OutboundQueue,
        row: I,
        step: Step,
    ) -> Result<Placed<I>, OutboundError> {
        let Step::Next { task, delay } = step else {
            return Ok(row.placed());
        };
        let Err(error) = queue.send(&task, delay).await else {
            return Ok(row.placed());
        };
        let reason = "No slot was free, and it could not be queued.";
        let settled = I::settle(
            &self.table,
            row.locator(),
            &[Intent::Waiting],
            Intent::GaveUp,
            Some(reason),
        )
        .await;
        match settled {
            // If the queue took it all the same, its message finds nothing that waits.
            Ok(true) => Err(OutboundError::NotQueued(error)),
            // It did, and its worker was quicker.
            Ok(false) => {
                let moved = I::read(&self.table, row.locator()).await.ok().flatten();
                Ok(moved.unwrap_or(row).placed())
            }
            // It waits for the queue, if that took it, or for the sweep to expire it: it must not be begun anew.
            Err(unsettled) => {
                tracing::error!(locator = %row.locator(), "perhaps queued ({error}), and not settled: {unsettled}");
                Ok(row.placed())
            }
        }
    }

    pub(super) fn allow(&self, whose: &'static str, number: &PhoneNumber) -> Result<(), OutboundError> {
        if !self.rules.enabled {
            return Err(OutboundError::Paused);
        }
        if self.rules.destinations.allow(number) {
            return Ok(());
        }
        tracing::warn!(number = ?number, "the {whose} number may not be called");
        Err(OutboundError::Destination { whose })
    }

    /// Counts a call: the caller's first, so that one who has used theirs up uses up nobody else's.
    pub(super) async fn count(&self, caller: &Caller, lead: &LeadId) -> Result<(), OutboundError> {
        let now = self.world.now();
        let period = Period::at(now, &self.rules.zone);
        let quotas = self.rules.quotas;
        let all: [(Counted, CallsOf<'_>, Quota); 3] = [
            (Counted::User, CallsOf::User(&caller.user_id), quotas.user),
            (Counted::Lead, CallsOf::Lead(lead), quotas.lead),
            (Counted::Account, CallsOf::Account, quotas.account),
        ];
        for (counted, of, quota) in all {
            if let Count::UsedUp(window) = self.table.count_call(of, quota, period).await? {
                if counted == Counted::Account {
                    // A metric filter turns this line into an alarm.
                    tracing::error!(
                        alarm = "outbound.daily_cap",
                        "the account's calls of the day are used up"
                    );
                } else {
                    tracing::warn!(user.id = %caller.user_id, lead.id = %lead, "the calls of this {window:?} are used up: {counted:?}");
                }
                return Err(OutboundError::UsedUp {
                    counted,
                    window,
                    retry_after_secs: seconds_left(now, window, &self.rules.zone),
                });
            }
        }
        Ok(())
    }
}

/// Seconds until the hour or the day ends where the team lives.
fn seconds_left(now: Timestamp, window: Window, zone: &jiff::tz::TimeZone) -> u32 {
    let local = zone.to_datetime(now).time();
    let of_hour = i64::from(local.minute()) * 60 + i64::from(local.second());
    let left = match window {
        Window::Hour => 3_600 - of_hour,
        Window::Day => 86_400 - i64::from(local.hour()) * 3_600 - of_hour,
    };
    u32::try_from(left).unwrap_or(1).max(1)
}
