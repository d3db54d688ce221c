//! Calls in a table of their own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use domain::{
    call::{Call, CallOrigin, CallProgress, CallReport, CallState, ExotelCall, ReportSource},
    directory::Lead,
    ids::{CallId, CallLocator},
};
use dynamo::Dynamo;
use jiff::Timestamp;
use services::{Table, recordings::Kept};

pub(crate) struct Calls {
    pub(crate) dynamo: Dynamo,
    pub(crate) table: Table,
    made: AtomicU64,
}

impl Calls {
    pub(crate) async fn start() -> Self {
        let dynamo = Dynamo::start().await;
        let table = Table::new(dynamo.client(), dynamo::TABLE_NAME);
        let lead = Lead {
            id: "lead-1".parse().unwrap(),
            name: "A lead".into(),
            phone: "+919811100001".parse().unwrap(),
            owning_sales_head_id: None,
            assigned_to: None,
            call_count: 0,
            last_contacted_at: None,
        };
        table.put_lead(&lead).await.unwrap();
        Self {
            dynamo,
            table,
            made: AtomicU64::new(0),
        }
    }

    /// A call of which this is known.
    pub(crate) async fn keep(&self, kept: &Kept) -> CallLocator {
        let random = u128::from(self.made.fetch_add(1, Relaxed));
        let locator = CallLocator {
            id: CallId::new(Timestamp::UNIX_EPOCH, random),
            lead_id: "lead-1".parse().unwrap(),
        };
        let state = if kept.is_final {
            CallState::Completed
        } else {
            CallState::Talking
        };
        let mut report = CallReport::new(ReportSource::Callback, Some(state));
        report.sid = kept.sid.clone();
        report.recording_url = kept.url.clone();
        report.ended_at = kept.ended_at;
        let mut progress = CallProgress::new(CallState::Accepted);
        progress.merge(&report);
        let call = Call {
            locator: locator.clone(),
            called_by: Some("user-1".parse().unwrap()),
            called_at: Timestamp::UNIX_EPOCH,
            notes: None,
            origin: CallOrigin::Exotel(Box::new(ExotelCall {
                agent_phone: "+919811100002".parse().unwrap(),
                lead_phone: "+919811100001".parse().unwrap(),
                caller_id: "+918045550100".parse().unwrap(),
                to_bot: false,
                attempt: 1,
                reason: None,
                progress,
            })),
        };
        self.table.create_call(&call).await.unwrap();
        assert_eq!(
            services::recordings::kept_of(&self.table, &locator)
                .await
                .unwrap()
                .as_ref(),
            Some(kept)
        );
        locator
    }
}
