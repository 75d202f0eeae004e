//! Who did what, as the audit log keeps it.

use std::net::IpAddr;

use uuid::Uuid;

use super::words;

words! {
    /// What sort of somebody it was.
    pub enum ActorKind {
        /// A user who had logged in.
        User = "user",
        /// A program with a token.
        Token = "token",
        /// Somebody who was not asked who they are.
        Open = "open",
        /// Whoever ran a command on a machine that reaches the database.
        CommandLine = "command_line",
        /// Somebody who could not say who they are.
        Nobody = "nobody",
    }
}

words! {
    /// What was done.
    pub enum Act {
        LoggedIn = "logged_in",
        LoginFailed = "login_failed",
        LoggedOut = "logged_out",
        SessionRevoked = "session_revoked",
        UserAdded = "user_added",
        PasswordChanged = "password_changed",
        RoleChanged = "role_changed",
        UserDisabled = "user_disabled",
        UserEnabled = "user_enabled",
        TokenAdded = "token_added",
        TokenRevoked = "token_revoked",
        ExportSubmitted = "export_submitted",
        ExportChecked = "export_checked",
        ExportRetried = "export_retried",
        ExportCancelled = "export_cancelled",
        ExportAccepted = "export_accepted",
        ExportDeleted = "export_deleted",
        ResourceSeen = "resource_seen",
        SourceChanged = "source_changed",
        /// Asked to claim nothing more.
        WorkerDrained = "worker_drained",
        /// Asked to claim again.
        WorkerResumed = "worker_resumed",
        /// Somebody tried what their role does not allow.
        Refused = "refused",
    }
}

words! {
    /// What it was done to.
    pub enum ObjectKind {
        Export = "export",
        /// `Type/id`.
        Resource = "resource",
        User = "user",
        Token = "token",
        Session = "session",
        /// A route, as in the description of the API.
        Page = "page",
        Source = "source",
        Worker = "worker",
    }
}

/// Who does something.
#[derive(Debug, Clone)]
pub struct Actor {
    pub kind: ActorKind,
    /// The user's or the token's.
    pub id: Option<Uuid>,
    pub name: String,
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Whoever runs a command.
    #[must_use]
    pub fn command_line() -> Self {
        Self { kind: ActorKind::CommandLine, id: None, name: "command line".to_owned(), address: None }
    }

    /// Somebody who did not say who they are.
    #[must_use]
    pub fn nobody(address: Option<IpAddr>) -> Self {
        Self { kind: ActorKind::Nobody, id: None, name: "nobody".to_owned(), address }
    }

    /// Somebody who is not asked.
    #[must_use]
    pub fn open(address: Option<IpAddr>) -> Self {
        Self { kind: ActorKind::Open, id: None, name: "open".to_owned(), address }
    }
}
