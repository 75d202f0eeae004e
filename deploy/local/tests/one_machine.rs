//! The real program on one machine, as a new user runs it; and killed as one would rather not.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use bulkhead_sandbox::{Sandbox, SandboxConfig};
use uuid::Uuid;

/// A folder that every user may enter, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = Self(std::env::temp_dir().join(format!("bulkhead-one-{}", Uuid::new_v4().simple())));
        fs::create_dir(&folder.0).unwrap();
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        kill_postgres(&self.0);
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// SIGKILL of the embedded server of a folder, children and all.
fn kill_postgres(folder: &Path) {
    let Ok(text) = fs::read_to_string(folder.join("data/postgres/postmaster.pid")) else { return };
    let Some(pid) = text.lines().next() else { return };
    let _ = Command::new("pkill").args(["-KILL", "-P", pid]).status();
    let _ = Command::new("kill").args(["-KILL", pid]).status();
}

/// Ports that were free a moment ago.
fn ports<const N: usize>() -> [u16; N] {
    let listeners: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    std::array::from_fn(|at| listeners[at].local_addr().unwrap().port())
}

fn bulkhead(folder: &Folder, port: u16, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
    command
        .arg("--data-dir")
        .arg(folder.0.join("data"))
        .arg("--api-listen")
        .arg(format!("127.0.0.1:{port}"))
        .args(["--pages-listen", "127.0.0.1:0"])
        .args(arguments)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_demo_loads_eight_groups_with_a_thousand_patients_and_exits_0() {
    let folder = Folder::new();
    let [port, sandbox] = ports();
    let output = bulkhead(&folder, port, &["demo", "--exit", "--sandbox-port", &sandbox.to_string()]).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Successful: 8/8"), "{said}");
    let total = said.lines().find(|line| line.starts_with("total")).unwrap_or_default();
    let words: Vec<&str> = total.split_whitespace().collect();
    assert_eq!(words[1], "1,000", "{said}");
    assert_eq!(words[2], words[3], "{said}");
}

/// Ends the program when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn everything_is_killed_in_the_middle_of_the_demo_and_up_ends_it() {
    let folder = Folder::new();
    let [port, sandbox] = ports();
    let mut demo = Running(
        bulkhead(&folder, port, &["demo", "--sandbox-port", &sandbox.to_string()])
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.0.join("demo.log")).unwrap())
            .spawn()
            .unwrap(),
    );
    // In the middle: the first Group downloads.
    until("a download", || fs::read_to_string(folder.0.join("demo.log")).unwrap_or_default().contains(": downloading"));
    let children = Command::new("pkill").args(["-KILL", "-P", &demo.0.id().to_string()]).status().unwrap();
    assert!(children.success());
    demo.0.kill().unwrap();
    demo.0.wait().unwrap();
    kill_postgres(&folder.0);
    let log = folder.0.join("up.log");
    let _up = Running(bulkhead(&folder, port, &["up"]).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap());
    let began = Instant::now();
    loop {
        let jobs = text(&bulkhead(&folder, port, &["jobs"]).output().unwrap());
        if jobs.matches(" completed ").count() == 8 {
            break;
        }
        let log = || fs::read_to_string(&log).unwrap_or_default();
        assert!(began.elapsed() < Duration::from_secs(120), "not all eight exports are completed:\n{jobs}\n{}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(120), "never came: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn mistakes_get_one_sentence_that_says_what_to_do() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let [free] = ports();
    let config = folder.0.join("config.json");
    fs::write(&config, r#"{"auth_type": "backend-services", "client_id": "x"}"#).unwrap();
    let config = config.display().to_string();
    for (command, expected) in [
        (bulkhead(&folder, port, &["up"]), "is in use"),
        (bulkhead(&folder, free, &["jobs"]), "start it with `bulkhead up`"),
        (bulkhead(&folder, free, &["export", "--config", &config, "--group", "A"]), "--fhir-url"),
        (bulkhead(&folder, free, &["export", "--config", "/nowhere.json", "--group", "A"]), "cannot read /nowhere.json"),
        (
            bulkhead(&folder, free, &["--database-url", "postgres://nobody@127.0.0.1:1/x", "up"]),
            "cannot connect to Postgres at 127.0.0.1:1",
        ),
        (bulkhead(&folder, free, &["--database-url", "http://x", "up"]), "postgres://user:password@host:5432/database"),
        (bulkhead(&folder, free, &["check", "--file", "/nowhere.json"]), "cannot read /nowhere.json"),
        (bulkhead(&folder, free, &["check"]), "--file"),
        (bulkhead(&folder, free, &["fly"]), "unrecognized subcommand"),
        (bulkhead(&folder, free, &["--workers", "0", "up"]), "not in 1..=32"),
        (bulkhead(&folder, free, &["status", "7"]), "invalid value '7'"),
    ] {
        let mut command = command;
        let output = command.output().unwrap();
        let said = text(&output);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(expected), "{said:?} should say {expected:?}");
        assert!(!said.contains("backtrace"), "{said}");
    }
}

#[test]
fn exports_groups_in_one_shot_from_a_downloaded_configuration() {
    let folder = Folder::new();
    let [port] = ports();
    let server = Sandbox::start(SandboxConfig { auth: true, scale: 0.05, ..SandboxConfig::default() }).unwrap();
    let client = server.register_client();
    let config = folder.0.join("config.json");
    let downloaded = serde_json::json!({
        "auth_type": "backend-services", "token_endpoint": client.token_url, "client_id": client.client_id, "key": client.private_jwk,
    });
    fs::write(&config, downloaded.to_string()).unwrap();
    let config = config.display().to_string();
    let url = server.base_url();
    let arguments = ["export", "--config", &config, "--fhir-url", &url, "--type", "Patient,Condition", "--group"];
    let good = bulkhead(&folder, port, &arguments).args(["FallonHealth", "TuftsHealthPlan"]).output().unwrap();
    assert!(good.status.success(), "{}", text(&good));
    for group in ["FallonHealth", "TuftsHealthPlan"] {
        let served = server.expected(Some(group));
        let line = format!("{group}: {} resources", served["Patient"] + served["Condition"]);
        assert!(text(&good).contains(&line), "{} should say {line}", text(&good));
    }
    let check = ["check", "--config", &config, "--fhir-url", &url, "--group"];
    let well = bulkhead(&folder, port, &check).arg("FallonHealth").output().unwrap();
    assert!(well.status.success(), "{}", text(&well));
    for word in ["ok        token", "ok        group", "The Group can be read", "TuftsHealthPlan"] {
        assert!(text(&well).contains(word), "{} should say {word}", text(&well));
    }
    let ill = bulkhead(&folder, port, &check).arg("NoSuchGroup").output().unwrap();
    assert_eq!(ill.status.code(), Some(1), "{}", text(&ill));
    assert!(text(&ill).contains("failed    group") && text(&ill).contains("check the Group's id"), "{}", text(&ill));
    let bad = bulkhead(&folder, port, &arguments).arg("NoSuchGroup").output().unwrap();
    assert_eq!(bad.status.code(), Some(1), "{}", text(&bad));
    assert!(text(&bad).contains("check fhir_server_url and the Group's id"), "{}", text(&bad));
}

#[test]
fn help_names_the_commands() {
    let output = Command::new(env!("CARGO_BIN_EXE_bulkhead")).arg("--help").output().unwrap();
    let said = text(&output);
    for word in ["demo", "up", "export", "check", "status", "jobs", "retry", "cancel", "--data-dir", "DATABASE_URL"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(!said.contains("worker-process"), "a hidden command is shown: {said}");
}
