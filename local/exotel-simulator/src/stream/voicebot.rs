//! The Voicebot applet of a flow, and calls that the API connects to a bot.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::view::{DisconnectedBy, Recorder, StreamStatus, StreamView, ViolationKind};
use super::{Ask, Stream, StreamOptions, Talk, Way, ask_for_url, fail, run};
use crate::answer::Node;
use crate::callbacks;
use crate::calls::{self, Call, Line};
use crate::core::Core;
use crate::faults::FaultSource;
use crate::inbound::{self, Branch, Flow, Stage};
use crate::journal::{Callback, Event, Params, Streamed};
use crate::recordings;
use crate::scripts::{CallPlan, CallStatus};

/// Bytes of streams' sound that are kept; the oldest goes first.
const MOST_SOUND_BYTES: usize = 256 << 20;

/// How `Stream` stands in the Passthru after a Voicebot applet; Exotel's documents have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassthruForm {
    /// `Stream[Status]=completed`.
    #[default]
    Nested,
    /// `Stream={"Status":"completed"}`.
    Json,
}

/// A Voicebot applet. In JSON, its URL alone will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Voicebot {
    /// The bot's `ws://` or `wss://` URL, or the `http://` or `https://` endpoint that answers it for each call.
    pub url: String,
    /// The flow that has it; without it, every flow.
    pub flow_id: Option<String>,
    /// How the endpoint is asked.
    pub ask: Ask,
    /// How its streams behave, where that is not as the simulator's options say.
    pub stream: Option<StreamOptions>,
}

impl<'de> Deserialize<'de> for Voicebot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            url: String,
            #[serde(default)]
            flow_id: Option<String>,
            #[serde(default)]
            ask: Ask,
            #[serde(default)]
            stream: Option<StreamOptions>,
        }
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(url) => Ok(Self::at(&url)),
            value => {
                let whole: Whole = serde_json::from_value(value).map_err(serde::de::Error::custom)?;
                Ok(Self {
                    url: whole.url,
                    flow_id: whole.flow_id,
                    ask: whole.ask,
                    stream: whole.stream,
                })
            }
        }
    }
}

impl Voicebot {
    /// The applet of every flow, with this URL.
    pub fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            flow_id: None,
            ask: Ask::default(),
            stream: None,
        }
    }

    /// Whether the applet could be saved so. What is wrong with a stream's URL beyond its scheme shows when it is dialled.
    pub(crate) fn check(&self) -> Result<(), String> {
        let url = url::Url::parse(&self.url).map_err(|err| format!("the voicebot's URL is none: {err}"))?;
        if !matches!(url.scheme(), "ws" | "wss" | "http" | "https") {
            return Err("the voicebot's URL must begin with wss://, ws://, https:// or http://".to_owned());
        }
        self.stream.as_ref().map_or(Ok(()), StreamOptions::check)
    }

    fn must_be_asked(&self) -> bool {
        ["http://", "https://"]
            .iter()
            .any(|scheme| self.url.to_ascii_lowercase().starts_with(scheme))
    }
}

/// A Voicebot applet in the way of one call.
#[derive(Debug, Clone)]
pub(crate) struct Applet {
    pub(crate) voicebot: Voicebot,
    /// What the person on the line says and does.
    pub(crate) talk: Talk,
    /// Branch A of the Passthru that follows leads to a Connect applet.
    pub(crate) connects: bool,
    /// Milliseconds after which the call is cut.
    pub(crate) limit_ms: Option<u64>,
}

/// A stream that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    view: StreamView,
    /// `StreamUrl`.
    url: String,
    recording_url: Option<String>,
}

impl Ended {
    fn hung_up(&self) -> bool {
        self.view.disconnected_by == Some(DisconnectedBy::User)
    }

    /// `Stream` of the Passthru.
    fn node(&self, form: PassthruForm) -> Node {
        let by = self.view.disconnected_by.unwrap_or(DisconnectedBy::System);
        let mut fields = vec![
            ("StreamSID", self.view.stream_sid.as_str().into()),
            ("Status", self.view.status.as_str().into()),
            (
                "Duration",
                calls::seconds(self.view.duration_ms).to_string().into(),
            ),
            ("StreamUrl", self.url.as_str().into()),
        ];
        fields.extend(
            self.recording_url
                .as_deref()
                .map(|url| ("RecordingUrl", Node::from(url))),
        );
        fields.push(("DisconnectedBy", by.as_str().into()));
        if let Some(error) = &self.view.error {
            fields.push(("Error", error.as_str().into()));
        }
        let node = Node::Object(fields);
        match form {
            PassthruForm::Nested => node,
            PassthruForm::Json => Node::Text(node.to_json()),
        }
    }
}

impl Core {
    /// The Voicebot applet of a flow, if it has one: its own before the one of every flow.
    pub(crate) fn voicebot_of(&self, flow_id: &str) -> Option<Voicebot> {
        self.read(|state| {
            let own = state
                .voicebots
                .iter()
                .find(|voicebot| voicebot.flow_id.as_deref() == Some(flow_id));
            own.or_else(|| state.voicebots.iter().find(|voicebot| voicebot.flow_id.is_none()))
                .cloned()
        })
    }

    /// Gives flows a voicebot, in the place of the one they had.
    pub(crate) fn set_voicebot(&self, voicebot: Voicebot) -> Result<(), String> {
        voicebot.check()?;
        self.change(|state| {
            state.voicebots.retain(|other| other.flow_id != voicebot.flow_id);
            state.voicebots.push(voicebot);
        });
        Ok(())
    }

    /// The stream of that sid, or of the call of that sid.
    pub(crate) fn stream(&self, sid: &str) -> Option<Arc<Recorder>> {
        let is_it = |recorder: &&Arc<Recorder>| {
            recorder.read(|report| report.view.stream_sid == sid || report.view.call_sid == sid)
        };
        self.read(|state| state.streams.iter().find(is_it).cloned())
    }

    /// Streams of an account that are not over.
    pub(crate) fn active_streams(&self, account: &str) -> usize {
        let is_active = |recorder: &&Arc<Recorder>| {
            recorder.read(|report| {
                let view = &report.view;
                let active = matches!(view.status, StreamStatus::Connecting | StreamStatus::InProgress);
                active && view.account == account
            })
        };
        self.read(|state| state.streams.iter().filter(is_active).count())
    }

    fn forget_old_sound(&self) {
        self.note(|state| {
            let mut kept: usize = state.streams.iter().map(|stream| stream.sound_bytes()).sum();
            for stream in &state.streams {
                if kept <= MOST_SOUND_BYTES {
                    return;
                }
                kept -= stream.sound_bytes();
                stream.forget_sound();
            }
        });
    }
}

impl Line {
    /// Runs the Voicebot applet until the bot or the person on the line has had enough.
    async fn stream(&self, applet: &Applet, flow: Option<&Flow>) -> Option<Ended> {
        let call = self.call()?;
        let core = &self.core;
        let options = applet.voicebot.stream.as_ref().unwrap_or(&core.options.stream);
        let recorder = self.recorder(&call);
        let streaming_already = core.active_streams(&call.account);
        core.change(|state| state.streams.push(recorder.clone()));
        let mut url = applet.voicebot.url.clone();
        if streaming_already >= core.options.max_streams {
            fail(
                &recorder,
                format!("the account has {streaming_already} streams, as many as it may"),
            );
        } else {
            let asked = match flow.filter(|_| applet.voicebot.must_be_asked()) {
                Some(flow) => self.ask_for_bot(&call, flow, &applet.voicebot, options).await,
                None => Ok(url.clone()),
            };
            match asked {
                Ok(bot) => {
                    url = bot;
                    self.run_stream(&call, applet, options, &url, flow.is_some(), &recorder)
                        .await;
                }
                Err(problem) => {
                    recorder.violation(0, ViolationKind::BadUrl, problem.clone());
                    fail(&recorder, problem);
                }
            }
        }
        core.forget_old_sound();
        let view = recorder.view();
        let ready = core.ahead(call.plan.recording_ms);
        let recording = calls::recording(&call, view.duration_ms, ready);
        let recording_url = recording.map(|recording| {
            let url = recordings::url(&core.origin, &recording);
            core.change(|state| state.recordings.insert(recording.id.clone(), recording));
            url
        });
        Some(Ended {
            view,
            url,
            recording_url,
        })
    }

    fn recorder(&self, call: &Call) -> Arc<Recorder> {
        let view = StreamView {
            stream_sid: self.core.dice.sid(&format!("stream {}", call.sid)),
            call_sid: call.sid.clone(),
            account: call.account.clone(),
            ..StreamView::default()
        };
        // The recorder stands in the simulator's state: it must not keep the simulator alive.
        let core = Arc::downgrade(&self.core);
        let (sid, stream_sid) = (view.call_sid.clone(), view.stream_sid.clone());
        Arc::new(Recorder::new(view, move |event| {
            if let Some(core) = core.upgrade() {
                core.record(Event::Stream(Streamed {
                    sid: sid.clone(),
                    stream_sid: stream_sid.clone(),
                    at_ms: event.at_ms,
                    event: event.event.clone(),
                    detail: event.detail.clone(),
                }));
            }
        }))
    }

    async fn run_stream(
        &self,
        call: &Call,
        applet: &Applet,
        options: &StreamOptions,
        url: &str,
        in_flow: bool,
        recorder: &Recorder,
    ) {
        let faults = FaultSource::Simulator(self.core.clone());
        let is_inbound = call.flow.as_ref().is_some_and(|flow| flow.inbound.is_some());
        let (from, to) = match (is_inbound, in_flow) {
            (true, _) => (&call.from, &call.exophone),
            (false, true) => (&call.exophone, &call.from),
            // Seen live: connected straight to the bot, both are the same number.
            (false, false) => (&call.exophone, &call.exophone),
        };
        run(Stream {
            way: Way::Dial(&self.core.dialler),
            url,
            options,
            talk: &applet.talk,
            dice: self.core.dice,
            faults: &faults,
            recorder,
            from: from.as_str(),
            to: to.as_str(),
            key: &format!("{} {}", call.from, call.nth),
            limit_ms: applet.limit_ms,
            clock: &self.core.options.clock,
        })
        .await;
    }

    /// Asks the endpoint where the bot is.
    async fn ask_for_bot(
        &self,
        call: &Call,
        flow: &Flow,
        voicebot: &Voicebot,
        options: &StreamOptions,
    ) -> Result<String, String> {
        let fields = inbound::fields(call, flow, Stage::Before, self.core.now());
        let (method, content_type) = match voicebot.ask {
            Ask::Get => ("GET", ""),
            Ask::Post => ("POST", "application/json"),
        };
        let id = self.core.record(Event::Callback(Callback {
            sid: call.sid.clone(),
            event: "voicebot".to_owned(),
            method: method.to_owned(),
            url: voicebot.url.clone(),
            content_type: content_type.to_owned(),
            params: Params(callbacks::flatten(&fields)),
            attempt: 1,
            status: None,
            error: None,
            fault: None,
            branch: None,
            answered_at: None,
        }));
        let asked = ask_for_url(&self.core.dialler, &voicebot.url, voicebot.ask, &fields, options).await;
        let now = self.core.now();
        self.core.amend_callback(id, |callback| {
            callback.status = asked.status;
            callback.error = asked.url.as_ref().err().cloned();
            callback.answered_at = Some(now);
        });
        asked.url
    }

    /// The Passthru after the applet; what it picked, if it picked something.
    async fn pass_through_streamed(
        &self,
        flow: &Flow,
        applet: &Applet,
        ended: &Ended,
    ) -> Option<Option<Branch>> {
        let call = self.call()?;
        let Some(url) = flow.passthru.clone() else {
            return Some(None);
        };
        let mut outgoing = inbound::outgoing(&call, flow, Stage::Streamed, url, self.core.now());
        if ended.hung_up() {
            for (name, value) in &mut outgoing.fields {
                if *name == "CallStatus" {
                    *value = CallStatus::Completed.as_str().into();
                }
            }
        }
        let options = applet
            .voicebot
            .stream
            .as_ref()
            .unwrap_or(&self.core.options.stream);
        outgoing
            .fields
            .push(("Stream", ended.node(options.passthru_form)));
        self.ask_passthru(flow, outgoing).await
    }

    /// An answered call that the API placed: the bot, and the Passthru of the flow, if it runs one. Answers how long the
    /// bot was on the line, and how the call goes then.
    pub(crate) async fn talk_to_bot(
        &self,
        applet: &Applet,
        flow: Option<&Flow>,
        plan: &CallPlan,
    ) -> Option<CallPlan> {
        let ended = self.stream(applet, flow).await?;
        let picked = match flow {
            Some(flow) => self.pass_through_streamed(flow, applet, &ended).await?,
            None => None,
        };
        Some(CallPlan {
            status: match picked {
                Some(Branch::Halted) if !ended.hung_up() => CallStatus::Failed,
                _ => plan.status,
            },
            talk_ms: ended.view.duration_ms,
            ..plan.clone()
        })
    }

    /// An inbound call: Voicebot, Passthru, and where that leads on, Connect and Passthru.
    pub(crate) async fn live_with_bot(&self, flow: &Flow, applet: &Applet) -> Option<()> {
        self.update(|call| call.legs[0].status = Some(CallStatus::InProgress))?;
        let ended = self.stream(applet, Some(flow)).await?;
        let picked = self.pass_through_streamed(flow, applet, &ended).await?;
        let goes_on = matches!(picked, None | Some(Branch::A)) && !ended.hung_up();
        if applet.connects && goes_on {
            return self.connect(flow, ended.view.duration_ms).await;
        }
        let mut call = self.call()?;
        let halted = picked == Some(Branch::Halted) && !ended.hung_up();
        call.plan = Arc::new(CallPlan {
            status: if halted {
                CallStatus::Failed
            } else {
                CallStatus::Completed
            },
            leg2: None,
            talk_ms: ended.view.duration_ms,
            voicemail: false,
            ..(*call.plan).clone()
        });
        self.end(&call, ended.view.duration_ms)?;
        self.core.pass(call.plan.settle_ms).await;
        self.update(|call| call.settled = true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_applet_is_a_url_or_more() {
        let read = |text: &str| serde_json::from_str::<Voicebot>(text);
        assert_eq!(
            read(r#""wss://bot.example.in""#).unwrap(),
            Voicebot::at("wss://bot.example.in")
        );
        let whole = read(
            r#"{"url": "https://b.example.in", "flow_id": "7", "ask": "post", "stream": {"frame_ms": 200}}"#,
        );
        let whole = whole.unwrap();
        assert_eq!((whole.ask, whole.flow_id.as_deref()), (Ask::Post, Some("7")));
        assert_eq!(whole.stream.unwrap().frame_ms, 200);
        let wrong = read(r#"{"url": "https://b.example.in", "flow": "7"}"#).unwrap_err();
        assert!(wrong.to_string().contains("flow"), "{wrong}");
        assert!(
            Voicebot::at("ftp://b.example.in")
                .check()
                .unwrap_err()
                .contains("wss://")
        );
        assert!(Voicebot::at("bot").check().is_err());
    }
}
