//! What somebody may do.

use super::words;

words! {
    /// What somebody may do; each role may also do what those before it may.
    pub enum Role {
        /// Look at everything but users and the audit log.
        Viewer = "viewer",
        /// Submit, retry, cancel, accept and delete exports.
        Operator = "operator",
        /// Manage users and everybody's tokens, read the audit log.
        Admin = "admin",
    }
}

impl Role {
    /// Whether this role may do what needs that one.
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
    use super::*;

    #[test]
    fn a_role_may_what_the_lesser_ones_may_and_no_more() {
        for (n, role) in Role::ALL.iter().enumerate() {
            for (m, needed) in Role::ALL.iter().enumerate() {
                assert_eq!(role.may(*needed), n >= m, "{role} and {needed}");
                assert_eq!(role.lesser(*needed), Role::ALL[n.min(m)]);
            }
        }
    }
}
