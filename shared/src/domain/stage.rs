//! The stages an export walks through.

use super::words;

words! {
    /// One word names a stage's file, its queue rows, its span, its metric label.
    pub enum StageKind {
        /// Gets an access token.
        Auth = "auth",
        /// Asks the server to export.
        KickOff = "kick_off",
        /// Asks the server how far it is.
        Poll = "poll",
        /// Finds out who is in the Group and what can be searched, where there is no bulk export.
        Members = "members",
        /// Downloads a file.
        Download = "download",
        /// Reads the pages of a search.
        Search = "search",
        /// Loads a part of a file.
        Load = "load",
        /// Compares what came with what should have come.
        Finish = "finish",
        /// Tells the server that it may forget the export.
        Release = "release",
        /// Deletes the downloaded files.
        CleanUp = "clean_up",
        Check = "check",
        /// Sums up what was loaded, for the data page.
        Summarise = "summarise",
    }
}

words! {
    /// Stages that share workers' slots. `poll` has no tickets: its stages are claimed in bulk.
    pub enum Lane {
        Control = "control",
        Poll = "poll",
        Transfer = "transfer",
        Load = "load",
    }
}

impl StageKind {
    /// Where it queues.
    #[must_use]
    pub const fn lane(self) -> Lane {
        match self {
            Self::Auth | Self::KickOff | Self::Members | Self::Finish | Self::Release | Self::CleanUp | Self::Check => Lane::Control,
            Self::Poll => Lane::Poll,
            Self::Download | Self::Search => Lane::Transfer,
            Self::Load | Self::Summarise => Lane::Load,
        }
    }

    /// These read a file, or load a part of one: they fail for it alone, and the export ends after the last of them.
    #[must_use]
    pub const fn is_for_a_file(self) -> bool {
        matches!(self, Self::Download | Self::Search | Self::Load)
    }

    /// These run for an export that has ended; all others only for a live one.
    #[must_use]
    pub const fn follows_the_end(self) -> bool {
        matches!(self, Self::Release | Self::CleanUp | Self::Summarise)
    }
}

impl Lane {
    /// The lanes apalis delivers tickets for.
    pub const TICKETED: [Self; 3] = [Self::Control, Self::Transfer, Self::Load];

    /// The name of the lane's apalis queue. Frozen: tickets of an older version carry it.
    #[must_use]
    pub const fn apalis_queue(self) -> &'static str {
        match self {
            Self::Control => "bulkhead.control",
            Self::Poll => "bulkhead.poll",
            Self::Transfer => "bulkhead.transfer",
            Self::Load => "bulkhead.load",
        }
    }
}
