//! Who there is in an export, numbered in the order they are met.

use std::collections::HashMap;

/// Numbers for the ids of patients.
#[derive(Debug, Default)]
pub struct People {
    numbers: HashMap<Box<str>, i32>,
}

impl People {
    /// The number of a patient, from 0.
    pub fn number(&mut self, id: &str) -> sqlx::Result<i32> {
        if let Some(number) = self.numbers.get(id) {
            return Ok(*number);
        }
        let next = i32::try_from(self.numbers.len())
            .map_err(|_| sqlx::Error::Protocol("an export of more people than there are numbers".to_owned()))?;
        self.numbers.insert(id.into(), next);
        Ok(next)
    }

    pub fn count(&self) -> i32 {
        i32::try_from(self.numbers.len()).unwrap_or(i32::MAX)
    }
}
