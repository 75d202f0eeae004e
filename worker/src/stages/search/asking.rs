//! How a page is asked for, and what a refusal leads to: another way to ask, fewer patients at once, or an error.

use bulkhead_shared::{
    db::export_files::searches::NewSearch,
    domain::{
        failure::Reason,
        search::{Cursor, Manner, Patients, Search, Seen},
    },
    queue::{StageError, Trouble},
};
use reqwest::{
    Method,
    header::{HeaderName, HeaderValue},
};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{
    super::{download::pace, members},
    Split,
    paging::{Paging, Post},
};
use crate::{
    fhir::{answer::Refusal, auth, bundle::Page, http::Ask, own_url},
    limits,
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const TOO_MANY: &str = "The server refuses so many patients at once";

impl Paging<'_> {
    /// Asks for the next page. `None`: there is another one to ask for now.
    pub(super) async fn page(&mut self) -> Result<Option<(Page, Url)>, StageError> {
        let ask = match &self.cursor.next {
            Some(next) => Ask::get(Url::parse(next).map_err(|_| StageError::Lost)?),
            None => match self.first_page()? {
                Some(ask) => ask,
                None => return self.split(self.search.half().unwrap_or(1), TOO_MANY).await.map(|()| None),
            },
        };
        let mut ask = ask.accept("application/fhir+json");
        ask.same_origin_only = true;
        self.asked.insert(Sha256::digest(ask.url.as_str()).into());
        let answer = auth::send(self.work.http(), &self.work.tokens(), ask).await?;
        if !answer.status().is_success() {
            let refusal = Refusal::read(self.work.http(), answer).await?.without(&self.search);
            return self.refused(refusal).await.map(|()| None);
        }
        let from = answer.url().clone();
        let most = usize::from(self.work.search_settings().search_max_page_size) << 20;
        let body = self.work.http().body(answer, most).await.map_err(too_large)?;
        self.understand(&body, from).map(Some)
    }

    fn understand(&mut self, body: &[u8], from: Url) -> Result<(Page, Url), StageError> {
        let mut seen = self.cursor.seen.clone();
        let mut page = Page::read(body, &from, &self.search, &mut seen).map_err(|unreadable| {
            let detail = format!("Page {} of search {} cannot be used: {unreadable}.", self.cursor.seen.pages + 1, self.file.n);
            StageError::Retry(Trouble::new(Reason::ServerError, detail, "report it to the server's operator"), None)
        })?;
        if self.doubts.look_at(&page, &self.search, &mut seen) {
            let detail = format!(
                "Search {} ({}) is answered with resources of other patients than asked for.",
                self.file.n, self.search.resource_type
            );
            let remedy = "ask the server's operator why its search does not look at the patients that are named";
            return Err(StageError::Fail(Trouble::new(Reason::Refused, detail, remedy)));
        }
        page.next = page.next.map(|next| own_url::as_asked(next, &from));
        self.cursor.seen = seen;
        Ok((page, from))
    }

    /// The question. `None`: it is too long for a URL, and the server takes no other.
    fn first_page(&self) -> Result<Option<Ask>, StageError> {
        let ask = self.question(&self.search, self.work.search_settings().search_page)?;
        let too_long = ask.method == Method::GET && self.is_long(&ask.url);
        Ok((!too_long || self.search.half().is_none()).then_some(ask))
    }

    fn is_long(&self, url: &Url) -> bool {
        url.as_str().len() > self.work.search_settings().search_url_length
    }

    /// What is asked, in the manner that the server understands as far as we know.
    fn question(&self, search: &Search, count: impl ToString) -> Result<Ask, StageError> {
        let mut parameters = search.parameters();
        parameters.push(("_count".to_owned(), count.to_string()));
        if self.cursor.manner == Manner::Exact {
            parameters.push(("_sort".to_owned(), "_id".to_owned()));
            parameters.push(("_total".to_owned(), "accurate".to_owned()));
        }
        let mut url = members::url(self.work, &[&search.resource_type])?;
        url.query_pairs_mut().extend_pairs(&parameters);
        let ask = if self.post == Post::Always || (self.post == Post::WhenLong && self.is_long(&url)) {
            let url = members::url(self.work, &[&search.resource_type, "_search"])?;
            let fields: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            Ask::new(Method::POST, url).form(&fields)
        } else {
            Ask::get(url)
        };
        Ok(match self.cursor.manner {
            Manner::Exact | Manner::Strict => ask.header(PREFER, HeaderValue::from_static("handling=strict")),
            Manner::Lenient => ask,
        })
    }

    /// The server does not give this page. An error, or there is another way to ask.
    async fn refused(&mut self, refusal: Refusal) -> Result<(), StageError> {
        pace::was_refused(self.work, &refusal).await?;
        if let Some(error) = refusal.credentials() {
            return Err(error);
        }
        if self.cursor.next.is_none() && self.asks_otherwise(&refusal).await? {
            return Ok(());
        }
        let (kind, n) = (&self.search.resource_type, self.file.n);
        match refusal.status {
            429 => {
                limits::export_time(&self.work.export, self.work.limits())?;
                Err(StageError::Again(pace::SLOW_DOWN.to_owned(), refusal.retry_after.unwrap_or(pace::PAUSE)))
            }
            400 | 404 | 410 if self.cursor.next.is_some() => self.forgotten(&refusal).await,
            501 => Err(fail(format!("The server cannot search {kind}: {}.", refusal.words()))),
            408 | 425 | 500.. => Err(refusal.again(&format!("Page {} of search {n} could not be read", self.cursor.seen.pages + 1))),
            _ => Err(fail(format!("Search {n} ({kind}) was refused: {}.", refusal.words()))),
        }
    }

    /// Whether there is another way to ask for the first page.
    async fn asks_otherwise(&mut self, refusal: &Refusal) -> Result<bool, StageError> {
        let wrong = matches!(refusal.status, 400 | 422 | 501) || (refusal.status == 500 && self.work.claim().attempt > 1);
        let long = matches!(refusal.status, 413 | 414 | 431);
        let manner = self.cursor.manner;
        if long && self.post == Post::WhenLong {
            self.post = Post::Always;
        } else if matches!(refusal.status, 404 | 405 | 501) && self.is_posted()? {
            self.post = Post::Never;
        } else if long && let Some(half) = self.search.half() {
            self.split(half, TOO_MANY).await?;
        } else if wrong && manner == Manner::Exact {
            self.cursor.manner = Manner::Strict;
        } else if wrong && self.search.half().is_some() && self.bears_one_patient().await? {
            // Servers that take no list take one patient only.
            self.split(1, TOO_MANY).await?;
        } else if wrong && manner == Manner::Strict {
            self.cursor.manner = Manner::Lenient;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn is_posted(&self) -> Result<bool, StageError> {
        Ok(self.first_page()?.is_some_and(|ask| ask.method == Method::POST))
    }

    /// The pages are only kept for a while at many servers. It begins anew by itself: what comes the same keeps its rows. If that is not enough,
    /// it is made in searches of fewer pages.
    async fn forgotten(&mut self, refusal: &Refusal) -> Result<(), StageError> {
        let (page, n) = (self.cursor.seen.pages + 1, self.file.n);
        let detail = format!("The server has forgotten page {page} of search {n}: {}.", refusal.words());
        if self.cursor.forgotten == 0 {
            return self.begin(1, Some(format!("{detail} It begins with its first page again."))).await;
        }
        if let Some(half) = self.search.half() {
            return self.split(half, "The server forgets its pages").await;
        }
        // A retry may have more luck.
        self.begin(0, None).await?;
        let remedy = "retry the export when the server is less busy; or raise SEARCH_PAGE for the workers, so that there are fewer pages";
        Err(StageError::Fail(Trouble::new(Reason::ServerError, detail, remedy)))
    }

    /// Whether a refused question would be answered for one patient: then it was too much, and not wrong.
    async fn bears_one_patient(&mut self) -> Result<bool, StageError> {
        let Some(one) = self.search.in_pieces(1).map(|mut pieces| pieces.remove(0)) else { return Ok(false) };
        Ok(members::send(self.work, self.question(&one, 1)?, Some(&self.search)).await?.is_ok())
    }

    /// A server may answer for some of the patients only, without a word: then it is asked for fewer at once. `true`: it is, from now on.
    pub(super) async fn is_of_some_only(&mut self) -> Result<bool, StageError> {
        let seen = &self.cursor.seen;
        let given = seen.matches - seen.repeated - seen.strangers;
        let fewer = self.search.asked_by_id().is_some_and(|asked| given < asked);
        if self.is_of_one_only().await? {
            self.split(1, super::ONE_ONLY).await?;
        } else if fewer && let Some(half) = self.search.half() {
            self.split(half, "The server did not give all patients that were asked for").await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// All matches are of the first or the last patient: nobody knows whether the others have nothing, or were not looked at. Asked with that
    /// patient at the other end of the list, a server that reads one only does not give that patient's any more.
    async fn is_of_one_only(&mut self) -> Result<bool, StageError> {
        let (seen, Some(patients)) = (&self.cursor.seen, &self.search.patients) else { return Ok(false) };
        let Some(owner) = seen.owner.as_ref().filter(|_| !seen.owners && !seen.is_doubtful()) else { return Ok(false) };
        let mut turned = patients.ids.clone();
        turned.reverse();
        if turned.len() < 2 || (patients.ids.first() != Some(owner) && patients.ids.last() != Some(owner)) {
            return Ok(false);
        }
        let turned = Search { patients: Some(Patients { by: patients.by.clone(), ids: turned }), ..self.search.clone() };
        let Ok(answer) = members::send(self.work, self.question(&turned, 1)?, Some(&self.search)).await? else { return Ok(false) };
        let base = members::url(self.work, &[])?;
        let page = Page::read(&answer.body, &base, &turned, &mut Seen::default());
        let of_owner = |page: &Page| page.matches.iter().any(|found| found.owners.contains(owner));
        Ok(page.is_ok_and(|page| !of_owner(&page)))
    }

    /// It keeps so many patients at most; the others are other searches from now on.
    async fn split(&mut self, size: usize, why: &'static str) -> Result<(), StageError> {
        let Some(mut pieces) = self.search.in_pieces(size) else { return Err(StageError::Lost) };
        let (kind, n) = (self.search.resource_type.clone(), self.file.n);
        let told = format!("{why}: search {n} ({kind}) is made in {}.", pieces.len());
        let first = pieces.remove(0);
        // The pieces of a piece are smaller: no key comes twice.
        let key = |place: usize| format!("search:{kind}:{n}/{size}.{place}");
        let others = pieces.into_iter().enumerate().map(|(at, search)| NewSearch { url: self.file.url.clone(), key: key(at + 2), search });
        let split = Split { file_id: self.file.id, first, others: others.collect(), told, why };
        self.work.checkpoint(&split).await?;
        self.search = split.first;
        let cursor = Cursor { manner: self.cursor.manner, ..Cursor::default() };
        self.stand_at_the_first_page(cursor).await
    }
}

fn too_large(error: StageError) -> StageError {
    match error {
        StageError::Fail(trouble) => StageError::Fail(Trouble {
            detail: format!("{} (SEARCH_MAX_PAGE_SIZE)", trouble.detail.trim_end_matches('.')),
            remedy: "lower SEARCH_PAGE or raise SEARCH_MAX_PAGE_SIZE for the workers, then retry the export".to_owned(),
            ..trouble
        }),
        other => other,
    }
}

fn fail(detail: String) -> StageError {
    StageError::Fail(Trouble::new(Reason::Refused, detail, "ask the server's operator; or ask for other resource types or filters"))
}
