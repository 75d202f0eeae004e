//! Discovery, token, scopes.

use bulkhead_shared::{
    domain::{
        check::{Report, Step, StepName, StepResult},
        finding::Severity,
        outgoing::without_query,
        scope,
        source::{Auth, Source},
    },
    queue::StageError,
};

use super::{Access, failed, ok, skipped, step, trouble, warning};
use crate::{
    fhir::{
        auth,
        discovery::{self, By, Discovery},
        mint::Minted,
        outcome::shorten,
    },
    work::Work,
};

pub async fn steps(work: &Work, report: &mut Report) -> Result<Access, StageError> {
    let why = match work.source.auth {
        Auth::Smart => return smart(work, report).await,
        Auth::Bearer => "A bearer token was given; it is sent as it is.",
        Auth::Open => "No credentials were given: the server is asked as an open one.",
    };
    report.steps.extend([StepName::Discovery, StepName::Token, StepName::Scopes].map(|name| skipped(name, why)));
    Ok(match work.source.auth {
        Auth::Bearer => Access::Token(String::from_utf8(work.tokens().secret().await?).unwrap_or_default()),
        Auth::Open | Auth::Smart => Access::Open,
    })
}

async fn smart(work: &Work, report: &mut Report) -> Result<Access, StageError> {
    let mut source = work.source.clone();
    let found = match discovery::discover(work.http(), &source).await {
        Ok(found) => {
            if found.by.is_some() || found.has_smart_configuration {
                work.set_discovered(&found.discovered).await?;
                source.discovered = Some(found.discovered.clone());
            }
            discovered(&source, &found)
        }
        // It is not needed when the user said where tokens come from.
        Err(error) if source.token_url.is_some() => {
            warning(StepName::Discovery, trouble(error)?.detail, "nothing, if token_url is right: it is used without asking the server")
        }
        Err(error) => failed(StepName::Discovery, trouble(error)?),
    };
    let nowhere = found.result == StepResult::Failed;
    report.steps.push(found);
    if nowhere {
        let why = "It is not known where tokens come from.";
        report.steps.extend([StepName::Token, StepName::Scopes].map(|name| skipped(name, why)));
        return Ok(Access::None);
    }
    // A token of its own: one that is there already would prove nothing.
    let tokens = work.tokens_of(&source);
    let wishes = auth::wishes(&tokens, None);
    match auth::mint_in_time(work.http(), &tokens, &wishes).await {
        Ok(minted) => {
            let seconds = minted.usable.as_secs();
            report.steps.push(ok(StepName::Token, format!("The token endpoint gave an access token; it can be used for {seconds} s.")));
            report.steps.push(scopes(work, &minted));
            Ok(Access::Token(minted.token))
        }
        Err(error) => {
            report.steps.push(failed(StepName::Token, trouble(error)?));
            report.steps.push(skipped(StepName::Scopes, "There is no access token."));
            Ok(Access::None)
        }
    }
}

fn discovered(source: &Source, found: &Discovery) -> Step {
    const NAME: StepName = StepName::Discovery;
    let named = found.discovered.token_endpoint.as_deref();
    match (&source.token_url, named) {
        (Some(given), Some(named)) if given.trim_end_matches('/') != named.trim_end_matches('/') => warning(
            NAME,
            format!("The server names {} as its token endpoint; token_url is another one and is used.", shorten(&without_query(named))),
            "leave token_url out, unless you know better",
        ),
        (Some(_), Some(_)) => ok(NAME, "The server's smart-configuration names the token_url that was given."),
        (Some(_), None) => ok(NAME, "The server does not name a token endpoint; the token_url that was given is used."),
        (None, Some(named)) => {
            let place = match found.by {
                Some(By::CapabilityStatement) => "CapabilityStatement",
                _ => "smart-configuration",
            };
            ok(NAME, format!("The server's {place} names the token endpoint: {}.", shorten(&without_query(named))))
        }
        (None, None) => failed(NAME, discovery::nowhere(&source.base_url)),
    }
}

fn scopes(work: &Work, minted: &Minted) -> Step {
    const NAME: StepName = StepName::Scopes;
    let findings = scope::narrower(Some(&minted.scope), &work.export.ask);
    let Some(worst) = findings.iter().find(|finding| finding.severity == Severity::Error).or(findings.first()) else {
        return ok(NAME, format!("What is asked for is granted: {}.", shorten(&minted.scope)));
    };
    let more = if findings.len() > 1 { format!(" ({} more types)", findings.len() - 1) } else { String::new() };
    let result = if worst.severity == Severity::Error { StepResult::Failed } else { StepResult::Warning };
    let remedy = "ask the server's operator for the scopes, or for fewer types with resource_types";
    step(NAME, result, format!("{}{more}", worst.message), Some(remedy))
}
