//! The demo: what a person would click, over the same public routes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{
    Client, Method, StatusCode,
    header::{CONTENT_TYPE, RANGE},
};
use serde_json::{Value, json};

use crate::{
    day,
    local::Running,
    steps::{Step, heading},
    token::Role,
    voice,
};

/// The demo's salesperson.
pub(crate) const AGENT: &str = "asha";
/// The demo's administrator.
pub(crate) const ADMIN: &str = "admin";

/// How long anything may take to show; pretended calls last a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// The demo's leads: id, name, number. The simulator goes by the last four digits.
const LEADS: [(&str, &str, &str); 3] = [
    ("lead-meera", "Meera Iyer", "+919811176543"),
    ("lead-rohan", "Rohan Das", "+919811100002"),
    ("lead-farah", "Farah Khan", "+919811100011"),
];

/// Loads users and leads and a day of calls, then places calls, plays a recording, sends a message, lets Meera talk with
/// the bots, and looks at the day's figures.
///
/// # Errors
/// Whatever did not go as a person would expect, in words.
pub(crate) async fn walk(running: &Running) -> Result<()> {
    heading("Loading the demo");
    let http = lambda_kit::https::client()?;
    let admin = Caller::new(&http, running, ADMIN, Role::Admin)?;
    let agent = Caller::new(&http, running, AGENT, Role::Sales)?;
    load(&admin).await?;
    let day = day::play(&http, running, &admin).await?;

    heading("Walking it, as Asha from sales");
    let status = agent.get("/api/sales/crm/exotel-status").await?;
    ensure!(status["enabled"] == true, "Exotel is not enabled: {status}");
    println!("✓ calls can be placed, from {}", text(&status["myPhone"]));

    let call = place(&agent, 0, "Asha's phone rings first, then Meera's").await?;
    let call = outcome(&agent, 0, &call, "connected").await?;
    play(&http, &agent, 0, &call).await?;

    let call = place(&agent, 1, "Rohan will not pick up").await?;
    outcome(&agent, 1, &call, "not_picked").await?;

    message(&agent, 0).await?;
    refused(&agent, 2).await?;

    let timeline = agent
        .get(&format!("/api/sales/crm/{}/timeline", LEADS[0].0))
        .await?;
    let entries = items(&timeline)?;
    ensure!(
        entries.len() >= 2,
        "Meera's timeline lacks the call or the message: {timeline}"
    );
    println!("✓ Meera's timeline shows {} entries, newest first", entries.len());

    heading("Talking to the bots, as Meera");
    voice::talk(&http, running, &admin, LEADS[0].2).await?;

    heading("Looking at the day, as an administrator");
    day::compare(&http, running, &admin, &day).await?;
    discreet(running)?;
    Ok(())
}

/// Nobody's number and no secret is in what the functions printed.
fn discreet(running: &Running) -> Result<()> {
    let log = running.functions_log()?;
    let numbers = LEADS
        .iter()
        .map(|(_, _, phone)| &phone[3..])
        .chain(["9900012345", "9900054321"]);
    let secrets = running.secrets();
    for told in numbers.chain(secrets.iter().map(String::as_str)) {
        if let Some(line) = log.lines().find(|line| line.contains(told)) {
            bail!("a function printed a phone number or a secret: {line}");
        }
    }
    println!(
        "✓ {} lines of log hold no phone number and no secret",
        log.lines().count()
    );
    Ok(())
}

async fn load(admin: &Caller<'_>) -> Result<()> {
    let users = [
        (
            AGENT,
            json!({"fullName": "Asha Rao", "phone": "+919900012345", "email": "asha@example.com", "role": "SALES"}),
        ),
        (
            "head",
            json!({"fullName": "Vikram Shah", "phone": "+919900054321", "email": "vikram@example.com", "role": "SALES_HEAD"}),
        ),
    ];
    for (id, user) in users {
        admin
            .send(Method::PUT, &format!("/api/admin/users/{id}"), Some(user))
            .await?;
    }
    for (id, name, phone) in LEADS {
        let lead = json!({"name": name, "phone": phone, "owningSalesHeadId": "head", "assignedTo": AGENT});
        admin
            .send(Method::PUT, &format!("/api/admin/raw-leads/{id}"), Some(lead))
            .await?;
    }
    println!("✓ two users and three leads are there");
    Ok(())
}

/// Clicks "call" and gives the call's log.
async fn place(agent: &Caller<'_>, lead: usize, what: &str) -> Result<Value> {
    let (id, name, _) = LEADS[lead];
    let (status, call) = agent
        .ask(
            Method::POST,
            &format!("/api/sales/crm/{id}/exotel-call"),
            Some(json!({})),
        )
        .await?;
    ensure!(
        status == StatusCode::CREATED,
        "the call to {name} was answered {status}: {call}"
    );
    ensure!(
        call["outcome"] == "exotel_dispatched",
        "the call to {name} was not dispatched: {call}"
    );
    println!(
        "✓ called {name}: {what} (CallSid {})",
        text(&call["exotelCallSid"])
    );
    Ok(call)
}

/// Watches the lead's calls until this one has come to `wanted`.
async fn outcome(agent: &Caller<'_>, lead: usize, call: &Value, wanted: &str) -> Result<Value> {
    let (id, name, _) = LEADS[lead];
    let step = Step::start(format!("watching the call to {name}"));
    let found = until(async || {
        let list = agent.get(&format!("/api/sales/crm/{id}/calls")).await?;
        let found = items(&list)?
            .iter()
            .find(|entry| entry["id"] == call["id"])
            .cloned();
        let found = found.with_context(|| format!("the call to {name} is not on the list: {list}"))?;
        step.note(text(&found["outcome"]));
        Ok((found["outcome"] != "exotel_dispatched").then_some(found))
    })
    .await?
    .with_context(|| format!("the call to {name} was never reported to have ended"))?;
    ensure!(
        found["outcome"] == wanted,
        "the call to {name} came to {found}, not to {wanted}"
    );
    step.done(&format!(
        "the call to {name}: {wanted}, {} s of talk",
        found["durationSec"]
    ));
    Ok(found)
}

/// Plays the recording as a browser does: ticket, then the streaming function, then a seek.
async fn play(http: &Client, agent: &Caller<'_>, lead: usize, call: &Value) -> Result<()> {
    let step = Step::start("waiting for the recording");
    let path = format!(
        "/api/sales/crm/{}/calls/{}/recording?link=1",
        LEADS[lead].0,
        text(&call["id"])
    );
    let audio = until(async || {
        let (status, link) = agent.ask(Method::GET, &path, None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(
            status == StatusCode::OK,
            "the recording's link was answered {status}: {link}"
        );
        let url = link["url"]
            .as_str()
            .with_context(|| format!("the link has no url: {link}"))?
            .to_owned();
        let answer = http.get(&url).send().await.context("play the recording")?;
        match answer.status() {
            StatusCode::OK => Ok(Some((url, answer))),
            // Exotel's file comes later than the call's end.
            StatusCode::NOT_FOUND
            | StatusCode::CONFLICT
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::TOO_EARLY => Ok(None),
            status => bail!(
                "the recording was answered {status}: {}",
                answer.text().await.unwrap_or_default()
            ),
        }
    })
    .await?
    .context("the recording never became available")?;
    let (url, answer) = audio;
    let kind = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .to_owned();
    ensure!(kind.starts_with("audio/"), "the recording is {kind}, no audio");
    let whole = answer.bytes().await.context("play the recording")?;
    ensure!(!whole.is_empty(), "the recording is empty");
    let seek = http
        .get(&url)
        .header(RANGE, "bytes=100-199")
        .send()
        .await
        .context("seek in the recording")?;
    ensure!(
        seek.status() == StatusCode::PARTIAL_CONTENT,
        "seeking was answered {}",
        seek.status()
    );
    let part = seek.bytes().await.context("seek in the recording")?;
    ensure!(
        part[..] == whole[100..200],
        "seeking gave other bytes than playing"
    );
    step.done(&format!(
        "played its recording, {} kB of {kind}, and seeked in it",
        whole.len() / 1000
    ));
    Ok(())
}

async fn message(agent: &Caller<'_>, lead: usize) -> Result<()> {
    let (id, name, _) = LEADS[lead];
    let path = format!("/api/sales/crm/{id}/sms");
    let body = json!({"body": "Thank you for your time today. Asha"});
    let (status, sms) = agent.ask(Method::POST, &path, Some(body)).await?;
    ensure!(
        status == StatusCode::CREATED,
        "the message to {name} was answered {status}: {sms}"
    );
    println!("✓ sent {name} a message (SmsSid {})", text(&sms["exotelSmsSid"]));
    let step = Step::start("watching the message");
    until(async || {
        let list = agent.get(&path).await?;
        let found = items(&list)?.iter().find(|entry| entry["id"] == sms["id"]);
        let found = found.with_context(|| format!("the message is not on the list: {list}"))?;
        step.note(text(&found["status"]));
        ensure!(found["status"] != "failed", "the message failed: {found}");
        Ok((found["status"] == "delivered").then_some(()))
    })
    .await?
    .context("the message was never reported to be delivered")?;
    step.done(&format!("the message to {name} is delivered"));
    Ok(())
}

/// A number on the do-not-disturb list: Exotel refuses, and says so.
async fn refused(agent: &Caller<'_>, lead: usize) -> Result<()> {
    let (id, name, _) = LEADS[lead];
    let (status, problem) = agent
        .ask(
            Method::POST,
            &format!("/api/sales/crm/{id}/exotel-call"),
            Some(json!({})),
        )
        .await?;
    ensure!(
        status == StatusCode::BAD_GATEWAY,
        "the call to {name}, who must not be disturbed, was answered {status}: {problem}"
    );
    println!(
        "✓ called {name}, who is on the do-not-disturb list: {}",
        text(&problem["detail"])
    );
    Ok(())
}

/// Asks again until there is something, or patience ends.
pub(crate) async fn until<T>(mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if let Some(found) = ask().await? {
            return Ok(Some(found));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(None)
}

/// Somebody with a token.
pub(crate) struct Caller<'a> {
    http: &'a Client,
    origin: &'a str,
    token: String,
}

impl<'a> Caller<'a> {
    fn new(http: &'a Client, running: &'a Running, user: &str, role: Role) -> Result<Self> {
        Ok(Self {
            http,
            origin: &running.file.http_url,
            token: running.token(user, role)?,
        })
    }

    /// What stands there.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// A request that must succeed.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let what = format!("{method} {path}");
        let (status, answer) = self.ask(method, path, body).await?;
        ensure!(status.is_success(), "{what} was answered {status}: {answer}");
        Ok(answer)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let what = format!("{method} {path}");
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.origin))
            .bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.with_context(|| what.clone())?;
        let status = answer.status();
        let text = answer.text().await.with_context(|| what.clone())?;
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok((status, value))
    }
}

pub(crate) fn items(list: &Value) -> Result<&Vec<Value>> {
    list["items"]
        .as_array()
        .with_context(|| format!("a list has no items: {list}"))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}
