//! SMART Backend Services (SMART App Launch 2.2, "Backend Services"): a signed assertion for an access token, minted once
//! for all workers; and requests that carry it.

use std::time::Duration;

use bulkhead_shared::{
    db::access_tokens::{AccessToken, NewToken},
    domain::{failure::Reason, scope, source::Auth},
    queue::{StageError, Trouble},
};
use reqwest::Response;
use url::Url;
use uuid::Uuid;

use super::{
    http::{Ask, Http},
    mint::{Minted, mint},
};
use crate::work::Tokens;

/// How long to wait for another worker that is minting.
const PATIENCE: Duration = Duration::from_secs(70);
/// How long minting may take: less than the lease on it (60 s).
const MINTING: Duration = Duration::from_secs(50);

/// Sends a request with the source's token; a 401 mints a new one, once. A bearer token that a user gave goes to the source's own
/// origin only, wherever the server points.
pub async fn send(http: &Http, tokens: &Tokens<'_>, mut ask: Ask) -> Result<Response, StageError> {
    let own = Url::parse(&tokens.source.base_url).is_ok_and(|base| base.origin() == ask.url.origin());
    if tokens.source.auth == Auth::Bearer && !own {
        return http.send(&ask).await;
    }
    let Some(token) = token(http, tokens).await? else {
        return http.send(&ask).await;
    };
    ask.token = Some(token.token);
    let answer = http.send(&ask).await?;
    if answer.status().as_u16() != 401 || tokens.source.auth != Auth::Smart {
        return Ok(answer);
    }
    tracing::info!("the server refused the access token; minting a new one");
    tokens.invalidate(token.version).await?;
    ask.token = self::token(http, tokens).await?.map(|token| token.token);
    http.send(&ask).await
}

/// The source's token: a good one from its row, or a new one. `None` for an open server.
pub async fn token(http: &Http, tokens: &Tokens<'_>) -> Result<Option<AccessToken>, StageError> {
    match tokens.source.auth {
        Auth::Open => Ok(None),
        Auth::Bearer => {
            let token = String::from_utf8(tokens.secret().await?).unwrap_or_default();
            Ok(Some(AccessToken { token, version: 0, scope: None, asked: None }))
        }
        Auth::Smart => shared(http, tokens).await,
    }
}

/// What to ask for, the best first.
pub fn wishes(tokens: &Tokens<'_>, before: Option<&str>) -> Vec<String> {
    scope::candidates(tokens.source.scope.as_deref(), tokens.source.discovered.as_ref(), tokens.ask, before)
}

/// Whoever takes the right to mint does; the others wait for the row. A token that was asked for other types is not enough.
async fn shared(http: &Http, tokens: &Tokens<'_>) -> Result<Option<AccessToken>, StageError> {
    let began = tokio::time::Instant::now();
    loop {
        if let Some(token) = tokens.current().await? {
            let asked = token.asked.as_deref();
            if !scope::asks_more(&wishes(tokens, asked)[0], asked) {
                return Ok(Some(token));
            }
            tracing::info!("the access token was asked for other types; minting a new one");
            tokens.invalidate(token.version).await?;
        }
        let minter = Uuid::new_v4();
        if let Some(minting) = tokens.take_minting(minter).await? {
            let wishes = wishes(tokens, minting.asked.as_deref());
            let minted = match mint_in_time(http, tokens, &wishes).await {
                Ok(minted) => minted,
                Err(error) => {
                    tokens.give_up_minting(minter).await?;
                    return Err(error);
                }
            };
            let new = NewToken { token: &minted.token, scope: Some(&minted.scope), asked: &wishes[0], usable: minted.usable };
            tokens.store(minter, minting.version, &new).await?;
        } else if began.elapsed() > PATIENCE {
            return Err(StageError::Again("another worker is minting the access token".to_owned(), Duration::from_secs(2)));
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Mints, or says that it takes too long.
pub async fn mint_in_time(http: &Http, tokens: &Tokens<'_>, wishes: &[String]) -> Result<Minted, StageError> {
    tokio::time::timeout(MINTING, mint(http, tokens, wishes)).await.unwrap_or_else(|_| Err(too_slow()))
}

fn too_slow() -> StageError {
    let detail = format!("Timeout exceeded: the token endpoint did not answer within {} s.", MINTING.as_secs());
    StageError::Retry(Trouble::new(Reason::Unreachable, detail, "check token_url, the network and the server; then retry the export"), None)
}
