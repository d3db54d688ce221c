//! What `analytics` is made of: parameters in, figures, pages and CSV out.

use domain::{
    access::{Caller, Role},
    history::{Export, ExportStatus},
};
use http::{HeaderValue, header};
use jiff::Timestamp;
use lambda_kit::{
    config::{ExportsConfig, LocaleConfig, QueueConfig},
    http::{Page, Problem, Request, Response, json},
    init::{Boot, BoxError},
};
use serde::Serialize;
use services::analytics::{
    AgentsView, Analytics, CallsView, Csv, DashboardView, DeliveryView, ExportQueue, ExportView, Files,
    FlowsView, HistoryCall, HistoryRequest, Span, SpanRequest,
};

use crate::{Crm, problem, random};

/// What the routes of figures need.
pub struct Figures {
    analytics: Analytics,
    queue: ExportQueue,
    files: Files,
    locale: LocaleConfig,
}

/// A page of history. Figures keep the snake_case of their sources.
#[derive(Serialize)]
struct HistoryPage {
    items: Vec<HistoryCall>,
    next_cursor: Option<String>,
}

/// A history that becomes a file.
#[derive(Serialize)]
struct Queued<'a> {
    export_id: &'a str,
    status: ExportStatus,
    status_url: String,
}

impl Crm {
    /// Who calls, when their role reads figures: everybody but salespeople.
    ///
    /// # Errors
    /// 401 and 403.
    pub async fn figures_reader(&self, request: &Request, now: Timestamp) -> Result<Caller, Problem> {
        let caller = self.caller(request, now).await?;
        match caller.role {
            Role::Sales => Err(Problem::forbidden()),
            _ => Ok(caller),
        }
    }
}

/// Whether the caller sees numbers by their last four digits alone.
fn masked(caller: &Caller) -> bool {
    !caller.role.is_admin()
}

impl Figures {
    /// Built once, in init.
    ///
    /// # Errors
    /// When a setting is missing or cannot be used.
    pub fn from_boot(boot: &Boot, crm: &Crm) -> Result<Self, BoxError> {
        let queue = QueueConfig::exports_from_env(boot.settings())?;
        let exports = ExportsConfig::from_env(boot.settings())?;
        Ok(Self {
            analytics: Analytics::new(crm.table.clone(), crm.locale.time_zone.clone()),
            queue: ExportQueue::new(boot.aws().clone(), queue.url),
            files: Files::new(boot.aws().clone(), exports.bucket),
            locale: crm.locale.clone(),
        })
    }

    fn span(&self, request: &Request, now: Timestamp) -> Result<Span, Problem> {
        let asked = SpanRequest {
            from: request.query("from")?,
            to: request.query("to")?,
            zone: request.query("zone")?,
        };
        Span::read(&asked, self.analytics.zone(), now).map_err(problem)
    }

    /// How today goes.
    ///
    /// # Errors
    /// 503 and 500 of the table.
    pub async fn dashboard(&self, now: Timestamp) -> Result<DashboardView, Problem> {
        self.analytics.dashboard(now).await.map_err(problem)
    }

    /// Totals of a span.
    ///
    /// # Errors
    /// 400 that names the parameter; 503 and 500 of the table.
    pub async fn calls(
        &self,
        caller: &Caller,
        request: &Request,
        now: Timestamp,
    ) -> Result<CallsView, Problem> {
        let span = self.span(request, now)?;
        self.analytics.calls(&span, masked(caller)).await.map_err(problem)
    }

    /// Flows of a span.
    ///
    /// # Errors
    /// As [`Figures::calls`].
    pub async fn flows(&self, request: &Request, now: Timestamp) -> Result<FlowsView, Problem> {
        let span = self.span(request, now)?;
        self.analytics.flows(&span).await.map_err(problem)
    }

    /// Agents of a span.
    ///
    /// # Errors
    /// As [`Figures::calls`].
    pub async fn agents(
        &self,
        caller: &Caller,
        request: &Request,
        now: Timestamp,
    ) -> Result<AgentsView, Problem> {
        let span = self.span(request, now)?;
        self.analytics
            .agents(&span, masked(caller))
            .await
            .map_err(problem)
    }

    /// Messages of a span.
    ///
    /// # Errors
    /// As [`Figures::calls`].
    pub async fn delivery(&self, request: &Request, now: Timestamp) -> Result<DeliveryView, Problem> {
        let span = self.span(request, now)?;
        self.analytics.delivery(&span).await.map_err(problem)
    }

    /// Call history: a page of it, or all of it as CSV: at once when there is little, else as a file.
    ///
    /// # Errors
    /// 400 that names the parameter; 503 and 500 of the table and the queue.
    pub async fn history(
        &self,
        crm: &Crm,
        caller: &Caller,
        request: &Request,
        now: Timestamp,
    ) -> Result<Response, Problem> {
        let span = self.span(request, now)?;
        let asked = HistoryRequest {
            flow: request.query("flow")?,
            status: request.query("status")?,
            outcome: request.query("outcome")?,
            direction: request.query("direction")?,
            number: request.query("number")?,
            agent: request.query("agent")?,
        };
        let filter = asked.filter(&span, self.locale.country).map_err(problem)?;
        match request.query::<String>("format")?.as_deref() {
            None | Some("json") => {}
            Some("csv") => {
                let csv = self.analytics.csv(&filter, &span.zone, masked(caller)).await;
                return match csv.map_err(problem)? {
                    Csv::Inline(text) => Ok(csv_answer(text)),
                    Csv::TooMany => {
                        let export = self
                            .analytics
                            .request_export(caller, filter, &span.zone, &self.queue, now, random())
                            .await;
                        queued(&export.map_err(problem)?)
                    }
                };
            }
            Some(_) => return Err(Problem::bad_field("format", "format must be json or csv.")),
        }
        // A cursor belongs to one caller and one filter.
        let filters = serde_json::to_string(&filter).map_err(Problem::internal)?;
        let name = format!("history/{}/{}/{filters}", caller.role.as_str(), caller.user_id);
        let page: Page<String> = crm.page(request, &name, now).await?;
        let found = self
            .analytics
            .history(
                &filter,
                page.limit as usize,
                page.after.as_deref(),
                masked(caller),
            )
            .await
            .map_err(problem)?;
        let keys = crm.keys.get(now).await;
        let next_cursor = found.next.map(|next| keys.seal_cursor(&name, &next));
        json(
            200,
            &HistoryPage {
                items: found.items,
                next_cursor,
            },
        )
    }

    /// How far a file has come, and where it is.
    ///
    /// # Errors
    /// 404 when there is none; 503 and 500 of the table.
    pub async fn export(
        &self,
        caller: &Caller,
        request: &Request,
        now: Timestamp,
    ) -> Result<ExportView, Problem> {
        let id: String = request.path("id")?;
        self.analytics
            .export(caller, &id, &self.files, now)
            .await
            .map_err(problem)
    }
}

fn csv_answer(text: String) -> Response {
    let mut response = Response::new(text);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"calls.csv\""),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn queued(export: &Export) -> Result<Response, Problem> {
    json(
        202,
        &Queued {
            export_id: &export.id,
            status: export.status,
            status_url: format!("/api/admin/analytics/exports/{}", export.id),
        },
    )
}
