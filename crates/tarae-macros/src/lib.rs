//! The `#[tarae::main]` and `#[tarae::test]` attributes, re-exported by `tarae`.
//!
//! Token shuffling without a parser: the function stays as it is, inside a new one that runs it.
//! Never evaluates or renames anything in the body.

#![forbid(unsafe_code)]

use proc_macro::{Delimiter, Group, Punct, Spacing, TokenStream, TokenTree};

/// Runs `main` as the first coroutine of a runtime: `#[tarae::main]`, or
/// `#[tarae::main(workers = 2, stack_size = 1024 * 1024)]` with the setters of `tarae::Builder`.
///
/// A runtime that cannot start, or coroutines that will not end, are printed to standard error and
/// end the process with code 1.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, function: TokenStream) -> TokenStream {
    wrap(arguments, function, "")
}

/// Makes a test whose body runs as the first coroutine of a runtime of its own; takes the same
/// settings as `main`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, function: TokenStream) -> TokenStream {
    wrap(arguments, function, "#[::core::prelude::v1::test]")
}

fn wrap(arguments: TokenStream, function: TokenStream, attribute: &str) -> TokenStream {
    let pieces = parts(function).and_then(|parts| Ok((parts, setters(arguments)?)));
    let (Parts { head, output, body }, setters) = match pieces {
        Ok(pieces) => pieces,
        Err(message) => {
            return format!("::core::compile_error!({message:?});")
                .parse()
                .expect("valid");
        }
    };
    let frame = "let body = || __output __body;
        match ::tarae::Builder::new() __setters .run(body) {
            ::core::result::Result::Ok(value) => value,
            ::core::result::Result::Err(error) => {
                ::std::eprintln!(\"error: {error}\");
                ::std::process::exit(1)
            }
        }";
    let frame: TokenStream = frame.parse().expect("valid");
    // The user's tokens are put in as they are: their spans lead errors and spawn sites home.
    let inner = frame
        .into_iter()
        .flat_map(|token| match token.to_string().as_str() {
            "__output" => output.clone(),
            "__body" => TokenTree::from(body.clone()).into(),
            "__setters" => setters.clone(),
            _ => token.into(),
        });
    let mut whole: TokenStream = attribute.parse().expect("valid");
    whole.extend(head);
    whole.extend([TokenTree::from(Group::new(
        Delimiter::Brace,
        inner.collect(),
    ))]);
    whole
}

struct Parts {
    /// Attributes, visibility, name, parameters and return type.
    head: TokenStream,
    /// `-> T`, if there is one.
    output: TokenStream,
    body: Group,
}

fn parts(function: TokenStream) -> Result<Parts, String> {
    let mut tokens: Vec<TokenTree> = function.into_iter().collect();
    let body = match tokens.pop() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => group,
        _ => return Err("the attribute belongs on a function with a body".into()),
    };
    let is = |token: &TokenTree, word: &str| token.to_string() == word;
    if tokens.iter().any(|token| is(token, "async")) {
        return Err("tarae runs plain functions: remove `async`".into());
    }
    let arrow = tokens
        .windows(2)
        .position(|pair| is(&pair[0], "-") && is(&pair[1], ">"));
    let before = arrow.unwrap_or(tokens.len());
    let parameters = tokens[..before].iter().rev().find_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => Some(group),
        _ => None,
    });
    match parameters {
        Some(group) if group.stream().is_empty() => {}
        _ => return Err("the function takes no parameters".into()),
    }
    let output = tokens[before..].iter().cloned().collect();
    Ok(Parts {
        head: tokens.into_iter().collect(),
        output,
        body,
    })
}

/// `workers = 2, stack_size = 65536` → `.workers(2).stack_size(65536)`.
fn setters(arguments: TokenStream) -> Result<TokenStream, String> {
    let mut setters = TokenStream::new();
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    for setting in tokens.split(|token| token.to_string() == ",") {
        match setting {
            [] => {}
            [TokenTree::Ident(name), equals, value @ ..]
                if equals.to_string() == "=" && !value.is_empty() =>
            {
                let value: TokenStream = value.iter().cloned().collect();
                setters.extend([
                    TokenTree::from(Punct::new('.', Spacing::Alone)),
                    name.clone().into(),
                    Group::new(Delimiter::Parenthesis, value).into(),
                ]);
            }
            _ => return Err("settings look like `workers = 2, stack_size = 1024 * 1024`".into()),
        }
    }
    Ok(setters)
}
