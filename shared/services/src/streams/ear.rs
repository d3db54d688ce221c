//! What is heard.

use std::{collections::BTreeMap, time::Duration};

use domain::voicebot::{Event, Message, Rate, Rules, Step, StopReason, StreamCall};
use exotel::stream::{Incoming, Start, outgoing};
use table::streams::HeldSession;

use super::*;
use crate::{ServiceError, voicebot::sessions::StreamStart};

/// How long a message may take to be taken in, and then to be obeyed. Together it is less than the Timeout of the function,
/// so that what is lost is counted, and the bot asked whatever hangs.
const TAKING: Duration = Duration::from_secs(5);
const OBEYING: Duration = Duration::from_secs(3);
/// And to be counted, when nothing was to be made of it.
const COUNTING: Duration = Duration::from_secs(1);
/// How much of OBEYING what a `start` tells may take to be noted.
const NOTING: Duration = Duration::from_secs(2);

const TOO_SLOW: &str = "the table takes too long";

/// Takes Exotel's messages in. Each call reads the session, steps it, writes it if it changed, and does what the step
/// says, but for asking the bot: that is the caller's.
#[derive(Debug, Clone)]
pub struct Ear {
    table: Table,
    sockets: Sockets,
    sessions: Sessions,
    rules: Rules,
}

/// What is to be done to a session.
enum Change<'a> {
    Message(Message<'a>),
    /// What came cannot be read, but tells the time.
    Tick,
}

/// What a message came to, before anything is done about it.
enum Taken {
    /// The session was stepped and written.
    Stepped(Box<Stepped>),
    /// Nothing is to be done, and why, unless that is as it should be.
    Ignored(Option<Ignored>),
    /// Its socket is to be closed.
    Refused(Ignored),
}

struct Stepped {
    session: HeldSession,
    step: Step,
    /// Whether the frame was kept.
    keeping: Result<(), TableError>,
    /// Why nothing came of the message, if the step does not say.
    otherwise: Option<Ignored>,
}

impl Ear {
    /// Over this table and these sockets.
    pub fn new(table: Table, sockets: Sockets, sessions: Sessions, rules: Rules) -> Self {
        Self {
            table,
            sockets,
            sessions,
            rules,
        }
    }

    /// Takes a message in; `text` is `None` for a binary frame. A post, a count or a record that fails is logged: the
    /// message was heard.
    ///
    /// # Errors
    /// [`ServiceError::Table`]: then the message, or its sound, counts as lost, as some do anyway.
    pub async fn hear(
        &self,
        connection: &ConnectionId,
        text: Option<&str>,
        now: Timestamp,
    ) -> Result<Hearing, ServiceError> {
        let message = text.and_then(|text| exotel::stream::Message::parse(text).ok());
        self.hear_message(connection, message.as_ref(), now).await
    }

    /// Takes a frame in as it stands in API Gateway's event, a JSON string's inside that is still escaped. `None` for
    /// what is not a frame as Exotel usually writes it: then it is unescaped, and goes to [`Ear::hear`].
    ///
    /// # Errors
    /// As [`Ear::hear`].
    pub async fn hear_frame(
        &self,
        connection: &ConnectionId,
        escaped: &[u8],
        now: Timestamp,
    ) -> Option<Result<Hearing, ServiceError>> {
        let message = exotel::stream::Message::skim(escaped)?;
        Some(self.hear_message(connection, Some(&message), now).await)
    }

    async fn hear_message(
        &self,
        connection: &ConnectionId,
        message: Option<&exotel::stream::Message<'_>>,
        now: Timestamp,
    ) -> Result<Hearing, ServiceError> {
        let hearing = match in_time(self.take(connection, message, now)).await? {
            Taken::Stepped(stepped) => self.follow(connection, *stepped).await?,
            Taken::Ignored(ignored) => Hearing { ask: None, ignored },
            Taken::Refused(ignored) => {
                // Nothing that comes over it will ever mean anything.
                self.close(connection).await;
                Hearing {
                    ask: None,
                    ignored: Some(ignored),
                }
            }
        };
        if hearing
            .ignored
            .is_some_and(|ignored| ignored != Ignored::Stranger)
        {
            let counted = tokio::time::timeout(COUNTING, self.table.count_ignored(connection)).await;
            let problem = match counted {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(TOO_SLOW.to_owned()),
            };
            if let Some(problem) = problem {
                tracing::warn!(connection.id = %connection, "a message that was ignored is not counted: {problem}");
            }
        }
        Ok(hearing)
    }

    async fn take(
        &self,
        connection: &ConnectionId,
        message: Option<&exotel::stream::Message<'_>>,
        now: Timestamp,
    ) -> Result<Taken, ServiceError> {
        let nothing = async || {
            self.change(connection, &Change::Tick, Some(Ignored::Malformed), now)
                .await
        };
        let Some(message) = message else {
            return nothing().await;
        };
        let pcm;
        let event = match &message.incoming {
            Incoming::Connected => return Ok(Taken::Ignored(None)),
            Incoming::Start(start) => match self.begin(connection, start, now).await? {
                Ok(rate) => Event::Start(rate),
                Err(ignored @ Ignored::Dropped(_)) => return Ok(Taken::Ignored(Some(ignored))),
                Err(ignored) => return Ok(Taken::Refused(ignored)),
            },
            Incoming::Media(media) => {
                let Some(decoded) = media.pcm() else {
                    return nothing().await;
                };
                pcm = decoded;
                Event::Media(&pcm)
            }
            Incoming::Dtmf(key) => {
                let mut characters = key.digit.chars();
                match (characters.next(), characters.next()) {
                    (Some(digit), None) => Event::Dtmf(digit),
                    _ => return nothing().await,
                }
            }
            Incoming::Mark(mark) => Event::Mark(&mark.name),
            Incoming::Stop(stop) => Event::Stop(match stop.reason {
                Some(exotel::StopReason::CallEnded) => StopReason::CallEnded,
                _ => StopReason::Stopped,
            }),
            _ => Event::Unknown,
        };
        // An end is an end, whatever its number.
        let number = match (message.sequence_number, &event) {
            (Some(number), _) => number,
            (None, Event::Stop(_)) => 0,
            (None, Event::Unknown) => return Ok(Taken::Ignored(Some(Ignored::Unknown))),
            (None, _) => return nothing().await,
        };
        let message = Message {
            stream_sid: message.stream_sid.as_deref(),
            sequence_number: number,
            event,
        };
        let otherwise = matches!(event, Event::Unknown).then_some(Ignored::Unknown);
        self.change(connection, &Change::Message(message), otherwise, now)
            .await
    }

    /// The call that a stream belongs to becomes known, if this is the socket that may begin it.
    async fn begin(
        &self,
        connection: &ConnectionId,
        start: &Start<'_>,
        now: Timestamp,
    ) -> Result<Result<Rate, Ignored>, ServiceError> {
        let Some(context) = self.table.stream_context(connection).await? else {
            return Ok(Err(Ignored::Stranger));
        };
        if context.call.is_some() {
            // Whatever a second one says, the call has begun as the first one said.
            return Ok(Err(Ignored::Dropped(Dropped::Duplicate)));
        }
        let rate = match start.media_format.sample_rate {
            // The rate that Exotel takes when none was asked for.
            None => Rate::Hz8000,
            Some(hz) => match Rate::from_hz(hz) {
                Some(rate) => rate,
                None => return Ok(Err(Ignored::UnknownRate)),
            },
        };
        let session = &context.voice_session;
        if !self.table.begin_stream(session, connection).await? {
            return Ok(Err(Ignored::Stranger));
        }
        let call = call(start);
        let started = StreamStart {
            stream_sid: start.stream_sid.as_deref().unwrap_or_default(),
            rate,
            call_sid: start.call_sid.as_deref(),
            from: start.from.as_deref(),
            to: start.to.as_deref(),
        };
        // It comes once: a call whose bot or record knows less of it goes on.
        let noting = async {
            tokio::join!(
                self.table.name_stream_call(connection, &call),
                self.sessions.started(session, &started, now),
            )
        };
        let problem = match tokio::time::timeout(NOTING, noting).await {
            Ok((Ok(()), Ok(_))) => None,
            Ok((Err(error), _) | (_, Err(error))) => Some(error.to_string()),
            Err(_) => Some(TOO_SLOW.to_owned()),
        };
        if let Some(problem) = problem {
            tracing::warn!(
                voice_session.id = %session,
                "the bot or the call's record does not know that the call began: {problem}"
            );
        }
        Ok(Ok(rate))
    }

    /// Steps a session and writes it. What was written is to be obeyed, also when the frame is lost. What the step does not
    /// drop is ignored for `otherwise`.
    async fn change(
        &self,
        connection: &ConnectionId,
        change: &Change<'_>,
        otherwise: Option<Ignored>,
        now: Timestamp,
    ) -> Result<Taken, ServiceError> {
        let mut held = self.table.stream(connection).await?;
        let mut kept = false;
        for _ in 0..TRIES {
            let Some(mut session) = held else {
                return Ok(Taken::Refused(Ignored::Stranger));
            };
            let step = match change {
                Change::Message(message) => session.session.step(&self.rules, message, now),
                Change::Tick => session.session.tick(&self.rules, now),
            };
            let keeps = step.keep && !kept;
            let keeping = async move {
                match change {
                    Change::Message(Message {
                        event: Event::Media(pcm),
                        sequence_number,
                        ..
                    }) if keeps => {
                        let audio = audio::mulaw::compress(pcm);
                        self.table
                            .keep_frame(connection, *sequence_number, audio, now)
                            .await
                    }
                    _ => Ok(()),
                }
            };
            let (written, keeping) = if step.ask.is_some() {
                // Whoever answers reads the frames at once.
                keeping.await?;
                (self.table.write_stream(connection, &mut session).await?, Ok(()))
            } else if step.write {
                // Neither is left in the middle.
                let (written, keeping) =
                    tokio::join!(self.table.write_stream(connection, &mut session), keeping);
                (written?, keeping)
            } else {
                (Ok(()), Ok(()))
            };
            kept |= step.keep && keeping.is_ok();
            match written {
                Ok(()) => {
                    return Ok(Taken::Stepped(Box::new(Stepped {
                        session,
                        step,
                        keeping,
                        otherwise,
                    })));
                }
                Err(newer) => held = newer,
            }
        }
        Err(TableError::Unavailable { source: None }.into())
    }

    /// Has what a step says done, as far as there is time for it. Whatever hangs, the bot is asked.
    async fn follow(&self, connection: &ConnectionId, stepped: Stepped) -> Result<Hearing, ServiceError> {
        let Stepped {
            session,
            step,
            keeping,
            otherwise,
        } = stepped;
        let obeyed = tokio::time::timeout(OBEYING, self.obey(connection, &session, &step)).await;
        if obeyed.is_err() {
            tracing::warn!(connection.id = %connection, "not all that a message asked for is done: it takes too long");
        }
        keeping?;
        Ok(Hearing {
            ask: step.ask.map(|ask| Question::new(connection, &ask)),
            ignored: step.dropped.map(Ignored::Dropped).or(otherwise),
        })
    }

    /// Does what a step says that is written, but for asking the bot. Nothing of it keeps the rest from being done.
    async fn obey(&self, connection: &ConnectionId, held: &HeldSession, step: &Step) {
        if step.clear
            && let Some(stream_sid) = held.session.stream_sid()
            && let Err(error) = self.sockets.post(connection, outgoing::clear(stream_sid)).await
        {
            tracing::warn!(connection.id = %connection, "the caller hears the old answer to its end: {error}");
        }
        // Before the socket is closed: then the flow goes on, and a Passthru may ask what came of the bot.
        if step.ended.is_some()
            && let Err(error) = tell_end(&self.table, &self.sessions, connection, &held.session).await
        {
            // The end of the socket tells it again.
            tracing::warn!(connection.id = %connection, "a call's record does not say yet how it ended: {error}");
        }
        if step.hang_up {
            self.close(connection).await;
        }
    }

    /// Closes a socket, if that can be done; the next message of it closes it again.
    async fn close(&self, connection: &ConnectionId) {
        if let Err(error) = self.sockets.close(connection).await {
            tracing::warn!(connection.id = %connection, "the socket stays open for now: {error}");
        }
    }
}

/// What comes of a message within its time.
///
/// # Errors
/// [`ServiceError::Table`] behind it: only the table is waited for.
async fn in_time(taking: impl Future<Output = Result<Taken, ServiceError>>) -> Result<Taken, ServiceError> {
    match tokio::time::timeout(TAKING, taking).await {
        Ok(taken) => taken,
        Err(_) => Err(TableError::Unavailable { source: None }.into()),
    }
}

/// What `start` says of the call; what let the socket in stays out of it.
fn call(start: &Start<'_>) -> StreamCall {
    let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
    let told = |name: &str| !matches!(name, "token" | "sample-rate" | "call_id");
    let custom_parameters: BTreeMap<_, _> = start
        .custom_parameters
        .iter()
        .filter(|(name, _)| told(name))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    StreamCall {
        call_sid: start.call_sid.as_deref().and_then(|sid| sid.parse().ok()),
        from: text(&start.from),
        to: text(&start.to),
        custom_parameters,
    }
}
