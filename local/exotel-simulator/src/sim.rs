//! `/_sim`: how a person or a test looks inside and says what is to happen. No authentication; not journalled.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::core::Shared;
use crate::exophones::{ExophoneHealth, ExophoneView};
use crate::faults::Faults;
use crate::heartbeat::{self, Heartbeat, HeartbeatStatus};
use crate::inbound::{self, Inbound};
use crate::journal::Entry;
use crate::scripts::Script;
use crate::stream::{Recorder, StreamReport, StreamView, Voicebot};
use crate::totals::{self, Span};
use crate::traffic::{self, Traffic};
use crate::views;

pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/_sim/health", get(async || Json(json!({"ok": true}))))
        .route("/_sim/journal", get(journal).delete(clear_journal))
        .route(
            "/_sim/calls",
            get(async |State(core): State<Shared>| Json(core.read(views::calls))),
        )
        .route(
            "/_sim/messages",
            get(async |State(core): State<Shared>| Json(core.read(views::messages))),
        )
        .route(
            "/_sim/rate",
            get(async |State(core): State<Shared>| Json(views::rates(&core))),
        )
        .route(
            "/_sim/scripts",
            get(scripts).post(add_scripts).delete(clear_scripts),
        )
        .route(
            "/_sim/faults",
            get(faults).post(add_faults).put(set_faults).delete(clear_faults),
        )
        .route("/_sim/exophones", get(exophones).post(set_exophones))
        .route(
            "/_sim/heartbeat",
            get(heartbeat).post(start_heartbeat).delete(stop_heartbeat),
        )
        .route("/_sim/heartbeat/push", post(push_heartbeat))
        .route("/_sim/inbound", post(inbound))
        .route(
            "/_sim/passthru",
            get(passthru).put(set_passthru).delete(clear_passthru),
        )
        .route(
            "/_sim/voicebot",
            get(voicebots).put(set_voicebot).delete(clear_voicebots),
        )
        .route("/_sim/streams", get(streams))
        .route("/_sim/streams/{sid}", get(stream))
        .route("/_sim/streams/{sid}/heard.wav", get(heard))
        .route("/_sim/streams/{sid}/said.wav", get(said))
        .route("/_sim/traffic", post(play_traffic))
        .route("/_sim/totals", get(add_up))
        .route("/_sim/reset", post(reset))
        .route(
            "/_sim/{*unknown}",
            get(unknown).post(unknown).put(unknown).merge(delete(unknown)),
        )
}

/// Which entries of the journal.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    /// Only entries after this id.
    since: Option<u64>,
    /// `request`, `dial`, `callback` or `stream`.
    kind: Option<String>,
    /// Only what belongs to this call or message.
    sid: Option<String>,
    /// The first so many.
    limit: Option<usize>,
}

impl Filter {
    fn matches(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.id > since)
            && self.kind.as_deref().is_none_or(|kind| entry.kind() == kind)
            && self.sid.as_deref().is_none_or(|sid| entry.sid() == Some(sid))
    }
}

async fn journal(State(core): State<Shared>, Query(filter): Query<Filter>) -> Json<Vec<Entry>> {
    let limit = filter.limit.unwrap_or(usize::MAX);
    Json(core.read(|state| {
        state
            .journal
            .entries()
            .iter()
            .filter(|entry| filter.matches(entry))
            .take(limit)
            .cloned()
            .collect()
    }))
}

async fn clear_journal(State(core): State<Shared>) -> StatusCode {
    core.change(|state| state.journal.clear());
    StatusCode::NO_CONTENT
}

async fn scripts(State(core): State<Shared>) -> Json<Vec<Script>> {
    Json(core.read(|state| state.scripts.clone()))
}

/// One object or an array of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(serde_json::Map<String, serde_json::Value>),
    More(Vec<serde_json::Value>),
}

/// One or more of `T`; `what` names it in the refusal.
fn read_some<T: DeserializeOwned>(body: &[u8], what: &str) -> Result<Vec<T>, Box<Response>> {
    let values = match read::<OneOrMore>(body)? {
        OneOrMore::One(one) => vec![serde_json::Value::Object(one)],
        OneOrMore::More(more) => more,
    };
    values
        .into_iter()
        .map(|value| {
            serde_json::from_value(value).map_err(|err| Box::new(problem(&format!("no {what}: {err}"))))
        })
        .collect()
}

async fn add_scripts(State(core): State<Shared>, body: Bytes) -> Response {
    match read_some::<Script>(&body, "script") {
        Ok(scripts) => {
            core.change(|state| state.scripts.extend(scripts));
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => *refusal,
    }
}

async fn clear_scripts(State(core): State<Shared>) -> StatusCode {
    core.change(|state| state.scripts.clear());
    StatusCode::NO_CONTENT
}

async fn faults(State(core): State<Shared>) -> Json<Faults> {
    Json(core.read(|state| state.faults.clone()))
}

async fn add_faults(State(core): State<Shared>, body: Bytes) -> Response {
    match read::<Faults>(&body) {
        Ok(more) => {
            core.change(|state| {
                state.faults.seed = more.seed.or(state.faults.seed);
                state.faults.api.extend(more.api);
                state.faults.callbacks.extend(more.callbacks);
                state.faults.stream.extend(more.stream);
            });
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => *refusal,
    }
}

async fn set_faults(State(core): State<Shared>, body: Bytes) -> Response {
    match read::<Faults>(&body) {
        Ok(faults) => {
            core.change(|state| state.faults = faults);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => *refusal,
    }
}

async fn clear_faults(State(core): State<Shared>) -> StatusCode {
    core.change(|state| state.faults = Faults::default());
    StatusCode::NO_CONTENT
}

async fn exophones(State(core): State<Shared>) -> Json<Vec<ExophoneView>> {
    Json(core.read(|state| state.exophones.clone()))
}

async fn set_exophones(State(core): State<Shared>, body: Bytes) -> Response {
    let health = match read_some::<ExophoneHealth>(&body, "health of an ExoPhone") {
        Ok(health) => health,
        Err(refusal) => return *refusal,
    };
    match core.set_exophones(health) {
        Ok(()) => exophones(State(core)).await.into_response(),
        Err(error) => problem(&error),
    }
}

async fn heartbeat(State(core): State<Shared>) -> Json<Option<Heartbeat>> {
    Json(core.read(|state| {
        let subscription = state.heartbeat.as_ref();
        subscription.map(|subscription| subscription.heartbeat.clone())
    }))
}

async fn start_heartbeat(State(core): State<Shared>, body: Bytes) -> Response {
    let heartbeat = match read::<Heartbeat>(&body) {
        Ok(heartbeat) => heartbeat,
        Err(refusal) => return *refusal,
    };
    if let Err(error) = heartbeat.check(&core) {
        return problem(&error);
    }
    heartbeat::start(&core, heartbeat);
    StatusCode::NO_CONTENT.into_response()
}

async fn stop_heartbeat(State(core): State<Shared>) -> StatusCode {
    heartbeat::stop(&core);
    StatusCode::NO_CONTENT
}

/// What one push is to say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Push {
    /// `status_type` of this push only.
    status: Option<HeartbeatStatus>,
}

async fn push_heartbeat(State(core): State<Shared>, body: Bytes) -> Response {
    let push = match body.is_empty() {
        true => Push::default(),
        false => match read::<Push>(&body) {
            Ok(push) => push,
            Err(refusal) => return *refusal,
        },
    };
    match heartbeat::push(&core, push.status).await {
        Ok(pushed) => Json(pushed).into_response(),
        Err(error) => (StatusCode::CONFLICT, Json(json!({"error": error}))).into_response(),
    }
}

async fn inbound(State(core): State<Shared>, body: Bytes) -> Response {
    let inbound = match read::<Inbound>(&body) {
        Ok(inbound) => inbound,
        Err(refusal) => return *refusal,
    };
    match inbound::accept(&core, inbound) {
        Ok(call) => Json(views::CallView::from(&call)).into_response(),
        Err(error) => problem(&error),
    }
}

/// Where Passthru applets point.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passthru {
    url: Option<String>,
}

async fn passthru(State(core): State<Shared>) -> Json<Passthru> {
    let url = core.read(|state| state.passthru.clone());
    Json(Passthru { url })
}

async fn set_passthru(State(core): State<Shared>, body: Bytes) -> Response {
    let passthru = match read::<Passthru>(&body) {
        Ok(passthru) => passthru,
        Err(refusal) => return *refusal,
    };
    if let Some(Err(error)) = passthru.url.as_deref().map(inbound::check_url) {
        return problem(&error);
    }
    core.change(|state| state.passthru = passthru.url);
    StatusCode::NO_CONTENT.into_response()
}

async fn clear_passthru(State(core): State<Shared>) -> StatusCode {
    core.change(|state| state.passthru = None);
    StatusCode::NO_CONTENT
}

async fn voicebots(State(core): State<Shared>) -> Json<Vec<Voicebot>> {
    Json(core.read(|state| state.voicebots.clone()))
}

async fn set_voicebot(State(core): State<Shared>, body: Bytes) -> Response {
    let voicebot = match read::<Voicebot>(&body) {
        Ok(voicebot) => voicebot,
        Err(refusal) => return *refusal,
    };
    match core.set_voicebot(voicebot) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => problem(&error),
    }
}

async fn clear_voicebots(State(core): State<Shared>) -> StatusCode {
    core.change(|state| state.voicebots.clear());
    StatusCode::NO_CONTENT
}

async fn streams(State(core): State<Shared>) -> Json<Vec<StreamView>> {
    Json(core.read(views::streams))
}

fn of_stream(core: &Shared, sid: &str, answer: impl FnOnce(&Recorder) -> Response) -> Response {
    match core.stream(sid) {
        Some(recorder) => answer(&recorder),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({"error": format!("no stream, and no call with a stream, has the sid {sid}")})),
        )
            .into_response(),
    }
}

async fn stream(State(core): State<Shared>, Path(sid): Path<String>) -> Response {
    of_stream(&core, &sid, |recorder| Json(recorder.view()).into_response())
}

async fn heard(State(core): State<Shared>, Path(sid): Path<String>) -> Response {
    of_stream(&core, &sid, |recorder| {
        wav(recorder.read(|report: &StreamReport| report.heard.to_wav()))
    })
}

async fn said(State(core): State<Shared>, Path(sid): Path<String>) -> Response {
    of_stream(&core, &sid, |recorder| {
        wav(recorder.read(|report: &StreamReport| report.said.to_wav()))
    })
}

fn wav(bytes: Vec<u8>) -> Response {
    ([(axum::http::header::CONTENT_TYPE, "audio/wav")], bytes).into_response()
}

async fn play_traffic(State(core): State<Shared>, body: Bytes) -> Response {
    let traffic = match read::<Traffic>(&body) {
        Ok(traffic) => traffic,
        Err(refusal) => return *refusal,
    };
    match traffic::play(&core, traffic).await {
        Ok(played) => Json(played).into_response(),
        Err(error) => problem(&error),
    }
}

async fn add_up(State(core): State<Shared>, Query(span): Query<Span>) -> Response {
    match totals::of_span(&core, &span) {
        Ok(totals) => Json(totals).into_response(),
        Err(error) => problem(&error),
    }
}

async fn reset(State(core): State<Shared>) -> StatusCode {
    core.reset();
    StatusCode::NO_CONTENT
}

async fn unknown() -> Response {
    let paths = "health, journal, calls, messages, rate, scripts, faults, exophones, heartbeat, inbound, \
                 passthru, voicebot, streams, traffic, totals, reset";
    (
        StatusCode::NOT_FOUND,
        Json(json!({"error": format!("nothing here; under /_sim there are {paths}")})),
    )
        .into_response()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Response>> {
    serde_json::from_slice(body)
        .map_err(|err| Box::new(problem(&format!("the JSON body cannot be used: {err}"))))
}

fn problem(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
}
