//! The record loops of SQS and DynamoDB stream functions. They decode, call the handler record by record and say
//! which records failed; what is sent anywhere is sent by the caller.

#[cfg(feature = "sqs")]
pub use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
#[cfg(feature = "streams")]
pub use aws_lambda_events::{
    dynamodb::{Event as StreamEvent, EventRecord as StreamRecord},
    streams::DynamoDbEventResponse as StreamResponse,
};

#[cfg(feature = "sqs")]
pub use self::sqs::{Outcome, Resend, each_record};
#[cfg(feature = "streams")]
pub use self::streams::each_change;

#[cfg(feature = "sqs")]
mod sqs {
    use std::{fmt::Display, time::Duration};

    use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
    use serde::{Serialize, de::DeserializeOwned};

    /// What becomes of a message after the handler has had it.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Outcome<T> {
        /// It is done and leaves the queue.
        Done,
        /// The queue gives it again after its visibility timeout, and counts that as a receipt; for failures of ours.
        Retry(String),
        /// It goes back as this message after a delay, uncounted: the next attempt's number travels in the message.
        RetryAfter {
            /// The message as it is to come back.
            message: T,
            /// How long it waits; SQS takes whole seconds up to 900, so it is rounded up and capped.
            delay: Duration,
        },
        /// It goes to the dead-letter queue, whole, for this reason.
        DeadLetter(String),
    }

    /// A message that the caller is asked to send.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Resend<'a> {
        /// To the queue it came from.
        Again {
            /// The message's JSON.
            body: String,
            /// `DelaySeconds`, 0 to 900.
            delay_secs: u16,
        },
        /// To the queue's dead-letter queue.
        DeadLetter {
            /// The body as it came, readable or not.
            body: &'a str,
            /// Why, without numbers or secrets; for an attribute of the message.
            reason: &'a str,
        },
    }

    /// SQS delays a message by at most this.
    const DELAY_SECS_MOST: u64 = 900;

    /// Handles a batch message by message, and answers with the ids of those that the queue shall give again. A body
    /// that is no `T` goes to the dead-letter queue without the handler. When `send` fails, the message stays in
    /// the queue: it may come twice and is never lost.
    pub async fn each_record<T, E>(
        event: SqsEvent,
        handle: impl AsyncFn(T) -> Outcome<T>,
        send: impl AsyncFn(Resend<'_>) -> Result<(), E>,
    ) -> SqsBatchResponse
    where
        T: Serialize + DeserializeOwned,
        E: Display,
    {
        let mut response = SqsBatchResponse::default();
        for record in event.records {
            let id = record.message_id.unwrap_or_default();
            let body = record.body.unwrap_or_default();
            let outcome = match serde_json::from_str(&body) {
                Ok(message) => handle(message).await,
                // serde_json's own message may quote the body.
                Err(_) => Outcome::DeadLetter("it cannot be read as a message of this queue".to_owned()),
            };
            let sent = match outcome {
                Outcome::Done => continue,
                Outcome::Retry(reason) => {
                    tracing::warn!(message.id = %id, "left in the queue: {reason}");
                    response.add_failure(id);
                    continue;
                }
                Outcome::RetryAfter { message, delay } => {
                    let delay_secs = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
                    let delay_secs = delay_secs.min(DELAY_SECS_MOST).try_into().expect("900 fits");
                    let body =
                        serde_json::to_string(&message).expect("a message that was read can be written");
                    send(Resend::Again { body, delay_secs }).await
                }
                Outcome::DeadLetter(reason) => {
                    tracing::error!(message.id = %id, "to the dead-letter queue: {reason}");
                    send(Resend::DeadLetter {
                        body: &body,
                        reason: &reason,
                    })
                    .await
                }
            };
            if let Err(err) = sent {
                tracing::error!(message.id = %id, "left in the queue, sending it on failed: {err}");
                response.add_failure(id);
            }
        }
        response
    }

    #[cfg(test)]
    mod tests {
        use std::{cell::RefCell, pin::pin, task};

        use proptest::prelude::*;
        use serde_json::json;

        use super::*;

        fn event(bodies: &[&str]) -> SqsEvent {
            let records: Vec<_> = bodies
                .iter()
                .enumerate()
                .map(|(at, body)| json!({"messageId": format!("m{at}"), "body": body}))
                .collect();
            serde_json::from_value(json!({ "Records": records })).unwrap()
        }

        fn outcome(message: &str) -> Outcome<String> {
            match message {
                "done" => Outcome::Done,
                "again" => Outcome::RetryAfter {
                    message: "again 2".to_owned(),
                    delay: Duration::from_millis(1200),
                },
                "much later" => Outcome::RetryAfter {
                    message: "x".to_owned(),
                    delay: Duration::from_secs(5000),
                },
                "dead" => Outcome::DeadLetter("gave up".to_owned()),
                _ => Outcome::Retry("table down".to_owned()),
            }
        }

        /// The failed ids and what was sent, with a `send` that fails or not.
        fn handle(bodies: &[&str], sends: bool) -> (Vec<String>, Vec<String>) {
            let sent = RefCell::new(Vec::new());
            let response = ready(each_record(
                event(bodies),
                async |message: String| outcome(&message),
                async |resend| {
                    sent.borrow_mut().push(format!("{resend:?}"));
                    if sends { Ok(()) } else { Err("queue down") }
                },
            ));
            (
                response
                    .batch_item_failures
                    .into_iter()
                    .map(|item| item.item_identifier)
                    .collect(),
                sent.into_inner(),
            )
        }

        /// Nothing in these futures waits.
        fn ready<T>(future: impl Future<Output = T>) -> T {
            match pin!(future).poll(&mut task::Context::from_waker(task::Waker::noop())) {
                task::Poll::Ready(value) => value,
                task::Poll::Pending => panic!("waited"),
            }
        }

        #[test]
        fn only_the_message_that_failed_returns_to_the_queue() {
            let (failed, sent) = handle(&["\"done\"", "\"retry\"", "\"done\""], true);
            assert_eq!((failed, sent), (vec!["m1".to_owned()], vec![]));
        }

        #[test]
        fn a_message_goes_back_with_the_delay_asked_for_in_whole_seconds_up_to_900() {
            let (failed, sent) = handle(&["\"again\"", "\"much later\""], true);
            assert!(failed.is_empty());
            assert_eq!(
                sent,
                [
                    r#"Again { body: "\"again 2\"", delay_secs: 2 }"#,
                    r#"Again { body: "\"x\"", delay_secs: 900 }"#
                ]
            );
        }

        #[test]
        fn what_cannot_be_read_goes_whole_to_the_dead_letter_queue() {
            let (failed, sent) = handle(&["{\"phone\":", "\"dead\""], true);
            assert!(failed.is_empty());
            assert_eq!(
                sent,
                [
                    r#"DeadLetter { body: "{\"phone\":", reason: "it cannot be read as a message of this queue" }"#,
                    r#"DeadLetter { body: "\"dead\"", reason: "gave up" }"#
                ]
            );
        }

        #[test]
        fn what_cannot_be_sent_on_stays_in_the_queue() {
            let (failed, sent) = handle(&["\"again\"", "no json", "\"done\""], false);
            assert_eq!((failed, sent.len()), (vec!["m0".to_owned(), "m1".to_owned()], 2));
        }

        proptest! {
            #[test]
            fn every_message_is_done_sent_on_or_left_in_the_queue(bodies in prop::collection::vec("\\PC{0,20}|\"(done|again|dead|retry)\"", 0..10), sends: bool) {
                let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
                let (failed, sent) = handle(&bodies, sends);
                let done = bodies.iter().filter(|body| **body == "\"done\"").count();
                let retried = bodies.iter().filter(|body| serde_json::from_str(body).is_ok_and(|m: String| matches!(outcome(&m), Outcome::Retry(_)))).count();
                prop_assert_eq!(done + retried + sent.len(), bodies.len());
                prop_assert_eq!(failed.len(), if sends { retried } else { retried + sent.len() });
            }
        }
    }
}

#[cfg(feature = "streams")]
mod streams {
    use std::fmt::Display;

    use aws_lambda_events::{
        dynamodb::{Event, EventRecord},
        streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse},
    };

    /// Handles a stream batch change by change, in order, and stops at the first that fails: Lambda goes on from its
    /// sequence number, so no change is skipped and those before it may come again.
    pub async fn each_change<E: Display>(
        event: Event,
        handle: impl AsyncFn(&EventRecord) -> Result<(), E>,
    ) -> DynamoDbEventResponse {
        let mut response = DynamoDbEventResponse::default();
        for record in &event.records {
            if let Err(err) = handle(record).await {
                let number = record.change.sequence_number.clone().unwrap_or_default();
                tracing::error!(
                    event.id = record.event_id,
                    "stopped at sequence number {number}: {err}"
                );
                // Without a number Lambda takes the whole batch as failed, which is what an empty one asks for.
                let mut failure = DynamoDbBatchItemFailure::default();
                failure.item_identifier = Some(number);
                response.batch_item_failures.push(failure);
                break;
            }
        }
        response
    }

    #[cfg(test)]
    mod tests {
        use std::{cell::RefCell, pin::pin, task};

        use serde_json::json;

        use super::*;

        fn event(numbers: &[&str]) -> Event {
            let records: Vec<_> = numbers
                .iter()
                .map(|number| {
                    json!({"eventID": format!("e{number}"), "eventName": "INSERT", "awsRegion": "ap-south-1",
                        "dynamodb": {"SequenceNumber": number, "Keys": {"PK": {"S": "LEAD#1"}}, "NewImage": {},
                            "SizeBytes": 1, "StreamViewType": "NEW_AND_OLD_IMAGES"}})
                })
                .collect();
            serde_json::from_value(json!({ "Records": records })).unwrap()
        }

        #[test]
        fn the_loop_stops_at_the_first_failure_and_names_it() {
            let seen = RefCell::new(Vec::new());
            let future = each_change(event(&["1", "2", "3"]), async |record| {
                let number = record.change.sequence_number.clone().unwrap();
                seen.borrow_mut().push(number.clone());
                if number == "2" { Err("table down") } else { Ok(()) }
            });
            let task::Poll::Ready(response) =
                pin!(future).poll(&mut task::Context::from_waker(task::Waker::noop()))
            else {
                panic!("waited")
            };
            assert_eq!(seen.into_inner(), ["1", "2"]);
            assert_eq!(
                serde_json::to_value(response).unwrap(),
                json!({"batchItemFailures": [{"itemIdentifier": "2"}]})
            );
        }
    }
}
