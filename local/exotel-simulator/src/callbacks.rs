//! Callbacks: their forms, the order in which they leave, their faults and retries.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;

use crate::answer::Node;
use crate::core::{Core, Shared};
use crate::faults::CallbackFate;
use crate::inbound::Branch;
use crate::journal::{Callback, Event, Params};
use crate::options::BodyForm;
use crate::scripts::CallbackScript;

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

pub(crate) fn http_client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Separates the parts of a multipart body; no field of a callback can contain it.
const BOUNDARY: &str = "----exotelsimulatorboundary7d1b";

/// How a callback travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// In the body of a POST.
    Post(BodyForm),
    /// In the query of a GET.
    Get,
}

/// Which answer to a callback will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// Any 2xx; else it is sent again.
    Any2xx,
    /// 200; else it is sent again.
    Only200,
    /// Every one, none included: it picks the branch of a flow.
    Branch,
    /// None is waited for.
    Unneeded,
}

impl Ack {
    fn is_given_by(self, status: Option<u16>) -> bool {
        let Some(status) = status else {
            return matches!(self, Ack::Branch | Ack::Unneeded);
        };
        match self {
            Ack::Any2xx => (200..300).contains(&status),
            Ack::Only200 => status == 200,
            Ack::Branch | Ack::Unneeded => true,
        }
    }
}

/// What became of a callback sent by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The first attempt was answered with this status.
    Answered(u16),
    /// The first attempt was not answered.
    Unanswered,
    /// A fault kept it from being sent.
    Dropped,
    /// A fault put it off.
    Delayed,
}

/// A callback to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) sid: String,
    /// `answered`, `terminal`, `ringing`, `sms`, `heartbeat`, `passthru`.
    pub(crate) event: &'static str,
    pub(crate) url: String,
    pub(crate) way: Way,
    pub(crate) ack: Ack,
    pub(crate) fields: Vec<(&'static str, Node)>,
    pub(crate) script: CallbackScript,
    /// What identifies it to a draw, whatever the order of things.
    pub(crate) key: String,
    /// Nothing follows it.
    pub(crate) last: bool,
}

/// Where the callbacks of one call or message are handed in.
pub(crate) type Courier = mpsc::UnboundedSender<Outgoing>;

/// Starts the courier of one call or message: callbacks leave in the order handed in, each after the answer to the
/// one before, unless a fault says otherwise. Retries do not hold up what follows.
pub(crate) fn courier(core: &Shared) -> Courier {
    let (courier, mut inbox) = mpsc::unbounded_channel::<Outgoing>();
    let core = core.clone();
    core.clone().spawn(async move {
        let mut held: Vec<Outgoing> = Vec::new();
        while let Some(outgoing) = inbox.recv().await {
            let fate = fate(&core, &outgoing);
            if fate.dropped {
                core.record(Event::Callback(entry(&outgoing, 1, Some("dropped"))));
                continue;
            }
            if let Some(after_ms) = fate.duplicate_after_ms {
                later(&core, after_ms, outgoing.clone(), "duplicate");
            }
            if let Some(after_ms) = fate.delay_ms {
                later(&core, after_ms, outgoing, "delayed");
                continue;
            }
            if fate.reordered && !outgoing.last {
                held.push(outgoing);
                continue;
            }
            deliver(&core, outgoing, None).await;
            for late in held.drain(..) {
                deliver(&core, late, Some("reordered")).await;
            }
        }
        for late in held {
            deliver(&core, late, Some("reordered")).await;
        }
    });
    courier
}

fn fate(core: &Core, outgoing: &Outgoing) -> CallbackFate {
    let late_ms = core.options.timings.late_ms;
    let Outgoing {
        script, event, key, ..
    } = outgoing;
    core.change(|state| state.faults.for_callback(core.dice, script, event, key, late_ms))
}

/// Sends a callback that no other precedes or follows, and waits for the answer to the first attempt.
pub(crate) async fn send(core: &Shared, outgoing: Outgoing) -> Sent {
    let fate = fate(core, &outgoing);
    if fate.dropped {
        core.record(Event::Callback(entry(&outgoing, 1, Some("dropped"))));
        return Sent::Dropped;
    }
    if let Some(after_ms) = fate.duplicate_after_ms {
        later(core, after_ms, outgoing.clone(), "duplicate");
    }
    if let Some(after_ms) = fate.delay_ms {
        later(core, after_ms, outgoing, "delayed");
        return Sent::Delayed;
    }
    match deliver(core, outgoing, None).await {
        Some(status) => Sent::Answered(status),
        None => Sent::Unanswered,
    }
}

/// Sends what somebody waits for: the same, but a fault that puts it off puts off the answer too.
pub(crate) async fn ask(core: &Shared, outgoing: Outgoing) -> Sent {
    let fate = fate(core, &outgoing);
    if fate.dropped {
        core.record(Event::Callback(entry(&outgoing, 1, Some("dropped"))));
        return Sent::Dropped;
    }
    if let Some(after_ms) = fate.duplicate_after_ms {
        later(core, after_ms, outgoing.clone(), "duplicate");
    }
    let mut fault = None;
    if let Some(after_ms) = fate.delay_ms {
        core.pass(after_ms).await;
        fault = Some("delayed");
    }
    match deliver(core, outgoing, fault).await {
        Some(status) => Sent::Answered(status),
        None => Sent::Unanswered,
    }
}

fn later(core: &Shared, after_ms: u64, outgoing: Outgoing, fault: &'static str) {
    let core = core.clone();
    core.clone().spawn(async move {
        core.pass(after_ms).await;
        deliver(&core, outgoing, Some(fault)).await;
    });
}

/// Sends a callback and, if it is not taken, sees to the retries. Answers the status of the first attempt.
async fn deliver(core: &Shared, outgoing: Outgoing, fault: Option<&'static str>) -> Option<u16> {
    let first = attempt(core, &outgoing, 1, fault).await;
    if outgoing.ack.is_given_by(first) {
        return first;
    }
    let core = core.clone();
    core.clone().spawn(async move {
        for (at, wait_ms) in core.options.timings.retry_ms.iter().enumerate() {
            core.pass(*wait_ms).await;
            let number = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(2);
            let status = attempt(&core, &outgoing, number, fault).await;
            if outgoing.ack.is_given_by(status) {
                return;
            }
        }
        tracing::warn!(call.sid = %outgoing.sid, "gave up on the `{}` callback", outgoing.event);
    });
    first
}

fn entry(outgoing: &Outgoing, attempt: u32, fault: Option<&str>) -> Callback {
    Callback {
        sid: outgoing.sid.clone(),
        event: outgoing.event.to_owned(),
        method: match outgoing.way {
            Way::Post(_) => "POST".to_owned(),
            Way::Get => "GET".to_owned(),
        },
        url: outgoing.url.clone(),
        content_type: outgoing.way.content_type().to_owned(),
        params: Params(flatten(&outgoing.fields)),
        attempt,
        status: None,
        error: None,
        fault: fault.map(str::to_owned),
        branch: None,
        answered_at: None,
    }
}

/// One attempt, and the status that it was answered with.
async fn attempt(core: &Shared, outgoing: &Outgoing, number: u32, fault: Option<&str>) -> Option<u16> {
    let id = core.record(Event::Callback(entry(outgoing, number, fault)));
    let timeout = std::time::Duration::from_millis(core.options.callback_timeout_ms);
    let result = match tokio::time::timeout(timeout, request(core, outgoing)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} ms", timeout.as_millis())),
    };
    let now = core.now();
    core.amend_callback(id, |callback| {
        callback.answered_at = Some(now);
        callback.branch = (outgoing.ack == Ack::Branch).then(|| Branch::of(result.as_ref().ok().copied()));
        match &result {
            Ok(status) => callback.status = Some(*status),
            Err(error) => callback.error = Some(error.clone()),
        }
    });
    match result {
        Ok(status) => Some(status),
        Err(error) => {
            tracing::info!(call.sid = %outgoing.sid, "`{}` callback was not answered: {error}", outgoing.event);
            None
        }
    }
}

async fn request(core: &Shared, outgoing: &Outgoing) -> Result<u16, String> {
    let uri: http::Uri = outgoing
        .url
        .parse()
        .map_err(|err| format!("the callback's URL is none: {err}"))?;
    if uri.scheme_str() != Some("http") {
        return Err("the simulator calls back over plain http only".to_owned());
    }
    let request = match outgoing.way {
        Way::Post(form) => {
            let content_type = match form {
                BodyForm::Multipart => format!("multipart/form-data; boundary={BOUNDARY}"),
                other => content_type(other).to_owned(),
            };
            http::Request::post(uri)
                .header(http::header::CONTENT_TYPE, content_type)
                .body(Full::new(Bytes::from(body(form, &outgoing.fields))))
        }
        Way::Get => {
            let query = body(BodyForm::Urlencoded, &outgoing.fields);
            // The URL is called as given, with whatever query it has of its own.
            let joint = if uri.query().is_some() { "&" } else { "?" };
            http::Request::get(format!("{}{joint}{query}", outgoing.url)).body(Full::default())
        }
    };
    let request = request.map_err(|err| err.to_string())?;
    let response = core.client.request(request).await.map_err(|err| chain(&err))?;
    let status = response.status().as_u16();
    // Read the answer, so that the connection can be used again; what it says does not matter.
    let _ = Limited::new(response.into_body(), 1 << 20).collect().await;
    Ok(status)
}

fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

impl Way {
    fn content_type(self) -> &'static str {
        match self {
            Way::Post(form) => content_type(form),
            Way::Get => "",
        }
    }
}

fn content_type(form: BodyForm) -> &'static str {
    match form {
        BodyForm::Multipart => "multipart/form-data",
        BodyForm::Urlencoded => "application/x-www-form-urlencoded",
        BodyForm::Json => "application/json",
    }
}

/// The body in the given form.
pub(crate) fn body(form: BodyForm, fields: &[(&'static str, Node)]) -> String {
    match form {
        BodyForm::Json => Node::Object(fields.to_vec()).to_json(),
        BodyForm::Urlencoded => form_urlencoded::Serializer::new(String::new())
            .extend_pairs(flatten(fields))
            .finish(),
        BodyForm::Multipart => {
            let mut body = String::new();
            for (name, value) in flatten(fields) {
                body.push_str(&format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                ));
            }
            body.push_str(&format!("--{BOUNDARY}--\r\n"));
            body
        }
    }
}

/// Fields as a form carries them: `Legs[0][Status]`.
pub(crate) fn flatten(fields: &[(&'static str, Node)]) -> Vec<(String, String)> {
    fn walk(name: String, value: &Node, out: &mut Vec<(String, String)>) {
        match value {
            Node::Null => out.push((name, String::new())),
            Node::Text(text) => out.push((name, text.clone())),
            Node::Int(number) => out.push((name, number.to_string())),
            Node::Bool(yes) => out.push((name, yes.to_string())),
            Node::Keyed(fields) => {
                fields
                    .iter()
                    .for_each(|(key, value)| walk(format!("{name}[{key}]"), value, out));
            }
            Node::Object(fields) => {
                fields
                    .iter()
                    .for_each(|(key, value)| walk(format!("{name}[{key}]"), value, out));
            }
            Node::List(items) | Node::Named(_, items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(at, item)| walk(format!("{name}[{at}]"), item, out));
            }
        }
    }
    let mut out = Vec::new();
    fields
        .iter()
        .for_each(|(name, value)| walk((*name).to_owned(), value, &mut out));
    out
}

/// Replaces absent values by the literal string `null`, as Exotel often does.
pub(crate) fn with_literal_nulls(fields: &mut [(&'static str, Node)]) {
    fn walk(node: &mut Node) {
        match node {
            Node::Null => *node = "null".into(),
            Node::Text(text) if text.is_empty() => *node = "null".into(),
            Node::Object(fields) => fields.iter_mut().for_each(|(_, value)| walk(value)),
            Node::Keyed(fields) => fields.iter_mut().for_each(|(_, value)| walk(value)),
            Node::List(items) | Node::Named(_, items) => items.iter_mut().for_each(walk),
            Node::Text(_) | Node::Int(_) | Node::Bool(_) => {}
        }
    }
    fields.iter_mut().for_each(|(_, value)| walk(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Vec<(&'static str, Node)> {
        let leg = |status: &str| Node::Object(vec![("OnCallDuration", 41.into()), ("Status", status.into())]);
        vec![
            ("CallSid", "abc".into()),
            ("EndTime", Node::Null),
            ("Legs", Node::List(vec![leg("completed"), leg("")])),
        ]
    }

    #[test]
    fn legs_are_flat_in_forms_and_nested_in_json() {
        assert_eq!(
            body(BodyForm::Urlencoded, &fields()),
            "CallSid=abc&EndTime=&Legs%5B0%5D%5BOnCallDuration%5D=41&Legs%5B0%5D%5BStatus%5D=completed\
             &Legs%5B1%5D%5BOnCallDuration%5D=41&Legs%5B1%5D%5BStatus%5D="
        );
        assert!(
            body(BodyForm::Json, &fields()).contains(r#""Legs":[{"OnCallDuration":41,"Status":"completed"}"#)
        );
        assert!(
            body(BodyForm::Multipart, &fields()).contains("name=\"Legs[0][Status]\"\r\n\r\ncompleted\r\n")
        );
    }

    #[test]
    fn absent_values_become_the_word_null() {
        let mut fields = fields();
        with_literal_nulls(&mut fields);
        assert!(body(BodyForm::Urlencoded, &fields).contains("EndTime=null"));
        assert!(body(BodyForm::Urlencoded, &fields).ends_with("%5BStatus%5D=null"));
    }
}
