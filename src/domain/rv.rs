//! resourceVersions: opaque decimal strings that may be compared (KEP-5504), of any length.

use std::cmp::Ordering;
use std::fmt;

/// A resourceVersion as the API server wrote it. Ordered by length, then by text: never parsed, so a version longer than
/// any integer type still compares right (KEP-5504).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Rv(Box<str>);

impl Rv {
    /// Takes the text as it stands. Leading zeros and non-digits are the server's fault; see [`Rv::is_numeric`].
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, as the API server takes it back in `resourceVersion=`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a version that can be ordered: decimal digits without a leading zero ("0" itself means "any").
    pub fn is_numeric(&self) -> bool {
        !self.0.is_empty()
            && self.0.bytes().all(|b| b.is_ascii_digit())
            && (self.0.len() == 1 || !self.0.starts_with('0'))
    }

    /// Whether no version is known yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Ord for Rv {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Rv {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Rv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Rv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rv({})", self.0)
    }
}

impl From<&str> for Rv {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn longer_means_newer_beyond_any_integer() {
        let forty = "9".repeat(40);
        assert!(Rv::new("9") < Rv::new("10"));
        assert!(Rv::new("18446744073709551615") < Rv::new("18446744073709551616"));
        assert!(Rv::new(&forty) < Rv::new(&format!("1{}", "0".repeat(40))));
        assert!(Rv::default() < Rv::new("0"));
    }

    #[test]
    fn only_plain_decimals_count_as_numeric() {
        for (text, numeric) in [("0", true), ("12", true), ("", false), ("012", false), ("1a", false), ("-1", false)] {
            assert_eq!(Rv::new(text).is_numeric(), numeric, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn order_agrees_with_integers_where_integers_reach(a: u64, b: u64) {
            prop_assert_eq!(Rv::new(&a.to_string()).cmp(&Rv::new(&b.to_string())), a.cmp(&b));
        }

        // Also over what no server should send: the index and the fold sort by it.
        #[test]
        fn it_is_a_total_order_over_whatever_a_server_says(texts in prop::collection::vec("[0-9]{0,3}|[0-9a-z]{0,2}|[0-9]{20,42}", 3)) {
            let [a, b, c] = [0, 1, 2].map(|i: usize| Rv::new(&texts[i]));
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&b) == std::cmp::Ordering::Equal, a == b);
            prop_assert_eq!(a.partial_cmp(&b), Some(a.cmp(&b)));
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
