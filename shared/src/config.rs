//! Settings. Each is a command-line argument and an environment variable with the same meaning
//! everywhere; clap reads both, so this is the one door to the environment.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;

use crate::{
    blob::Compression,
    clock,
    domain::outgoing::OutgoingRules,
    secrets::{Cipher, SecretError},
};

/// Seconds on a command line or in the environment; fractions are fine.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number of seconds"))?;
    Duration::try_from_secs_f64(value).map_err(|_| format!("{text:?} is not a usable number of seconds"))
}

/// Where the database is.
#[derive(Debug, Clone, Args)]
pub struct DatabaseSettings {
    /// Postgres (14 or later), e.g. `postgres://fhir_user:...@localhost/fhir_analytics`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
}

/// How failed attempts are repeated. The delay before attempt n is random in
/// `0..=min(RETRY_MAX_DELAY, RETRY_BASE_DELAY * 2^(n-1))` and kept in the database.
#[derive(Debug, Clone, Args)]
pub struct RetrySettings {
    /// Attempts before a stage is given up; waiting (202, 429) costs none
    #[arg(long, env = "RETRY_MAX_ATTEMPTS", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=1000))]
    pub retry_max_attempts: i32,
    /// Seconds: ceiling of the first delay
    #[arg(long, env = "RETRY_BASE_DELAY", default_value = "2", value_parser = seconds)]
    pub retry_base_delay: Duration,
    /// Seconds: ceiling of every delay
    #[arg(long, env = "RETRY_MAX_DELAY", default_value = "300", value_parser = seconds)]
    pub retry_max_delay: Duration,
}

impl RetrySettings {
    /// Full jitter, after `attempt` (from 1) has failed.
    #[must_use]
    pub fn backoff(&self, attempt: i32) -> Duration {
        let doublings = u32::try_from(attempt.clamp(1, 31) - 1).unwrap_or(0);
        clock::jitter(self.retry_base_delay.saturating_mul(1 << doublings).min(self.retry_max_delay))
    }
}

/// How FHIR servers are spoken to.
#[derive(Debug, Clone, Args)]
pub struct HttpSettings {
    /// Seconds without a byte before a request is given up
    #[arg(long, env = "HTTP_TIMEOUT_READ", default_value = "300", value_parser = seconds)]
    pub http_timeout_read: Duration,
    /// Seconds to connect
    #[arg(long, env = "HTTP_TIMEOUT_CONNECT", default_value = "30", value_parser = seconds)]
    pub http_timeout_connect: Duration,
    /// A PEM file of certificate authorities to trust beside the system's, such as a hospital's own
    #[arg(long, env = "HTTP_CA_FILE")]
    pub http_ca_file: Option<PathBuf>,
}

/// How a server without a bulk export is read by FHIR search. What meets one of the limits fails and says which.
#[derive(Debug, Clone, Args)]
pub struct SearchSettings {
    /// Patients in one search; fewer where a server refuses so many
    #[arg(long, env = "SEARCH_PATIENTS", default_value_t = 25, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub search_patients: u16,
    /// Resources on a page (`_count`); a server may give fewer
    #[arg(long, env = "SEARCH_PAGE", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub search_page: u16,
    /// Bytes of a URL; a longer search is sent by POST
    #[arg(long, env = "SEARCH_URL_LENGTH", default_value_t = 2000)]
    pub search_url_length: usize,
    /// MiB of one page
    #[arg(long, env = "SEARCH_MAX_PAGE_SIZE", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub search_max_page_size: u16,
    /// Pages of one search: of a type and its patients
    #[arg(long, env = "SEARCH_MAX_PAGES", default_value_t = 100_000, value_parser = clap::value_parser!(i64).range(1..))]
    pub search_max_pages: i64,
    /// Groups in a Group, itself included
    #[arg(long, env = "SEARCH_MAX_GROUPS", default_value_t = 1000)]
    pub search_max_groups: usize,
    /// Patients of a Group and of the Groups in it
    #[arg(long, env = "SEARCH_MAX_MEMBERS", default_value_t = 100_000)]
    pub search_max_members: usize,
}

/// Which hosts may be spoken to.
#[derive(Debug, Clone, Default, Args)]
pub struct OutgoingSettings {
    /// Hosts that may be reached over plain http, comma-separated (loopback always may)
    #[arg(long, env = "ALLOWED_HTTP_HOSTS", value_delimiter = ',')]
    pub allowed_http_hosts: Vec<String>,
}

impl OutgoingSettings {
    #[must_use]
    pub fn rules(&self) -> OutgoingRules {
        OutgoingRules { allowed_http_hosts: self.allowed_http_hosts.clone() }
    }
}

/// What a server may make of us at most. An export that meets a limit says which.
#[derive(Debug, Clone, Args)]
pub struct LimitSettings {
    /// Entries in a page of a manifest
    #[arg(long, env = "LIMIT_MANIFEST_ENTRIES", default_value_t = 1_000_000)]
    pub limit_manifest_entries: usize,
    /// Pages of a manifest
    #[arg(long, env = "LIMIT_MANIFEST_PAGES", default_value_t = 10_000)]
    pub limit_manifest_pages: i32,
    /// Days from the kick-off until the server has ended the export
    #[arg(long, env = "LIMIT_EXPORT_DAYS", default_value_t = 14.0)]
    pub limit_export_days: f64,
    /// Bytes of a file, unpacked
    #[arg(long, env = "LIMIT_FILE_BYTES", default_value_t = 500 << 30)]
    pub limit_file_bytes: u64,
    /// Times that a file may be larger unpacked than packed, once it is over 64 MiB
    #[arg(long, env = "LIMIT_UNPACKING", default_value_t = 500)]
    pub limit_unpacking: u64,
    /// Bytes of a line in a file; lines over 16 MiB are kept as rejected, beyond this limit the whole file is refused
    #[arg(long, env = "LIMIT_LINE_BYTES", default_value_t = 64 << 20)]
    pub limit_line_bytes: usize,
    /// Bytes a second of a file at least, on average over HTTP_TIMEOUT_READ
    #[arg(long, env = "LIMIT_SLOWEST_BODY", default_value_t = 100)]
    pub limit_slowest_body: u64,
    /// Redirects of a request
    #[arg(long, env = "LIMIT_REDIRECTS", default_value_t = 10)]
    pub limit_redirects: usize,
    /// Bytes of an answer's headers over HTTP/2 (over HTTP/1.1: 100 headers, 400 KiB)
    #[arg(long, env = "LIMIT_HEADER_BYTES", default_value_t = 64 << 10)]
    pub limit_header_bytes: u32,
}

/// Where downloaded parts are kept until they are loaded.
#[derive(Debug, Clone, Args)]
pub struct BlobSettings {
    /// Folder for downloaded files; the same for all workers of a database, and of no other database
    #[arg(long, env = "BULK_DATA_DIR", default_value = "/data/bulk")]
    pub bulk_data_dir: PathBuf,
    /// Days to keep the files of an export that has ended
    #[arg(long, env = "BULK_DATA_RETENTION", default_value_t = 7.0)]
    pub bulk_data_retention: f64,
    /// How downloaded files are kept; they take much less space with zstd. What was stored the other way stays readable.
    /// Change it only once all workers are of this version
    #[arg(long, env = "BULK_DATA_COMPRESSION", value_enum, default_value_t)]
    pub bulk_data_compression: Compression,
}

impl BlobSettings {
    /// The retention in seconds.
    #[must_use]
    pub fn retention_seconds(&self) -> f64 {
        self.bulk_data_retention * 86_400.0
    }
}

/// The key that seals secrets in the database; and, while it replaces another or is replaced, that other.
#[derive(Debug, Clone, Default, Args)]
pub struct SecretSettings {
    /// 32 bytes in base64
    #[arg(long, env = "BULKHEAD_SECRET_KEY", hide_env_values = true)]
    pub secret_key: Option<String>,
    /// A file of mode 0600 with the key in it
    #[arg(long, env = "BULKHEAD_SECRET_KEY_FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// Another key, which opens what it sealed and seals nothing: while keys are changed (see `bulkhead-api reseal`)
    #[arg(long, env = "BULKHEAD_SECRET_KEY_OTHER", hide_env_values = true)]
    pub secret_key_other: Option<String>,
    /// A file of mode 0600 with that other key in it
    #[arg(long, env = "BULKHEAD_SECRET_KEY_OTHER_FILE")]
    pub secret_key_other_file: Option<PathBuf>,
}

impl SecretSettings {
    /// The cipher.
    pub fn cipher(&self) -> Result<Cipher, SecretError> {
        let ours = key(self.secret_key.as_deref(), self.secret_key_file.as_deref())?.ok_or(SecretError::Missing)?;
        Ok(match key(self.secret_key_other.as_deref(), self.secret_key_other_file.as_deref())? {
            Some(other) => ours.with_other(other),
            None => ours,
        })
    }
}

/// Of the text, else of the file. Compose and Kubernetes give an empty variable for one that is not set.
fn key(text: Option<&str>, file: Option<&Path>) -> Result<Option<Cipher>, SecretError> {
    match (text, file) {
        (Some(key), _) if !key.is_empty() => Cipher::from_base64(key).map(Some),
        (_, Some(path)) if !path.as_os_str().is_empty() => Cipher::from_file(path).map(Some),
        _ => Ok(None),
    }
}

/// What is logged.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    /// error, warn, info, debug or trace; or directives such as `info,bulkhead_worker=debug`
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// One JSON object a line
    #[arg(long, env = "LOG_JSON", default_value_t = false, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub log_json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_stays_under_its_ceiling() {
        let retry =
            RetrySettings { retry_max_attempts: 10, retry_base_delay: Duration::from_secs(2), retry_max_delay: Duration::from_secs(300) };
        for (attempt, ceiling) in [(1, 2), (2, 4), (5, 32), (9, 300), (1000, 300)] {
            for _ in 0..50 {
                assert!(retry.backoff(attempt) <= Duration::from_secs(ceiling));
            }
        }
    }
}
