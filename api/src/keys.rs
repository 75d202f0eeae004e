//! `bulkhead-api keys`: key pairs of our own. What is registered goes to stdout, words for people to stderr; a private key goes into
//! the database, sealed, and into a file if one is named.

use std::{
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use bulkhead_shared::{
    config::{LogSettings, SecretSettings},
    db::{self, signing_keys},
    domain::private_key::{Algorithm, PrivateKey},
};
use clap::Args;
use serde_json::{Value, json};
use sqlx::PgPool;

/// The file that means stdout.
const STDOUT: &str = "-";

/// Makes a key pair; or lists or retires those there are.
#[derive(Debug, Clone, Args)]
pub struct KeySettings {
    /// Where keys are kept, so that exports can name them; without it the key is in --out only
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    #[command(flatten)]
    pub secrets: SecretSettings,
    #[command(flatten)]
    pub log: LogSettings,
    /// What the key signs with: ES384 or RS384
    #[arg(long, default_value = "ES384", value_parser = algorithm)]
    pub algorithm: Algorithm,
    /// A new file (mode 0600) for the private key as a JWK; - prints it
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// List the keys
    #[arg(long, conflicts_with_all = ["retire", "out"])]
    pub list: bool,
    /// Publish this key no longer, and let no new export use it
    #[arg(long, value_name = "KID", conflicts_with = "out")]
    pub retire: Option<String>,
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text.parse() {
        Ok(algorithm @ (Algorithm::Es384 | Algorithm::Rs384)) => Ok(algorithm),
        _ => Err("SMART servers accept ES384 and RS384".to_owned()),
    }
}

/// Does it.
pub async fn run(settings: &KeySettings, stdout: &mut (dyn Write + Send), stderr: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let pool = match &settings.database_url {
        Some(url) => Some(connect(url).await?),
        None => None,
    };
    match (&settings.retire, settings.list, pool) {
        (Some(kid), _, Some(pool)) => retire(&pool, kid, stderr).await,
        (None, true, Some(pool)) => list(&pool, stdout).await,
        (None, false, pool) => make(settings, pool, stdout, stderr).await,
        (Some(_), _, None) | (None, true, None) => bail!("the keys are in the database: set DATABASE_URL"),
    }
}

async fn connect(url: &str) -> anyhow::Result<PgPool> {
    let pool = db::pool(url, "bulkhead-keys", 1)?;
    db::check_connection(&pool, url).await?;
    db::check_version(&pool).await?;
    Ok(pool)
}

async fn make(
    settings: &KeySettings,
    pool: Option<PgPool>,
    stdout: &mut (dyn Write + Send),
    stderr: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    if pool.is_none() && settings.out.is_none() {
        bail!("nothing would keep the key: set DATABASE_URL so that exports can name it, or --out for a file");
    }
    let cipher = pool.is_some().then(|| settings.secrets.cipher()).transpose()?;
    let key = PrivateKey::generate(settings.algorithm)?;
    let kid = key.kid.clone().unwrap_or_default();
    let public = key.public_jwk()?;
    let file = settings.out.as_deref().filter(|path| *path != Path::new(STDOUT));
    if let Some(path) = file {
        write_secret(path, &key.private_jwk()?)?;
    }
    if let (Some(pool), Some(cipher)) = (&pool, &cipher)
        && let Err(error) = signing_keys::insert(pool, cipher, &kid, &key, &public).await
    {
        if let Some(path) = file {
            let _ = std::fs::remove_file(path);
        }
        return Err(error).context("the key could not be kept in the database");
    }
    writeln!(stdout, "{:#}", json!({ "keys": [public] }))?;
    if settings.out.as_deref() == Some(Path::new(STDOUT)) {
        writeln!(stdout, "{:#}", key.private_jwk()?)?;
    }
    writeln!(stderr, "Register the key set above with the server's operator; its kid is {kid}.")?;
    if pool.is_some() {
        writeln!(
            stderr,
            "The private key is in the database, sealed. A kick-off names it with \"kid\": \"{kid}\" instead of private_key.\n\
             The API publishes it at /.well-known/jwks.json; where servers can reach that, register the URL and give it as jwks_url."
        )?;
    }
    if let Some(path) = file {
        writeln!(stderr, "The private key is in {}, which only you may read. Keep it secret.", path.display())?;
    }
    Ok(())
}

/// A new file that only its owner may read; an old one is never overwritten.
fn write_secret(path: &Path, jwk: &Value) -> anyhow::Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!("{} is there already; name a new file", path.display()),
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    };
    writeln!(file, "{jwk:#}").and_then(|()| file.sync_all()).with_context(|| format!("cannot write {}", path.display()))
}

async fn list(pool: &PgPool, stdout: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    for key in signing_keys::list(pool).await? {
        let state = key.retired_at.map_or_else(|| "in use".to_owned(), |at| format!("retired {}", at.format("%F")));
        writeln!(stdout, "{}  {}  made {}  {state}", key.kid, key.algorithm, key.created_at.format("%F"))?;
    }
    Ok(())
}

async fn retire(pool: &PgPool, kid: &str, stderr: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    if !signing_keys::retire(pool, kid).await? {
        bail!("there is no key with this kid; --list lists those there are");
    }
    writeln!(stderr, "It is published no longer. Exports that were submitted with it go on signing with it until they end.")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        keys: KeySettings,
    }

    fn settings(arguments: &[&str]) -> Result<KeySettings, clap::Error> {
        Line::try_parse_from(["keys"].iter().chain(arguments)).map(|line| KeySettings { database_url: None, ..line.keys })
    }

    #[test]
    fn only_what_smart_servers_accept_is_made() {
        assert_eq!(settings(&[]).unwrap().algorithm, Algorithm::Es384);
        assert_eq!(settings(&["--algorithm", "RS384"]).unwrap().algorithm, Algorithm::Rs384);
        assert!(settings(&["--algorithm", "RS256"]).is_err());
        assert!(settings(&["--list", "--out", "x"]).is_err());
    }

    #[tokio::test]
    async fn without_a_database_the_key_is_in_a_file_that_only_its_owner_may_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::temp_dir().join(format!("bulkhead-key-{}", uuid::Uuid::new_v4()));
        let text = path.display().to_string();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        run(&settings(&["--out", &text]).unwrap(), &mut out, &mut err).await.unwrap();
        let private: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let again = run(&settings(&["--out", &text]).unwrap(), &mut Vec::new(), &mut Vec::new()).await;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mode & 0o777, 0o600);
        assert!(again.unwrap_err().to_string().contains("name a new file"));
        let public: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&public["keys"][0]["kid"], &public["keys"][0]["x"]), (&private["kid"], &private["x"]));
        let secret = private["d"].as_str().unwrap();
        assert!(![out, err].iter().any(|said| String::from_utf8_lossy(said).contains(secret)), "the private key is not printed");
        assert!(run(&settings(&[]).unwrap(), &mut Vec::new(), &mut Vec::new()).await.is_err(), "nothing would keep it");
    }
}
