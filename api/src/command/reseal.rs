//! `bulkhead-api reseal`: after the secret key was replaced.

use std::io::Write;

use anyhow::bail;
use bulkhead_shared::{
    config::SecretSettings,
    db::{signing_keys, sources},
};
use clap::Args;

use super::{Place, connect};

/// Seals everything in the database with the present secret key
#[derive(Debug, Clone, Args)]
pub struct ResealSettings {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub secrets: SecretSettings,
}

/// Does it. Safe to run twice, and while everything runs. Access tokens are left: what cannot be opened is minted anew.
pub async fn run(settings: &ResealSettings, stdout: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let cipher = settings.secrets.cipher()?;
    let pool = connect(&settings.place).await?;
    let mut closed = std::collections::BTreeSet::new();
    for (what, resealed) in [("sources", sources::reseal(&pool, &cipher).await?), ("keys", signing_keys::reseal(&pool, &cipher).await?)] {
        writeln!(stdout, "{what}: {} sealed anew with key {}", resealed.done, cipher.key_id())?;
        closed.extend(resealed.closed);
    }
    if closed.is_empty() {
        return Ok(());
    }
    let reasons = closed.into_iter().collect::<Vec<_>>().join("; ");
    bail!("{reasons}. Name that key in BULKHEAD_SECRET_KEY_OTHER and run this again; if it is lost, submit those credentials again")
}
