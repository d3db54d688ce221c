//! Reads what became of a call that was placed through CCM.
//!
//! `cargo run -p exotel --example ccm_call -- 5f0c1d2e3a4b4c5d8e9f0a1b2c3d196k`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::ccm::GetCcmCall;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [sid] = account::arguments("ccm_call CALL_SID")?;
    let call = account::client()?.send(&GetCcmCall { sid: sid.parse()? }).await?;
    println!("in v1's words: {:?}, legs {:?}", call.v1_status(), call.v1_legs());
    println!("{call:#?}");
    Ok(())
}
