//! What is said.

use std::collections::BTreeMap;

use domain::{
    ids::CallSid,
    voicebot::{Input, Post, Rate, Step},
};
use exotel::stream::outgoing;
use table::streams::HeldSession;

use super::*;
use crate::{
    ServiceError,
    bots::{Answer, Bots, Said, Turn},
    clock::{SharedWorld, sleep_until},
};

/// Answers turns.
pub struct Mouth {
    table: Table,
    sockets: Sockets,
    sessions: Sessions,
    bots: Bots,
    world: SharedWorld,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Everything was said.
    Whole,
    /// The caller interrupted, went on, or hung up; or the socket is gone.
    Interrupted,
    /// Nobody asks this any more, or somebody else answers it.
    NotAsked,
}

/// What a loop of writes came to.
enum Moved<T> {
    /// It is written.
    Done(T),
    /// It is no longer wanted.
    Over,
}

impl Mouth {
    /// Over this table, these sockets and these bots.
    pub fn new(table: Table, sockets: Sockets, sessions: Sessions, bots: Bots, world: SharedWorld) -> Self {
        Self {
            table,
            sockets,
            sessions,
            bots,
            world,
        }
    }

    /// Takes a question, asks the bot, and plays its answer in real time. It returns when the last chunk is posted: the
    /// caller still hears it then.
    ///
    /// # Errors
    /// [`ServiceError::Table`]: the question stays open, and the session has it asked again.
    pub async fn answer(&self, question: &Question) -> Result<Answered, ServiceError> {
        let connection = &question.connection_id;
        let (context, held) = tokio::try_join!(
            self.table.stream_context(connection),
            self.table.stream(connection)
        )?;
        let (Some(context), Some(held)) = (context, held) else {
            return Ok(Answered::NotAsked);
        };
        let taken = self
            .moves(connection, held, |held, now| {
                held.session.begin_answer(question.turn, now)
            })
            .await?;
        let Moved::Done((held, (epoch, input))) = taken else {
            return Ok(Answered::NotAsked);
        };
        let (Some(rate), Some(stream_sid)) = (held.session.rate(), held.session.stream_sid()) else {
            return Ok(Answered::NotAsked);
        };
        let said = self.said(connection, input, rate).await?;
        let call = context.call.as_ref();
        let no_parameters = BTreeMap::new();
        let turn = Turn {
            session: &context.voice_session,
            bot_id: &context.bot_id,
            stream_sid,
            call_sid: call.and_then(|call| call.call_sid.as_ref().map(CallSid::as_str)),
            from: call.and_then(|call| call.from.as_deref()),
            to: call.and_then(|call| call.to.as_deref()),
            custom_parameters: call.map_or(&no_parameters, |call| &call.custom_parameters),
            turn: question.turn,
            rate,
            said: &said,
        };
        let asked_at = self.world.now();
        let answer = self.bots.answer(&turn, held.state.as_deref(), asked_at).await;
        // The caller waits for the first chunk, and nobody for the transcript.
        let ((), spoken) = tokio::join!(
            self.write_down(&turn, &answer, self.world.now()),
            self.speak(connection, stream_sid, rate, epoch, &answer),
        );
        spoken
    }

    /// Adds a turn to the session's transcript, if there is anything to add. A call goes on without it.
    async fn write_down(&self, turn: &Turn<'_>, answer: &Answer, at: Timestamp) {
        let heard = match turn.said {
            Said::Digits(digits) => Some(digits.as_str()),
            _ => answer.heard.as_deref(),
        };
        let excuse = answer
            .fallback
            .as_ref()
            .map(|problem| format!("[the bot did not answer: {problem}]"));
        let said = answer.said.as_deref().or(excuse.as_deref());
        if heard.is_none() && said.is_none() {
            return;
        }
        if let Err(error) = self.sessions.said(turn.session, turn.turn, heard, said, at).await {
            tracing::warn!(
                voice_session.id = %turn.session,
                turn = turn.turn,
                "the transcript has no line of this turn: {error}"
            );
        }
    }

    /// What the caller did, with the audio of what they said.
    async fn said(&self, connection: &ConnectionId, input: Input, rate: Rate) -> Result<Said, TableError> {
        Ok(match input {
            Input::Start => Said::Start,
            Input::Digits(digits) => Said::Digits(digits),
            Input::Silence(times) => Said::Silence(times),
            Input::Speech(heard) => {
                let at_least = usize::try_from(heard.frames).unwrap_or(usize::MAX);
                let kept = self
                    .table
                    .frames(connection, heard.first..=heard.last, at_least)
                    .await?;
                let frames: Vec<_> = kept
                    .into_iter()
                    .map(|(number, audio)| (number, audio::mulaw::expand(&audio)))
                    .collect();
                Said::Speech(heard.lay_out(&frames, rate))
            }
        })
    }

    /// Plays an answer, unless the caller interrupts.
    async fn speak(
        &self,
        connection: &ConnectionId,
        stream_sid: &str,
        rate: Rate,
        epoch: u32,
        answer: &Answer,
    ) -> Result<Answered, ServiceError> {
        let chunks = audio::chunks(&answer.audio);
        let last = chunks.len().saturating_sub(1);
        let Some(mut held) = self.table.stream(connection).await? else {
            return Ok(Answered::Interrupted);
        };
        let mut index = 0;
        loop {
            let chunk = chunks.get(index);
            let moved = self
                .moves(connection, held, |held, now| {
                    if index == 0 {
                        if !held.session.answer(epoch, answer.then.clone(), now) {
                            return None;
                        }
                        held.state = Some(answer.state.clone());
                    }
                    let mut posting = Posting::default();
                    if let Some(chunk) = chunk {
                        let ms = u32::try_from(rate.ms_of_bytes(chunk.len())).unwrap_or(u32::MAX);
                        let index = u32::try_from(index).unwrap_or(u32::MAX);
                        match held.session.post_chunk(epoch, index, ms, now) {
                            Post::Now { next_at } => posting.next_at = Some(next_at),
                            Post::NotBefore(time) => {
                                posting.wait_until = Some(time);
                                return Some(posting);
                            }
                            Post::Never => return None,
                        }
                    }
                    if index == last {
                        if chunk.is_some() {
                            posting.mark = Some(held.session.mark(epoch)?);
                        }
                        posting.finished = Some(held.session.finish_answer(epoch, now));
                    }
                    Some(posting)
                })
                .await?;
            let Moved::Done((after, posting)) = moved else {
                return Ok(Answered::Interrupted);
            };
            held = after;
            if let Some(time) = posting.wait_until {
                sleep_until(&*self.world, time).await;
                continue;
            }
            if let Some(chunk) = chunk {
                let media = outgoing::media(stream_sid, chunk).expect("the crate audio cuts legal chunks");
                if !self.post(connection, media).await {
                    return Ok(Answered::Interrupted);
                }
            }
            if let Some(mark) = &posting.mark {
                let mark = outgoing::mark(stream_sid, mark);
                if !self.post(connection, mark).await {
                    return Ok(Answered::Interrupted);
                }
            }
            if let Some(step) = posting.finished {
                self.finish(connection, &held, &step).await;
            }
            if chunk.is_some() {
                // Who interrupted between the write and the post has cleared too early.
                let Some(now_held) = self.table.stream(connection).await? else {
                    return Ok(Answered::Interrupted);
                };
                held = now_held;
                if held.session.clears_again(epoch, self.world.now()) {
                    self.post(connection, outgoing::clear(stream_sid)).await;
                    return Ok(Answered::Interrupted);
                }
            }
            if index == last {
                return Ok(Answered::Whole);
            }
            index += 1;
            if let Some(next_at) = posting.next_at {
                sleep_until(&*self.world, next_at).await;
            }
        }
    }

    /// The answer was the call's last, and there is nothing to be heard of it.
    async fn finish(&self, connection: &ConnectionId, held: &HeldSession, step: &Step) {
        // Before the socket is closed: then the flow goes on, and a Passthru may ask what came of the bot.
        if step.ended.is_some()
            && let Err(error) = tell_end(&self.table, &self.sessions, connection, &held.session).await
        {
            // The end of the socket tells it again.
            tracing::warn!(connection.id = %connection, "a call's record does not say yet how it ended: {error}");
        }
        if step.hang_up
            && let Err(error) = self.sockets.close(connection).await
        {
            tracing::warn!(connection.id = %connection, "the socket stays open for now: {error}");
        }
    }

    /// Whether a message was passed on, as far as we know. What fails is logged; a closed socket is the caller's right.
    async fn post(&self, connection: &ConnectionId, text: String) -> bool {
        match self.sockets.post(connection, text).await {
            Ok(()) => true,
            Err(SocketError::Gone) => false,
            Err(error) => {
                tracing::warn!(connection.id = %connection, "a part of an answer may not be heard: {error}");
                true
            }
        }
    }

    /// Moves a session and writes it; who is overtaken moves the newer one.
    async fn moves<T>(
        &self,
        connection: &ConnectionId,
        held: HeldSession,
        mut change: impl FnMut(&mut HeldSession, Timestamp) -> Option<T>,
    ) -> Result<Moved<(HeldSession, T)>, TableError> {
        let mut held = held;
        for _ in 0..TRIES {
            let before = held.session.clone();
            let Some(made) = change(&mut held, self.world.now()) else {
                return Ok(Moved::Over);
            };
            if held.session == before {
                return Ok(Moved::Done((held, made)));
            }
            match self.table.write_stream(connection, &mut held).await? {
                Ok(()) => return Ok(Moved::Done((held, made))),
                Err(Some(newer)) => held = newer,
                Err(None) => return Ok(Moved::Over),
            }
        }
        Err(TableError::Unavailable { source: None })
    }
}

/// What a write allows.
#[derive(Default)]
struct Posting {
    /// Nothing before this time.
    wait_until: Option<Timestamp>,
    /// The chunk, and the next one then.
    next_at: Option<Timestamp>,
    /// This mark after it.
    mark: Option<String>,
    /// Everything is said.
    finished: Option<Step>,
}
