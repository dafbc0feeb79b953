//! `Server` and a thousand connections that wait.

use std::process::Command;

use tarae::inspect::State;
use tarae_http::{Request, Response, Server};

use crate::host::{Client, Host};

const CONNECTIONS: usize = 1000;
const NAME: &str = "server_idle::a_thousand_idle_connections_own_no_coroutine";

/// Both ends are in one process, which needs more descriptors than many shells allow at first.
#[test]
fn a_thousand_idle_connections_own_no_coroutine() {
    const VARIABLE: &str = "TARAE_HTTP_TEST_ALONE";
    if std::env::var_os(VARIABLE).is_some() {
        return thousand();
    }
    let command = "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$@\"";
    let own = std::env::current_exe().expect("a running program has a path");
    let output = Command::new("sh")
        .args(["-c", command])
        .arg(own)
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, "1")
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "no test is called `{NAME}`");
}

fn thousand() {
    for workers in [1, 2] {
        let server = Server::new(|request: &mut Request| {
            Response::text(request.peer_addr().expect("known").to_string())
        });
        let host = Host::start(workers, server);
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| host.client()).collect();
        for _ in 0..3 {
            for client in &mut clients {
                let own = client.stream.local_addr().expect("an address").to_string();
                assert_eq!(client.get("/").body, own.as_bytes());
            }
            // Not one has anything but its state.
            host.until(|all| {
                all.len() == CONNECTIONS && all.iter().all(|one| one.state == State::Idle)
            });
        }
        let stopped = host.stop();
        for client in clients {
            assert!(client.rest().is_empty());
        }
        stopped
            .recv_timeout(crate::host::GIVE_UP)
            .expect("all are gone");
    }
}
