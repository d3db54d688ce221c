//! Writes histories to files, page by page: one part in memory, and after each part a place to go on from.

use aws_sdk_s3::{
    Client,
    config::{RequestChecksumCalculation, ResponseChecksumValidation},
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use domain::history::{Export, ExportPart, ExportStatus};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use table::{Table, TableError, figures::Held};

use crate::analytics::history::{CsvLines, matching};

/// Bytes of a part. S3 takes 5 MiB to 5 GiB, and 10 000 parts: more than 500 million calls.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Calls read at once.
const CALLS: usize = 500;

/// What became of one attempt at a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The file is there.
    Done,
    /// The time was over; another attempt goes on from the last part.
    More,
    /// Somebody else writes it.
    Held,
    /// There is no such export, or no more.
    Gone,
}

/// A file was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// S3 failed.
    #[error("S3 did not {what}: {code}")]
    Files {
        /// What it should have done.
        what: &'static str,
        /// Its error code.
        code: String,
    },
    /// The export names a zone that this version does not know.
    #[error("the export's zone is not known")]
    Zone,
}

fn failed<E: ProvideErrorMetadata, R>(
    what: &'static str,
) -> impl Fn(aws_sdk_s3::error::SdkError<E, R>) -> ExportError {
    move |error| ExportError::Files {
        what,
        code: error.code().unwrap_or("no answer").to_owned(),
    }
}

/// Writes files.
#[derive(Debug, Clone)]
pub struct Exporter {
    table: Table,
    client: Client,
    bucket: String,
    part_bytes: usize,
}

impl Exporter {
    /// Over this table, into this bucket.
    pub fn new(table: Table, client: Client, bucket: impl Into<String>) -> Self {
        Self {
            table,
            client,
            bucket: bucket.into(),
            part_bytes: PART_BYTES,
        }
    }

    /// With clients of its own. S3's is addressed by path where AWS is local.
    pub fn connect(aws: &aws_types::SdkConfig, table: Table, bucket: impl Into<String>) -> Self {
        let config = aws_sdk_s3::config::Builder::from(aws)
            .force_path_style(aws.endpoint_url().is_some())
            // TLS guards what is sent; the parts' own checksums would have to be told again in the end.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Self::new(table, Client::from_conf(config), bucket)
    }

    /// With parts of another size, for tests; S3 itself takes none below 5 MiB but the last.
    pub fn with_part_bytes(self, part_bytes: usize) -> Self {
        Self { part_bytes, ..self }
    }

    /// Writes an export's file, or goes on with it, until `until`. Nobody else writes it before `until` and a minute.
    ///
    /// # Errors
    /// [`ExportError`]; trying again goes on from the last part.
    pub async fn run(
        &self,
        id: &str,
        clock: impl Fn() -> Timestamp,
        until: Timestamp,
    ) -> Result<Step, ExportError> {
        let Some(Held { value, mut rev }) = self.table.export(id).await? else {
            return Ok(Step::Gone);
        };
        let mut export = value;
        if matches!(export.status, ExportStatus::Done | ExportStatus::Failed) {
            return Ok(Step::Done);
        }
        if export.held_until.is_some_and(|held| held > clock()) {
            return Ok(Step::Held);
        }
        export.held_until = Some(until + SignedDuration::from_mins(1));
        export.status = ExportStatus::Running;
        if !self.save(&export, &mut rev).await? {
            return Ok(Step::Held);
        }
        let step = self.write(&mut export, &mut rev, &clock, until).await;
        if !matches!(step, Ok(Step::Held)) {
            // Free for the next attempt, whatever became of this one.
            export.held_until = None;
            self.save(&export, &mut rev).await?;
        }
        step
    }

    /// Whether it was still ours to write.
    async fn save(&self, export: &Export, rev: &mut i64) -> Result<bool, TableError> {
        let saved = self.table.put_export(export, *rev).await?;
        *rev += i64::from(saved);
        Ok(saved)
    }

    async fn write(
        &self,
        export: &mut Export,
        rev: &mut i64,
        clock: &impl Fn() -> Timestamp,
        until: Timestamp,
    ) -> Result<Step, ExportError> {
        let zone = TimeZone::get(&export.zone).map_err(|_| ExportError::Zone)?;
        let upload_id = match &export.upload_id {
            Some(upload_id) => upload_id.clone(),
            None => {
                let upload_id = self.begin(export).await?;
                export.upload_id = Some(upload_id.clone());
                if !self.save(export, rev).await? {
                    return Ok(Step::Held);
                }
                upload_id
            }
        };
        let mut lines = CsvLines::new(zone, export.masked);
        let mut buffer = Vec::new();
        if export.parts.is_empty() {
            lines.head();
        }
        let (mut cursor, mut rows) = (export.position.clone(), 0);
        let mut is_begun = cursor.is_none() && export.parts.is_empty();
        // An export whose last part is written lacks only its completion.
        let mut more = is_begun || cursor.is_some();
        while more {
            if clock() >= until {
                return Ok(Step::More);
            }
            let page = matching(&self.table, &export.filter, CALLS, cursor.clone()).await?;
            rows += page.items.len() as u64;
            page.items.into_iter().for_each(|call| lines.line(call));
            buffer.append(&mut lines.take());
            cursor = page.next;
            more = cursor.is_some();
            if buffer.len() >= self.part_bytes || (!more && (is_begun || !buffer.is_empty())) {
                let part = std::mem::take(&mut buffer);
                let bytes = part.len() as u64;
                let etag = self.put_part(export, &upload_id, part).await?;
                export.parts.push(ExportPart { etag, bytes });
                export.rows += std::mem::take(&mut rows);
                export.position.clone_from(&cursor);
                is_begun = false;
                if !self.save(export, rev).await? {
                    return Ok(Step::Held);
                }
            }
        }
        self.complete(export, &upload_id).await?;
        export.status = ExportStatus::Done;
        export.finished_at = Some(clock());
        Ok(Step::Done)
    }

    async fn begin(&self, export: &Export) -> Result<String, ExportError> {
        let answer = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(export.object_key())
            .content_type("text/csv; charset=utf-8")
            .send()
            .await
            .map_err(failed("begin the file"))?;
        answer.upload_id.ok_or(ExportError::Files {
            what: "begin the file",
            code: "no upload id".to_owned(),
        })
    }

    async fn put_part(&self, export: &Export, upload_id: &str, part: Vec<u8>) -> Result<String, ExportError> {
        let answer = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(export.object_key())
            .upload_id(upload_id)
            .part_number(part_number(export.parts.len()))
            .body(ByteStream::from(part))
            .send()
            .await
            .map_err(failed("take a part"))?;
        answer.e_tag.ok_or(ExportError::Files {
            what: "take a part",
            code: "no ETag".to_owned(),
        })
    }

    async fn complete(&self, export: &Export, upload_id: &str) -> Result<(), ExportError> {
        let parts = export.parts.iter().enumerate().map(|(at, part)| {
            CompletedPart::builder()
                .part_number(part_number(at))
                .e_tag(&part.etag)
                .build()
        });
        let upload = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let completed = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(export.object_key())
            .upload_id(upload_id)
            .multipart_upload(upload)
            .send()
            .await;
        match completed {
            Ok(_) => Ok(()),
            // It was completed, and whoever did died before saying so.
            Err(error) if error.code() == Some("NoSuchUpload") => {
                let head = self.client.head_object().bucket(&self.bucket);
                let head = head.key(export.object_key()).send().await;
                head.map(drop).map_err(failed("complete the file"))
            }
            Err(error) => Err(failed("complete the file")(error)),
        }
    }
}

/// Parts are numbered from 1.
fn part_number(at: usize) -> i32 {
    i32::try_from(at + 1).unwrap_or(i32::MAX)
}
