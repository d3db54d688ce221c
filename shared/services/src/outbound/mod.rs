//! Calls and messages that leave: at most as many as allowed, each at most once, and none forgotten.
//!
//! - [`limiter`] gives every request its slot;
//! - [`Outbound::place_call`] and [`Outbound::send_sms`] are a person's click: the row first, then the request;
//! - [`Outbound::call_bot`] is the same for a call that a bot leads;
//! - [`Outbound::ring_to_flow`] is a call with one leg, placed at once or not at all;
//! - [`Outbound::work`] does what the queue `outbound` carries: what found no slot, what is tried again, and the
//!   search for what may have reached Exotel;
//! - [`Outbound::sweep`] settles, every minute, what nobody else will;
//! - [`Outbound::begin`] lets a repeated request have the first one's answer.

mod bots;
mod caller_id;
mod clicks;
pub use crate::clock;
mod connect;
mod dispatch;
mod exotel_side;
mod items;
pub mod limiter;
mod once;
mod one_leg;
mod queue;
mod reports;
mod resolution;
mod sweep;
mod tasks;

use domain::toll_fraud::{Destinations, Quotas};
pub use exotel::Credentials;
use jiff::tz::TimeZone;
use table::{Table, TableError};

/// The client of Exotel's API, which an [`Account`] is reached by.
pub use exotel::Client;

pub use self::{
    bots::{BotCall, home_of},
    clicks::{Click, Placed, Text},
    connect::{AccountSettings, UnusableAccount, client},
    exotel_side::{Account, BotLine, Exotel, SmsSettings, StreamUrl},
    once::{Request, fingerprint},
    one_leg::{FlowCall, Rung},
    queue::{OutboundQueue, QueueError},
    sweep::Swept,
    tasks::{Step, Task},
};
use self::{caller_id::CallerIds, clock::SharedWorld, limiter::Limiter};
use domain::{
    phone::Country,
    toll_fraud::{Counted, Window},
};

/// What may go out.
#[derive(Debug, Clone)]
pub struct Rules {
    /// False stops everything.
    pub enabled: bool,
    /// Which numbers may be rung or written to.
    pub destinations: Destinations,
    /// The most calls of each.
    pub quotas: Quotas,
    /// Where a day begins.
    pub zone: TimeZone,
    /// Whose numbers Exotel's national forms are.
    pub country: Country,
}

/// The use cases of this module. One per process.
pub struct Outbound {
    table: Table,
    limiter: Limiter,
    world: SharedWorld,
    rules: Rules,
    caller_ids: CallerIds,
}

impl Outbound {
    /// Over this table and this limiter, under these rules.
    pub fn new(table: Table, limiter: Limiter, world: SharedWorld, rules: Rules) -> Self {
        Self {
            table,
            limiter,
            world,
            rules,
            caller_ids: CallerIds::default(),
        }
    }
}

/// Why nothing went out. No row was made; the same request may be sent again.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The caller has no phone that could be rung first.
    #[error("the caller has no phone")]
    NoPhone,
    /// A number that may not be rung.
    #[error("the {whose} number may not be called")]
    Destination {
        /// `caller's`, `lead's` or `called`.
        whose: &'static str,
    },
    /// There have been enough calls for now.
    #[error("the calls of this {window:?} are used up")]
    UsedUp {
        /// Whose calls were counted.
        counted: Counted,
        /// In which window.
        window: Window,
        /// Seconds until it may be tried again.
        retry_after_secs: u32,
    },
    /// All outbound is stopped.
    #[error("outbound is stopped")]
    Paused,
    /// There is no slot soon enough for what does not wait.
    #[error("there is no slot in the next seconds")]
    NoSlot {
        /// Seconds until there may be one.
        retry_after_secs: u32,
    },
    /// What does not wait did not reach Exotel, or was turned away for the moment.
    #[error("it was not sent: {reason}")]
    NotSent {
        /// What Exotel said, or what happened, numbers masked.
        reason: String,
    },
    /// There is neither a flow nor a socket that a call to a bot could go to.
    #[error("calls to a bot have nowhere to go")]
    NoBot,
    /// The lead has just gone.
    #[error("the lead is gone")]
    LeadGone,
    /// There was no slot, and the queue did not take it.
    #[error("there was no slot, and it could not be queued")]
    NotQueued(#[source] QueueError),
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
}
