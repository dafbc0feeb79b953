//! The `#[tarae::main]` and `#[tarae::test]` attributes, re-exported by `tarae`.
//!
//! Token shuffling without a parser: the function stays as it is, inside a new one that runs it.
//! Never evaluates or renames anything in the body.

#![forbid(unsafe_code)]

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// Runs `main` as the first coroutine of a runtime: `#[tarae::main]`, or
/// `#[tarae::main(workers = 2, stack_size = 1024 * 1024)]` with the setters of `tarae::Builder`.
///
/// A runtime that cannot start, or coroutines that will not end, are printed to standard error and
/// end the process with code 1.
///
/// ```ignore
/// #[tarae::main]
/// fn main() -> std::io::Result<()> {
///     let listener = tarae::net::TcpListener::bind("127.0.0.1:0")?;
///     println!("{}", listener.local_addr()?);
///     Ok(())
/// }
/// ```
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
    match parts(function).and_then(|parts| Ok((parts, setters(arguments)?))) {
        Ok((Parts { head, output, body }, setters)) => {
            let text = format!(
                "{attribute} {head} {{
                    let body = || {output} {body};
                    match ::tarae::Builder::new(){setters}.run(body) {{
                        ::core::result::Result::Ok(value) => value,
                        ::core::result::Result::Err(error) => {{
                            ::std::eprintln!(\"error: {{error}}\");
                            ::std::process::exit(1)
                        }}
                    }}
                }}"
            );
            text.parse().expect("the pieces are token streams")
        }
        Err(message) => format!("::core::compile_error!({message:?});")
            .parse()
            .expect("valid"),
    }
}

struct Parts {
    /// Attributes, visibility, name, parameters and return type.
    head: String,
    /// `-> T`, if there is one.
    output: String,
    body: String,
}

fn parts(function: TokenStream) -> Result<Parts, String> {
    let mut tokens: Vec<TokenTree> = function.into_iter().collect();
    let body = match tokens.pop() {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => group,
        _ => return Err("the attribute belongs on a function with a body".into()),
    };
    let text = |tokens: &[TokenTree]| tokens.iter().cloned().collect::<TokenStream>().to_string();
    let is = |token: &TokenTree, word: &str| token.to_string() == word;
    if tokens.iter().any(|token| is(token, "async")) {
        return Err("tarae runs plain functions: remove `async`".into());
    }
    let arrow = tokens
        .windows(2)
        .position(|pair| is(&pair[0], "-") && is(&pair[1], ">"));
    let output = arrow.map_or(String::new(), |at| text(&tokens[at..]));
    let parameters = tokens[..arrow.unwrap_or(tokens.len())]
        .iter()
        .rev()
        .find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => Some(group),
            _ => None,
        });
    match parameters {
        Some(group) if group.stream().is_empty() => {}
        _ => return Err("the function takes no parameters".into()),
    }
    Ok(Parts {
        head: text(&tokens),
        output,
        body: body.to_string(),
    })
}

/// `workers = 2, stack_size = 65536` → `.workers(2).stack_size(65536)`.
fn setters(arguments: TokenStream) -> Result<String, String> {
    let mut text = String::new();
    let tokens: Vec<TokenTree> = arguments.into_iter().collect();
    for setting in tokens.split(|token| token.to_string() == ",") {
        match setting {
            [] => {}
            [TokenTree::Ident(name), equals, value @ ..]
                if equals.to_string() == "=" && !value.is_empty() =>
            {
                let value: TokenStream = value.iter().cloned().collect();
                text += &format!(".{name}({value})");
            }
            _ => return Err("settings look like `workers = 2, stack_size = 1024 * 1024`".into()),
        }
    }
    Ok(text)
}
