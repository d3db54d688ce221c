//! A small Exotel in virtual time: it remembers whom it rang, and goes wrong as a schedule says.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use exotel::{Answer, Error, classify, default_zone, format_time};
use jiff::{SignedDuration, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What goes wrong with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// 429; nothing is done.
    TooMany,
    /// 503 in Exotel's own words; nothing is done.
    Unavailable,
    /// 403 in Exotel's own words; nothing is done.
    Refused,
    /// The request never leaves.
    NotSent,
    /// 502 from somebody between; nothing is done.
    Gateway,
    /// 502 from somebody between, after it is done.
    GatewayAfter,
    /// No answer; nothing is done.
    Hang,
    /// No answer, after it is done.
    HangAfter,
    /// The connection breaks; nothing is done.
    Reset,
    /// The connection breaks, after it is done.
    ResetAfter,
}

impl Fault {
    fn is_done(self) -> bool {
        matches!(
            self,
            Fault::None | Fault::GatewayAfter | Fault::HangAfter | Fault::ResetAfter
        )
    }
}

/// A call or message that the model took.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    pub(crate) sid: String,
    /// `CustomField`: our locator.
    pub(crate) locator: String,
    pub(crate) is_call: bool,
    pub(crate) at: Timestamp,
    pub(crate) ends: Timestamp,
    /// The status at the end, and the seconds both talked.
    pub(crate) status: &'static str,
    pub(crate) talk_secs: u32,
    /// How the callbacks go: how long after the event each comes, once per entry.
    pub(crate) callbacks: Vec<(Timestamp, String)>,
    fields: BTreeMap<String, String>,
}

/// How wrong things go in one schedule, each out of 100.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mood {
    pub(crate) faulty: u32,
    pub(crate) dropped: u32,
    pub(crate) repeated: u32,
    pub(crate) late: u32,
    pub(crate) blind: u32,
    /// Half of the faults are this one.
    pub(crate) favourite: Option<Fault>,
}

/// The model.
pub(crate) struct Model {
    dice: ChaCha8Rng,
    mood: Mood,
    pub(crate) taken: Vec<Taken>,
}

pub(crate) type SharedModel = Rc<RefCell<Model>>;

impl Model {
    pub(crate) fn new(seed: u64, mood: Mood) -> Self {
        Self {
            dice: ChaCha8Rng::seed_from_u64(seed),
            mood,
            taken: vec![],
        }
    }

    fn percent(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    /// What goes wrong with the next request. In the end (`calm`) whoever asks is answered.
    pub(crate) fn fault(&mut self, reads: bool, calm: bool) -> Fault {
        if reads {
            return if calm {
                Fault::None
            } else if self.percent(self.mood.blind) {
                [Fault::TooMany, Fault::Unavailable, Fault::Hang, Fault::NotSent]
                    [self.dice.random_range(0..4)]
            } else {
                Fault::None
            };
        }
        if !self.percent(self.mood.faulty) {
            return Fault::None;
        }
        if let Some(favourite) = self.mood.favourite
            && self.percent(50)
        {
            return favourite;
        }
        let faults = [
            Fault::TooMany,
            Fault::Unavailable,
            Fault::Refused,
            Fault::NotSent,
            Fault::Gateway,
            Fault::GatewayAfter,
            Fault::Hang,
            Fault::HangAfter,
            Fault::Reset,
            Fault::ResetAfter,
        ];
        faults[self.dice.random_range(0..faults.len())]
    }

    /// Carries a request out. `None` if it was not to be carried out.
    pub(crate) fn carry_out(
        &mut self,
        path: &[String],
        query: &BTreeMap<String, String>,
        form: Option<BTreeMap<String, String>>,
        fault: Fault,
        now: Timestamp,
    ) -> (u16, String) {
        let done = fault.is_done().then(|| match (form, path[0].as_str()) {
            (Some(form), "Calls") => self.take_call(form, now),
            (Some(form), _) => self.take_sms(form, now),
            (None, "Calls.json") => self.list(query, now),
            (None, _) => self.details(path, now),
        });
        let exception = |status: u16, words: &str| {
            (
                status,
                format!(r#"{{"RestException":{{"Status":{status},"Message":"{words}"}}}}"#),
            )
        };
        match fault {
            Fault::TooMany => exception(429, "Too many requests"),
            Fault::Unavailable => exception(503, "Service Unavailable; "),
            Fault::Refused => exception(
                403,
                "Call to [09811100002] can not be made because of TRAI NDNC regulations.",
            ),
            Fault::Gateway | Fault::GatewayAfter => (502, "<html>Bad Gateway</html>".to_owned()),
            _ => done.unwrap_or((500, String::new())),
        }
    }

    fn take_call(&mut self, form: BTreeMap<String, String>, now: Timestamp) -> (u16, String) {
        let status = [
            "completed",
            "completed",
            "completed",
            "busy",
            "no-answer",
            "failed",
            "canceled",
        ][self.dice.random_range(0..7)];
        let rings = SignedDuration::from_secs(self.dice.random_range(2..30));
        let talk_secs = if status == "completed" && self.percent(80) {
            self.dice.random_range(1..400)
        } else {
            0
        };
        let ends = now + rings + SignedDuration::from_secs(i64::from(talk_secs));
        let sid = self.sid();
        let mut taken = Taken {
            locator: form["CustomField"].clone(),
            is_call: true,
            at: now,
            ends,
            status,
            talk_secs,
            callbacks: vec![],
            fields: form,
            sid,
        };
        let answered = |legs: &str| {
            format!(
                r#"{{"CallSid":"{}","EventType":"answered","Status":"in-progress","ConversationDuration":0,"Legs":[{legs}]}}"#,
                taken.sid
            )
        };
        let mut events = vec![];
        if status == "completed" {
            events.push((
                now + rings / 2,
                answered(r#"{"Status":"in-progress"},{"Status":""}"#),
            ));
            if talk_secs > 0 {
                events.push((
                    now + rings,
                    answered(r#"{"Status":"in-progress"},{"Status":"in-progress"}"#),
                ));
            }
        }
        let leg2 = if talk_secs > 0 { "completed" } else { "no-answer" };
        let legs = if status == "completed" {
            format!(
                r#"{{"Status":"completed","OnCallDuration":{talk_secs}}},{{"Status":"{leg2}","OnCallDuration":{talk_secs}}}"#
            )
        } else {
            format!(r#"{{"Status":"{status}"}},{{"Status":""}}"#)
        };
        events.push((
            ends,
            format!(
                r#"{{"CallSid":"{}","EventType":"terminal","Status":"{status}","ConversationDuration":{talk_secs},"CustomField":"{}","EndTime":"{}","Legs":[{legs}]}}"#,
                taken.sid, taken.locator, format_time(ends, &default_zone())
            ),
        ));
        taken.callbacks = self.deliveries(events);
        let answer = self.call_json(&taken, now);
        self.taken.push(taken);
        (200, format!(r#"{{"Call":{answer}}}"#))
    }

    fn take_sms(&mut self, form: BTreeMap<String, String>, now: Timestamp) -> (u16, String) {
        let (status, code) =
            [("sent", 20005), ("sent", 20005), ("failed", 22003)][self.dice.random_range(0..3)];
        let ends = now + SignedDuration::from_secs(self.dice.random_range(1..60));
        let sid = self.sid();
        let event = format!(
            r#"{{"SmsSid":"{sid}","Status":"{status}","DetailedStatusCode":{code},"DetailedStatus":"X","CustomField":"{}"}}"#,
            form["CustomField"]
        );
        let callbacks = self.deliveries(vec![(ends, event)]);
        let taken = Taken {
            locator: form["CustomField"].clone(),
            is_call: false,
            at: now,
            ends,
            status,
            talk_secs: 0,
            callbacks,
            fields: form,
            sid,
        };
        let answer = sms_json(&taken, now);
        self.taken.push(taken);
        (200, answer)
    }

    /// When each event is delivered, if it is: dropped, repeated, late.
    fn deliveries(&mut self, events: Vec<(Timestamp, String)>) -> Vec<(Timestamp, String)> {
        let mut deliveries = vec![];
        for (at, event) in events {
            if self.percent(self.mood.dropped) {
                continue;
            }
            let times = if self.percent(self.mood.repeated) { 2 } else { 1 };
            for _ in 0..times {
                let late = if self.percent(self.mood.late) {
                    self.dice.random_range(0..600_000)
                } else {
                    self.dice.random_range(0..900)
                };
                deliveries.push((at + SignedDuration::from_millis(late), event.clone()));
            }
        }
        deliveries
    }

    fn sid(&mut self) -> String {
        format!("{:032x}", self.dice.random::<u128>())
    }

    fn call_json(&self, call: &Taken, now: Timestamp) -> String {
        let national = |field: &str| call.fields[field].replacen("+91", "0", 1);
        let time = |at| format_time(at, &default_zone());
        let ended = now >= call.ends;
        let status = if ended { call.status } else { "in-progress" };
        let end = if ended {
            time(call.ends)
        } else {
            "1970-01-01 05:30:00".to_owned()
        };
        let leg2 = if call.talk_secs > 0 {
            "completed"
        } else {
            "no-answer"
        };
        let details = if ended && call.status == "completed" {
            format!(
                r#","Details":{{"ConversationDuration":{},"Leg1Status":"completed","Leg2Status":"{leg2}","Legs":[{{"Leg":{{"Id":1,"OnCallDuration":9}}}},{{"Leg":{{"Id":2,"OnCallDuration":{}}}}}]}}"#,
                call.talk_secs, call.talk_secs
            )
        } else {
            String::new()
        };
        format!(
            r#"{{"Sid":"{}","DateCreated":"{}","DateUpdated":"{}","From":"{}","To":"{}","PhoneNumberSid":"{}","Status":"{status}","EndTime":"{end}","Price":null{details}}}"#,
            call.sid,
            time(call.at),
            time(now),
            national("From"),
            national("To"),
            national("CallerId")
        )
    }

    fn details(&self, path: &[String], now: Timestamp) -> (u16, String) {
        let sid = path.last().unwrap().trim_end_matches(".json");
        match self.taken.iter().find(|taken| taken.sid == sid) {
            Some(call) if call.is_call => (200, format!(r#"{{"Call":{}}}"#, self.call_json(call, now))),
            Some(sms) => (200, sms_json(sms, now)),
            None => (
                404,
                r#"{"RestException":{"Status":404,"Message":"Not found"}}"#.to_owned(),
            ),
        }
    }

    /// Calls that have ended, of these numbers, created between these times; no `CustomField`.
    fn list(&self, query: &BTreeMap<String, String>, now: Timestamp) -> (u16, String) {
        let created = &query["DateCreated"];
        let (from, to) = created.split_once(';').unwrap();
        let (from, to) = (from.trim_start_matches("gte:"), to.trim_start_matches("lte:"));
        let calls: Vec<String> = self
            .taken
            .iter()
            .filter(|call| call.is_call && now >= call.ends)
            .filter(|call| call.fields["From"] == query["From"] && call.fields["To"] == query["To"])
            .filter(|call| {
                let at = format_time(call.at, &default_zone());
                at.as_str() >= from && at.as_str() <= to
            })
            .map(|call| self.call_json(call, now))
            .collect();
        (
            200,
            format!(
                r#"{{"Metadata":{{"Total":{},"NextPageUri":null}},"Calls":[{}]}}"#,
                calls.len(),
                calls.join(",")
            ),
        )
    }
}

fn sms_json(sms: &Taken, now: Timestamp) -> String {
    let (status, code) = match sms.status {
        _ if now < sms.ends => ("queued", 21010),
        "sent" => ("sent", 20005),
        failed => (failed, 22003),
    };
    format!(
        r#"{{"SMSMessage":{{"Sid":"{}","Status":"{status}","DetailedStatusCode":{code},"DetailedStatus":"X"}}}}"#,
        sms.sid
    )
}

/// What the client would make of the model's answer.
pub(crate) async fn answer<R: exotel::Request>(
    request: &R,
    fault: Fault,
    status: u16,
    body: String,
) -> Result<R::Answer, Error> {
    let unconfirmed = || Error::Unconfirmed {
        status: None,
        refusal: None,
        source: None,
    };
    match fault {
        Fault::NotSent => {
            let source = reqwest::Client::new().get("no URL").build().unwrap_err();
            Err(Error::NotSent { source })
        }
        Fault::Hang | Fault::HangAfter => {
            tokio::time::sleep(Duration::from_secs(15)).await;
            Err(unconfirmed())
        }
        Fault::Reset | Fault::ResetAfter => Err(unconfirmed()),
        _ => {
            classify(status, body.as_bytes())?;
            request.read(&Answer::new(status, body.into_bytes()))
        }
    }
}
