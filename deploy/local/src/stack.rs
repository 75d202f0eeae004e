//! Everything on one machine: Postgres, the API, the workers.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::{
    admin,
    child::{Program, Supervised, last_line},
    cli::Machine,
    client::Client,
    data_dir::DataDir,
    postgres::{Options, Postgres},
};

const READY_LIMIT: Duration = Duration::from_secs(60);

/// What runs.
pub struct Stack {
    pub data: DataDir,
    pub database_url: String,
    pub client: Client,
    postgres: Option<Postgres>,
    children: Vec<Supervised>,
    /// Made at this start: told once.
    first_admin: Option<SecretString>,
    let_itself_in: bool,
}

impl Stack {
    /// Starts it all and waits until the API answers.
    pub async fn start(machine: &Machine) -> anyhow::Result<Self> {
        let listen = machine.api_listen.first().context("API_LISTEN names no address")?;
        for address in machine.api_listen.iter().chain(&machine.pages_listen) {
            port_is_free(*address).await?;
        }
        let data = DataDir::open(machine.data_dir.as_deref(), machine.database_url.is_none())?;
        let postgres = match &machine.database_url {
            Some(_) => None,
            None => Some(Postgres::start(data.root(), Options::default()).await?),
        };
        let database_url = match (&machine.database_url, &postgres) {
            (Some(url), _) => url.clone(),
            (None, Some(postgres)) => postgres.url(),
            (None, None) => bail!("no database"),
        };
        bulkhead_shared::db::migrate(&database_url).await?;
        // Before the API starts: where others can reach it, it wants somebody who can log in.
        let first_admin = admin::first(&database_url).await?;
        let client = Client::new(*listen, machine.token.clone());
        let mut stack = Self { client, data, database_url, postgres, children: Vec::new(), first_admin, let_itself_in: false };
        stack.start_children(machine).await?;
        Ok(stack)
    }

    async fn start_children(&mut self, machine: &Machine) -> anyhow::Result<()> {
        let settings = vec![
            ("DATABASE_URL".to_owned(), self.database_url.clone()),
            ("BULKHEAD_SECRET_KEY_FILE".to_owned(), self.data.secret_key()?.display().to_string()),
            ("BULK_DATA_DIR".to_owned(), self.data.blobs().display().to_string()),
            ("API_LISTEN".to_owned(), comma_separated(&machine.api_listen)),
            ("PAGES_LISTEN".to_owned(), comma_separated(&machine.pages_listen)),
        ];
        let api_log = self.log("api");
        self.add("the API", vec!["api-process".to_owned()], &settings, api_log.clone())?;
        for n in 1..=machine.workers {
            let log = self.log(&format!("worker-{n}"));
            self.add(&format!("worker {n}"), vec!["worker-process".to_owned()], &settings, log)?;
        }
        let began = Instant::now();
        while !self.client.is_ready().await {
            if began.elapsed() > READY_LIMIT {
                bail!("the API does not start: {}", last_line(&api_log));
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        Ok(())
    }

    /// So that this very program may call an API that asks who calls, with a token that ends with it.
    pub async fn let_itself_in(&mut self) -> anyhow::Result<()> {
        if self.client.needs_a_token().await {
            self.client = self.client.clone().with_token(admin::own_token(&self.database_url).await?);
            self.let_itself_in = true;
        }
        Ok(())
    }

    /// How to log in.
    pub fn login(&self, machine: &Machine) -> String {
        admin::line(machine, self.first_admin.as_ref())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.data.logs().join(format!("{name}.log"))
    }

    /// One more process of this program, kept running.
    pub fn add(&mut self, name: &str, arguments: Vec<String>, settings: &[(String, String)], log: PathBuf) -> anyhow::Result<()> {
        let program = Program { name: name.to_owned(), arguments, settings: settings.to_vec(), log };
        self.children.push(program.supervise()?);
        Ok(())
    }

    /// The demo's FHIR server, on its port of before if it has one.
    pub async fn add_sandbox(&mut self, port: u16) -> anyhow::Result<SocketAddr> {
        let kept = std::fs::read_to_string(self.data.sandbox_port()).ok().and_then(|text| text.trim().parse().ok());
        let address = SocketAddr::from(([127, 0, 0, 1], kept.unwrap_or(port)));
        port_is_free(address).await?;
        std::fs::write(self.data.sandbox_port(), address.port().to_string())?;
        let arguments = [
            "sandbox-process".to_owned(),
            "--listen".to_owned(),
            address.to_string(),
            "--state".to_owned(),
            self.data.sandbox_state().display().to_string(),
        ];
        let log = self.log("sandbox");
        self.add("the demo's FHIR server", arguments.to_vec(), &[], log)?;
        Ok(address)
    }

    /// A line for the shell that opens psql.
    pub fn psql(&self) -> String {
        match &self.postgres {
            Some(postgres) => postgres.psql_command().unwrap_or_else(|| format!("psql '{}'", self.database_url)),
            None => "psql \"$DATABASE_URL\"".to_owned(),
        }
    }

    /// Ends everything in order: workers hand back what they run.
    pub async fn stop(self) -> anyhow::Result<()> {
        if self.let_itself_in
            && let Err(error) = admin::revoke_own_token(&self.database_url).await
        {
            eprintln!("this program's own token could not be revoked ({error:#}); it expires by itself");
        }
        futures::future::join_all(self.children.into_iter().map(Supervised::stop)).await;
        if let Some(postgres) = self.postgres {
            postgres.stop().await?;
        }
        Ok(())
    }
}

fn comma_separated(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A clear word now instead of a child that cannot start.
async fn port_is_free(address: SocketAddr) -> anyhow::Result<()> {
    match TcpListener::bind(address).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
            "port {} is in use; if another Bulkhead runs, stop it, else pass other addresses with --api-listen, --pages-listen or --sandbox-port",
            address.port()
        ),
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen on {address}; pass other addresses with --api-listen or --pages-listen"))
        }
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn until_interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// `up`: serves. Where a demo ran, its FHIR server runs too, so that its exports can end.
pub async fn up(machine: &Machine, sandbox: bool, sandbox_port: u16) -> anyhow::Result<ExitCode> {
    let mut stack = Stack::start(machine).await?;
    if sandbox || stack.data.sandbox_port().exists() {
        let address = stack.add_sandbox(sandbox_port).await?;
        println!("FHIR server of the demo   http://{address}/fhir (made-up patients, not for production)");
    }
    print_addresses(machine, &stack);
    until_interrupted().await?;
    println!("stopping");
    stack.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// Where everything is.
pub fn print_addresses(machine: &Machine, stack: &Stack) {
    for address in &machine.pages_listen {
        println!("web pages                 http://{address}/");
    }
    println!("{}", stack.login(machine));
    for address in &machine.api_listen {
        println!("HTTP API                  http://{address}/api/bulk-data/jobs");
    }
    println!("psql                      {}", stack.psql());
    println!("data, downloads, logs     {}", stack.data.root().display());
    println!("Ctrl-C stops everything; what is under way goes on at the next start.");
}
