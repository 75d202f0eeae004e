//! The embedded server, run for real. These run as root and as an ordinary user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bulkhead_local::postgres::{Options, Postgres, PostgresError, Shutdown};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection, query, query_scalar};
use uuid::Uuid;

/// A folder that ends with the test. It outlives the servers in it: locals drop in reverse order.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = Self(std::env::temp_dir().join(format!("bulkhead-pg-{}", Uuid::new_v4().simple())));
        fs::create_dir(&folder.0).unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn start(folder: &Path) -> Result<Postgres, PostgresError> {
    let options = Options { durable: false, notify: |_| {}, ..Options::default() };
    Postgres::start(folder, options).await
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn commit_a_row(postgres: &Postgres) {
    let mut connection = connect(&postgres.url()).await;
    query("CREATE TABLE IF NOT EXISTS kept (n int)").execute(&mut connection).await.unwrap();
    query("INSERT INTO kept VALUES (1)").execute(&mut connection).await.unwrap();
}

async fn rows(postgres: &Postgres) -> i64 {
    query_scalar("SELECT count(*) FROM kept").fetch_one(&mut connect(&postgres.url()).await).await.unwrap()
}

#[tokio::test]
async fn starts_cold_with_the_role_the_database_and_the_extensions() {
    let folder = Folder::new();
    let postgres = start(&folder.0).await.unwrap();
    let mut connection = connect(&postgres.url()).await;
    let who: (String, String) =
        sqlx::query_as("SELECT current_user::text, current_database()::text").fetch_one(&mut connection).await.unwrap();
    assert_eq!(who, ("fhir_user".into(), "fhir_analytics".into()));
    let has_extensions: bool = query_scalar("SELECT ('a=>1'::hstore -> 'a') = '1' AND digest('x', 'sha256') IS NOT NULL")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert!(has_extensions);
    let encoding: String = query_scalar("SHOW server_encoding").fetch_one(&mut connection).await.unwrap();
    assert_eq!(encoding, "UTF8");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn keeps_its_data_over_a_stop() {
    let folder = Folder::new();
    let postgres = start(&folder.0).await.unwrap();
    commit_a_row(&postgres).await;
    postgres.stop().await.unwrap();
    let postgres = start(&folder.0).await.unwrap();
    assert_eq!(rows(&postgres).await, 1);
}

#[tokio::test]
async fn keeps_committed_rows_over_an_immediate_restart() {
    let folder = Folder::new();
    let mut postgres = start(&folder.0).await.unwrap();
    commit_a_row(&postgres).await;
    let before = postgres.pid();
    postgres.restart(Shutdown::Immediate).await.unwrap();
    assert_ne!(postgres.pid(), before);
    assert_eq!(rows(&postgres).await, 1);
}

#[tokio::test]
async fn refuses_a_folder_that_another_bulkhead_holds() {
    let folder = Folder::new();
    let postgres = start(&folder.0).await.unwrap();
    let refusal = start(&folder.0).await.unwrap_err();
    assert!(matches!(refusal, PostgresError::InUse(_)), "{refusal}");
    assert!(refusal.to_string().contains("--data-dir"));
    drop(postgres);
    start(&folder.0).await.unwrap();
}

/// Run by the tests below in a process of its own, to be killed.
#[tokio::test]
#[ignore = "a helper"]
async fn helper_that_starts_a_server_and_waits_to_be_killed() {
    let Some(folder) = std::env::args().find(|argument| argument.starts_with("skip-folder=")) else { return };
    let postgres = start(Path::new(&folder["skip-folder=".len()..])).await.unwrap();
    commit_a_row(&postgres).await;
    println!("\npid={}", postgres.pid().unwrap());
    std::future::pending::<()>().await;
}

/// Starts a server from another process, and kills that process with SIGKILL. Returns the server's pid.
async fn orphaned_server(folder: &Path) -> i32 {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let mut parent = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["helper_that_starts", "--ignored", "--nocapture", "--skip"])
        .arg(format!("skip-folder={}", folder.display()))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let pid = loop {
        let line = lines.next_line().await.unwrap().expect("the helper says its server's pid");
        if let Some(pid) = line.strip_prefix("pid=") {
            break pid.parse().unwrap();
        }
    };
    parent.kill().await.unwrap();
    pid
}

#[tokio::test]
async fn adopts_the_server_of_a_killed_bulkhead_and_stops_it() {
    let folder = Folder::new();
    let pid = orphaned_server(&folder.0).await;
    let postgres = start(&folder.0).await.unwrap();
    assert_eq!(postgres.pid(), Some(pid));
    assert_eq!(rows(&postgres).await, 1);
    postgres.stop().await.unwrap();
    assert!(!folder.0.join("postgres/postmaster.pid").exists());
}

#[tokio::test]
async fn starts_after_the_server_too_was_killed_in_the_middle_of_a_query() {
    let folder = Folder::new();
    let pid = orphaned_server(&folder.0).await;
    let url = format!("postgres://postgres@localhost/postgres?host={}/run", folder.0.display());
    let (mut busy, mut watcher) = (connect(&url).await, connect(&url).await);
    let busy = tokio::spawn(async move { query("SELECT pg_sleep(600)").execute(&mut busy).await });
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'";
    while query_scalar::<_, i64>(running).fetch_one(&mut watcher).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let postgres = start(&folder.0).await.unwrap();
    assert_ne!(postgres.pid(), Some(pid));
    assert_eq!(rows(&postgres).await, 1);
    busy.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn starts_where_the_pid_of_a_crashed_server_now_belongs_to_another_program() {
    let folder = Folder::new();
    let mut postgres = start(&folder.0).await.unwrap();
    commit_a_row(&postgres).await;
    let pid_file = folder.0.join("postgres/postmaster.pid");
    let content = fs::read_to_string(&pid_file).unwrap();
    postgres.shut_down(Shutdown::Immediate).await.unwrap();
    // A process of the same user that is no server: the child that the server itself would not ignore.
    let mut other = sleeper_of_the_owner(&folder.0.join("postgres"));
    let rest = content.split_once('\n').unwrap().1;
    fs::write(&pid_file, format!("{}\n{rest}", other.id())).unwrap();
    let started = postgres.start_again().await;
    other.kill().unwrap();
    other.wait().unwrap();
    started.unwrap();
    assert_eq!(rows(&postgres).await, 1);
}

fn sleeper_of_the_owner(data: &Path) -> std::process::Child {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    let owner = fs::metadata(data).unwrap();
    let mut command = std::process::Command::new("sleep");
    command.arg("60").current_dir("/");
    if rustix::process::getuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.spawn().unwrap()
}

#[tokio::test]
async fn finds_a_short_place_for_the_socket_of_a_deep_folder() {
    let folder = Folder::new();
    let deep = folder.0.join("a-long-name-of-a-folder/".repeat(5));
    let postgres = start(&deep).await.unwrap();
    connect(&postgres.url()).await;
    assert!(!postgres.url().contains("long-name"));
    postgres.stop().await.unwrap();
    let postgres = start(&deep).await.unwrap();
    connect(&postgres.url()).await;
}

#[tokio::test]
async fn folders_may_have_names_that_other_languages_quote() {
    let folder = Folder::new();
    let odd = folder.0.join("it's \"ü\" & 50%");
    let postgres = start(&odd).await.unwrap();
    assert!(connect(&postgres.url()).await.ping().await.is_ok());
    assert!(postgres.url().contains("run"), "no need for another folder: {}", postgres.url());
    let psql = postgres.psql_command().expect("psql is installed where the tests run");
    let shell = std::process::Command::new("sh").args(["-c", &format!("{psql} -Atc 'SELECT 7'")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shell.stdout), "7\n", "{}", String::from_utf8_lossy(&shell.stderr));
}

#[tokio::test]
async fn an_interrupted_initdb_does_not_stand_in_the_way() {
    let folder = Folder::new();
    let unfinished = folder.0.join("postgres.new-1234");
    fs::create_dir_all(unfinished.join("base")).unwrap();
    start(&folder.0).await.unwrap();
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let folder = Folder::new();
    let settings = vec![("shared_buffers".into(), "much".into())];
    let options = Options { settings, ..Options::default() };
    let error = Postgres::start(&folder.0, options).await.unwrap_err();
    assert!(error.to_string().contains("invalid value for parameter \"shared_buffers\""), "{error}");
}

#[tokio::test]
async fn names_the_folder_that_the_servers_user_cannot_enter() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let folder = Folder::new();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700)).unwrap();
    let error = start(&folder.0.join("inside")).await.unwrap_err();
    let PostgresError::Unreachable { folder: named, .. } = &error else { panic!("{error}") };
    assert_eq!(named, &folder.0.canonicalize().unwrap());
}

#[tokio::test]
async fn names_the_version_that_made_the_data() {
    let folder = Folder::new();
    drop(start(&folder.0).await.unwrap());
    fs::write(folder.0.join("postgres/PG_VERSION"), "12\n").unwrap();
    let error = start(&folder.0).await.unwrap_err();
    assert!(matches!(error, PostgresError::OtherVersion { made_by: 12 }), "{error}");
}

#[tokio::test]
async fn test_servers_copy_databases_and_leave_nothing() {
    let postgres = Postgres::start_for_tests().await.unwrap();
    let folder = postgres.log().parent().unwrap().to_owned();
    let template = postgres.create_database("tpl", None).await.unwrap();
    query("CREATE TABLE kept (n int)").execute(&mut connect(&template).await).await.unwrap();
    let copy = postgres.create_database("copy", Some("tpl")).await.unwrap();
    query("INSERT INTO kept VALUES (1)").execute(&mut connect(&copy).await).await.unwrap();
    drop(postgres);
    assert!(!folder.exists());
}
