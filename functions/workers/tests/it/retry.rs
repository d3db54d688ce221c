//! retry-outbound: batches of the queue `outbound`, against the Exotel simulator.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    call::{Call, CallOrigin, CallProgress, CallState, ExotelCall},
    ids::CallLocator,
};
use dynamo::TABLE_NAME;
use exotel_simulator::{ApiFault, Script, Simulator};
use jiff::{SignedDuration, Timestamp};
use lambda_kit::{config::Settings, init::Boot, records::SqsEvent};
use serde_json::{Value, json};
use services::outbound::{OutboundQueue, clock};
use workers::outbound::Dispatcher;

use crate::{given::World, retry_outbound};

/// A clock that moves when somebody waits.
struct Hands(Mutex<Timestamp>);

impl clock::World for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        *self.0.lock().unwrap() += duration;
        Box::pin(std::future::ready(()))
    }

    fn random(&self) -> u128 {
        500
    }
}

struct Stage {
    world: World,
    exotel: exotel_simulator::Handle,
    dispatcher: Dispatcher,
    call: CallLocator,
}

/// An ExoPhone that somebody asked for, not the account's caller id.
const OTHER_EXOPHONE: &str = "+918045550101";

fn event() -> Value {
    serde_json::from_str(include_str!("../../../../events/retry-outbound.place-call.json")).unwrap()
}

impl Stage {
    /// The call that the example event names, waiting, a second after it was wanted.
    async fn new() -> Self {
        Self::of(false, &[]).await
    }

    /// The same, of a bot's call if it is one, with these settings besides.
    async fn of(to_bot: bool, more: &[(&'static str, &str)]) -> Self {
        let world = World::new().await;
        let exotel = Simulator::start(Default::default()).await.unwrap();
        let mut all = vec![
            ("AWS_ENDPOINT_URL", world.dynamo.endpoint_url().to_owned()),
            ("EXOTEL_SUBDOMAIN", exotel.url().to_owned()),
        ];
        for (name, value) in [
            ("AWS_REGION", "ap-south-1"),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("TABLE_NAME", TABLE_NAME),
            ("SIGNING_KEY", "a secret of thirty-two characters"),
            ("WEBHOOK_BASE_URL", "http://127.0.0.1:9"),
            ("EXOTEL_SID", "acme1"),
            ("EXOTEL_API_KEY", "simkey"),
            ("EXOTEL_API_TOKEN", "simtoken"),
            ("EXOTEL_CALLER_ID", "08045550100"),
        ] {
            all.push((name, value.to_owned()));
        }
        all.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let settings = Settings::new(move |name| {
            all.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.clone())
        });
        let body: Value = serde_json::from_str(event()["Records"][0]["body"].as_str().unwrap()).unwrap();
        let call: CallLocator = body["call"].as_str().unwrap().parse().unwrap();
        let now = call.id.created_at() + SignedDuration::from_secs(1);
        let boot = Boot::new(settings, now).await.unwrap();
        let dead_letters = Some(world.aws.queue_url());
        let queue = OutboundQueue::connect(&world.aws.settings(), world.aws.queue_url(), dead_letters);
        let dispatcher = Dispatcher::new(&boot, queue, Arc::new(Hands(Mutex::new(now)))).unwrap();
        let agent_phone = if to_bot { OTHER_EXOPHONE } else { "+919811100099" };
        let row = Call {
            locator: call.clone(),
            called_by: Some("sales-1".parse().unwrap()),
            called_at: call.id.created_at(),
            notes: None,
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone: agent_phone.parse().unwrap(),
                lead_phone: "+919811100002".parse().unwrap(),
                caller_id: "+918045550100".parse().unwrap(),
                to_bot,
                attempt: 0,
                reason: None,
                progress: CallProgress::new(CallState::Waiting),
            })),
        };
        world.table.create_call(&row).await.unwrap();
        Self {
            world,
            exotel,
            dispatcher,
            call,
        }
    }

    /// The ids of the messages that stay in the queue.
    async fn handle(&self, event: &Value) -> Value {
        let event: SqsEvent = serde_json::from_value(event.clone()).unwrap();
        let response = retry_outbound::handle(&self.dispatcher, event).await;
        serde_json::to_value(response).unwrap()["batchItemFailures"].take()
    }

    async fn state(&self) -> CallState {
        let call = self.world.table.call(&self.call).await.unwrap().unwrap();
        call.exotel().unwrap().progress.state
    }

    fn posts(&self) -> usize {
        self.exotel
            .requests()
            .iter()
            .filter(|request| request.method == "POST")
            .count()
    }
}

#[tokio::test]
async fn a_queued_call_is_placed_and_a_second_delivery_rings_nobody() {
    let stage = Stage::new().await;
    assert_eq!(stage.handle(&event()).await, json!([]));
    assert_eq!(stage.state().await, CallState::Accepted);
    assert_eq!(stage.handle(&event()).await, json!([]));
    assert_eq!(stage.posts(), 1);
    assert!(stage.world.aws.messages().is_empty());
}

#[tokio::test]
async fn a_refused_call_goes_back_with_its_number_of_refusals() {
    let stage = Stage::new().await;
    stage.exotel.script(Script {
        api: Some(ApiFault::Unavailable),
        ..Script::default()
    });
    assert_eq!(stage.handle(&event()).await, json!([]));
    assert_eq!(stage.state().await, CallState::Waiting);
    let body = json!({"type": "place_call.v1", "call": stage.call.to_string(), "attempt": 2, "refusals": 1});
    assert_eq!(stage.world.aws.messages(), [json!({"body": body, "delay": 4})]);
}

#[tokio::test]
async fn what_cannot_be_read_goes_whole_to_the_dead_letter_queue() {
    let stage = Stage::new().await;
    let mut event = event();
    let unknown = json!({"type": "place_call.v9", "call": "x"});
    let record = json!({"messageId": "unknown", "body": unknown.to_string()});
    event["Records"].as_array_mut().unwrap().push(record);
    assert_eq!(stage.handle(&event).await, json!([]));
    assert_eq!(
        stage.world.aws.messages(),
        [json!({"body": unknown, "delay": null})]
    );
    assert_eq!(
        stage.state().await,
        CallState::Accepted,
        "the other message was done"
    );
}

#[tokio::test]
async fn a_message_stays_in_the_queue_when_its_next_one_cannot_be_sent() {
    let stage = Stage::new().await;
    stage.exotel.script(Script {
        api: Some(ApiFault::Unavailable),
        ..Script::default()
    });
    stage.world.aws.set_down(true);
    let id = &event()["Records"][0]["messageId"];
    assert_eq!(stage.handle(&event()).await, json!([{"itemIdentifier": id}]));
    // The same message again: its attempt was made, so nothing is sent to Exotel, but its next one is.
    stage.world.aws.set_down(false);
    assert_eq!(stage.handle(&event()).await, json!([]));
    assert_eq!(stage.posts(), 1);
    let body = json!({"type": "place_call.v1", "call": stage.call.to_string(), "attempt": 2, "refusals": 1});
    assert_eq!(stage.world.aws.messages(), [json!({"body": body, "delay": 4})]);
}

#[tokio::test]
async fn a_bots_call_is_placed_from_the_exophone_that_was_asked_for() {
    let stage = Stage::of(true, &[("EXOTEL_APP_ID", "926")]).await;
    assert_eq!(stage.handle(&event()).await, json!([]));
    assert_eq!(stage.state().await, CallState::Accepted);
    let post = stage
        .exotel
        .requests()
        .into_iter()
        .find(|request| request.method == "POST");
    let params = post.unwrap().params;
    for (name, value) in [
        ("From", "+919811100002"),
        ("CallerId", OTHER_EXOPHONE),
        ("Url", "https://my.exotel.com/acme1/exoml/start_voice/926"),
    ] {
        assert_eq!(params.get(name), Some(value), "{name}");
    }
    assert_eq!((params.get("To"), params.get("StreamUrl")), (None, None));
    let row = stage.world.table.call(&stage.call).await.unwrap().unwrap();
    assert_eq!(row.exotel().unwrap().caller_id, OTHER_EXOPHONE.parse().unwrap());
}

#[tokio::test]
async fn bots_that_cannot_be_read_hold_up_no_call_between_people() {
    let stage = Stage::of(false, &[("VOICEBOT_BOTS", "{")]).await;
    assert_eq!(stage.handle(&event()).await, json!([]));
    assert_eq!(stage.state().await, CallState::Accepted);
    let stage = Stage::of(true, &[("VOICEBOT_BOTS", "{")]).await;
    assert_eq!(stage.handle(&event()).await, json!([]));
    assert_eq!((stage.state().await, stage.posts()), (CallState::Refused, 0));
}

#[tokio::test]
async fn a_bots_call_that_nobody_told_of_is_found_in_exotels_list() {
    let stage = Stage::of(true, &[("EXOTEL_APP_ID", "926")]).await;
    stage.exotel.script(Script {
        api: Some(ApiFault::ResetAfterAccept),
        ..Script::default()
    });
    assert_eq!(stage.handle(&event()).await, json!([]));
    assert_eq!((stage.state().await, stage.posts()), (CallState::Unconfirmed, 1));
    let next = stage.world.aws.messages();
    assert_eq!(next[0]["body"]["type"], "resolve_call.v1", "{next:?}");
    assert_eq!(stage.handle(&event()).await, json!([]), "it is not placed again");
    assert_eq!(stage.posts(), 1);
}
