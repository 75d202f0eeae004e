//! release: tells the server that it may forget the export (Bulk Data IG, "Bulk Data Delete Request"). Only after everything
//! is loaded, or after a cancel; it never fails an export.

use async_trait::async_trait;
use bulkhead_shared::{
    db::{export_events::EventLevel, exports},
    queue::{Fenced, Outcome, StageError, Tail, Written},
};
use reqwest::{Method, Url};

use super::{Nothing, Stage};
use crate::{
    fhir::{answer::Refusal, auth, http::Ask},
    work::Work,
};

pub struct Release;

#[async_trait]
impl Stage for Release {
    async fn work(&self, work: &Work) -> Result<Outcome, StageError> {
        if work.export.released_at.is_some() {
            return Ok(Outcome::Done(Box::new(Nothing)));
        }
        let urls: Vec<Url> = work.export.status_urls().filter_map(|url| url.parse().ok()).collect();
        let mut message = None;
        for url in urls {
            message = Some(release(work, url).await?);
        }
        let Some(message) = message else { return Ok(Outcome::Done(Box::new(Nothing))) };
        Ok(Outcome::Done(Box::new(Released(message))))
    }
}

/// Asked again by another attempt it says 404, which is as good.
async fn release(work: &Work, url: Url) -> Result<String, StageError> {
    let answer = auth::send(work.http(), &work.tokens(), Ask::new(Method::DELETE, url).accept("application/json")).await?;
    Ok(match answer.status().as_u16() {
        200..=299 => "The server was told that it may forget the export.".to_owned(),
        404 | 410 => "The server had forgotten the export already.".to_owned(),
        429 | 500.. => {
            return Err(Refusal::read(work.http(), answer).await?.again("The server could not be told to forget the export"));
        }
        status => format!("The server does not let exports be deleted (HTTP {status}); it will forget this one by itself."),
    })
}

struct Released(String);

#[async_trait]
impl Tail for Released {
    async fn write(&self, tx: &mut Fenced<'_>) -> sqlx::Result<Written> {
        let id = tx.export_id();
        exports::set_released(tx.db(), id).await?;
        tx.tell(EventLevel::Info, &self.0).await?;
        Ok(Written::Done)
    }
}
