//! What a simulator is started with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::heartbeat::Heartbeat;
use crate::phone::Number;
use crate::stream::{StreamOptions, Voicebot};

/// An Exotel account that the simulator knows.
#[derive(Debug, Clone)]
pub struct Account {
    /// Account SID, as in `/v1/Accounts/{sid}/…`.
    pub sid: String,
    /// API key, the user of Basic authentication.
    pub key: String,
    /// API token, its password.
    pub token: SecretString,
    /// Numbers of the account, for `CallerId` and SMS `From`; empty accepts every valid number, and the lists of
    /// ExoPhones then hold those whose health was set.
    pub exophones: Vec<String>,
    /// SMS sender ids (headers); empty accepts every well-formed one.
    pub sender_ids: Vec<String>,
    /// The account lives on the other cluster: right credentials are refused with 401 here.
    pub other_cluster: bool,
}

impl Account {
    /// An account on this cluster, with any ExoPhone and sender id.
    pub fn new(sid: &str, key: &str, token: &str) -> Self {
        Self {
            sid: sid.to_owned(),
            key: key.to_owned(),
            token: SecretString::from(token),
            exophones: Vec::new(),
            sender_ids: Vec::new(),
            other_cluster: false,
        }
    }

    /// Whether calls may go out from this ExoPhone.
    pub(crate) fn owns(&self, exophone: &Number) -> bool {
        let own = |known: &String| Number::parse(known).as_ref() == Some(exophone);
        self.exophones.is_empty() || self.exophones.iter().any(own)
    }
}

/// A co-worker who can place calls through v2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcmUser {
    /// `user_id`.
    pub id: String,
    /// `user_name`.
    pub name: Option<String>,
    /// The number or `sip:` address that is rung for him.
    pub contact_uri: String,
}

/// Where the details of a call stand in an answer of v2 or v3; Exotel's documents disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CcmDetails {
    /// In `response` itself.
    Response,
    /// In `response.call_details`.
    #[default]
    CallDetails,
    /// Beside `request_id`, without a `response`.
    TopLevel,
}

/// Durations in simulated milliseconds. Reported times and durations use them as they are; what is really waited
/// is this divided by [`Options::speed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timings {
    /// From accepting a call to the first leg's answer.
    pub ring1_ms: u64,
    /// From the first leg's answer to the second's.
    pub ring2_ms: u64,
    /// How long the parties talk.
    pub talk_ms: u64,
    /// How long a leg rings that is never answered.
    pub no_answer_ms: u64,
    /// From a call's end until details and list give end time, duration and price.
    pub settle_ms: u64,
    /// From a call's end until its recording can be fetched.
    pub recording_ms: u64,
    /// Each step of a message: queued, sending, submitted, final.
    pub sms_step_ms: u64,
    /// Waits before a refused callback is tried again; as many retries as entries.
    pub retry_ms: Vec<u64>,
    /// How late a delayed or repeated callback is, when a fault does not say.
    pub late_ms: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            ring1_ms: 3_000,
            ring2_ms: 5_000,
            talk_ms: 37_000,
            no_answer_ms: 30_000,
            settle_ms: 120_000,
            recording_ms: 60_000,
            sms_step_ms: 1_000,
            retry_ms: vec![30_000, 120_000],
            late_ms: 20_000,
        }
    }
}

/// In which body form callbacks are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyForm {
    /// `multipart/form-data`.
    Multipart,
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
    /// `application/json`.
    Json,
}

/// Reads the wall clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a simulator is started with. `Options::default()` is one account, `acme1` with key `simkey` and token
/// `simtoken`, on a free port of 127.0.0.1, at natural speed.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Origin that recording URLs carry, when it is not the address listened on.
    pub public_url: Option<String>,
    /// The accounts; the first is the one that `/_sim` speaks of when none is named.
    pub accounts: Vec<Account>,
    /// How many times faster than life simulated durations pass; 1 is natural, `f64::INFINITY` waits for nothing.
    pub speed: f64,
    /// Simulated durations; each call and message may override its own.
    pub timings: Timings,
    /// Seed of sids and faults; without one, a new one each start.
    pub seed: Option<u64>,
    /// Voice requests admitted in any window (429 beyond).
    pub voice_limit: usize,
    /// SMS posts admitted in any window (503 beyond, or 429 with `sms_limit_as_429`).
    pub sms_limit: usize,
    /// Refuse SMS posts over the limit with 429 and 40402 instead of 503 and 40405.
    pub sms_limit_as_429: bool,
    /// Requests for ExoPhones admitted in any window (429 beyond); they do not count as voice.
    pub exophone_limit: usize,
    /// Length of that window, in real milliseconds: Exotel's is a minute.
    pub window_ms: u64,
    /// Send every callback in this form, whatever was asked for.
    pub force_form: Option<BodyForm>,
    /// Form of voice callbacks when `StatusCallbackContentType` was not given.
    pub default_form: BodyForm,
    /// Send absent values as the literal string `null`.
    pub literal_nulls: bool,
    /// Leave out every callback field that may be missing.
    pub sparse_callbacks: bool,
    /// Send events and extended fields also for calls without `To` (flows and voicebots), where Exotel's own
    /// documents disagree.
    pub events_without_to: bool,
    /// Heed `details=true` on the bulk list too, which one client only was seen to send there; without it the
    /// parameter is passed over.
    pub list_details: bool,
    /// `To` of an inbound call in details and list is the agent rung instead of the ExoPhone called.
    pub inbound_to_agent: bool,
    /// Answer v2 requests for ExoPhones with the data alone, instead of in `response.data` of the v2 envelope.
    pub exophones_at_top: bool,
    /// Who may call through v2. With none, every `user_contact_uri` is somebody's and every `user_id` is unknown.
    pub ccm_users: Vec<CcmUser>,
    /// Where v2 and v3 put the details of a call.
    pub ccm_details: CcmDetails,
    /// Where the Passthru applets of flows point, until `PUT /_sim/passthru` says otherwise. Without it they have none.
    pub passthru: Option<String>,
    /// The Voicebot applet of flows, until `PUT /_sim/voicebot` says otherwise. Without it they have none.
    pub voicebot: Option<Voicebot>,
    /// How the streams of voicebots behave, where an applet does not say otherwise.
    pub stream: StreamOptions,
    /// Streams that an account may have at once; more fail.
    pub max_streams: usize,
    /// Write ActiveStreams in JSON as the tree that XML has, instead of the flat form that older documents show.
    pub active_streams_as_tree: bool,
    /// Certificates of further authorities that bots' servers may have theirs from, in PEM.
    pub trusted: Vec<String>,
    /// A subscription to the HeartBeat that stands from the start and after each reset.
    pub heartbeat: Option<Heartbeat>,
    /// How long a callback may take to be answered, in real milliseconds.
    pub callback_timeout_ms: u64,
    /// Entries kept in the journal; the oldest go first.
    pub journal_limit: usize,
    /// The wall clock.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            public_url: None,
            accounts: vec![Account::new("acme1", "simkey", "simtoken")],
            speed: 1.0,
            timings: Timings::default(),
            seed: None,
            voice_limit: 200,
            sms_limit: 200,
            sms_limit_as_429: false,
            exophone_limit: 200,
            window_ms: 60_000,
            force_form: None,
            default_form: BodyForm::Multipart,
            literal_nulls: false,
            sparse_callbacks: false,
            events_without_to: false,
            list_details: true,
            inbound_to_agent: false,
            exophones_at_top: false,
            ccm_users: Vec::new(),
            ccm_details: CcmDetails::default(),
            passthru: None,
            voicebot: None,
            stream: StreamOptions::default(),
            max_streams: 100,
            active_streams_as_tree: false,
            trusted: Vec::new(),
            heartbeat: None,
            callback_timeout_ms: 15_000,
            journal_limit: 100_000,
            clock: Arc::new(Timestamp::now),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("speed", &self.speed)
            .finish_non_exhaustive()
    }
}
