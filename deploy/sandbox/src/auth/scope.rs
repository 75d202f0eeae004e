//! What a scope covers: `system/Patient.read` (v1) or `system/Patient.rs` (v2), SMART App Launch 2.2, "Scopes".

use axum::http::{HeaderMap, StatusCode};

use super::bearer;
use crate::app::App;
use crate::outcome::Refused;
use crate::switches::Permission;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Read,
    Search,
}

impl Need {
    /// An export reads and searches.
    pub const EXPORT: [Self; 2] = [Self::Read, Self::Search];
}

/// Whether the server knows scopes of that form.
pub fn is_known(scope: &str, permission: Permission) -> bool {
    let Some((_, action)) = scope.rsplit_once('.') else { return permission == Permission::Both };
    // The query of a v2 scope is taken and has no effect.
    let action = action.split('?').next().unwrap_or_default();
    let v1 = ["read", "write", "*"].contains(&action);
    let v2 = !action.is_empty() && action.bytes().all(|letter| b"cruds".contains(&letter));
    match permission {
        Permission::Both => true,
        Permission::V1 => v1,
        Permission::V2 => v2,
    }
}

/// Whether the scopes allow that with resources of that type.
pub fn covers(scopes: &str, kind: &str, need: Need) -> bool {
    scopes.split_whitespace().any(|scope| {
        let Some((of, action)) = scope.strip_prefix("system/").and_then(|rest| rest.rsplit_once('.')) else { return false };
        let action = action.split('?').next().unwrap_or_default();
        let letter = if need == Need::Read { 'r' } else { 's' };
        let allowed = ["read", "*"].contains(&action) || (action != "write" && action.contains(letter));
        (of == "*" || of == kind) && allowed
    })
}

/// 403 if the request's token does not cover the type and scopes are enforced.
pub fn demand(app: &App, headers: &HeaderMap, kind: &str, needs: &[Need]) -> Result<(), Refused> {
    if !app.config.auth || !app.switches.access.enforce_scopes {
        return Ok(());
    }
    let scopes = bearer::scope(app, headers);
    if needs.iter().all(|need| covers(&scopes, kind, *need)) {
        return Ok(());
    }
    Err(Refused::new(StatusCode::FORBIDDEN, "forbidden", format!("The granted scope does not cover {kind}: {scopes}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_cover_what_they_say() {
        assert!(covers("system/*.read", "Patient", Need::Search) && covers("system/Patient.rs", "Patient", Need::Read));
        assert!(!covers("system/Patient.r", "Patient", Need::Search) && !covers("system/Patient.rs", "Condition", Need::Read));
        assert!(!covers("system/*.write", "Patient", Need::Read) && !covers("user/*.read", "Patient", Need::Read));
        assert!(is_known("system/*.rs", Permission::V2) && !is_known("system/*.rs", Permission::V1));
        assert!(is_known("system/*.read", Permission::V1) && !is_known("system/*.read", Permission::V2));
    }
}
