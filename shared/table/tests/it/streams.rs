use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeDeserializationInterceptorContextMut,
        retry::RetryConfig,
    },
    error::BoxError,
};
use domain::{
    ids::{ConnectionId, VoiceSessionId},
    voicebot::{Event, Message, Rate, Rules, Session, StreamCall, StreamContext},
};
use dynamo::Dynamo;
use table::{Table, streams::HeldSession};

use crate::given::{at, table};

/// As API Gateway makes them.
const SOCKET: &str = "L0SM9cOFvHcCIhw=";

fn socket() -> ConnectionId {
    SOCKET.parse().unwrap()
}

fn voice_session() -> VoiceSessionId {
    VoiceSessionId::new(at(0), 7)
}

fn context() -> StreamContext {
    StreamContext {
        voice_session: voice_session(),
        bot_id: "demo".to_owned(),
        call: None,
        ignored: 0,
    }
}

async fn opened() -> (Dynamo, Table) {
    let (dynamo, table) = table().await;
    let session = Session::new(at(0));
    table
        .open_stream(&socket(), &context(), &session, at(0))
        .await
        .unwrap();
    dynamo.meter().take();
    (dynamo, table)
}

fn start(held: &mut HeldSession) {
    let message = Message {
        stream_sid: Some("4e1c9a70d25b4f83a6c0e7d19b52193w"),
        sequence_number: 1,
        event: Event::Start(Rate::Hz8000),
    };
    assert!(held.session.step(&Rules::default(), &message, at(100)).write);
}

#[tokio::test]
async fn a_session_is_opened_read_and_written_for_a_unit_each() {
    let (dynamo, table) = opened().await;
    let mut held = table.stream(&socket()).await.unwrap().unwrap();
    assert_eq!((&held.session, &held.state), (&Session::new(at(0)), &None));
    let spent = dynamo.meter().take();
    assert_eq!((spent.read_units, spent.write_units), (1.0, 0.0));

    start(&mut held);
    held.state = Some("{\"node\":\"root\"}".to_owned());
    table.write_stream(&socket(), &mut held).await.unwrap().unwrap();
    // What was written can be written again: the holder keeps up with it.
    table.write_stream(&socket(), &mut held).await.unwrap().unwrap();
    let spent = dynamo.meter().take();
    assert_eq!((spent.read_units, spent.write_units), (0.0, 2.0));
    assert_eq!(table.stream(&socket()).await.unwrap().unwrap(), held);
}

#[tokio::test]
async fn who_writes_second_gets_what_stands_there_and_writes_nothing() {
    let (dynamo, table) = opened().await;
    let mut first = table.stream(&socket()).await.unwrap().unwrap();
    let mut second = first.clone();
    start(&mut first);
    table.write_stream(&socket(), &mut first).await.unwrap().unwrap();
    second.state = Some("late".to_owned());
    dynamo.meter().take();
    let mut newer = table
        .write_stream(&socket(), &mut second)
        .await
        .unwrap()
        .unwrap_err()
        .unwrap();
    assert_eq!(dynamo.meter().take().read_units, 0.0);
    assert_eq!(newer, first);
    newer.state = Some("in time".to_owned());
    table.write_stream(&socket(), &mut newer).await.unwrap().unwrap();
    assert_eq!(table.stream(&socket()).await.unwrap().unwrap(), newer);
}

/// So many answers are lost on the way, and the client sends again.
#[derive(Debug, Clone)]
struct Losing(Arc<AtomicU32>);

impl Intercept for Losing {
    fn name(&self) -> &'static str {
        "Losing"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let fewer = |left: u32| left.checked_sub(1);
        if self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer)
            .is_ok()
        {
            *context.response_mut().status_mut() = 503_u16.try_into()?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn who_is_overtaken_by_their_own_repetition_has_written() {
    let (dynamo, table) = opened().await;
    let losing = Losing(Arc::default());
    let config = dynamo
        .client()
        .config()
        .to_builder()
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
        .interceptor(losing.clone())
        .build();
    let repeating = Table::new(Client::from_conf(config), dynamo::TABLE_NAME);
    let mut held = table.stream(&socket()).await.unwrap().unwrap();
    let mut twin = held.clone();
    start(&mut held);
    start(&mut twin);
    losing.0.store(2, Ordering::SeqCst);
    repeating
        .write_stream(&socket(), &mut held)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(losing.0.load(Ordering::SeqCst), 0);
    assert_eq!(table.stream(&socket()).await.unwrap().unwrap(), held);
    // Another invocation that made the same of it is overtaken all the same: both would do what it says.
    let written = table.write_stream(&socket(), &mut twin).await.unwrap();
    assert_eq!(written, Err(Some(held)));
}

#[tokio::test]
async fn a_socket_that_nobody_opened_has_no_session_and_none_can_be_written() {
    let (_dynamo, table) = opened().await;
    let stranger: ConnectionId = "stranger=".parse().unwrap();
    assert_eq!(table.stream(&stranger).await.unwrap(), None);
    assert_eq!(table.stream_context(&stranger).await.unwrap(), None);
    let mut held = table.stream(&socket()).await.unwrap().unwrap();
    let written = table.write_stream(&stranger, &mut held).await.unwrap();
    assert_eq!(written, Err(None));
    table
        .name_stream_call(&stranger, &StreamCall::default())
        .await
        .unwrap();
    table.count_ignored(&stranger).await.unwrap();
    assert_eq!(table.stream_context(&stranger).await.unwrap(), None);
}

#[tokio::test]
async fn what_start_says_joins_what_is_known_of_the_call() {
    let (_dynamo, table) = opened().await;
    assert_eq!(table.stream_context(&socket()).await.unwrap(), Some(context()));
    let call = StreamCall {
        call_sid: Some("90d3b6f2e8174a5cbb41f7e06c83193v".parse().unwrap()),
        from: Some("09811100002".to_owned()),
        to: Some("08045550100".to_owned()),
        custom_parameters: [("lead".to_owned(), "7f3".to_owned())].into(),
    };
    table.name_stream_call(&socket(), &call).await.unwrap();
    // Exotel says it once; whoever says less of it later is not heard.
    table
        .name_stream_call(&socket(), &StreamCall::default())
        .await
        .unwrap();
    table.count_ignored(&socket()).await.unwrap();
    table.count_ignored(&socket()).await.unwrap();
    let known = table.stream_context(&socket()).await.unwrap().unwrap();
    let expected = StreamContext {
        call: Some(call),
        ignored: 2,
        ..context()
    };
    assert_eq!(known, expected);
}

#[tokio::test]
async fn a_frame_of_100_ms_at_8_khz_costs_a_unit_and_frames_come_back_in_order() {
    let (dynamo, table) = opened().await;
    for number in [12, 10, 11, 10, 9, 100_010] {
        let audio = vec![u8::try_from(number % 256).unwrap(); 800];
        table.keep_frame(&socket(), number, audio, at(0)).await.unwrap();
    }
    let spent = dynamo.meter().take();
    assert_eq!((spent.requests, spent.write_units), (6, 6.0));

    let frames = table.frames(&socket(), 10..=12, 3).await.unwrap();
    let numbers: Vec<u64> = frames.iter().map(|frame| frame.0).collect();
    assert_eq!(numbers, [10, 11, 12]);
    assert!(
        frames
            .iter()
            .all(|(number, audio)| *audio == vec![*number as u8; 800])
    );
    // 2.6 KB as they were a moment ago: half a unit.
    assert_eq!(dynamo.meter().take().read_units, 0.5);

    // One is missing: the table is asked as it is, too.
    assert_eq!(table.frames(&socket(), 10..=12, 4).await.unwrap().len(), 3);
    assert_eq!(dynamo.meter().take().read_units, 1.5);
}

#[tokio::test]
async fn frames_of_a_long_turn_are_read_to_the_last() {
    let (_dynamo, table) = opened().await;
    // 1.2 MB: more than DynamoDB gives with one answer.
    for number in 1..=400 {
        table
            .keep_frame(&socket(), number, vec![1; 3_000], at(0))
            .await
            .unwrap();
    }
    let frames = table.frames(&socket(), 1..=400, 400).await.unwrap();
    assert_eq!(frames.len(), 400);
    assert!(frames.is_sorted());
}

#[tokio::test]
async fn the_newest_socket_of_a_session_begins_it_and_then_nobody_else_does() {
    let (dynamo, table) = table().await;
    let session = voice_session();
    let (first, second): (ConnectionId, ConnectionId) =
        ("first=".parse().unwrap(), "second=".parse().unwrap());
    assert!(!table.begin_stream(&session, &first).await.unwrap());
    dynamo.meter().take();
    assert!(table.claim_socket(&session, &first, at(0), at(4)).await.unwrap());
    // Exotel repeats a handshake that failed.
    assert!(table.claim_socket(&session, &second, at(2), at(4)).await.unwrap());
    // The function of the one before was slower.
    assert!(!table.claim_socket(&session, &first, at(1), at(4)).await.unwrap());
    // A put whose answer was lost is sent again.
    assert!(table.claim_socket(&session, &second, at(2), at(4)).await.unwrap());
    assert!(!table.begin_stream(&session, &first).await.unwrap());
    assert!(table.begin_stream(&session, &second).await.unwrap());
    assert!(table.begin_stream(&session, &second).await.unwrap());
    assert!(!table.claim_socket(&session, &first, at(3), at(4)).await.unwrap());
    assert!(!table.claim_socket(&session, &second, at(4), at(4)).await.unwrap());
    assert_eq!(dynamo.meter().take().read_units, 0.0);
    assert_eq!(table.socket_owner(&session).await.unwrap(), Some(second));
    let nobodys = VoiceSessionId::new(at(0), 8);
    assert_eq!(table.socket_owner(&nobodys).await.unwrap(), None);
}
