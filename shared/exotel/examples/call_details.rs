//! Reads one call with talk time and legs.
//!
//! `cargo run -p exotel --example call_details -- 5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::calls::GetCall;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [sid] = account::arguments("call_details CALL_SID")?;
    let call = account::client()?
        .send(&GetCall::with_details(sid.parse()?))
        .await?;
    println!("{call:#?}");
    Ok(())
}
