//! What Bulkhead talks about. No SQL, no HTTP, no clock.

pub mod export;
pub mod failure;
pub mod file;
pub mod finding;
pub mod manifest;
pub mod outgoing;
pub mod private_key;
pub mod resource;
pub mod search;
pub mod source;
pub mod stage;

/// An enum that is one lower-case word in the database, in JSON and in logs.
macro_rules! words {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $vis enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that names it everywhere.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::UnknownWord;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::domain::UnknownWord { what: stringify!($name), word: word.to_owned() }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

/// A word the database or a client used that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("{word:?} is not a {what} this version knows")]
pub struct UnknownWord {
    pub(crate) what: &'static str,
    pub(crate) word: String,
}
