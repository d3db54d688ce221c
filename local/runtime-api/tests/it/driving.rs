use std::{path::PathBuf, time::Duration};

use runtime_api::{Error, Function, Launch};
use serde_json::{Value, json};

fn rehearsal() -> Launch {
    // Cargo builds examples with the tests and puts them beside the directory of the test binary.
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let program: PathBuf = profile.join("examples").join("rehearsal");
    assert!(
        program.exists(),
        "build it first: cargo build -p runtime-api --example rehearsal"
    );
    Launch::new(program)
}

async fn invoke(function: &Function, event: Value) -> Result<Value, Error> {
    let complete = function.invoke(event.to_string()).await?.finish().await?;
    Ok(serde_json::from_slice(&complete.body).unwrap())
}

#[tokio::test]
async fn every_event_gets_its_own_response() {
    let function = Function::start(rehearsal()).await.unwrap();
    let (a, b) = tokio::join!(
        invoke(&function, json!({"n": 1})),
        invoke(&function, json!({"n": 2}))
    );
    assert_eq!((a.unwrap(), b.unwrap()), (json!({"n": 1}), json!({"n": 2})));
}

#[tokio::test]
async fn the_function_sees_lambdas_variables_and_its_own_and_nothing_of_the_caller() {
    let function = Function::start(rehearsal().env("TABLE_NAME", "calls"))
        .await
        .unwrap();
    let env = invoke(&function, json!({"do": "env"})).await.unwrap();
    assert_eq!(env["TABLE_NAME"], "calls");
    assert_eq!(env["AWS_LAMBDA_FUNCTION_NAME"], "rehearsal");
    assert!(
        env.get("CARGO_MANIFEST_DIR").is_none() && env.get("HOME").is_none(),
        "{env}"
    );
}

#[tokio::test]
async fn a_streamed_response_comes_with_its_status_and_whole() {
    let function = Function::start(rehearsal()).await.unwrap();
    let answer = function
        .invoke(json!({"do": "stream", "size": 1000, "chunks": 50}).to_string())
        .await
        .unwrap();
    assert!(answer.streaming);
    assert_eq!(answer.prelude.as_ref().unwrap().status_code, 206);
    assert_eq!(answer.finish().await.unwrap().body, vec![b'x'; 50_000]);
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_the_function_back() {
    let function = Function::start(rehearsal()).await.unwrap();
    let total = 400 * 1_000_000_u64;
    let mut answer = function
        .invoke(json!({"do": "stream", "size": 1_000_000, "chunks": 400}).to_string())
        .await
        .unwrap();
    let before = function.usage().unwrap();
    let mut read = 0;
    while let Some(chunk) = answer.chunk().await.unwrap() {
        read += chunk.len() as u64;
        if read > total / 2 {
            break;
        }
    }
    let after = function.usage().unwrap();
    assert!(
        after.peak_rss_bytes < before.rss_bytes + total / 10,
        "{before:?} {after:?}"
    );
    let figures = answer.figures().await.unwrap();
    assert!(
        figures.cpu <= figures.cpu_since_start && figures.wall <= figures.wall_since_start,
        "{figures:?}"
    );
}

#[tokio::test]
async fn an_answer_that_nobody_reads_does_not_hold_up_the_next_event() {
    let function = Function::start(rehearsal()).await.unwrap();
    drop(
        function
            .invoke(json!({"do": "stream", "size": 100_000, "chunks": 100}).to_string())
            .await
            .unwrap(),
    );
    assert_eq!(invoke(&function, json!("next")).await.unwrap(), json!("next"));
}

#[tokio::test]
async fn cpu_is_counted_for_the_invocation_that_used_it() {
    let function = Function::start(rehearsal()).await.unwrap();
    let (_, init_cpu) = function.ready().await.unwrap();
    let burn = function
        .invoke(json!({"do": "burn", "turns": 20_000_000}).to_string())
        .await
        .unwrap()
        .figures()
        .await
        .unwrap();
    let idle = function
        .invoke(json!("echo").to_string())
        .await
        .unwrap()
        .figures()
        .await
        .unwrap();
    assert!(
        burn.cpu > idle.cpu && burn.cpu_since_start >= init_cpu + burn.cpu,
        "{init_cpu:?} {burn:?} {idle:?}"
    );
}

#[tokio::test]
async fn a_failing_function_says_why_and_lives_on() {
    let function = Function::start(rehearsal()).await.unwrap();
    let Err(Error::Function(failure)) = invoke(&function, json!({"do": "fail"})).await else {
        panic!("no failure")
    };
    assert_eq!(failure.message, "told to fail");
    assert_eq!(invoke(&function, json!(1)).await.unwrap(), json!(1));
}

#[tokio::test]
async fn a_process_that_ends_is_told_with_its_status() {
    let function = Function::start(rehearsal()).await.unwrap();
    let Err(Error::Exited { status, .. }) = invoke(&function, json!({"do": "exit"})).await else {
        panic!("no exit")
    };
    assert_eq!(status.code(), Some(7));
}

#[tokio::test]
async fn a_process_that_ends_in_init_leaves_its_last_words() {
    let function = Function::start(rehearsal().env("EXIT_IN_INIT", "1"))
        .await
        .unwrap();
    let Err(Error::Exited { status, .. }) = function.ready().await else {
        panic!("no exit")
    };
    assert!(!status.success());
    assert!(invoke(&function, json!(1)).await.is_err());
}

#[tokio::test]
async fn a_function_over_its_time_is_killed() {
    let function = Function::start(rehearsal().timeout(Duration::from_millis(300)))
        .await
        .unwrap();
    assert!(matches!(
        invoke(&function, json!({"do": "hang"})).await,
        Err(Error::TimedOut(_))
    ));
    let Err(Error::Exited { status, .. }) = function.invoke("1").await else {
        panic!("still alive")
    };
    assert!(!status.success());
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let error = Function::start(Launch::new("/nonexistent/bootstrap"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot start /nonexistent/bootstrap");
}
