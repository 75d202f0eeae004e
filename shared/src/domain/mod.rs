//! What Bulkhead talks about. No SQL, no HTTP, no clock.

pub mod audit;
pub mod check;
pub mod export;
pub mod failure;
pub mod file;
pub mod finding;
pub mod manifest;
pub mod outgoing;
pub mod private_key;
pub mod resource;
pub mod role;
pub mod scope;
pub mod search;
pub mod source;
pub mod stage;
pub mod summary;

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

/// An enum that is one lower-case word in the database, in JSON and in logs.
macro_rules! words {
    ($(#[doc = $doc:literal])* $vis:vis enum $name:ident { $($(#[doc = $meaning:literal])* $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        $vis enum $name { $($(#[doc = $meaning])* #[serde(rename = $word)] $variant,)+ }

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

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::domain::describe_words(concat!($($doc),*), &[$(($word, concat!($($meaning),*))),+])
            }
        }

        impl utoipa::ToSchema for $name {}

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

/// Words and what they mean, as the API's description shows them.
pub(crate) fn describe_words(about: &str, words: &[(&str, &str)]) -> RefOr<Schema> {
    let meanings = words.iter().filter(|(_, meaning)| !meaning.is_empty());
    let meanings = meanings.map(|(word, meaning)| format!("`{word}`: {}", meaning.trim())).collect::<Vec<_>>().join("\n- ");
    let list = if meanings.is_empty() { String::new() } else { format!("\n\n- {meanings}") };
    let words = words.iter().map(|(word, _)| *word);
    let schema =
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).description(Some(format!("{}{list}", about.trim())));
    Schema::Object(schema.build()).into()
}

/// A word the database or a client used that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("{word:?} is not a {what} this version knows")]
pub struct UnknownWord {
    pub(crate) what: &'static str,
    pub(crate) word: String,
}
