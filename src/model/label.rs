//! Closed enums that become labels.
//!
//! A metric label, a journal word and a JSON value are the same word everywhere. The macro below gives a field-less
//! enum that word (`as_str`), all its members (`ALL`, so that counters exist from the start) and both text directions.

/// A word that is not a member of a closed set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a {noun}")]
pub struct UnknownLabel {
    /// What the set is of.
    pub noun: &'static str,
    /// The word that was offered.
    pub word: String,
}

/// Declares a closed enum whose members have one fixed word each.
#[macro_export]
macro_rules! labels {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Every member, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word this member is known by in metrics, journal and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::label::UnknownLabel;
            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::model::label::UnknownLabel { noun: stringify!($name), word: word.to_owned() }),
                }
            }
        }
    };
}
