//! One function as a child process.

use std::{
    collections::{BTreeMap, VecDeque},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    answer::{Answer, Deadline},
    error::Error,
    process::{Process, Usage},
    server::{Api, Event, Init},
};

/// Lines of output that are kept; a function that says more loses the oldest.
const LOG_LINES: usize = 2_000;

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    timeout: Duration,
    memory_mb: u32,
}

impl Launch {
    /// A `bootstrap`, or any program that speaks the Runtime API.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            timeout: Duration::from_secs(30),
            memory_mb: 128,
        }
    }

    /// Adds an argument, for runtimes that take their handler that way (`node index.mjs`).
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable. The function sees these, Lambda's own and `PATH`, nothing else.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// How long one invocation may take until its last byte; 30 s unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The memory size that the function is told, in MB; 128 unless set. It is not enforced.
    #[must_use]
    pub fn memory_mb(mut self, memory_mb: u32) -> Self {
        self.memory_mb = memory_mb;
        self
    }

    fn function_name(&self) -> String {
        self.program
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    fn command(&self, runtime_api: &str) -> Command {
        let name = self.function_name();
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
            .env("AWS_LAMBDA_FUNCTION_NAME", &name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_mb.to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "local")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .env(
                "LAMBDA_TASK_ROOT",
                self.program.parent().unwrap_or(Path::new(".")),
            )
            .env("_HANDLER", "bootstrap")
            .env("LANG", "en_US.UTF-8")
            .env("TZ", ":UTC")
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

/// A running function. Dropping it kills the process.
#[derive(Debug)]
pub struct Function {
    process: Process,
    timeout: Duration,
    events: mpsc::UnboundedSender<Event>,
    next_id: AtomicU64,
    init: watch::Receiver<Init>,
    exited: watch::Receiver<Option<ExitStatus>>,
    kill: mpsc::Sender<()>,
    log: Arc<Mutex<VecDeque<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Function {
    /// Starts the process and the Runtime API it talks to, on a free loopback port. Does not wait for its
    /// init.
    pub async fn start(launch: Launch) -> Result<Self, Error> {
        let cannot = |source| Error::Start {
            program: launch.program.display().to_string(),
            source,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?.to_string();
        let started = std::time::Instant::now();
        let mut child = launch.command(&address).spawn().map_err(cannot)?;
        let pid = child
            .id()
            .ok_or_else(|| cannot(std::io::Error::other("it ended at once")))?;

        let process = Process(pid);
        let (events, events_out) = mpsc::unbounded_channel();
        let (init_in, init) = watch::channel(Init::Running);
        let (exited_in, exited) = watch::channel(None);
        let (kill, kill_out) = mpsc::channel(1);
        let log = Arc::default();
        // The connections are accepted from here on, so the process is known before it can ask for an event.
        let api = Arc::new(Api::new(
            launch.function_name(),
            process,
            started,
            init_in,
            events_out,
        ));
        let mut tasks = vec![tokio::spawn(api.serve(listener))];
        let outputs = [child.stdout.take().map(boxed), child.stderr.take().map(boxed)];
        tasks.extend(
            outputs
                .into_iter()
                .flatten()
                .map(|output| tokio::spawn(keep(output, Arc::clone(&log)))),
        );
        tasks.push(tokio::spawn(watch_over(child, kill_out, exited_in)));
        Ok(Self {
            process,
            timeout: launch.timeout,
            events,
            next_id: AtomicU64::new(1),
            init,
            exited,
            kill,
            log,
            tasks,
        })
    }

    /// Waits until the function asks for its first event; gives the wall and CPU time that its init took.
    pub async fn ready(&self) -> Result<(Duration, Duration), Error> {
        let mut init = self.init.clone();
        let over = async {
            init.wait_for(|init| !matches!(init, Init::Running))
                .await
                .map(|init| init.clone())
        };
        match self.unless_exited(over).await? {
            Ok(Init::Done(wall, Some(cpu))) => Ok((wall, cpu)),
            Ok(Init::Failed(failure)) => Err(Error::Init(failure)),
            Ok(_) | Err(_) => Err(Error::Unmeasured {
                pid: self.process.0,
                source: std::io::Error::other("init was not measured"),
            }),
        }
    }

    /// Hands one event over and waits for the head of its response. Events given at the same time wait for
    /// each other.
    pub async fn invoke(&self, event: impl Into<Bytes>) -> Result<Answer, Error> {
        let (respond, response) = oneshot::channel();
        let request_id = format!(
            "00000000-0000-4000-8000-{:012}",
            self.next_id.fetch_add(1, Ordering::Relaxed)
        );
        let deadline = Deadline {
            at: Instant::now() + self.timeout,
            timeout: self.timeout,
            kill: self.kill.clone(),
        };
        let event = Event {
            request_id: request_id.clone(),
            payload: event.into(),
            deadline: SystemTime::now() + self.timeout,
            respond,
        };
        let sent = self.events.send(event).is_ok();
        let answer = async {
            match response.await {
                Ok(arriving) if sent => Answer::open(request_id, arriving?, deadline.clone()).await,
                _ => std::future::pending().await,
            }
        };
        deadline.hold(self.unless_failed(answer)).await??
    }

    async fn unless_failed<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        let mut init = self.init.clone();
        tokio::select! {
            biased;
            value = self.unless_exited(answer) => value,
            Ok(init) = init.wait_for(|init| matches!(init, Init::Failed(_))) => match &*init {
                Init::Failed(failure) => Err(Error::Init(failure.clone())),
                Init::Running | Init::Done(..) => unreachable!("waited for a failure"),
            },
        }
    }

    async fn unless_exited<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        let mut exited = self.exited.clone();
        tokio::select! {
            biased;
            value = future => Ok(value),
            Ok(status) = exited.wait_for(Option::is_some) => match (&*self.init.borrow(), *status) {
                (Init::Failed(failure), _) => Err(Error::Init(failure.clone())),
                (_, Some(status)) => Err(Error::Exited { status, log: self.last_words() }),
                (_, None) => unreachable!("waited for a status"),
            },
        }
    }

    /// CPU and memory of the process until now.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.process.usage()
    }

    /// Lets [`Usage::peak_rss_bytes`] start again from what is resident now.
    pub fn reset_peak(&self) -> Result<(), Error> {
        self.process.reset_peak()
    }

    /// What the function wrote to stdout and stderr, a line each, the last 2 000.
    pub fn log(&self) -> Vec<String> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.0
    }

    fn last_words(&self) -> String {
        let log = self.log();
        log[log.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn boxed(output: impl AsyncRead + Send + 'static) -> std::pin::Pin<Box<dyn AsyncRead + Send>> {
    Box::pin(output)
}

async fn keep(output: impl AsyncRead + Unpin, log: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

/// Holds the child, so that aborting this task kills it.
async fn watch_over(
    mut child: Child,
    mut kill: mpsc::Receiver<()>,
    exited: watch::Sender<Option<ExitStatus>>,
) {
    let status = tokio::select! {
        status = child.wait() => status,
        _ = kill.recv() => match child.kill().await {
            Ok(()) => child.wait().await,
            Err(error) => Err(error),
        },
    };
    if let Ok(status) = status {
        exited.send_replace(Some(status));
    }
}
