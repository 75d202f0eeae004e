//! What a person, or a program with a token, may do.

use super::words;

words! {
    /// Each may what the one before may.
    pub enum Role {
        /// May look.
        Viewer = "viewer",
        /// May submit exports and act on them.
        Operator = "operator",
        /// May give others access.
        Admin = "admin",
    }
}

impl Role {
    /// Whether it may do what needs `needed`.
    #[must_use]
    pub const fn may(self, needed: Self) -> bool {
        self as u8 >= needed as u8
    }

    /// The one that may less.
    #[must_use]
    pub const fn lesser(self, other: Self) -> Self {
        if self.may(other) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::Role::{Admin, Operator, Viewer};

    #[test]
    fn each_may_what_the_one_before_may() {
        assert!(Admin.may(Operator) && Operator.may(Operator) && Operator.may(Viewer));
        assert!(!Viewer.may(Operator) && !Operator.may(Admin));
        assert_eq!((Admin.lesser(Viewer), Viewer.lesser(Admin)), (Viewer, Viewer));
    }
}
