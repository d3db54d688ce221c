//! The limiter in simulated time: many workers with clocks that disagree, late wake-ups, and sudden ends. The real
//! limiter over the real table code; only time is not real.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::outbound_limit::{CLOCK_ERROR, Class, Patience, SLACK};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use services::outbound::{
    clock::World,
    limiter::{Limiter, Permission},
};
use table::{Table, limits::Reserving};
use tokio::time::Instant;

use crate::database::{Database, Fate};

const BUDGET: usize = 200;

/// One worker's clock, up to 50 ms off, and its sleep, from which it wakes late now and then.
struct Host {
    epoch: (Instant, Timestamp),
    off: SignedDuration,
    dice: Mutex<ChaCha8Rng>,
}

impl World for Host {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.epoch.0.elapsed()).unwrap();
        self.epoch.1 + passed + self.off
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let late = {
            let mut dice = self.dice.lock().unwrap();
            // Mostly some milliseconds; one in 500 is frozen for up to twice the slack.
            if dice.random_ratio(1, 500) {
                dice.random_range(0..SLACK.as_micros() as u64 * 2)
            } else {
                dice.random_range(0..8_000)
            }
        };
        Box::pin(tokio::time::sleep(duration + Duration::from_micros(late)))
    }

    fn random(&self) -> u128 {
        u128::from(self.dice.lock().unwrap().next_u64())
    }
}

#[derive(Clone, Copy)]
struct Run {
    workers: usize,
    patience: Patience,
    kills: bool,
    seed: u64,
    minutes: u64,
}

#[derive(Debug)]
struct Figures {
    sends: usize,
    most_in_a_minute: usize,
    used: f64,
    writes_per_send: f64,
}

/// Plays `minutes` of workers that always have something to send.
fn play(run: Run) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(simulate(run))
}

async fn simulate(run: Run) -> Figures {
    let database = Database::new();
    let mut dice = ChaCha8Rng::seed_from_u64(run.seed);
    let start = Instant::now();
    let epoch = (start, "2026-11-20T08:30:00Z".parse().unwrap());
    let sends: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let end = start + Duration::from_secs(60 * run.minutes);

    let spawn = |dice: &mut ChaCha8Rng| {
        let error = i64::try_from(CLOCK_ERROR.as_micros()).unwrap();
        let host = Host {
            epoch,
            off: SignedDuration::from_micros(dice.random_range(-error..=error)),
            dice: Mutex::new(ChaCha8Rng::seed_from_u64(dice.next_u64())),
        };
        let table = slow_table(&database, dice.next_u64());
        let limiter = Limiter::new(table, Arc::new(host), BUDGET as u32, BUDGET as u32);
        tokio::spawn(work(limiter, run.patience, dice.next_u64(), start, sends.clone()))
    };
    let mut workers: Vec<_> = (0..run.workers).map(|_| spawn(&mut dice)).collect();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(dice.random_range(100..900))).await;
        if run.kills {
            // One in three ends at once, wherever it is, and another takes its place.
            let at = dice.random_range(0..workers.len() * 3);
            if let Some(worker) = workers.get_mut(at) {
                worker.abort();
                *worker = spawn(&mut dice);
            }
        }
    }
    for worker in &workers {
        worker.abort();
    }
    let sends = sends.lock().unwrap().clone();
    figures(&sends, database.writes(), run.minutes)
}

/// DynamoDB answers in 2 to 12 ms, half before and half after the item changes.
fn slow_table(database: &Database, seed: u64) -> Table {
    let dice = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
    database.table(Arc::new(move |_| {
        let micros = dice.lock().unwrap().random_range(2_000..12_000);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_micros(micros)).await;
            Fate::Answered
        })
    }))
}

async fn work(
    limiter: Limiter,
    patience: Patience,
    seed: u64,
    start: Instant,
    sends: Arc<Mutex<Vec<Duration>>>,
) {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    loop {
        match limiter
            .slot(Class::Voice, Reserving::ToSend, patience)
            .await
            .unwrap()
        {
            Permission::Go(_) => {
                sends.lock().unwrap().push(start.elapsed());
                // Exotel takes a while to answer.
                tokio::time::sleep(Duration::from_millis(dice.random_range(50..600))).await;
            }
            Permission::Later { at } => {
                let epoch: Timestamp = "2026-11-20T08:30:00Z".parse().unwrap();
                let wait = at.duration_since(epoch) - SignedDuration::try_from(start.elapsed()).unwrap();
                tokio::time::sleep(
                    Duration::try_from(wait)
                        .unwrap_or_default()
                        .max(Duration::from_millis(1)),
                )
                .await;
            }
            Permission::Paused => unreachable!("nobody paused it"),
        }
    }
}

fn figures(sends: &[Duration], writes: u64, minutes: u64) -> Figures {
    let mut sends = sends.to_vec();
    sends.sort();
    let mut most = 0;
    let mut from = 0;
    for to in 0..sends.len() {
        while sends[to] - sends[from] > Duration::from_secs(60) {
            from += 1;
        }
        most = most.max(to - from + 1);
    }
    Figures {
        sends: sends.len(),
        most_in_a_minute: most,
        used: sends.len() as f64 / (BUDGET as f64 * minutes as f64),
        writes_per_send: writes as f64 / sends.len() as f64,
    }
}

#[test]
fn never_more_than_the_budget_leaves_in_any_minute_and_hardly_less() {
    println!("workers  patience  killed  sends  most in 60 s  used    writes per send");
    for (workers, patience, kills) in [
        (1, Patience::Queued, false),
        (8, Patience::Queued, false),
        (10, Patience::Queued, false),
        (10, Patience::Bulk, false),
        (32, Patience::Queued, false),
        (64, Patience::Queued, false),
        (8, Patience::Bulk, false),
        (64, Patience::Bulk, false),
        (1, Patience::Queued, true),
        (8, Patience::Queued, true),
        (32, Patience::Queued, true),
        (64, Patience::Bulk, true),
    ] {
        let run = Run {
            workers,
            patience,
            kills,
            seed: workers as u64,
            minutes: if workers > 10 { 3 } else { 5 },
        };
        let figures = play(run);
        println!(
            "{workers:>7}  {:<8}  {kills:<6}  {:>5}  {:>12}  {:>5.1} %  {:.2}",
            format!("{patience:?}"),
            figures.sends,
            figures.most_in_a_minute,
            figures.used * 100.0,
            figures.writes_per_send
        );
        assert!(
            figures.most_in_a_minute <= BUDGET,
            "{workers} workers: {figures:?}"
        );
        if workers >= 8 && !kills {
            assert!(figures.used >= 0.98, "{workers} workers: {figures:?}");
        }
        if workers == 10 {
            assert!(figures.writes_per_send <= 1.1, "{workers} workers: {figures:?}");
        }
    }
}
