//! Fault schedules: everything that may go wrong, in an order that a seed decides, in virtual time.
//!
//! The real use cases and the real table code play against DynamoDB's and SQS's semantics in memory and a model of
//! Exotel. Callbacks are dropped, repeated, late and out of order; Exotel answers 429, 503, nothing, or breaks the
//! connection after it has rung somebody; the table and the queue lose requests and answers; functions are stopped
//! between any two of their requests. Whatever happens: nobody is rung twice for one click, nothing is lost, and
//! everything ends in a final state that agrees with Exotel wherever Exotel could be asked.
//!
//! `SCHEDULES=10000` plays more of them, `SEED=17` one of them, with its story.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    access::{Caller, Role},
    call::{CallState, LegStatus},
    directory::{Lead, User},
    idempotency::{Answer, Sameness, Scope},
    ids::{CallId, CallLocator, SmsId, SmsLocator},
    phone::Country,
    retry,
    sms::SmsState,
    toll_fraud::{Destinations, Quota, Quotas},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use services::{
    inbound::{Delivery, Inbox, Receipt, Replay, Webhook, WebhookQueue},
    outbound::{
        Account, Click, Exotel, Outbound, OutboundQueue, Request, Rules, SmsSettings, Step, Task, Text,
        clock::World, limiter::Limiter,
    },
};
use table::{EventOwner, Table};
use tokio::{
    sync::Notify,
    task::{LocalSet, spawn_local},
    time::Instant,
};

use crate::{
    database::{Database, Fate},
    exotel_model::{Fault, Model, Mood, SharedModel, answer},
};

/// Schedules that the test command plays.
const SCHEDULES: u64 = 1_000;
/// Lambda stops a function after this.
const LONGEST_RUN: Duration = Duration::from_secs(30);
/// A message that was not deleted comes again after this.
const VISIBILITY: Duration = Duration::from_secs(180);
/// From then on Exotel and AWS answer whoever asks.
const CALM_AFTER: Duration = Duration::from_secs(200 * 60);
/// After so many receipts the queue itself moves a message away.
const RECEIPTS: u32 = 5;

/// One run of a function: after so many requests it is stopped.
struct Run {
    left: AtomicI64,
    stopped: Notify,
}

tokio::task_local! {
    static RUN: Arc<Run>;
}

/// Virtual time and seeded randomness.
struct Virtual {
    start: Instant,
    epoch: Timestamp,
    dice: Mutex<ChaCha8Rng>,
}

impl World for Virtual {
    fn now(&self) -> Timestamp {
        self.epoch + SignedDuration::try_from(self.start.elapsed()).unwrap()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn random(&self) -> u128 {
        let mut dice = self.dice.lock().unwrap();
        u128::from(dice.next_u64()) << 64 | u128::from(dice.next_u64())
    }
}

impl Virtual {
    fn range(&self, range: std::ops::Range<u64>) -> u64 {
        self.dice.lock().unwrap().random_range(range)
    }

    fn percent(&self, percent: u64) -> bool {
        self.range(0..100) < percent
    }

    /// After some hours nothing fails any more (functions are still stopped): what can be found out must be.
    fn is_calm(&self) -> bool {
        self.start.elapsed() > CALM_AFTER
    }
}

/// What the functions' requests go through.
struct Wires {
    world: Arc<Virtual>,
    flaky: u64,
}

impl Wires {
    /// Decides about one request of the run that makes it.
    async fn fate(&self) -> Fate {
        tokio::time::sleep(Duration::from_micros(self.world.range(1_000..20_000))).await;
        if let Ok(run) = RUN.try_with(Arc::clone)
            && run.left.fetch_sub(1, Ordering::Relaxed) == 0
        {
            run.stopped.notify_one();
            return if self.world.percent(50) {
                Fate::StoppedBefore
            } else {
                Fate::StoppedAfter
            };
        }
        if RUN.try_with(|_| ()).is_ok() && !self.world.is_calm() && self.world.percent(self.flaky) {
            return if self.world.percent(50) {
                Fate::Lost
            } else {
                Fate::AnswerLost
            };
        }
        Fate::Answered
    }
}

/// The model, reached over the wire.
#[derive(Clone)]
struct Line {
    model: SharedModel,
    wires: Arc<Wires>,
    calls_back: Rc<Notify>,
}

impl Exotel for Line {
    async fn send<R: exotel::Request>(&self, request: &R) -> Result<R::Answer, exotel::Error> {
        request.check()?;
        let fields = |list: Vec<(std::borrow::Cow<'static, str>, String)>| -> BTreeMap<String, String> {
            list.into_iter()
                .map(|(name, value)| (name.into_owned(), value))
                .collect()
        };
        let form = request.form().map(fields);
        let fate = self.wires.fate().await;
        if fate == Fate::StoppedBefore {
            std::future::pending::<()>().await;
        }
        let now = self.wires.world.now();
        let (fault, (status, body)) = {
            let mut model = self.model.borrow_mut();
            let calm = self.wires.world.is_calm();
            let fault = match fate {
                Fate::Lost => Fault::Reset,
                Fate::AnswerLost => Fault::ResetAfter,
                Fate::StoppedAfter => Fault::None,
                _ => model.fault(form.is_none(), calm),
            };
            (
                fault,
                model.carry_out(&request.path(), &fields(request.query()), form, fault, now),
            )
        };
        self.calls_back.notify_one();
        if fate == Fate::StoppedAfter {
            std::future::pending::<()>().await;
        }
        answer(request, fault, status, body).await
    }
}

/// The caller id is affected, and another ExoPhone is not; after an hour without a word, nobody knows any more.
async fn passed_over(table: &Table, now: Timestamp) {
    use domain::health::{AccountStatus, Listed, ListedExoPhone, Push};
    let sids = ["08045550100", "08045550199"].map(|sid| sid.parse().unwrap());
    let listed = sids.clone().map(|sid: domain::ids::ExoPhoneSid| ListedExoPhone {
        number: Some(sid.to_string()),
        sid,
        name: None,
        voice: Some(true),
        sms: None,
    });
    let lists = Listed {
        outgoing_affected: vec![sids[0].clone()],
        ..Listed::default()
    };
    let push = Push::new(now, AccountStatus::Warning, lists);
    table
        .change_exophone_health(|health| {
            health.hear_list(listed.to_vec(), now);
            health.hear_push(&push, now);
        })
        .await
        .unwrap();
}

/// A message in a queue.
#[derive(Clone)]
struct Message {
    queue: String,
    body: String,
    due: Instant,
    receipts: u32,
}

/// A click or text, as its caller sees it.
#[derive(Debug, Clone)]
struct Wanted {
    /// What makes it one: the key, or the moment on this lead.
    identity: String,
    ids: BTreeSet<String>,
    /// Ids whose row was answered with 201, 202 or 502.
    answered: BTreeSet<String>,
}

struct Stage {
    world: Arc<Virtual>,
    wires: Arc<Wires>,
    database: Database,
    table: Table,
    outbound: Outbound,
    account: Account<Line>,
    queue: OutboundQueue,
    inbox: Inbox,
    replay: Replay,
    model: SharedModel,
    calls_back: Rc<Notify>,
    /// Something was sent to a queue.
    sent: Notify,
    kills: u64,
    messages: RefCell<Vec<Message>>,
    dead: RefCell<Vec<String>>,
    busy: RefCell<u32>,
    wanted: RefCell<Vec<Wanted>>,
    /// Deliveries answered with 200: locator and body.
    receipts: RefCell<Vec<(String, String)>>,
    /// Rows that were final, and stay so.
    closed: RefCell<BTreeSet<String>>,
    story: RefCell<Vec<String>>,
}

impl Stage {
    fn tell(&self, line: impl std::fmt::Display) {
        let at = self.world.start.elapsed().as_millis();
        self.story.borrow_mut().push(format!("{at:>9} ms  {line}"));
    }

    /// Runs a function, which may be stopped; `None` if it was.
    async fn run<T>(&self, name: &str, work: impl Future<Output = T>) -> Option<T> {
        let left = if self.world.percent(self.kills) {
            self.world.range(0..12) as i64
        } else {
            i64::MAX
        };
        let run = Arc::new(Run {
            left: AtomicI64::new(left),
            stopped: Notify::new(),
        });
        *self.busy.borrow_mut() += 1;
        let ended = tokio::select! {
            ended = RUN.scope(Arc::clone(&run), work) => Some(ended),
            () = run.stopped.notified() => None,
            () = tokio::time::sleep(LONGEST_RUN) => None,
        };
        *self.busy.borrow_mut() -= 1;
        if ended.is_none() {
            self.tell(format!("{name} was stopped"));
        }
        self.collect();
        ended
    }

    /// Moves what was sent into the queues.
    fn collect(&self) {
        let all = self.database.take_sent();
        if !all.is_empty() {
            self.sent.notify_one();
        }
        for sent in all {
            if sent.queue.ends_with("dlq") {
                self.tell(format!("dead: {}", sent.body));
                self.dead.borrow_mut().push(sent.body);
            } else {
                let due = Instant::now()
                    + Duration::from_secs(sent.delay_secs)
                    + Duration::from_millis(self.world.range(5..300));
                let message = Message {
                    queue: sent.queue,
                    body: sent.body,
                    due,
                    receipts: 0,
                };
                // At least once.
                if self.world.percent(5) {
                    let due = due + Duration::from_millis(self.world.range(0..20_000));
                    self.messages.borrow_mut().push(Message {
                        due,
                        ..message.clone()
                    });
                }
                self.messages.borrow_mut().push(message);
            }
        }
    }

    /// One request of a person, as a door handles it.
    async fn click(&self, scope: Scope, lead: Lead, at: usize, text: Option<String>) {
        let caller = Caller {
            user_id: scope.user.clone(),
            role: Role::Sales,
        };
        let now = self.world.now();
        let id = match &text {
            None => CallId::new(now, self.world.random()).to_string(),
            Some(_) => SmsId::new(now, self.world.random()).to_string(),
        };
        self.wanted.borrow_mut()[at].ids.insert(id.clone());
        let parts = [lead.id.as_str(), text.as_deref().unwrap_or_default()];
        let wait = matches!(scope.sameness, Sameness::Moment { .. });
        let begun = self.outbound.begin(&scope, id, &parts, wait).await;
        let (record, resumed) = match begun {
            Ok(Request::Do { record, resumed }) => (record, resumed),
            Ok(other) => return self.tell(format!("click {at}: {other:?}")),
            Err(error) => return self.tell(format!("click {at}: {error}")),
        };
        let id = record.subject.clone();
        self.wanted.borrow_mut()[at].ids.insert(id.clone());
        let (caller, lead) = (&caller, &lead);
        let placed = match &text {
            None => {
                let id = &id.parse().unwrap();
                let click = Click {
                    caller,
                    lead,
                    id,
                    resumed,
                };
                let placed = self.outbound.place_call(&self.account, &self.queue, click).await;
                placed.map(|placed| format!("{:?}", placed.row().outcome()))
            }
            Some(body) => {
                let id = &id.parse().unwrap();
                let text = Text {
                    caller,
                    lead,
                    id,
                    body,
                    resumed,
                };
                let placed = self.outbound.send_sms(&self.account, &self.queue, text).await;
                placed.map(|placed| placed.row().progress.state.status().to_owned())
            }
        };
        match placed {
            Ok(outcome) => {
                self.tell(format!("click {at}: {id} {outcome}"));
                self.outbound
                    .finish(
                        &scope,
                        &record,
                        &Answer {
                            status: 201,
                            body: id.clone(),
                        },
                    )
                    .await;
                self.wanted.borrow_mut()[at].answered.insert(id);
            }
            Err(error) => {
                self.tell(format!("click {at}: {id} {error}"));
                self.outbound.abandon(&scope, &record, resumed).await;
            }
        }
    }

    /// Delivers the callbacks of calls and messages as they are taken.
    async fn call_back(self: Rc<Self>) {
        let mut seen = 0;
        loop {
            self.calls_back.notified().await;
            let fresh = self.model.borrow().taken[seen..].to_vec();
            seen += fresh.len();
            for taken in fresh {
                self.tell(format!("Exotel took {} as {}", taken.locator, &taken.sid[..6]));
                for (at, body) in taken.callbacks.clone() {
                    let (stage, taken) = (Rc::clone(&self), taken.clone());
                    *self.busy.borrow_mut() += 1;
                    spawn_local(async move {
                        let wait = at.duration_since(stage.world.now());
                        tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()).await;
                        stage.deliver(&taken.locator, taken.is_call, &body).await;
                        *stage.busy.borrow_mut() -= 1;
                    });
                }
            }
        }
    }

    async fn deliver(&self, locator: &str, is_call: bool, body: &str) {
        let webhook = if is_call { Webhook::Call } else { Webhook::Sms };
        for wait in [0, 30, 120] {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            let delivery = Delivery {
                webhook,
                locator: webhook.locator(locator),
                content_type: Some("application/json"),
                query: None,
                body: body.as_bytes(),
                credentials: &[],
            };
            let receipt = self
                .run("webhook", self.inbox.receive(delivery, self.world.now()))
                .await;
            if let Some(Receipt::Kept { .. }) = receipt {
                self.tell(format!(
                    "callback {} {receipt:?}",
                    body.split(',').take(3).collect::<Vec<_>>().join(",")
                ));
                self.receipts
                    .borrow_mut()
                    .push((locator.to_owned(), body.to_owned()));
                return;
            }
        }
    }

    /// Gives messages to the workers when they are due.
    async fn pump(self: Rc<Self>) {
        loop {
            let due = self.messages.borrow().iter().map(|message| message.due).min();
            tokio::select! {
                () = self.sent.notified() => {}
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            let now = Instant::now();
            let ready: Vec<Message> = {
                let mut messages = self.messages.borrow_mut();
                let ready = messages
                    .iter()
                    .filter(|message| message.due <= now)
                    .cloned()
                    .collect();
                messages.retain(|message| message.due > now);
                ready
            };
            for message in ready {
                let stage = Rc::clone(&self);
                *self.busy.borrow_mut() += 1;
                spawn_local(async move {
                    stage.consume(message).await;
                    *stage.busy.borrow_mut() -= 1;
                });
            }
        }
    }

    async fn consume(&self, mut message: Message) {
        message.receipts += 1;
        let done = if message.queue == "outbound" {
            self.run("retry-outbound", self.work(&message.body)).await
        } else {
            let task = serde_json::from_str(&message.body).unwrap();
            self.run("replay-events", async { self.replay.run(task).await.is_ok() })
                .await
        };
        if done == Some(true) {
            return;
        }
        if message.receipts >= RECEIPTS {
            self.tell(format!("moved away: {}", message.body));
            self.dead.borrow_mut().push(message.body);
        } else {
            message.due = Instant::now() + VISIBILITY;
            self.messages.borrow_mut().push(message);
            self.sent.notify_one();
        }
    }

    /// A worker's record loop, as lambda-kit has it: what comes next is sent before this message leaves.
    async fn work(&self, body: &str) -> bool {
        let task: Task = serde_json::from_str(body).unwrap();
        match self.outbound.work(Some(&self.account), task).await {
            Step::Done => true,
            Step::Next { task, delay } => self.queue.send(&task, delay).await.is_ok(),
            Step::Dead { reason } => self.queue.bury(body, &reason).await.is_ok(),
            Step::Retry { .. } => false,
        }
    }

    /// Keeps the list of open rows, as project-events does from the stream; gives those that are open.
    async fn project(&self) -> Vec<String> {
        let mut open = vec![];
        for id in self.ids() {
            if self.closed.borrow().contains(&id) {
                continue;
            }
            let is_final = if let Ok(call) = id.parse::<CallLocator>() {
                let Some(row) = self.table.call(&call).await.unwrap() else {
                    continue;
                };
                let is_final = row.exotel().unwrap().progress.state.is_final();
                match is_final {
                    true => self.table.close_call(&call).await.unwrap(),
                    false => self.table.open_call(&call).await.unwrap(),
                }
                is_final
            } else {
                let sms: SmsLocator = id.parse().unwrap();
                let Some(row) = self.table.sms(&sms).await.unwrap() else {
                    continue;
                };
                let is_final = row.progress.state.is_final();
                match is_final {
                    true => self.table.close_sms(&sms).await.unwrap(),
                    false => self.table.open_sms(&sms).await.unwrap(),
                }
                is_final
            };
            if is_final {
                self.closed.borrow_mut().insert(id);
            } else {
                open.push(id);
            }
        }
        open
    }

    /// Every locator that may have a row.
    fn ids(&self) -> Vec<String> {
        let wanted = self.wanted.borrow();
        let lead = |wanted: &Wanted| wanted.identity.split(' ').next().unwrap().to_owned();
        wanted
            .iter()
            .flat_map(|w| w.ids.iter().map(move |id| format!("{id}.{}", lead(w))))
            .collect()
    }

    /// Whether nothing is under way or waits.
    fn is_quiet(&self) -> bool {
        *self.busy.borrow() == 0 && self.messages.borrow().is_empty()
    }
}

/// What one schedule came to.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    clicks: u64,
    taken: u64,
    rows: u64,
    lost: u64,
    refused: u64,
    expired: u64,
    gave_up: u64,
    dead: u64,
    writes: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        let Self {
            clicks,
            taken,
            rows,
            lost,
            refused,
            expired,
            gave_up,
            dead,
            writes,
        } = other;
        self.clicks += clicks;
        self.taken += taken;
        self.rows += rows;
        self.lost += lost;
        self.refused += refused;
        self.expired += expired;
        self.gave_up += gave_up;
        self.dead += dead;
        self.writes += writes;
    }
}

fn lead(seed: u64, n: u64, phone: u64) -> Lead {
    Lead {
        id: format!("lead-{seed}-{n}").parse().unwrap(),
        name: "Asha Rao".to_owned(),
        phone: format!("+9198111000{phone:02}").parse().unwrap(),
        owning_sales_head_id: None,
        assigned_to: None,
        call_count: 0,
        last_contacted_at: None,
    }
}

async fn play(seed: u64) -> Result<Counts, String> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let world = Arc::new(Virtual {
        start: Instant::now(),
        epoch: "2026-11-20T08:30:00Z".parse().unwrap(),
        dice: Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ 0x5eed)),
    });
    let calm = dice.random_ratio(1, 8);
    let mood = Mood {
        faulty: if calm { 0 } else { dice.random_range(0..80) },
        dropped: [0, 25, 60, 100][dice.random_range(0..4)],
        repeated: dice.random_range(0..40),
        late: dice.random_range(0..60),
        blind: dice.random_range(0..50),
        favourite: [
            None,
            None,
            Some(Fault::TooMany),
            Some(Fault::Unavailable),
            Some(Fault::HangAfter),
            Some(Fault::ResetAfter),
        ][dice.random_range(0..6)],
    };
    let wires = Arc::new(Wires {
        world: Arc::clone(&world),
        flaky: if dice.random_ratio(1, 3) {
            dice.random_range(1..6)
        } else {
            0
        },
    });
    let kills = if dice.random_ratio(1, 2) {
        dice.random_range(5..60)
    } else {
        0
    };
    let database = Database::new();
    let wire = {
        let wires = Arc::clone(&wires);
        Arc::new(move |_: &str| {
            let wires = Arc::clone(&wires);
            Box::pin(async move { wires.fate().await }) as Pin<Box<dyn Future<Output = Fate> + Send>>
        })
    };
    let aws = database.aws(wire.clone());
    let table = database.table(wire);
    let model: SharedModel = Rc::new(RefCell::new(Model::new(seed, mood)));
    let calls_back = Rc::new(Notify::new());
    let account = Account {
        exotel: Line {
            model: Rc::clone(&model),
            wires: Arc::clone(&wires),
            calls_back: Rc::clone(&calls_back),
        },
        caller_id: "+918045550100".parse().unwrap(),
        sms: SmsSettings {
            sender: "ACMEIN".to_owned(),
            sms_type: None,
            dlt_entity_id: None,
            dlt_template_id: None,
        },
        bot: None,
        call_callback: Arc::new(|call| format!("https://hooks.example.in/{call}")),
        sms_callback: Arc::new(|sms| format!("https://hooks.example.in/{sms}")),
    };
    let plenty = Quota {
        per_hour: None,
        per_day: 10_000,
    };
    let rules = Rules {
        enabled: true,
        destinations: Destinations::Country(Country::IN),
        quotas: Quotas {
            user: plenty,
            lead: plenty,
            account: plenty,
        },
        zone: TimeZone::UTC,
        country: Country::IN,
    };
    // In half of them, the caller id cannot call at first: calls show another ExoPhone.
    if seed.is_multiple_of(2) {
        passed_over(&database.quiet_table(), world.now()).await;
    }
    // Some schedules have hardly any slots, so that clicks are queued.
    let budget = [200, 200, 10, 4][dice.random_range(0..4)];
    let limiter = Limiter::new(table.clone(), world.clone(), budget, budget);
    let stage = Rc::new(Stage {
        outbound: Outbound::new(table.clone(), limiter, world.clone(), rules),
        queue: OutboundQueue::connect(
            &aws,
            "https://sqs.invalid/1/outbound",
            Some("https://sqs.invalid/1/outbound-dlq".to_owned()),
        ),
        inbox: Inbox::new(
            table.clone(),
            WebhookQueue::new(aws, "https://sqs.invalid/1/webhook-events"),
        ),
        replay: Replay::new(table.clone()),
        table: database.quiet_table(),
        account,
        database,
        model,
        calls_back,
        kills,
        wires,
        world,
        sent: Notify::new(),
        messages: RefCell::default(),
        dead: RefCell::default(),
        busy: RefCell::default(),
        wanted: RefCell::default(),
        receipts: RefCell::default(),
        closed: RefCell::default(),
        story: RefCell::default(),
    });
    stage.tell(format!(
        "seed {seed}: {mood:?}, {kills} % stopped, {} % flaky, {budget} a minute",
        stage.wires.flaky
    ));

    // Two leads, sometimes with the same number, and two people who click.
    let leads = [lead(seed, 0, 1), lead(seed, 1, dice.random_range(1..3))];
    for lead in &leads {
        stage.table.put_lead(lead).await.unwrap();
    }
    for n in 0..2 {
        let phone = Some(format!("+91981110009{n}").parse().unwrap());
        let id = format!("user-{n}").parse().unwrap();
        stage
            .table
            .put_user(&User {
                id,
                phone,
                full_name: None,
                email: None,
                role: None,
            })
            .await
            .unwrap();
    }
    spawn_local(Rc::clone(&stage).call_back());
    spawn_local(Rc::clone(&stage).pump());
    let clicks = dice.random_range(1..6);
    for n in 0..clicks {
        let lead = leads[dice.random_range(0..2)].clone();
        let user = format!("user-{}", dice.random_range(0..2));
        let text = dice.random_ratio(1, 4).then(|| format!("Text {n}"));
        let keyed = dice.random_ratio(2, 3);
        let identity = format!("{} {n}", lead.id);
        stage.wanted.borrow_mut().push(Wanted {
            identity,
            ids: BTreeSet::new(),
            answered: BTreeSet::new(),
        });
        let scope = Scope {
            user: user.parse().unwrap(),
            route: if text.is_some() { "sms" } else { "exotel-call" },
            sameness: if keyed {
                Sameness::Key(format!("key-{n}").parse().unwrap())
            } else {
                Sameness::Moment {
                    lead: lead.id.clone(),
                    content: text.clone().unwrap_or_default(),
                }
            },
        };
        // A person, or the CRM, repeats it: at once, in a second, or with the key later.
        let repeats = dice.random_range(0..3);
        for repeat in 0..=repeats {
            let after = match repeat {
                0 => 0,
                _ if keyed => [30, 1_500, 40_000, 90_000][dice.random_range(0..4)],
                _ => dice.random_range(10..2_000),
            };
            let (stage, scope, lead, text) = (Rc::clone(&stage), scope.clone(), lead.clone(), text.clone());
            *stage.busy.borrow_mut() += 1;
            spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                stage.run("click", stage.click(scope, lead, n, text)).await;
                *stage.busy.borrow_mut() -= 1;
            });
        }
        // Without a key, what comes within five seconds is the same click: another one comes later.
        let pause = if keyed {
            dice.random_range(0..40_000)
        } else {
            dice.random_range(8_000..40_000)
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    finish(&stage).await;
    let counts = judge(&stage).await;
    counts.map_err(|wrong| format!("seed {seed}: {wrong}\n{}", stage.story.borrow().join("\n")))
}

/// Lets a day pass, with a sweep whenever an open row is due, until everything is final.
async fn finish(stage: &Stage) {
    let mut open = stage.project().await;
    for minute in 1..=(26 * 60) {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let is_due = |id: &String| {
            let age = |created: Timestamp| stage.world.now().duration_since(created);
            match id.parse::<CallLocator>() {
                Ok(call) => retry::is_call_swept(age(call.id.created_at())),
                Err(_) => retry::is_sms_swept(age(id.parse::<SmsLocator>().unwrap().id.created_at())),
            }
        };
        if !open.iter().any(is_due) {
            // Nobody needs the sweep; a message or a callback may still be on its way.
            if open.is_empty() && stage.is_quiet() {
                open = stage.project().await;
                if open.is_empty() {
                    return;
                }
            }
            continue;
        }
        let until = stage.world.now() + SignedDuration::from_secs(20);
        if let Some(swept) = stage
            .run("sweep", stage.outbound.sweep(Some(&stage.account), until))
            .await
        {
            stage.tell(format!("swept at minute {minute}: {swept:?}"));
        }
        open = stage.project().await;
    }
}

async fn judge(stage: &Stage) -> Result<Counts, String> {
    let taken = stage.model.borrow().taken.clone();
    let mut counts = Counts {
        taken: taken.len() as u64,
        dead: stage.dead.borrow().len() as u64,
        ..Counts::default()
    };
    let wanted = stage.wanted.borrow().clone();
    let mut rows = BTreeMap::new();
    let pairs = pairs(stage).await;
    let receipts = stage.receipts.borrow().clone();
    for wanted in &wanted {
        counts.clicks += 1;
        let lead = wanted.identity.split(' ').next().unwrap();
        let mine: Vec<_> = taken
            .iter()
            .filter(|t| {
                t.locator.rsplit('.').next() == Some(lead)
                    && wanted.ids.contains(t.locator.split('.').next().unwrap())
            })
            .collect();
        if mine.len() > 1 {
            return Err(format!(
                "{} was rung {} times: {mine:?}",
                wanted.identity,
                mine.len()
            ));
        }
        for id in &wanted.ids {
            let locator = format!("{id}.{lead}");
            let known = mine.iter().find(|t| t.locator == locator).copied();
            let (state, row_sid, agrees) = if let Ok(call) = locator.parse::<CallLocator>() {
                let Some(row) = stage.table.call(&call).await.unwrap() else {
                    if known.is_some() || wanted.answered.contains(id) {
                        return Err(format!("{locator} has no row"));
                    }
                    continue;
                };
                rows.entry(lead.to_owned()).or_insert_with(Vec::new).push(true);
                let progress = &row.exotel().unwrap().progress;
                if !progress.state.is_final() {
                    return Err(format!("{locator} is not final: {progress:?}"));
                }
                let unplaced = matches!(
                    progress.state,
                    CallState::Refused | CallState::Expired | CallState::GaveUp
                );
                if unplaced && known.is_some() {
                    return Err(format!(
                        "{locator} is {:?}, and somebody was rung",
                        progress.state
                    ));
                }
                let agrees = known.is_none_or(|t| {
                    let talked = progress.talk_secs.as_ref().map_or(t.talk_secs, |talk| talk.value)
                        == t.talk_secs
                        || progress
                            .lead_leg
                            .as_ref()
                            .is_some_and(|leg| leg.value == LegStatus::NotAttempted);
                    !progress.state.is_terminal()
                        || (CallState::from_exotel(t.status, None) == Some(progress.state) && talked)
                });
                (
                    format!("{:?}", progress.state),
                    progress.sid.as_ref().map(ToString::to_string),
                    agrees,
                )
            } else {
                let sms: SmsLocator = locator.parse().unwrap();
                let Some(row) = stage.table.sms(&sms).await.unwrap() else {
                    if known.is_some() || wanted.answered.contains(id) {
                        return Err(format!("{locator} has no row"));
                    }
                    continue;
                };
                let state = row.progress.state;
                if !state.is_final() && state != SmsState::Sent {
                    return Err(format!("{locator} is not final: {:?}", row.progress));
                }
                let unsent = matches!(state, SmsState::Refused | SmsState::Expired | SmsState::GaveUp);
                if unsent && known.is_some() {
                    return Err(format!("{locator} is {state:?}, and it was sent"));
                }
                (
                    format!("{state:?}"),
                    row.progress.sid.as_ref().map(ToString::to_string),
                    true,
                )
            };
            counts.rows += 1;
            match state.as_str() {
                "Lost" => counts.lost += 1,
                "Refused" => counts.refused += 1,
                "Expired" => counts.expired += 1,
                "GaveUp" => counts.gave_up += 1,
                _ => {}
            }
            if let (Some(sid), Some(t)) = (&row_sid, known)
                && *sid != t.sid
            {
                return Err(format!("{locator} has another call's sid"));
            }
            if row_sid.is_some() && known.is_none() {
                return Err(format!("{locator} was never placed, and has a sid"));
            }
            if !agrees {
                return Err(format!("{locator} is {state}, Exotel says {known:?}"));
            }
            // The only call between two numbers is found in Exotel's list, and one with a sid by it.
            let alone = pairs
                .get(&locator)
                .is_some_and(|pair| pairs.values().filter(|other| *other == pair).count() == 1);
            if state == "Lost" && known.is_some_and(|t| t.is_call) && (alone || row_sid.is_some()) {
                return Err(format!("{locator} is lost, and Exotel knows it: {known:?}"));
            }
            let told = stage
                .receipts
                .borrow()
                .iter()
                .any(|(to, body)| *to == locator && body.contains("terminal"));
            if state == "Lost" && told {
                return Err(format!("{locator} is lost although its end was reported"));
            }
        }
    }
    for taken in &taken {
        if !wanted
            .iter()
            .any(|w| w.ids.contains(taken.locator.split('.').next().unwrap()))
        {
            return Err(format!("{} was taken for nobody", taken.locator));
        }
    }
    // Every delivery that was answered with 200 is kept, as it came.
    for (locator, body) in &receipts {
        let owner = match locator.parse() {
            Ok(call) => EventOwner::Call(call),
            Err(_) => EventOwner::Sms(locator.parse().unwrap()),
        };
        let kept = stage.table.raw_events_of(&owner).await.unwrap();
        if !kept.iter().any(|event| event.body == body.as_bytes()) {
            return Err(format!("an event of {locator} was taken and is not kept: {body}"));
        }
    }
    // The counter moves with the log.
    for (lead, rows) in rows {
        let row = stage.table.lead(&lead.parse().unwrap()).await.unwrap().unwrap();
        if row.call_count != rows.len() as u64 {
            return Err(format!(
                "{lead} counts {} calls and has {}",
                row.call_count,
                rows.len()
            ));
        }
    }
    counts.writes = stage.database.writes();
    Ok(counts)
}

/// The two numbers of every call's row.
async fn pairs(stage: &Stage) -> BTreeMap<String, (String, String)> {
    let mut pairs = BTreeMap::new();
    for id in stage.ids() {
        let Ok(call) = id.parse::<CallLocator>() else {
            continue;
        };
        if let Some(row) = stage.table.call(&call).await.unwrap() {
            let call = row.exotel().unwrap();
            pairs.insert(id, (call.agent_phone.to_string(), call.lead_phone.to_string()));
        }
    }
    pairs
}

fn play_alone(seed: u64) -> Result<Counts, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, play(seed))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn whatever_goes_wrong_nobody_is_rung_twice_and_nothing_is_lost() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let seeds = match setting("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("SCHEDULES").unwrap_or(SCHEDULES),
    };
    let next = AtomicU64::new(seeds.start);
    let all = Mutex::new((Counts::default(), Vec::<String>::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || all.lock().unwrap().1.len() >= 3 {
                        return;
                    }
                    let counts = play_alone(seed);
                    if seed % 1_000 == 999 {
                        println!("{} schedules begun", seed + 1);
                    }
                    let mut all = all.lock().unwrap();
                    match counts {
                        Ok(counts) => {
                            all.0.add(counts);
                        }
                        Err(wrong) => all.1.push(wrong),
                    }
                }
            });
        }
    });
    let (sum, wrong) = all.into_inner().unwrap();
    println!("{} schedules: {sum:?}", seeds.end - seeds.start);
    assert!(
        wrong.is_empty(),
        "play one again with SEED=<seed> cargo test -p services --test it schedules -- --nocapture\n{}",
        wrong.join("\n\n")
    );
}
