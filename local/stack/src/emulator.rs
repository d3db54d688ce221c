//! MiniStack's process.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::{Error, REGION, Venv, venv::last_lines};

/// How long MiniStack may take to listen; it needs 2 s on an idle machine.
const START: Duration = Duration::from_secs(60);

/// A running MiniStack on a free port of 127.0.0.1, with nothing in it.
///
/// It ends, with every function it runs, when this is dropped or the process that holds this ends in any way.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    address: SocketAddr,
    dir: PathBuf,
}

impl Emulator {
    /// Starts MiniStack from `venv`. Logs and extracted code go to `dir`, which is emptied first; `environment` is
    /// what functions inherit beside what the template gives them. Nothing else of ours is inherited, so that no
    /// function can reach a real account.
    ///
    /// # Errors
    /// [`Error::Program`] with the last lines of its log when it ends or does not listen within a minute.
    pub async fn start(
        venv: &Venv,
        dir: &Path,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Error> {
        if dir.exists() {
            fs::remove_dir_all(dir).map_err(Error::file("empty", dir))?;
        }
        let temporary = dir.join("tmp");
        fs::create_dir_all(&temporary).map_err(Error::file("make", &temporary))?;
        let dir = dir.canonicalize().map_err(Error::file("find", dir))?;
        let launcher = dir.join("emulator.py");
        fs::write(&launcher, include_str!("emulator.py")).map_err(Error::file("write", &launcher))?;
        let log_path = dir.join("ministack.log");
        let log = File::create(&log_path).map_err(Error::file("create", &log_path))?;
        let errors = log.try_clone().map_err(Error::file("open again", &log_path))?;

        let address = free_port().await?;
        // Absolute, but the link not followed: being called by this path is what makes it the environment's Python.
        let python = std::path::absolute(venv.python()).map_err(Error::file("find", venv.python()))?;
        let mut child = Command::new(&python)
            .arg(&launcher)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "LANG"))
            .envs(environment)
            .env("PYTHONUNBUFFERED", "1")
            .env("TMPDIR", dir.join("tmp"))
            .env("HOME", dir.join("tmp"))
            .env("S3_DATA_DIR", dir.join("tmp/s3"))
            .env("FUNCTIONS_LOG", dir.join("functions.log"))
            .env("BIND_HOST", Ipv4Addr::LOCALHOST.to_string())
            .env("GATEWAY_PORT", address.port().to_string())
            .env("AWS_ENDPOINT_URL", format!("http://{address}"))
            .env("MINISTACK_REGION", REGION)
            .env("AUTH", "true")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            // Not ours: Ctrl-C on a terminal reaches us alone, and we end it; it ends its group.
            .process_group(0)
            .spawn()
            .map_err(Error::file("start", &python))?;

        let started = Instant::now();
        loop {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(Self { child, address, dir });
            }
            let ended = child.try_wait().map_err(Error::io("wait for MiniStack"))?;
            if ended.is_some() || started.elapsed() > START {
                let said = fs::read_to_string(&log_path).unwrap_or_default();
                let how = ended.map_or_else(
                    || "did not listen in time".to_owned(),
                    |status| format!("ended: {status}"),
                );
                return Err(Error::Program(format!(
                    "MiniStack {how}\n{}",
                    last_lines(&said, 20)
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Where AWS clients reach it.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the functions have printed so far, a line each behind the log group's last part.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read.
    pub fn functions_log(&self) -> Result<String, Error> {
        let path = self.dir.join("functions.log");
        fs::read_to_string(&path).map_err(Error::file("read", path))
    }

    /// Ends it and waits until it and its functions are gone.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be waited for.
    pub async fn stop(mut self) -> Result<(), Error> {
        drop(self.child.stdin.take());
        self.child.wait().await.map_err(Error::io("wait for MiniStack"))?;
        Ok(())
    }
}

async fn free_port() -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(Error::io("find a free port of 127.0.0.1"))?;
    listener
        .local_addr()
        .map_err(Error::io("find a free port of 127.0.0.1"))
}
