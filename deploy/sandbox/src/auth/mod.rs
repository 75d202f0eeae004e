//! SMART Backend Services (SMART App Launch 2.2).

pub mod assertion;
pub mod bearer;
pub mod credentials;
pub mod scope;
