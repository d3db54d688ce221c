use dynamo::{Dynamo, TABLE_NAME};
use exotel_simulator::{Account, ExophoneHealth, Options, Simulator};
use jiff::Timestamp;
use runtime_api::{Function, Launch};
use table::Table;

const EVENT: &str = include_str!("../../../../events/poll-heartbeat.minute.json");

async fn run(function: &Function) -> Vec<u8> {
    let answer = function
        .invoke(EVENT.to_owned())
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    answer.body.to_vec()
}

#[tokio::test]
async fn a_minutes_run_asks_about_every_exophone_and_raises_the_alert() {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), TABLE_NAME);
    let exotel = Simulator::start(Options {
        accounts: vec![Account {
            exophones: (0..3).map(|n| format!("0804555010{n}")).collect(),
            ..Account::new("acme1", "simkey", "simtoken")
        }],
        ..Options::default()
    })
    .await
    .unwrap();
    let launch = |token: &str| {
        Launch::new(env!("CARGO_BIN_EXE_poll-heartbeat"))
            .env("AWS_ENDPOINT_URL", dynamo.endpoint_url())
            .env("TABLE_NAME", TABLE_NAME)
            .env("EXOTEL_SUBDOMAIN", exotel.url())
            .env("EXOTEL_SID", "acme1")
            .env("EXOTEL_API_KEY", "simkey")
            .env("EXOTEL_API_TOKEN", token)
            .env("EXOTEL_CALLER_ID", "08045550102")
    };
    let function = Function::start(launch("simtoken")).await.unwrap();
    assert_eq!(run(&function).await, b"null", "{:?}", function.log());
    let asked: Vec<String> = exotel
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(
        asked[1].ends_with("08045550102"),
        "the caller id is asked about first: {asked:?}"
    );
    let health = table.exophone_health().await.unwrap().aged(Timestamp::now());
    assert_eq!(
        (health.phones.len(), health.affected(), health.unknown()),
        (3, 0, 0)
    );

    let outage = ExophoneHealth {
        number: Some("08045550101".to_owned()),
        outgoing: Some("major_outage".to_owned()),
        ..ExophoneHealth::default()
    };
    exotel.set_exophones(vec![outage]).unwrap();
    assert_eq!(run(&function).await, b"null", "{:?}", function.log());
    assert_eq!(run(&function).await, b"null", "{:?}", function.log());
    let open = table.open_alerts(10, None).await.unwrap().items;
    assert_eq!(open.len(), 1, "{open:?}");
    assert_eq!(open[0].subject.as_str(), "08045550101");
    assert!(
        !function.log().join("\n").contains("8045550101"),
        "numbers show four digits"
    );

    let stranger = Function::start(launch("wrong")).await.unwrap();
    let Err(refused) = stranger.invoke(EVENT.to_owned()).await else {
        panic!("the run is no success")
    };
    let refused = format!("{refused:?}");
    assert!(refused.contains("refuses the credentials"), "{refused}");
}
