//! Asks Exotel about one ExoPhone after the other, within a budget.
//!
//! These requests take no slot of the outbound limiter: Exotel throttles them by a limit of their own, which it does
//! not publish, and they must not keep a click waiting. A 429 ends the run; the next one goes on where it ended.

use domain::{
    health::{CheckedExoPhone, Health, HealthCheck, ListedExoPhone, Listing, Said},
    ids::ExoPhoneSid,
    phone::PhoneNumber,
};
use exotel::exophones::{Exophone, ExophonePage, GetExophone, ListExophones};
use jiff::{SignedDuration, Timestamp};
use table::TableError;

use super::{Monitor, push::said};
use crate::outbound::{Exotel, clock::World};

/// How often the account's list is read.
const LIST_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// A reading of the list that took longer begins again: pages have moved since.
const LIST_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// After so many questions in a row without an answer, Exotel is not asked any more in this run.
const MOST_UNANSWERED: u32 = 5;
/// Alerts that one run raises or recovers, at most.
const ALERTS_OF_A_RUN: usize = 100;
/// What is kept of why there was no answer, in characters.
const LONGEST_FAILURE: usize = 120;

/// How a run asks.
#[derive(Debug, Clone)]
pub struct Polling {
    /// Requests that one run may make, pages of the list included.
    pub budget: usize,
    /// Time between two runs.
    pub interval: SignedDuration,
    /// No request begins later.
    pub until: Timestamp,
    /// The ExoPhone that is asked about in every run: the configured caller id.
    pub first: Option<PhoneNumber>,
}

/// Why a run ended before everybody's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Exotel said 429.
    Throttled,
    /// Exotel said 401: the credentials are wrong, or were changed a moment ago.
    Unauthorized,
    /// Exotel does not answer.
    Unanswered,
    /// The time was used up.
    OutOfTime,
}

/// What a run did, and how the ExoPhones are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Polled {
    /// ExoPhones that Exotel was asked about.
    pub asked: u32,
    /// Those that it answered about.
    pub answered: u32,
    /// Pages of the account's list.
    pub pages: u32,
    /// Why it ended early.
    pub stopped: Option<Stopped>,
    /// ExoPhones of the account.
    pub exophones: usize,
    /// Those that are affected.
    pub affected: usize,
    /// Those that nobody can tell about.
    pub unknown: usize,
    /// Minutes in which nothing was heard of any.
    pub silent_minutes: u32,
}

/// Something that was heard in a run: applied to the state when the run is over, whatever others wrote meanwhile.
enum Heard {
    List(Vec<ListedExoPhone>, Timestamp),
    ListGoesOn(Listing),
    ListEnded(Timestamp),
    Answer(ExoPhoneSid, Said, Timestamp),
    Turn {
        position: Option<ExoPhoneSid>,
        rounds: usize,
    },
    /// Somebody is not in the account any more: the list has to be read again.
    ListIsOld,
}

impl Heard {
    fn apply(&self, health: &mut Health, interval: SignedDuration) {
        match self {
            Heard::List(page, began_at) => health.hear_list(page.clone(), *began_at),
            Heard::ListGoesOn(listing) => health.listing = listing.clone(),
            Heard::ListEnded(began_at) => health.end_list(*began_at),
            Heard::Answer(sid, said, at) => health.hear_answer(sid, said, *at),
            Heard::Turn { position, rounds } => {
                if let Some(position) = position {
                    health.position = Some(position.clone());
                }
                health.set_rotation(*rounds, interval);
            }
            Heard::ListIsOld => health.listing.complete_at = None,
        }
    }
}

/// A run under way.
struct Run<'a> {
    world: &'a dyn World,
    how: &'a Polling,
    health: Health,
    heard: Vec<Heard>,
    checked: Vec<CheckedExoPhone>,
    left: usize,
    unanswered: u32,
    polled: Polled,
}

impl Monitor {
    /// One run: the list when it is an hour old, then the ExoPhones whose turn it is.
    ///
    /// # Errors
    /// When the table fails; what Exotel said is asked for again in the next run.
    pub async fn poll<E: Exotel>(
        &self,
        exotel: &E,
        how: &Polling,
        world: &dyn World,
    ) -> Result<Polled, TableError> {
        let began_at = world.now();
        let mut run = Run {
            world,
            how,
            health: self.table.exophone_health().await?,
            heard: Vec::new(),
            checked: Vec::new(),
            left: how.budget,
            unanswered: 0,
            polled: Polled::default(),
        };
        run.read_list(exotel).await;
        run.ask(exotel).await;
        let Run {
            heard,
            checked,
            mut polled,
            ..
        } = run;
        let now = world.now();
        let health = self
            .change(now, |health| {
                heard.iter().for_each(|heard| heard.apply(health, how.interval))
            })
            .await?;
        if !checked.is_empty() {
            let check = HealthCheck::of_poll(began_at, checked);
            self.table.put_health_check(&check).await?;
        }
        let health = self.tell(health, now, ALERTS_OF_A_RUN).await?;
        polled.exophones = health.phones.len();
        polled.affected = health.affected();
        polled.unknown = health.unknown();
        polled.silent_minutes = health.silent_minutes(now).unwrap_or(0);
        Ok(polled)
    }
}

impl Run<'_> {
    fn note(&mut self, heard: Heard) {
        heard.apply(&mut self.health, self.how.interval);
        self.heard.push(heard);
    }

    /// Whether another request may be made.
    fn may_ask(&mut self) -> bool {
        if self.left == 0 || self.polled.stopped.is_some() {
            return false;
        }
        if self.world.now() >= self.how.until {
            self.polled.stopped = Some(Stopped::OutOfTime);
            return false;
        }
        self.left -= 1;
        true
    }

    /// Reads the account's list, as far as half of the budget goes when there are ExoPhones to ask about.
    async fn read_list<E: Exotel>(&mut self, exotel: &E) {
        let now = self.world.now();
        let listing = &self.health.listing;
        let under_way = listing
            .began_at
            .filter(|began| now.duration_since(*began) < LIST_WITHIN);
        let is_new = |at: Timestamp| now.duration_since(at) < LIST_EVERY && at <= now;
        if under_way.is_none() && listing.complete_at.is_some_and(is_new) {
            return;
        }
        let complete_at = listing.complete_at;
        let (began_at, mut page) = match under_way {
            Some(began_at) => (began_at, listing.next_page.unwrap_or(0)),
            None => (now, 0),
        };
        let kept_back = if self.health.phones.is_empty() {
            0
        } else {
            self.how.budget / 2
        };
        while self.left > kept_back && self.may_ask() {
            self.polled.pages += 1;
            let request = ListExophones {
                page,
                ..ListExophones::default()
            };
            let read: ExophonePage = match exotel.send(&request).await {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(page, "the list of ExoPhones was not read: {error}");
                    self.stop_at(&error);
                    return;
                }
            };
            if !read.unreadable.is_empty() {
                tracing::warn!(
                    page,
                    entries = read.unreadable.len(),
                    "ExoPhones of the list cannot be read"
                );
            }
            let listed = read.exophones.into_iter().filter_map(listed).collect();
            self.note(Heard::List(listed, began_at));
            let Some(next) = read.next_page.filter(|next| *next > page) else {
                self.note(Heard::ListEnded(began_at));
                return;
            };
            page = next;
            self.note(Heard::ListGoesOn(Listing {
                complete_at,
                began_at: Some(began_at),
                next_page: Some(page),
            }));
        }
    }

    /// Asks about those whose turn it is.
    async fn ask<E: Exotel>(&mut self, exotel: &E) {
        let first = self.how.first.as_ref();
        let first = first.and_then(|number| self.health.phone_named(number.as_str()));
        let turn = self.health.turn(first.map(|(sid, _)| sid), self.left);
        let rounds = turn.rounds;
        let mut position = None;
        for sid in turn.urgent {
            self.ask_about(exotel, sid).await;
        }
        for sid in turn.others {
            if !self.ask_about(exotel, sid.clone()).await {
                break;
            }
            position = Some(sid);
        }
        self.note(Heard::Turn { position, rounds });
    }

    /// Asks about one; false when the run is over before it was asked about.
    async fn ask_about<E: Exotel>(&mut self, exotel: &E, sid: ExoPhoneSid) -> bool {
        if !self.may_ask() {
            return false;
        }
        self.polled.asked += 1;
        let request = GetExophone {
            sid: sid.as_str().into(),
        };
        let answer = exotel.send(&request).await;
        let at = self.world.now();
        let (said, failure) = match answer {
            Ok(details) => (Some(said(&details.health)), None),
            // An answer, and one that nobody understands: unknown, not unanswered.
            Err(error) if error.status().is_some_and(|status| (200..300).contains(&status)) => {
                (Some(Said::default()), Some(error))
            }
            Err(error) => (None, Some(error)),
        };
        let in_words = failure.as_ref().map(in_words);
        self.checked.push(CheckedExoPhone {
            sid: sid.clone(),
            said: said.clone().unwrap_or_default(),
            failure: in_words.clone(),
        });
        if let Some(words) = in_words {
            tracing::warn!(
                exophone.last4 = exotel::last4(sid.as_str()),
                "no health of an ExoPhone: {words}"
            );
        }
        match (said, failure) {
            (Some(said), _) => {
                self.unanswered = 0;
                self.polled.answered += 1;
                self.note(Heard::Answer(sid, said, at));
                true
            }
            (None, Some(exotel::Error::NotFound(_))) => {
                self.unanswered = 0;
                self.note(Heard::ListIsOld);
                true
            }
            (None, failure) => failure.is_none_or(|error| !self.stop_at(&error)),
        }
    }

    /// Ends the run when going on is of no use; tells whether the question was not even looked at.
    fn stop_at(&mut self, error: &exotel::Error) -> bool {
        match error.status() {
            Some(429) => self.polled.stopped = Some(Stopped::Throttled),
            Some(401) => self.polled.stopped = Some(Stopped::Unauthorized),
            _ => {
                self.unanswered += 1;
                if self.unanswered >= MOST_UNANSWERED {
                    self.polled.stopped = Some(Stopped::Unanswered);
                }
                return false;
            }
        }
        true
    }
}

fn listed(exophone: Exophone) -> Option<ListedExoPhone> {
    let Ok(sid) = exophone.sid.as_str().parse() else {
        tracing::warn!("an ExoPhone of the list has a sid of another form");
        return None;
    };
    Some(ListedExoPhone {
        sid,
        number: exophone.phone_number.map(|number| number.as_str().to_owned()),
        name: exophone.friendly_name,
        voice: exophone.voice,
        sms: exophone.sms,
    })
}

/// Why there is no answer; numbers are masked.
fn in_words(error: &exotel::Error) -> String {
    let words = match (error.status(), error.exotel_message()) {
        (Some(status), Some(message)) => format!("HTTP {status}: {message}"),
        (Some(status), None) => format!("HTTP {status}: {error}"),
        (None, _) => error.to_string(),
    };
    words.chars().take(LONGEST_FAILURE).collect()
}
