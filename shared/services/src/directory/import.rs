//! Many leads at once, from CSV or NDJSON: what can be used is written, what cannot is told by line.

use std::collections::HashMap;

use domain::{access::Caller, directory::Lead, ids::LeadId};
use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::{Directory, WrittenLead, admin};
use crate::ServiceError;

/// Bytes of one import, at most.
pub const MOST_BYTES: usize = 1024 * 1024;
/// Leads of one import, at most: each is a read and a transaction of four writes, some 5 ms of a 256 MB function's CPU,
/// and the gateway waits 30 s.
pub const MOST_LINES: usize = 2_000;
/// Leads written at once.
const AT_ONCE: usize = 16;

/// How an import is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// CSV with a header line: `id,name,phone,owningSalesHeadId,assignedTo`, in any order.
    Csv,
    /// A JSON object per line.
    Ndjson,
}

/// What became of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// Leads that are new.
    pub created: usize,
    /// Leads that were there and are as given now.
    pub replaced: usize,
    /// Lines of which nothing was written, in order.
    pub errors: Vec<LineError>,
}

/// A line of which nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// The line, from 1; the header counts.
    pub line: u64,
    /// The field that is wrong, when it is one.
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl LineError {
    fn new(line: u64, error: ServiceError) -> Self {
        let (field, message) = match error {
            ServiceError::Field { field, message } => (Some(field.to_owned()), message),
            ServiceError::Table(error) if error.is_retryable() => (
                None,
                "it could not be stored now; send this line again".to_owned(),
            ),
            error => (None, error.to_string()),
        };
        Self { line, field, message }
    }
}

/// A line that was read, or why not.
type Line = (u64, Result<WrittenLead, ServiceError>);

impl Directory {
    /// Writes every lead that can be used. Only administrators may.
    ///
    /// # Errors
    /// [`ServiceError::Forbidden`]; [`ServiceError::Input`] when there is no line to read, no such header, or there
    /// are too many lines. Then nothing is written.
    pub async fn import(
        &self,
        caller: &Caller,
        text: &str,
        format: Format,
    ) -> Result<Imported, ServiceError> {
        admin(caller)?;
        // Excel begins its CSV with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = match format {
            Format::Csv => read_csv(text)?,
            Format::Ndjson => read_ndjson(text),
        };
        if lines.is_empty() {
            return Err(ServiceError::Input("The import has no leads in it.".to_owned()));
        }
        if lines.len() > MOST_LINES {
            let message =
                format!("An import takes at most {MOST_LINES} leads; send the rest in another one.");
            return Err(ServiceError::Input(message));
        }
        let (leads, mut imported) = self.check(lines);
        let stored = stream::iter(&leads)
            .map(async |(line, lead)| (*line, self.store_lead(lead).await))
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        for (line, stored) in stored {
            match stored {
                Ok(true) => imported.created += 1,
                Ok(false) => imported.replaced += 1,
                Err(error) => imported.errors.push(LineError::new(line, error)),
            }
        }
        imported.errors.sort_by_key(|error| error.line);
        tracing::info!(
            user.id = %caller.user_id,
            created = imported.created,
            replaced = imported.replaced,
            errors = imported.errors.len(),
            "leads were imported"
        );
        Ok(imported)
    }

    /// The leads that can be written, and the lines that cannot.
    fn check(&self, lines: Vec<Line>) -> (Vec<(u64, Lead)>, Imported) {
        let mut imported = Imported::default();
        let mut first: HashMap<LeadId, u64> = HashMap::new();
        let mut leads = Vec::with_capacity(lines.len());
        for (line, written) in lines {
            let lead = written.and_then(|written| {
                let id: LeadId = written
                    .id
                    .as_deref()
                    .unwrap_or_default()
                    .parse()
                    .map_err(|error| ServiceError::field("id", error))?;
                if let Some(first) = first.get(&id) {
                    let message = format!("it is the same as in line {first}");
                    return Err(ServiceError::field("id", message));
                }
                self.read_lead(id, &written)
            });
            match lead {
                Ok(lead) => {
                    first.insert(lead.id.clone(), line);
                    leads.push((line, lead));
                }
                Err(error) => imported.errors.push(LineError::new(line, error)),
            }
        }
        (leads, imported)
    }
}

fn read_csv(text: &str) -> Result<Vec<Line>, ServiceError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let headers = reader
        .headers()
        .map_err(|_| ServiceError::Input("The CSV's header line cannot be read.".to_owned()))?
        .clone();
    for column in ["id", "name", "phone"] {
        if !headers.iter().any(|header| header == column) {
            return Err(ServiceError::Input(format!(
                "The CSV has no column {column}; its first line must name id, name, phone and, if you like, \
                 owningSalesHeadId and assignedTo."
            )));
        }
    }
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(lines),
            Ok(true) => {
                let line = record.position().map_or(line, |at| line_of(text, at));
                let written = record
                    .deserialize(Some(&headers))
                    .map_err(|error| ServiceError::Input(error.to_string()));
                lines.push((line, written));
            }
            Err(error) => {
                let line = error.position().map_or(line, |at| line_of(text, at));
                let message = match error.kind() {
                    csv::ErrorKind::UnequalLengths {
                        expected_len, len, ..
                    } => format!("it has {len} fields, the header has {expected_len}"),
                    _ => error.to_string(),
                };
                lines.push((line, Err(ServiceError::Input(message))));
            }
        }
        if lines.len() > MOST_LINES {
            return Ok(lines);
        }
    }
}

/// The line on which a record begins: the reader's position is before the empty lines that it skips.
fn line_of(text: &str, at: &csv::Position) -> u64 {
    let rest = usize::try_from(at.byte())
        .ok()
        .and_then(|byte| text.as_bytes().get(byte..));
    let skipped = rest
        .unwrap_or_default()
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .filter(|byte| **byte == b'\n')
        .count();
    at.line() + skipped as u64
}

fn read_ndjson(text: &str) -> Vec<Line> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty())
        .take(MOST_LINES + 1)
        .map(|(number, line)| {
            let mut json = serde_json::Deserializer::from_str(line);
            let written = serde_path_to_error::deserialize(&mut json)
                .map_err(|error| ServiceError::Input(format!("{}: {}", error.path(), error.inner())))
                .and_then(|written| {
                    json.end().map_err(|_| {
                        ServiceError::Input("the line goes on behind the JSON object".to_owned())
                    })?;
                    Ok(written)
                });
            (number, written)
        })
        .collect()
}
