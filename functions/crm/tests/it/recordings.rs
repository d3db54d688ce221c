//! Links to recordings.

use domain::{call::CallState, call::ReportSource, ids::CallId};
use jiff::SignedDuration;
use lambda_kit::capability::{RecordingTicket, SigningKeys};
use serde_json::json;

use crate::house::{House, SALES, call, lead, now, talked};

const ROUTE: &str = "/api/sales/crm/{id}/calls/{callId}/recording";

fn path(lead: &str, call: &CallId) -> String {
    format!("/api/sales/crm/{lead}/calls/{call}/recording")
}

#[tokio::test]
async fn a_recording_is_a_redirect_with_a_ticket_or_a_link_in_json() {
    let house = House::new().await;
    let call = call(1);
    house.table.create_call(&call).await.unwrap();
    house
        .table
        .record_call_report(&call.locator, &talked())
        .await
        .unwrap();
    let path = path("lead-1", &call.locator.id);
    let redirect = house.get(SALES, ROUTE, &path).await;
    assert_eq!(redirect.status, 302);
    let url = redirect.location.unwrap();
    let ticket = url
        .strip_prefix("https://recordings.example.com/?ticket=")
        .unwrap();
    let keys = SigningKeys::new(&"another secret of thirty-two characters".into(), None);
    let opened = RecordingTicket::open(ticket, &keys, now()).unwrap();
    assert_eq!(
        (opened.call, opened.user_id.as_str()),
        (call.locator.clone(), "sales-1")
    );
    assert_eq!(opened.expires_at, now() + SignedDuration::from_mins(15));
    assert!(!url.contains("exotel"), "{url}");
    let link = house.get(SALES, ROUTE, &format!("{path}?link=1")).await;
    assert_eq!(
        (link.status, &link.body),
        (200, &json!({"url": url, "expiresAt": "2026-11-20T08:45:00Z"}))
    );
}

#[tokio::test]
async fn a_call_without_a_recording_is_404_and_one_that_may_still_get_it_says_so() {
    let house = House::new().await;
    let call = call(1);
    house.table.create_call(&call).await.unwrap();
    let path = path("lead-1", &call.locator.id);
    let early = house.get(SALES, ROUTE, &path).await;
    assert_eq!(
        (early.status, &early.body["code"]),
        (404, &json!("recording_not_ready"))
    );
    let busy = domain::call::CallReport::new(ReportSource::Callback, Some(CallState::Busy));
    house
        .table
        .record_call_report(&call.locator, &busy)
        .await
        .unwrap();
    let none = house.get(SALES, ROUTE, &path).await;
    assert_eq!((none.status, &none.body["code"]), (404, &json!("not_found")));
}

#[tokio::test]
async fn another_leads_call_is_404() {
    let house = House::new().await;
    house.table.put_lead(&lead("lead-2")).await.unwrap();
    let call = call(1);
    house.table.create_call(&call).await.unwrap();
    house
        .table
        .record_call_report(&call.locator, &talked())
        .await
        .unwrap();
    let answer = house.get(SALES, ROUTE, &path("lead-2", &call.locator.id)).await;
    assert_eq!((answer.status, &answer.body["code"]), (404, &json!("not_found")));
}
