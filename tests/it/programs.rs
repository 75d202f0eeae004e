//! The real program: how it starts, its commands for users and tokens, and what it logs.

use std::{
    io::Write as _,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use bulkhead_tests::{
    Database,
    app::{PATIENCE, secret_key},
    house::{PASSWORD, client},
};
use tempfile::TempDir;

/// The program with these settings and no others.
fn program(database: &Database, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead-test-api"));
    command
        .env_clear()
        .args(arguments)
        .envs([("DATABASE_URL", database.url.as_str()), ("BULKHEAD_SECRET_KEY", &secret_key()), ("PAGES_LISTEN", "127.0.0.1:0")])
        .envs(settings.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A command that ends by itself, with what it reads.
fn run(database: &Database, arguments: &[&str], stdin: &str) -> Output {
    let mut child = program(database, arguments, &[]).stdin(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

fn said(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A service; it ends with the test.
struct Service {
    child: Child,
    folder: TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    fn start(database: &Database, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = program(database, &[], settings).stdout(log.try_clone().expect("a file")).stderr(log).stdin(Stdio::null()).spawn();
        Self { child: child.expect("it starts"), folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// Where the API and the pages are, once they serve.
    async fn addresses(&mut self) -> (String, String) {
        let began = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains("the API and the pages serve")) {
                let after =
                    |word: &str| line.split(word).nth(1).and_then(|rest| rest.split([' ', ',']).next()).expect("an address").to_owned();
                return (after("listen="), after("pages="));
            }
            let ended = self.child.try_wait().expect("its state");
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "it does not serve ({ended:?}): {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_it_starts_only_when_somebody_can_log_in_or_it_is_meant_to_be_open() {
    let database = Database::shared().await;
    let outside = ("API_LISTEN", "0.0.0.0:0");
    for settings in [
        &[outside][..],
        &[("API_LISTEN", "127.0.0.1:0"), ("PAGES_LISTEN", "0.0.0.0:0")],
        &[("API_LISTEN", "127.0.0.1:0"), ("API_ALLOWED_HOSTS", "etl.example.org")],
    ] {
        let (_, refused) = said(&program(&database, &[], settings).stdin(Stdio::null()).output().expect("it ends"));
        assert!(refused.contains("others can reach this server") && refused.contains("users add NAME --role admin"), "{refused}");
    }
    let mut open = Service::start(&database, &[outside, ("API_AUTH", "open")]);
    let (api, _) = open.addresses().await;
    let jobs = |api: &str| format!("{}/api/bulk-data/jobs", api.replace("0.0.0.0", "127.0.0.1"));
    assert_eq!(client().get(jobs(&api)).send().await.expect("an answer").status(), 200);
    assert!(open.log().contains("without a login"), "it says so: {}", open.log());
    let made = run(&database, &["tokens", "add", "nightly", "--role", "viewer"], "");
    let token = said(&made).0.trim().to_owned();
    let mut closed = Service::start(&database, &[outside]);
    let (api, _) = closed.addresses().await;
    assert_eq!(client().get(jobs(&api)).send().await.expect("an answer").status(), 401);
    assert_eq!(client().get(jobs(&api)).bearer_auth(token).send().await.expect("an answer").status(), 200);
    // On loopback nobody is asked: the guide's script knows no tokens.
    let mut local = Service::start(&database, &[("API_LISTEN", "127.0.0.1:0")]);
    let (api, pages) = local.addresses().await;
    assert_eq!(client().get(jobs(&api)).send().await.expect("an answer").status(), 200);
    assert_eq!(client().get(format!("{pages}/exports")).send().await.expect("an answer").status(), 303, "the pages ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_make_list_and_revoke() {
    let database = Database::shared().await;
    let users = |arguments: &[&str], stdin: &str| said(&run(&database, &[&["users"], arguments].concat(), stdin));
    let tokens = |arguments: &[&str]| said(&run(&database, &[&["tokens"], arguments].concat(), ""));
    let (_, short) = users(&["add", "ann", "--role", "admin"], "short\n");
    assert!(short.contains("12 characters or more"), "{short}");
    assert!(users(&["add", "ann", "--role", "admin"], &format!("{PASSWORD}\n")).1.contains("ann may log in."));
    assert!(users(&["add", "Ann", "--role", "viewer"], &format!("{PASSWORD}\n")).1.contains("already"));
    assert!(users(&["disable", "ann"], "").1.contains("last admin"));
    users(&["add", "ben", "--role", "viewer"], &format!("{PASSWORD}\n"));
    users(&["role", "ben", "operator"], "");
    users(&["disable", "ben"], "");
    let (list, _) = users(&["list"], "");
    assert!(list.contains("ann  admin  may log in") && list.contains("ben  operator  disabled"), "{list}");
    let (token, words) = tokens(&["add", "nightly", "--role", "operator", "--days", "30"]);
    assert!(token.starts_with("bulkhead_") && token.trim().len() == 52 && words.contains("shown once"), "{token} {words}");
    let (list, _) = tokens(&["list"]);
    assert!(list.contains("nightly  operator  of -  expires 20") && !list.contains(token.trim()), "{list}");
    assert!(tokens(&["revoke", "NIGHTLY"]).1.contains("good no longer"));
    assert_eq!(tokens(&["list"]).0, "");
    assert!(tokens(&["revoke", "nightly"]).1.contains("no such token"));
    assert!(tokens(&["add", "x", "--role", "viewer", "--days", "99999999"]).1.contains("not in"));
    let acts: Vec<String> = sqlx::query_scalar("SELECT act || ' ' || actor_kind FROM bulkhead.audit_log ORDER BY id")
        .fetch_all(&database.pool)
        .await
        .expect("the log");
    let expected = ["user_added", "user_added", "role_changed", "user_disabled", "token_added", "token_revoked"];
    assert_eq!(acts, expected.map(|act| format!("{act} command_line")));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_token_or_cookie_is_logged_at_any_level() {
    let database = Database::shared().await;
    run(&database, &["users", "add", "ann", "--role", "admin"], &format!("{PASSWORD}\n"));
    let token = said(&run(&database, &["tokens", "add", "t", "--role", "admin"], "")).0.trim().to_owned();
    let settings = [("API_LISTEN", "127.0.0.1:0"), ("API_AUTH", "required"), ("LOG_LEVEL", "trace")];
    let mut service = Service::start(&database, &settings);
    let (api, pages) = service.addresses().await;
    let (mistyped, wrong_token) = ("a password in the field of the name", "bulkhead_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let log_in = async |name: &str, password: &str| {
        client().post(format!("{pages}/login")).form(&[("name", name), ("password", password)]).send().await.expect("an answer")
    };
    assert_eq!(log_in(mistyped, "wrong wrong wrong").await.status(), 403);
    let good = log_in("ann", PASSWORD).await;
    let set = good.headers()["set-cookie"].to_str().expect("text").to_owned();
    let cookie = set.split(['=', ';']).nth(1).expect("a value").to_owned();
    let headers = ("cookie", format!("bulkhead_session={cookie}"));
    let page =
        client().get(format!("{pages}/account")).header(headers.0, &headers.1).send().await.expect("a page").text().await.expect("a page");
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form").to_owned();
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let fields = [&[("csrf", csrf.as_str())], fields].concat();
        let sent = client().post(format!("{pages}{path}")).header(headers.0, &headers.1).form(&fields).send().await.expect("an answer");
        sent.text().await.expect("a page")
    };
    let shown = |page: &str| {
        page.split("id=\"secret\" tabindex=\"0\">").nth(1).and_then(|rest| rest.split('<').next()).expect("it is shown").to_owned()
    };
    let made = shown(&post("/tokens", &[("name", "x"), ("role", "viewer"), ("days", "7")]).await);
    let password = shown(&post("/users", &[("name", "ben"), ("role", "viewer")]).await);
    post("/account/password", &[("old", PASSWORD), ("new", "five words in one row"), ("again", "five words in one row")]).await;
    for (token, status) in [(token.as_str(), 200), (made.as_str(), 200), (wrong_token, 401)] {
        let asked = client().get(format!("{api}/api/bulk-data/jobs")).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(asked.status(), status);
    }
    let log = service.log();
    assert!(log.contains("answered") && log.contains("TRACE"), "it logs at this level: {log}");
    for secret in [PASSWORD, mistyped, "wrong wrong wrong", "five words", &token, &made, &password, wrong_token, &cookie, &csrf] {
        assert!(!log.contains(secret), "{secret} is in the log: {:?}", log.lines().find(|line| line.contains(secret)));
        // As a form has it.
        assert!(!log.contains(&secret.replace(' ', "+")), "{secret} is in the log");
    }
    let written: String =
        sqlx::query_scalar("SELECT string_agg(l::text, ' ') FROM bulkhead.audit_log l").fetch_one(&database.pool).await.expect("the log");
    for secret in [PASSWORD, mistyped, &token, &made, &password, &cookie] {
        assert!(!written.contains(secret), "{secret} is in the audit log");
    }
}
