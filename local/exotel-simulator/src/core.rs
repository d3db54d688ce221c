//! What every part of the simulator shares: options, clock, state, and the tasks that end with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::call_store::CallStore;
use crate::callbacks::HttpClient;
use crate::draw::Dice;
use crate::exophones::{self, ExophoneView};
use crate::faults::{ApiFault, Faults, Operation};
use crate::heartbeat::{self, Subscription};
use crate::journal::{Callback, Dial, Event, Journal, Request};
use crate::messages::Message;
use crate::options::Options;
use crate::phone::Number;
use crate::rate::Window;
use crate::recordings::Recording;
use crate::scripts::Script;
use crate::stream::{Dialler, Recorder, Voicebot};

/// A handle on the simulator's insides.
pub(crate) type Shared = Arc<Core>;

/// The simulator's insides.
pub(crate) struct Core {
    pub(crate) options: Options,
    /// Origin of recording URLs.
    pub(crate) origin: String,
    pub(crate) dice: Dice,
    pub(crate) client: HttpClient,
    pub(crate) dialler: Dialler,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    stopped: watch::Sender<bool>,
}

/// What changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) journal: Journal,
    pub(crate) calls: CallStore,
    pub(crate) messages: HashMap<String, Message>,
    pub(crate) recordings: HashMap<String, Recording>,
    /// Of all accounts, in the order in which they appeared.
    pub(crate) exophones: Vec<ExophoneView>,
    pub(crate) heartbeat: Option<Subscription>,
    /// Where the Passthru applets of flows point.
    pub(crate) passthru: Option<String>,
    /// The Voicebot applets of flows.
    pub(crate) voicebots: Vec<Voicebot>,
    /// Streams, oldest first.
    pub(crate) streams: Vec<Arc<Recorder>>,
    pub(crate) scripts: Vec<Script>,
    pub(crate) faults: Faults,
    pub(crate) windows: HashMap<(String, Budget), Window>,
    /// How often something happened, for draws that do not depend on the order of arrival.
    counts: HashMap<String, u64>,
}

/// What a request counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Budget {
    Voice,
    Sms,
    Exophones,
}

impl Core {
    pub(crate) fn new(options: Options, origin: String, seed: u64, dialler: Dialler) -> Shared {
        let state = State {
            exophones: exophones::configured(&options),
            passthru: options.passthru.clone(),
            voicebots: options.voicebot.iter().cloned().collect(),
            ..State::default()
        };
        Arc::new(Self {
            options,
            origin,
            dice: Dice { seed },
            client: crate::callbacks::http_client(),
            dialler,
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            stopped: watch::Sender::new(false),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.options.clock)()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the state was held leaves it whole enough for a simulator.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state and wakes who waits for it.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let out = change(&mut self.lock());
        self.changed.send_replace(());
        out
    }

    /// Changes what nobody waits for.
    pub(crate) fn note<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.lock())
    }

    /// Waits until the state is as wanted.
    pub(crate) async fn until(&self, mut wanted: impl FnMut(&State) -> bool) {
        let mut changes = self.changed.subscribe();
        while !self.read(&mut wanted) {
            changes.changed().await.expect("the sender lives in self");
        }
    }

    /// How long simulated milliseconds really take.
    pub(crate) fn really(&self, simulated_ms: u64) -> Duration {
        Duration::try_from_secs_f64(simulated_ms as f64 / 1_000.0 / self.options.speed)
            .unwrap_or(Duration::MAX)
    }

    /// Lets simulated time pass.
    pub(crate) async fn pass(&self, simulated_ms: u64) {
        match self.really(simulated_ms) {
            Duration::ZERO => tokio::task::yield_now().await,
            wait => tokio::time::sleep(wait).await,
        }
    }

    /// The instant that lies so many simulated milliseconds ahead.
    pub(crate) fn ahead(&self, simulated_ms: u64) -> Timestamp {
        SignedDuration::try_from(self.really(simulated_ms))
            .ok()
            .and_then(|wait| self.now().checked_add(wait).ok())
            .unwrap_or(Timestamp::MAX)
    }

    /// Runs a task that ends when the simulator is stopped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopped = self.stopped.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = task => {}
            }
        });
    }

    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Waits until no task is left.
    pub(crate) async fn finished(&self) {
        self.stopped.closed().await;
    }

    /// Writes to the journal, and answers the entry's id.
    pub(crate) fn record(&self, event: Event) -> u64 {
        let (now, limit) = (self.now(), self.options.journal_limit);
        self.change(|state| state.journal.push(now, limit, event))
    }

    pub(crate) fn record_dial(&self, sid: &str, leg: u8, number: &Number) {
        let number = number.as_str().to_owned();
        self.record(Event::Dial(Dial {
            sid: sid.to_owned(),
            leg,
            number,
        }));
    }

    /// Adds to a request's entry.
    pub(crate) fn amend_request(&self, id: u64, change: impl FnOnce(&mut Request)) {
        self.change(|state| {
            if let Some(Event::Request(request)) = state.journal.entry(id) {
                change(request);
            }
        });
    }

    /// Adds to a callback's entry.
    pub(crate) fn amend_callback(&self, id: u64, change: impl FnOnce(&mut Callback)) {
        self.change(|state| {
            if let Some(Event::Callback(callback)) = state.journal.entry(id) {
                change(callback);
            }
        });
    }

    /// Counts a request against a budget of the account and says whether it is admitted.
    pub(crate) fn admit(&self, account: &str, budget: Budget) -> bool {
        let now = self.now();
        self.change(|state| {
            let window = state
                .windows
                .entry((account.to_owned(), budget))
                .or_insert_with(|| self.window(budget));
            window.admit(now)
        })
    }

    pub(crate) fn window(&self, budget: Budget) -> Window {
        let limit = match budget {
            Budget::Voice => self.options.voice_limit,
            Budget::Sms => self.options.sms_limit,
            Budget::Exophones => self.options.exophone_limit,
        };
        let length = i64::try_from(self.options.window_ms).unwrap_or(i64::MAX);
        Window::new(limit, SignedDuration::from_millis(length))
    }

    /// The fault of a request by the rules switched on.
    pub(crate) fn request_fault(&self, operation: Operation, what: &str) -> Option<ApiFault> {
        self.change(|state| {
            let nth = state.count(format!("{operation:?} {what}"));
            state
                .faults
                .for_request(self.dice, operation, &format!("{operation:?} {what} {nth}"))
        })
    }

    /// The script for the next call or message to a number: what was posted, over what the suffix says.
    pub(crate) fn take_script(&self, number: &Number) -> Script {
        let posted = self.change(|state| state.take_script(number)).unwrap_or_default();
        posted.over(Script::by_suffix(number))
    }

    /// What the next call or message to a number wants done to its request. Does not use up a script: the request
    /// that a fault keeps from being carried out does, see [`Core::spend_script`].
    pub(crate) fn peek_api_fault(&self, number: &Number) -> Option<ApiFault> {
        let posted = self.read(|state| {
            state
                .scripts
                .iter()
                .find(|script| script.matches(number))
                .cloned()
        });
        posted.unwrap_or_default().over(Script::by_suffix(number)).api
    }

    /// Uses up the script of a request that is refused and never makes a call or message.
    pub(crate) fn spend_script(&self, number: &Number) {
        self.change(|state| state.take_script(number));
    }

    /// Forgets everything that happened and was set; calls in progress end without another word. Journal ids go on.
    /// What the options say is so again.
    pub(crate) fn reset(self: &Arc<Self>) {
        self.change(|state| {
            let mut journal = std::mem::take(&mut state.journal);
            journal.clear();
            // Counts stay, so that no sid comes twice.
            let counts = std::mem::take(&mut state.counts);
            *state = State {
                journal,
                counts,
                exophones: exophones::configured(&self.options),
                passthru: self.options.passthru.clone(),
                voicebots: self.options.voicebot.iter().cloned().collect(),
                ..State::default()
            };
        });
        if let Some(heartbeat) = self.options.heartbeat.clone() {
            heartbeat::start(self, heartbeat);
        }
    }

    /// A new sid. Which one depends on the seed and on how many came before it to the same number.
    pub(crate) fn new_sid(&self, class: &str, number: &Number) -> (String, u64) {
        let nth = self.change(|state| state.count(format!("{class} {number}")));
        (self.dice.sid(&format!("{class} {number} {nth}")), nth)
    }
}

impl State {
    pub(crate) fn count(&mut self, key: String) -> u64 {
        let count = self.counts.entry(key).or_default();
        *count += 1;
        *count
    }

    fn take_script(&mut self, number: &Number) -> Option<Script> {
        let at = self.scripts.iter().position(|script| script.matches(number))?;
        let script = self.scripts[at].clone();
        match self.scripts[at].times.unwrap_or(1) {
            0 => {}
            1 => {
                self.scripts.remove(at);
            }
            left => self.scripts[at].times = Some(left - 1),
        }
        Some(script)
    }
}
