//! `.local/stack.json`: the addresses of a running stack.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::Error;

/// What `cargo xtask local` writes once the stack answers, and removes when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackFile {
    /// Origin of the HTTP API.
    pub http_url: String,
    /// URL of the WebSocket API; empty while the template has none.
    pub ws_url: String,
    /// Origin of the recording proxy.
    pub recordings_url: String,
    /// Origin of the Exotel simulator.
    pub simulator_url: String,
    /// The emulator, for AWS clients; any credentials will do.
    pub aws_endpoint_url: String,
    /// The region of every resource.
    pub region: String,
    /// The single table.
    pub table_name: String,
    /// Token of the webhook URLs that go into Exotel's dashboard.
    pub webhook_token: String,
    /// URL of each queue by its name: `outbound`, `outbound-dlq` …
    pub queues: BTreeMap<String, String>,
    /// Lambda name of each function by its binary: `click-to-call` …
    pub functions: BTreeMap<String, String>,
}

impl StackFile {
    /// Writes it in one step: a reader sees the whole or nothing.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(self).expect("a struct of texts is JSON");
        let part = path.with_extension("json.part");
        fs::write(&part, text + "\n").map_err(Error::file("write", &part))?;
        fs::rename(&part, path).map_err(Error::file("write", path))
    }

    /// Reads the file of a running stack; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Io`] when it is there but cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(Error::file("read", path)(err)),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|err| Error::file("understand", path)(err.into()))
    }
}
