//! Another function of ours, invoked through something that speaks Lambda's protocol.

use jiff::Timestamp;
use lambda_kit::{Error, config::Settings, init::Boot};
use serde_json::json;

use crate::server::Server;

async fn boot(endpoint_url: String) -> Boot {
    let environment = Settings::new(move |name| {
        Some(match name {
            "AWS_REGION" => "ap-south-1".to_owned(),
            "AWS_ACCESS_KEY_ID" => "AKIDEXAMPLE".to_owned(),
            "AWS_SECRET_ACCESS_KEY" => "hunter2".to_owned(),
            "AWS_ENDPOINT_URL" => endpoint_url.clone(),
            _ => return None,
        })
    });
    Boot::new(environment, Timestamp::now()).await.unwrap()
}

#[tokio::test]
async fn an_event_is_handed_over_signed_and_nobody_waits_for_what_comes_of_it() {
    let server = Server::start(&[(202, "")]).await;
    let invoker = boot(server.url.clone())
        .await
        .invoker("exotel-voicebot-turn")
        .unwrap();
    invoker.invoke(&json!({"turn": 1})).await.unwrap();
    let asked = server.asked();
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(
        head.starts_with("post /2015-03-31/functions/exotel-voicebot-turn/invocations http/1.1\r\n"),
        "{head}"
    );
    for line in [
        "x-amz-invocation-type: event",
        "/ap-south-1/lambda/aws4_request, signedheaders=content-type;host;x-amz-date;x-amz-invocation-type,",
    ] {
        assert!(head.contains(line), "{line}\n{head}");
    }
    assert_eq!((asked.len(), body), (1, r#"{"turn":1}"#));
}

#[tokio::test]
async fn a_failure_of_lambdas_is_tried_once_more_and_a_refusal_is_final() {
    for (answers, times, says) in [
        (vec![(500, "{}"), (202, "")], 2, None),
        (vec![(429, "{}"), (202, "")], 2, None),
        (vec![(503, "{}")], 2, Some("Lambda answered 503")),
        (vec![(403, "{}")], 1, Some("Lambda answered 403")),
    ] {
        let server = Server::start(&answers).await;
        let invoker = boot(server.url.clone()).await.invoker("turn").unwrap();
        let invoked = invoker.invoke(&json!({})).await;
        match says {
            None => invoked.unwrap(),
            Some(says) => {
                let err = invoked.unwrap_err();
                assert!(matches!(&err, Error::Invoke(why) if why == says), "{err}");
            }
        }
        assert_eq!(server.asked().len(), times);
    }
}
