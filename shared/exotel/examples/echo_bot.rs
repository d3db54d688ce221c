//! A voicebot that says what it hears, half a second later. Point a Voicebot applet at it, through something that speaks TLS.
//!
//! `cargo run -p exotel --features stream --example echo_bot -- 127.0.0.1:9000`
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use std::error::Error;

use exotel::stream::{Incoming, Message, outgoing};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite;

/// Half a second at 8 kHz, and a multiple of 320.
const CHUNK_BYTES: usize = 8_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: echo_bot ADDRESS")?;
    let listener = TcpListener::bind(&address).await?;
    println!("ws://{}", listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = talk(connection).await {
                println!("a stream broke: {error}");
            }
        });
    }
}

async fn talk(connection: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut socket = tokio_tungstenite::accept_async(connection).await?;
    let mut heard = Vec::new();
    while let Some(frame) = socket.next().await {
        let tungstenite::Message::Text(text) = frame? else {
            continue;
        };
        let message = Message::parse(&text)?;
        let stream_sid = message.stream_sid.unwrap_or_default();
        match message.incoming {
            Incoming::Start(start) => println!("{start:?}"),
            Incoming::Media(media) => heard.extend(media.pcm().ok_or("a payload is not base64")?),
            Incoming::Dtmf(key) if key.digit == "#" => break,
            Incoming::Stop(stop) => println!("{stop:?}"),
            _ => {}
        }
        while heard.len() >= CHUNK_BYTES {
            let chunk: Vec<u8> = heard.drain(..CHUNK_BYTES).collect();
            let said = outgoing::media(&stream_sid, &chunk)?;
            socket.send(tungstenite::Message::text(said)).await?;
        }
    }
    // Closing is how a bot hangs up.
    Ok(socket.close(None).await?)
}
