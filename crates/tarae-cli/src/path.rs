//! From the path of a request to the names of folders and files, and back.
//!
//! `site` calls `decode` on every request before anything touches the file system; `listing`
//! and the redirects call `encode_into`. Pure: no I/O. It must never let through a component
//! that is empty, begins with a dot, or holds a slash, a backslash or a NUL, so that what comes
//! out can be joined with `/` and still mean the same components.

/// A request path that has been decoded and found servable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPath {
    components: Vec<String>,
    is_folder: bool,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not a path at all: a broken escape, a NUL, bytes that are not UTF-8. Status 400.
    Malformed,
    /// It is well formed but names something that is never served: a hidden file, `..`, an
    /// empty component, a slash or backslash inside a name. Status 404, as if it did not exist.
    NotServed,
}

impl UrlPath {
    /// The decoded names from the root down; empty for `/`.
    pub fn components(&self) -> &[String] {
        &self.components
    }

    /// Whether the path ended with a slash, so that only a folder can be meant.
    pub fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// The path relative to the root: names joined by `/`, and `.` for the root itself.
    pub fn relative(&self) -> String {
        if self.components.is_empty() {
            ".".to_owned()
        } else {
            self.components.join("/")
        }
    }

    /// The path of this as a folder, percent-encoded, with a slash at both ends.
    pub fn folder_url(&self) -> String {
        let mut url = String::from("/");
        for name in &self.components {
            encode_into(&mut url, name);
            url.push('/');
        }
        url
    }
}

/// Decodes the path of a request target (without its query).
///
/// # Errors
///
/// [`Refusal::Malformed`] and [`Refusal::NotServed`] as described there. When both apply, the
/// first component at fault decides.
///
/// # Examples
///
/// ```
/// let path = tarae_cli::path::decode("/docs/caf%C3%A9/").unwrap();
/// assert_eq!(path.components(), ["docs", "café"]);
/// assert!(path.is_folder());
/// ```
pub fn decode(raw: &str) -> Result<UrlPath, Refusal> {
    let rest = raw.strip_prefix('/').ok_or(Refusal::Malformed)?;
    let (names, is_folder) = match rest.strip_suffix('/') {
        Some(names) => (names, true),
        None => (rest, rest.is_empty()),
    };
    if rest.is_empty() {
        return Ok(UrlPath {
            components: Vec::new(),
            is_folder,
        });
    }
    let components = names
        .split('/')
        .map(decode_component)
        .collect::<Result<_, _>>()?;
    Ok(UrlPath {
        components,
        is_folder,
    })
}

/// Whether a name found in a folder can be asked for with a URL: the rule of [`decode`].
pub fn is_servable_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// Appends a name percent-encoded: everything but RFC 3986's unreserved characters is escaped.
///
/// That includes the colon, so that a relative link to a file `a:b` is not taken for a scheme.
pub fn encode_into(out: &mut String, name: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in name.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn decode_component(raw: &str) -> Result<String, Refusal> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let [high, low, tail @ ..] = tail else {
            return Err(Refusal::Malformed);
        };
        bytes.push(hex(*high)? << 4 | hex(*low)?);
        rest = tail;
    }
    // Overlong forms of `/` and `.` are not UTF-8, so they end here.
    let name = String::from_utf8(bytes).map_err(|_| Refusal::Malformed)?;
    if name.contains('\0') {
        return Err(Refusal::Malformed);
    }
    if is_servable_name(&name) {
        Ok(name)
    } else {
        Err(Refusal::NotServed)
    }
}

fn hex(digit: u8) -> Result<u8, Refusal> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(Refusal::Malformed),
    }
}
