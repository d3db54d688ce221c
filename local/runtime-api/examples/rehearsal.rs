//! A function that does what its event says: the other side of this crate's tests.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, MetadataPrelude, StreamResponse, service_fn};
use serde_json::{Value, json};

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;
type Reply = FunctionResponse<Value, Chunks>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    if std::env::var_os("EXIT_IN_INIT").is_some() {
        return Err("the settings are bad".into());
    }
    lambda_runtime::run(service_fn(play)).await
}

async fn play(event: LambdaEvent<Value>) -> Result<Reply, Error> {
    let number = |name: &str| event.payload[name].as_u64().unwrap_or_default();
    match event.payload["do"].as_str() {
        Some("fail") => Err("told to fail".into()),
        Some("exit") => std::process::exit(7),
        Some("hang") => std::future::pending().await,
        Some("env") => Ok(FunctionResponse::BufferedResponse(json!(
            std::env::vars().collect::<std::collections::BTreeMap<_, _>>()
        ))),
        Some("burn") => {
            for turn in 0..number("turns") {
                std::hint::black_box(turn);
            }
            Ok(FunctionResponse::BufferedResponse(json!("burnt")))
        }
        Some("stream") => {
            let chunk = Bytes::from(vec![b'x'; usize::try_from(number("size"))?]);
            let stream = stream::iter(0..number("chunks"))
                .map(move |_| Ok(chunk.clone()))
                .boxed();
            let metadata_prelude = MetadataPrelude {
                status_code: http::StatusCode::PARTIAL_CONTENT,
                ..MetadataPrelude::default()
            };
            Ok(FunctionResponse::StreamingResponse(StreamResponse {
                metadata_prelude,
                stream,
            }))
        }
        _ => Ok(FunctionResponse::BufferedResponse(event.payload)),
    }
}
