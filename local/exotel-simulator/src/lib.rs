#![doc = include_str!("../README.md")]

mod answer;
mod api;
mod call_store;
mod callbacks;
mod calls;
mod ccm;
mod core;
mod draw;
mod error;
mod exophones;
mod faults;
mod heartbeat;
mod inbound;
mod ist;
mod journal;
mod messages;
mod mp3;
mod options;
mod phone;
mod rate;
mod recordings;
mod scripts;
mod sim;
mod stream;
mod totals;
mod traffic;
mod views;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use jiff::Timestamp;
use tokio::net::TcpListener;

pub use crate::error::Error;
pub use crate::exophones::{Connectivity, ExophoneHealth, ExophoneView};
pub use crate::faults::{
    ApiFault, ApiRule, CallbackFault, CallbackRule, Faults, Operation, StreamFault, StreamRule,
};
pub use crate::heartbeat::{EmptyAs, Heartbeat, HeartbeatStatus, Nesting, Pushed};
pub use crate::inbound::{Branch, Inbound, InboundOutcome};
pub use crate::journal::{Callback, Dial, Entry, Event, Params, Request, Streamed};
pub use crate::options::{Account, BodyForm, CcmDetails, CcmUser, Clock, Options, Timings};
pub use crate::phone::Number;
pub use crate::rate::Figures;
pub use crate::scripts::{
    CallScript, CallStatus, CallbackScript, Direction, Outcome, RecordingKind, RecordingScript, Script,
    SmsScript,
};
pub use crate::stream::{
    Ask, ClearView, DisconnectedBy, Gap, Handshake, MarkView, Numbers, PassthruForm, Step, StreamCall,
    StreamEvent, StreamOptions, StreamReport, StreamStatus, StreamView, Talk, Target, Track, Violation,
    ViolationKind, Voicebot,
};
pub use crate::totals::{Tally, Totals};
pub use crate::traffic::{Played, Traffic};
pub use crate::views::{CallView, MessageView, RateView};

use crate::core::{Core, Shared};
use crate::stream::Dialler;

/// A pretend Exotel.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Starts a simulator on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] when the address is taken, [`Error::Options`] when an option has no meaning.
    pub async fn start(options: Options) -> Result<Handle, Error> {
        if options.accounts.is_empty() {
            return Err(Error::Options("at least one account is needed".to_owned()));
        }
        if options.speed.is_nan() || options.speed <= 0.0 {
            return Err(Error::Options("the speed must be greater than 0".to_owned()));
        }
        let asked = options.listen;
        let listen = |source| Error::Listen {
            address: asked,
            source,
        };
        let listener = TcpListener::bind(asked).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let url = format!("http://{address}");
        let origin = options.public_url.clone().unwrap_or_else(|| url.clone());
        let seed = options.seed.unwrap_or_else(|| {
            // Any number that differs from start to start.
            (options.clock)().as_nanosecond().unsigned_abs() as u64
        });
        let dialler = Dialler::new(&options.trusted).map_err(Error::Options)?;
        options.stream.check().map_err(Error::Options)?;
        if let Some(voicebot) = &options.voicebot {
            voicebot.check().map_err(Error::Options)?;
        }
        let core = Core::new(options, origin.trim_end_matches('/').to_owned(), seed, dialler);
        if let Some(url) = &core.options.passthru {
            inbound::check_url(url).map_err(Error::Options)?;
        }
        if let Some(heartbeat) = &core.options.heartbeat {
            heartbeat
                .check(&core)
                .map_err(|problem| Error::Options(format!("the HeartBeat cannot be pushed: {problem}")))?;
            heartbeat::start(&core, heartbeat.clone());
        }
        let router: Router = sim::routes()
            .merge(recordings::routes())
            .merge(api::routes())
            .with_state(core.clone());
        core.spawn(wire::serve(core.clone(), listener, router));
        Ok(Handle {
            core,
            address,
            url,
            seed,
        })
    }
}

/// A running simulator. Dropping it stops it.
pub struct Handle {
    core: Shared,
    address: SocketAddr,
    url: String,
    seed: u64,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// Its origin, e.g. `http://127.0.0.1:40123`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The seed of its sids and, unless they have their own, of its faults.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Ends every connection, call and callback, and waits until they are gone.
    pub async fn stop(self) {
        self.core.stop();
        self.core.finished().await;
    }

    /// Everything in the journal, oldest first.
    pub fn journal(&self) -> Vec<Entry> {
        self.core.read(|state| state.journal.entries().to_vec())
    }

    /// The requests in the journal.
    pub fn requests(&self) -> Vec<Request> {
        self.core.read(|state| {
            state
                .journal
                .entries()
                .iter()
                .filter_map(|entry| entry.request().cloned())
                .collect()
        })
    }

    /// The callbacks in the journal, one entry per attempt; dropped ones too.
    pub fn callbacks(&self) -> Vec<Callback> {
        self.core.read(|state| {
            state
                .journal
                .entries()
                .iter()
                .filter_map(|entry| entry.callback().cloned())
                .collect()
        })
    }

    /// The legs rung.
    pub fn dials(&self) -> Vec<Dial> {
        self.core.read(|state| {
            state
                .journal
                .entries()
                .iter()
                .filter_map(|entry| entry.dial().cloned())
                .collect()
        })
    }

    /// All calls, oldest first.
    pub fn calls(&self) -> Vec<CallView> {
        self.core.read(views::calls)
    }

    /// All messages, oldest first.
    pub fn messages(&self) -> Vec<MessageView> {
        self.core.read(views::messages)
    }

    /// What each account's budgets have seen.
    pub fn rates(&self) -> BTreeMap<String, RateView> {
        views::rates(&self.core)
    }

    /// Says which way the next calls or messages go, as `POST /_sim/scripts` does.
    pub fn script(&self, script: Script) {
        self.core.change(|state| state.scripts.push(script));
    }

    /// The ExoPhones of all accounts and how each is doing.
    pub fn exophones(&self) -> Vec<ExophoneView> {
        self.core.read(|state| state.exophones.clone())
    }

    /// Says how ExoPhones are doing, as `POST /_sim/exophones` does: all of those named, or none.
    ///
    /// # Errors
    ///
    /// In words, when one names no ExoPhone of its account, no account, or no number.
    pub fn set_exophones(&self, health: Vec<ExophoneHealth>) -> Result<(), String> {
        self.core.set_exophones(health)
    }

    /// Subscribes to the HeartBeat, or ends the subscription, as POST and DELETE of `/_sim/heartbeat` do.
    ///
    /// # Errors
    ///
    /// In words, when the account or the URL cannot be used, or the interval passes in no time.
    pub fn set_heartbeat(&self, heartbeat: Option<Heartbeat>) -> Result<(), String> {
        match heartbeat {
            Some(heartbeat) => {
                heartbeat.check(&self.core)?;
                heartbeat::start(&self.core, heartbeat);
            }
            None => heartbeat::stop(&self.core),
        }
        Ok(())
    }

    /// Pushes the HeartBeat once, now, and waits for the answer to the first attempt.
    ///
    /// # Errors
    ///
    /// In words, when nobody has subscribed.
    pub async fn push_heartbeat(&self) -> Result<Pushed, String> {
        heartbeat::push(&self.core, None).await
    }

    /// Lets a call come in, as `POST /_sim/inbound` does, and answers its CallSid at once.
    ///
    /// # Errors
    ///
    /// In words, when a number, the account or the URL cannot be used.
    pub fn inbound(&self, inbound: Inbound) -> Result<String, String> {
        inbound::accept(&self.core, inbound).map(|call| call.sid)
    }

    /// Says where the Passthru applets of flows point from now on; `None`: flows have none.
    ///
    /// # Errors
    ///
    /// In words, when it is no plain http URL.
    pub fn set_passthru(&self, url: Option<String>) -> Result<(), String> {
        if let Some(url) = &url {
            inbound::check_url(url)?;
        }
        self.core.change(|state| state.passthru = url);
        Ok(())
    }

    /// Gives flows a voicebot in the place of the one they had, as `PUT /_sim/voicebot` does; `None`: no flow has one.
    ///
    /// # Errors
    ///
    /// In words, when its URL or an option cannot be used.
    pub fn set_voicebot(&self, voicebot: Option<Voicebot>) -> Result<(), String> {
        match voicebot {
            Some(voicebot) => self.core.set_voicebot(voicebot),
            None => {
                self.core.change(|state| state.voicebots.clear());
                Ok(())
            }
        }
    }

    /// All streams, oldest first.
    pub fn streams(&self) -> Vec<StreamView> {
        self.core.read(views::streams)
    }

    /// A stream with its sound, by its own sid or its call's. The sound is there once the stream is over.
    pub fn stream(&self, sid: &str) -> Option<StreamReport> {
        self.core.stream(sid).map(|recorder| recorder.report())
    }

    /// Waits until the streams are as wanted. They are looked at whenever something happens on one; frames and chunks of
    /// sound are not such things.
    pub async fn streams_until(&self, mut wanted: impl FnMut(&[StreamView]) -> bool) {
        self.core.until(|state| wanted(&views::streams(state))).await;
    }

    /// Plays a span of calls that are over and settled, as `POST /_sim/traffic` does, and waits until the first attempt
    /// at every callback has ended.
    ///
    /// # Errors
    ///
    /// In words, when the span, a share, a weight, a number or a URL cannot be used.
    pub async fn traffic(&self, traffic: Traffic) -> Result<Played, String> {
        traffic::play(&self.core, traffic).await
    }

    /// What the first account's ended calls created from `from` up to, but not, `to` add up to.
    pub fn totals(&self, from: Timestamp, to: Timestamp) -> Totals {
        let span = totals::Span {
            account: None,
            from: Some(from),
            to: Some(to),
        };
        // There is a first account: `Simulator::start` sees to it.
        totals::of_span(&self.core, &span).unwrap_or_default()
    }

    /// Replaces the faults switched on, as `PUT /_sim/faults` does.
    pub fn set_faults(&self, faults: Faults) {
        self.core.change(|state| state.faults = faults);
    }

    /// Forgets everything that happened and was set, as `POST /_sim/reset` does.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// Waits until the journal is as wanted. Never gives up: put a timeout around it where that may happen.
    pub async fn journal_until(&self, mut wanted: impl FnMut(&[Entry]) -> bool) {
        self.core.until(|state| wanted(state.journal.entries())).await;
    }

    /// Waits until the calls are as wanted.
    pub async fn calls_until(&self, mut wanted: impl FnMut(&[CallView]) -> bool) {
        self.core.until(|state| wanted(&views::calls(state))).await;
    }

    /// Waits until the messages are as wanted.
    pub async fn messages_until(&self, mut wanted: impl FnMut(&[MessageView]) -> bool) {
        self.core.until(|state| wanted(&views::messages(state))).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.stop();
    }
}
