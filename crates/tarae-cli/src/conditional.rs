//! Which answer a request with preconditions or a range gets: RFC 9110 §13.2.2 and §14.2.
//!
//! `site` calls `decide` with what the request says and what the file is. Pure: no I/O and no
//! clock, dates are seconds since 1970. It must never answer 304 or 206 to a request whose
//! validators it could not read; such a field is ignored, as the RFC demands.

/// What identifies the present state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// Its entity tag.
    pub etag: ETag,
    /// When it was last changed, in seconds since 1970; none if that is not expressible.
    pub modified: Option<u64>,
    /// Its length in bytes.
    pub len: u64,
}

/// An entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag {
    /// Whether equal tags only promise equivalent and not identical bytes.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: String,
}

/// The request's preconditions. A field sent in several lines is joined by commas.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<Vec<u8>>,
    /// `If-None-Match`.
    pub if_none_match: Option<Vec<u8>>,
    /// `If-Modified-Since`; none when it is absent or not a date.
    pub if_modified_since: Option<u64>,
    /// `If-Unmodified-Since`; none when it is absent or not a date.
    pub if_unmodified_since: Option<u64>,
    /// `If-Range`.
    pub if_range: Option<IfRange>,
    /// `Range`, for a GET only.
    pub range: Option<Vec<u8>>,
}

/// The validator of an `If-Range`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfRange {
    /// An entity tag, as received.
    Tag(Vec<u8>),
    /// A date in seconds since 1970.
    Date(u64),
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// 200 with everything.
    Whole,
    /// 206 with this part of it.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte, inclusive, as in `Content-Range`.
        last: u64,
    },
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    RangeNotSatisfiable,
}

/// Decides on a GET or HEAD of an existing file.
pub fn decide(asked: &Conditions, file: &Validators) -> Decision {
    let matches = match (&asked.if_match, asked.if_unmodified_since, file.modified) {
        (Some(list), _, _) => list_matches(list, &file.etag, ETag::equals_strongly),
        (None, Some(date), Some(modified)) => modified <= date,
        _ => true,
    };
    if !matches {
        return Decision::PreconditionFailed;
    }
    let changed = match (&asked.if_none_match, asked.if_modified_since, file.modified) {
        (Some(list), _, _) => !list_matches(list, &file.etag, ETag::equals_weakly),
        (None, Some(date), Some(modified)) => modified > date,
        _ => true,
    };
    if !changed {
        return Decision::NotModified;
    }
    match &asked.range {
        Some(range) if range_applies(asked.if_range.as_ref(), file) => part(range, file.len),
        _ => Decision::Whole,
    }
}

impl ETag {
    /// The value of the header field, with its quotes.
    pub fn to_field(&self) -> String {
        format!("{}\"{}\"", if self.weak { "W/" } else { "" }, self.opaque)
    }

    fn equals_strongly(&self, other_weak: bool, other: &[u8]) -> bool {
        !self.weak && !other_weak && self.opaque.as_bytes() == other
    }

    fn equals_weakly(&self, _other_weak: bool, other: &[u8]) -> bool {
        self.opaque.as_bytes() == other
    }
}

/// Whether a list of tags holds this one. `*` matches every file that exists. Reading stops at
/// the first thing that is not a tag: what stood before it counts.
fn list_matches(list: &[u8], etag: &ETag, equal: fn(&ETag, bool, &[u8]) -> bool) -> bool {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return true;
    }
    loop {
        while let [b',' | b' ' | b'\t', tail @ ..] = rest {
            rest = tail;
        }
        let Some((weak, opaque, tail)) = split_tag(rest) else {
            return false;
        };
        if equal(etag, weak, opaque) {
            return true;
        }
        rest = tail;
    }
}

/// Splits one entity tag off the front: whether it is weak, its opaque part, what follows.
fn split_tag(bytes: &[u8]) -> Option<(bool, &[u8], &[u8])> {
    let (weak, quoted) = match bytes.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, bytes),
    };
    let inner = quoted.strip_prefix(b"\"")?;
    let end = inner.iter().position(|&byte| byte == b'"')?;
    Some((weak, &inner[..end], &inner[end + 1..]))
}

/// RFC 9110 §13.1.5: both kinds of validator are compared strongly, and a date exactly. A tag
/// that is still weak means that the file may change again within the second of its date.
fn range_applies(condition: Option<&IfRange>, file: &Validators) -> bool {
    match condition {
        None => true,
        Some(IfRange::Date(date)) => !file.etag.weak && file.modified == Some(*date),
        Some(IfRange::Tag(tag)) => match split_tag(tag.trim_ascii()) {
            Some((weak, opaque, b"")) => file.etag.equals_strongly(weak, opaque),
            _ => false,
        },
    }
}

/// The part a `Range` asks for. Other units, several ranges and whatever is not well formed are
/// answered with the whole file: a server may ignore the field.
fn part(range: &[u8], len: u64) -> Decision {
    let Some((first, last)) = parse_range(range) else {
        return Decision::Whole;
    };
    match (first, last) {
        (None, Some(0)) => Decision::RangeNotSatisfiable,
        // The last bytes of an empty file are the whole of it, which a 206 cannot express.
        (None, Some(_)) if len == 0 => Decision::Whole,
        (None, Some(suffix)) => Decision::Part {
            first: len - suffix.min(len),
            last: len - 1,
        },
        (Some(first), _) if first >= len => Decision::RangeNotSatisfiable,
        (Some(first), last) => Decision::Part {
            first,
            last: last.unwrap_or(u64::MAX).min(len - 1),
        },
        (None, None) => Decision::Whole,
    }
}

/// `bytes=first-last`, `bytes=first-` or `bytes=-suffix`.
fn parse_range(range: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let text = std::str::from_utf8(range).ok()?;
    let (unit, set) = text.split_once('=')?;
    let (first, last) = set.trim_matches([' ', '\t']).split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let backwards = matches!((first, last), (Some(first), Some(last)) if first > last);
    (unit.eq_ignore_ascii_case("bytes") && !backwards).then_some((first, last))
}

/// Digits as a number that saturates, nothing as none; the outer option is the syntax.
fn number(digits: &str) -> Option<Option<u64>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Only overflow is left as an error, and a larger number means the same as the largest.
    Some((!digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX)))
}
