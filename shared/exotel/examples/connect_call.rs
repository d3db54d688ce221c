//! Rings one phone, then another, and connects them. Costs money.
//!
//! `cargo run -p exotel --example connect_call -- +919811100001 +919811100002`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::calls::{ConnectCall, ConnectOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [from, to] = account::arguments("connect_call FROM TO")?;
    let call = ConnectCall {
        options: ConnectOptions {
            record: Some(true),
            time_limit_secs: Some(300),
            ..Default::default()
        },
        ..ConnectCall::two_legs(from, to, account::setting("EXOTEL_CALLER_ID")?)
    };
    match account::client()?.send(&call).await {
        Ok(call) => println!("accepted: {call:#?}"),
        Err(error) if error.is_retryable() => println!("nothing happened, try again later: {error}"),
        Err(error) if error.may_have_reached_exotel() => {
            println!("phones may be ringing, look it up: {error}")
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
