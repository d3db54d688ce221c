use domain::{
    call::{Call, CallOrigin, CallProgress, CallState, ExotelCall},
    directory::Lead,
    ids::{CallId, CallLocator},
};
use dynamo::{Dynamo, TABLE_NAME};
use exotel_simulator::Simulator;
use jiff::{SignedDuration, Timestamp};
use runtime_api::{Function, Launch};
use table::Table;

const EVENT: &str = include_str!("../../../../events/sweep.minute.json");

#[tokio::test]
async fn a_minutes_run_ends_what_nobody_reported_the_end_of() {
    let dynamo = Dynamo::start().await;
    let table = Table::new(dynamo.client(), TABLE_NAME);
    let exotel = Simulator::start(Default::default()).await.unwrap();
    let lead = Lead {
        id: "lead-1".parse().unwrap(),
        name: "Asha".to_owned(),
        phone: "+919811100002".parse().unwrap(),
        owning_sales_head_id: None,
        assigned_to: None,
        call_count: 0,
        last_contacted_at: None,
    };
    table.put_lead(&lead).await.unwrap();
    let now = Timestamp::now();
    let call = async |age: SignedDuration, state| {
        let locator = CallLocator {
            id: CallId::new(now - age, 7),
            lead_id: lead.id.clone(),
        };
        let call = Call {
            locator: locator.clone(),
            called_by: Some("sales-1".parse().unwrap()),
            called_at: now - age,
            notes: None,
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone: "+919811100099".parse().unwrap(),
                lead_phone: lead.phone.clone(),
                caller_id: "+918045550100".parse().unwrap(),
                to_bot: false,
                attempt: 1,
                reason: None,
                progress: CallProgress::new(state),
            })),
        };
        table.create_call(&call).await.unwrap();
        table.open_call(&locator).await.unwrap();
        locator
    };
    let waited = call(SignedDuration::from_secs(190), CallState::Waiting).await;
    let unheard = call(SignedDuration::from_hours(5), CallState::Unconfirmed).await;
    // Not looked up at this age, and not known for long.
    call(SignedDuration::from_mins(15), CallState::Unconfirmed).await;
    let young = call(SignedDuration::from_secs(30), CallState::Waiting).await;
    let launch = Launch::new(env!("CARGO_BIN_EXE_sweep"))
        .env("AWS_ENDPOINT_URL", dynamo.endpoint_url())
        .env("TABLE_NAME", TABLE_NAME)
        .env("EXOTEL_SUBDOMAIN", exotel.url())
        .env("EXOTEL_SID", "acme1")
        .env("EXOTEL_API_KEY", "simkey")
        .env("EXOTEL_API_TOKEN", "simtoken")
        .env("EXOTEL_CALLER_ID", "08045550100")
        .env("METRICS_NAMESPACE", "exotel-test");
    let function = Function::start(launch).await.unwrap();
    let answer = function
        .invoke(EVENT.to_owned())
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(answer.body, b"null"[..], "{:?}", function.log());
    let state = async |call: &CallLocator| {
        table
            .call(call)
            .await
            .unwrap()
            .unwrap()
            .exotel()
            .unwrap()
            .progress
            .state
    };
    let log = function.log().join("\n");
    assert!(log.contains(r#""UnconfirmedIntents":1.0"#), "{log}");
    assert_eq!(state(&waited).await, CallState::Expired);
    assert_eq!(state(&unheard).await, CallState::Lost);
    assert_eq!(state(&young).await, CallState::Waiting);
    let asked = exotel.requests();
    assert!(
        asked.iter().all(|request| request.method == "GET") && asked.len() == 1,
        "{asked:?}"
    );
    assert!(!function.log().join("\n").contains("98111000"));
}
