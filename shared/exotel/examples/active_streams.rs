//! Tells how many streams the account has, and may have.
//!
//! `cargo run -p exotel --example active_streams`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

mod account;

use exotel::stream::GetActiveStreams;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [] = account::arguments("active_streams")?;
    println!("{:#?}", account::client()?.send(&GetActiveStreams).await?);
    Ok(())
}
