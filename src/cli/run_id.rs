//! The ID of a run on the command line, which may be shortened.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The ID of a run, or its beginning or end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunIdPrefix {
    text: String,
    /// The digits in lower case, without hyphens.
    pub(crate) digits: String,
    /// The lowest and the highest ID that begin like this.
    pub(crate) ids: (Uuid, Uuid),
}

impl RunIdPrefix {
    /// Whether the text is a whole ID.
    pub(crate) fn is_whole(&self) -> bool {
        self.ids.0 == self.ids.1
    }
}

impl FromStr for RunIdPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const DIGITS: usize = 32;
        let invalid = || "expected the id of a run, or its beginning or end, such as 5245c82c".to_owned();
        let digits = text.replace('-', "").to_lowercase();
        let is_hex = digits.chars().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex || digits.is_empty() || digits.len() > DIGITS {
            return Err(invalid());
        }
        let id = |fill: &str| {
            let id = format!("{digits}{}", fill.repeat(DIGITS - digits.len()));
            u128::from_str_radix(&id, 16).map(Uuid::from_u128).map_err(|_| invalid())
        };
        let ids = (id("0")?, id("f")?);
        Ok(Self { text: text.to_owned(), digits, ids })
    }
}

impl fmt::Display for RunIdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_of_a_run_id_covers_the_ids_that_begin_like_it() {
        let ids = |text: &str| text.parse::<RunIdPrefix>().map(|prefix| prefix.ids);
        let id = |text: &str| text.parse::<Uuid>().unwrap();
        let whole = "01a1fccc-5c29-77fc-b45f-0eaf5245c82c";
        assert_eq!(ids(whole), Ok((id(whole), id(whole))));
        let range = (id("01a1fccc-5c20-0000-0000-000000000000"), id("01a1fccc-5c2f-ffff-ffff-ffffffffffff"));
        assert_eq!(ids("01a1fccc-5c2"), Ok(range));
        assert_eq!(ids("01A1FCCC5C2"), Ok(range));
        for text in ["", "-", "+1", "run", "01a1fccc-5c29-77fc-b45f-0eaf5245c82c0"] {
            assert!(ids(text).is_err(), "{text}");
        }
    }
}
