//! Debian's chromedriver: one for all tests of a process, on a free port, and gone with it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use tokio::sync::OnceCell;

/// Where Debian puts them; `PATH` is not asked, for another version beside it does not fit.
const BROWSER: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";
/// Set where the tests must not be left out.
const REQUIRE: &str = "BULKHEAD_REQUIRE_BROWSER";

/// Ends the driver as soon as nobody holds the other end of its input: also when the tests are killed. The driver's browsers end with it.
const SCRIPT: &str = r#""$0" --port=0 --log-level=SEVERE </dev/null & driver=$!; read -r _; kill "$driver"; wait"#;

static RUNNING: OnceCell<Driver> = OnceCell::const_new();

/// A chromedriver.
#[derive(Debug)]
pub struct Driver {
    /// Where it listens.
    pub address: String,
    _child: Child,
    _input: ChildStdin,
}

/// The one of this process; `None`, and said so, where there is no browser.
///
/// # Panics
/// If it does not start, or if there is none and there must be one.
pub async fn driver() -> Option<&'static Driver> {
    if let Some(missing) = [BROWSER, DRIVER].iter().find(|program| !Path::new(program).exists()) {
        assert!(!required(), "{REQUIRE} is set, and {missing} is not there: apt-get install chromium chromium-driver");
        println!("SKIPPED: {missing} is not there, so this test did not run (apt-get install chromium chromium-driver)");
        return None;
    }
    Some(RUNNING.get_or_init(|| async { tokio::task::spawn_blocking(Driver::start).await.expect("no panic") }).await)
}

#[expect(clippy::disallowed_methods, reason = "a test has no command line")]
fn required() -> bool {
    std::env::var_os(REQUIRE).is_some_and(|value| value != "0" && !value.is_empty())
}

impl Driver {
    fn start() -> Self {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, DRIVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let input = child.stdin.take().expect("its input");
        let mut said = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let port: u16 = said
            .find_map(|line| line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok())
            .expect("chromedriver tells its port");
        Self { address: format!("http://127.0.0.1:{port}"), _child: child, _input: input }
    }
}
