//! The words and signs of a label selector. Signs are taken as long as they can be, as the API server does: `a!=b` is
//! never `a`, `!`, `=b`.

use std::fmt;

/// A word or a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// A key or a value.
    Word(&'t str),
    In,
    NotIn,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    Open,
    Close,
    Comma,
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => write!(f, "{word:?}"),
            Self::In => f.write_str("'in'"),
            Self::NotIn => f.write_str("'notin'"),
            Self::Not => f.write_str("'!'"),
            Self::Equals => f.write_str("'='"),
            Self::NotEquals => f.write_str("'!='"),
            Self::Greater => f.write_str("'>'"),
            Self::Less => f.write_str("'<'"),
            Self::Open => f.write_str("'('"),
            Self::Close => f.write_str("')'"),
            Self::Comma => f.write_str("','"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// Reads tokens with the byte at which each begins.
pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token, left in place.
    pub(super) fn peek(&self) -> (usize, Token<'t>) {
        let (start, token, _) = self.scan();
        (start, token)
    }

    /// The next token.
    pub(super) fn next(&mut self) -> (usize, Token<'t>) {
        let (start, token, end) = self.scan();
        self.at = end;
        (start, token)
    }

    /// The next token where a key or value stands: `in` and `notin` are words there.
    pub(super) fn next_word(&mut self) -> (usize, Token<'t>) {
        match self.next() {
            (at, Token::In) => (at, Token::Word("in")),
            (at, Token::NotIn) => (at, Token::Word("notin")),
            other => other,
        }
    }

    fn scan(&self) -> (usize, Token<'t>, usize) {
        let rest = &self.text[self.at..];
        let start = self.at + (rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len());
        let rest = &self.text[start..];
        let signs = [
            ("==", Token::Equals),
            ("!=", Token::NotEquals),
            ("=", Token::Equals),
            ("!", Token::Not),
            (">", Token::Greater),
            ("<", Token::Less),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ];
        if rest.is_empty() {
            return (start, Token::End, start);
        }
        if let Some((sign, token)) = signs.into_iter().find(|(sign, _)| rest.starts_with(sign)) {
            return (start, token, start + sign.len());
        }
        let end = rest.find([' ', '\t', '\r', '\n', '=', '!', '>', '<', '(', ')', ',']).unwrap_or(rest.len());
        let token = match &rest[..end] {
            "in" => Token::In,
            "notin" => Token::NotIn,
            word => Token::Word(word),
        };
        (start, token, start + end)
    }
}
