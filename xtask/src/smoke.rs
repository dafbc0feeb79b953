//! The product's main job, once, on real input: `examples/hello`, and `tarae serve` under curl,
//! 1,000 connections and a browser.
//!
//! Steps of `ci`. Must never measure: a loaded machine may be slow but not wrong.

use crate::bench::wrk;
use crate::server::{Server, ask};
use crate::shell::{self, Done, cargo, output, root, target};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

const PAGE: &str = "<!doctype html><title>Skein</title><p id=x>wound</p>";

/// Builds and runs the stand-alone project that users copy.
pub(crate) fn hello() -> Done {
    let manifest = "examples/hello/Cargo.toml";
    // Its own project, but the same build folder: the runtime is not compiled twice.
    let mut build = cargo(&["build", "--manifest-path", manifest]);
    shell::run(build.env("CARGO_TARGET_DIR", target()))?;
    let server = Server::start(Command::new(target().join("debug/hello")).arg("127.0.0.1:0"))?;
    let mut stream = TcpStream::connect(server.address()).map_err(|error| error.to_string())?;
    let answer = ask(&mut stream, "/", 1)?.remove(0);
    if !answer.head.starts_with("HTTP/1.1 200 ") || !answer.body.starts_with(b"Hello") {
        return Err(format!("{manifest}: answered `{}`", answer.head));
    }
    Ok(())
}

/// Serves a folder with the release build and asks for its page in three ways.
pub(crate) fn serve() -> Done {
    shell::run(&mut cargo(&[
        "build",
        "--release",
        "--locked",
        "-p",
        "tarae-cli",
    ]))?;
    let folder = shell::scratch("smoke")?;
    let site = folder.join("site");
    std::fs::create_dir_all(&site).map_err(|error| error.to_string())?;
    std::fs::write(site.join("index.html"), PAGE).map_err(|error| error.to_string())?;
    let mut command = Command::new(target().join("release/tarae"));
    command
        .arg("serve")
        .arg(&site)
        .args(["--listen", "127.0.0.1:0", "--workers", "1"]);
    let server = Server::start(&mut command)?;
    let url = format!("http://{}/", server.address());
    curl(&url, PAGE)?;
    wrk::hold(&url, 1000)?;
    browser(&url, &folder)?;
    let status = server.terminate()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("tarae serve: SIGTERM gave {status}"))
    }
}

/// One request by curl must give exactly this body.
pub(crate) fn curl(url: &str, want: &str) -> Done {
    let got = output(Command::new("curl").args(["-sS", "--fail", "--max-time", "20", url]))?;
    if got == want {
        Ok(())
    } else {
        Err(format!("curl {url}: got `{got}`"))
    }
}

/// A browser must build the page's document.
fn browser(url: &str, folder: &Path) -> Done {
    let mut command = Command::new("timeout");
    command.args([
        "--kill-after=5",
        "60",
        "chromium",
        "--headless",
        "--no-sandbox",
    ]);
    // Nothing but the page may be fetched: checks must pass without a network.
    command.args([
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
    ]);
    command.arg(format!(
        "--user-data-dir={}",
        folder.join("profile").display()
    ));
    let document = output(command.args(["--dump-dom", url]).current_dir(root()))?;
    let shown = document.contains("<p id=\"x\">wound</p>");
    if shown {
        Ok(())
    } else {
        Err(format!("chromium {url}: shows `{document}`"))
    }
}
