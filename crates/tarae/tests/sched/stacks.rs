//! What the default stack (512 KiB) must survive, in debug builds too. An overflow kills the
//! process, so each case runs in a process of its own.

use std::io::{Read, Write};
use std::net::ToSocketAddrs;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tarae::net::{TcpListener, TcpStream};

use crate::support::{child, guard, is_child, isolated, memory, run_on};

/// Runs `body` in a spawned coroutine with the default stack, in a process of its own.
fn on_default_stack(name: &str, body: fn()) {
    isolated(name, || run_on(1, || tarae::spawn(body).join().unwrap()));
}

/// The deepest text `serde_json` takes; parsing needs the most stack per level of all that is
/// common, dropping the value is recursive as well.
#[test]
fn json_127_deep() {
    on_default_stack("stacks::json_127_deep", || {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let text = open.repeat(127) + "1" + &close.repeat(127);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let mut depth = 0;
            let mut inner = &value;
            while let Some(next) = inner.get(0).or_else(|| inner.get("a")) {
                inner = next;
                depth += 1;
            }
            assert_eq!(depth, 127);
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
            assert!(value == value.clone());
        }
    });
}

#[test]
fn a_regex_compilation() {
    on_default_stack("stacks::a_regex_compilation", || {
        // Large Unicode classes, nesting and bounded repetition: parser, translator, compiler.
        let nested = "(".repeat(10) + r"\w" + &"+)".repeat(10);
        for pattern in [
            r"(?i)^(\p{L}|\p{N}|\p{Greek}|[\w--\d]|[^\p{Lu}&&\w]){1,8}(\b\w+\b|\S*?){0,3}$",
            nested.as_str(),
        ] {
            let regex = regex::RegexBuilder::new(pattern)
                .size_limit(1 << 28)
                .build()
                .unwrap();
            assert!(regex.is_match("한글αβγabc"));
        }
        let alternatives: Vec<String> = (0..50).map(|n| format!("word{n}\\p{{L}}?")).collect();
        assert!(
            regex::Regex::new(&alternatives.join("|"))
                .unwrap()
                .is_match("word49ß")
        );
    });
}

/// A panic with a backtrace reads debug information on the stack of who panics. The child is this
/// same test with the variable set.
#[test]
fn a_panic_with_a_backtrace() {
    const NAME: &str = "stacks::a_panic_with_a_backtrace";
    #[inline(never)]
    fn a_function_to_be_seen_in_the_backtrace() {
        panic!("the message of the panic");
    }
    if is_child() {
        return run_on(1, || {
            let error = tarae::spawn(a_function_to_be_seen_in_the_backtrace)
                .join()
                .unwrap_err();
            assert!(error.is_panic());
            // It goes on.
            assert_eq!(tarae::spawn(|| 7).join().unwrap(), 7);
            println!("the end is reached");
        });
    }
    for detail in ["1", "full"] {
        let output = child(NAME, &[("RUST_BACKTRACE", detail)]);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{}\n{stderr}", output.status);
        assert!(stdout.contains("the end is reached"), "{stdout}");
        assert!(stderr.contains("the message of the panic"), "{stderr}");
        assert!(stderr.contains("stack backtrace:"), "{stderr}");
        assert!(
            stderr.contains("a_function_to_be_seen_in_the_backtrace"),
            "{stderr}"
        );
    }
}

#[test]
fn formatting_printing_processes_and_names() {
    on_default_stack("stacks::formatting_printing_processes_and_names", || {
        let floats = [f64::MAX, f64::MIN_POSITIVE, std::f64::consts::PI];
        let text: Vec<String> = floats
            .iter()
            .map(|x| format!("{x} {x:e} {x:?} {x:.300}"))
            .collect();
        assert_eq!(text[0].split(' ').next().unwrap().len(), 309);
        assert_eq!(
            text[2].split(' ').nth(1).unwrap().parse::<f64>(),
            Ok(floats[2])
        );

        let mut lock = std::io::stdout().lock();
        writeln!(lock, "{floats:?}").unwrap();
        println!("again, under the same thread's lock");
        drop(lock);

        let output = std::process::Command::new("sh")
            .args(["-c", "echo $0", "hello"])
            .output();
        assert_eq!(output.unwrap().stdout, b"hello\n");

        let mut addresses = ("localhost", 80).to_socket_addrs().unwrap();
        assert!(addresses.any(|address| address.ip().is_loopback()));
    });
}

/// A handshake and an exchange, server and client each in a coroutine of one worker, so that every
/// wait of the handshake is a switch.
#[test]
fn a_tls_handshake() {
    on_default_stack("stacks::a_tls_handshake", || {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let server = rustls::ServerConfig::builder_with_protocol_versions(&[version])
                .with_no_client_auth()
                .with_single_cert(vec![certificate.clone()], key.clone_key())
                .unwrap();
            let mut roots = rustls::RootCertStore::empty();
            roots.add(certificate.clone()).unwrap();
            let client = rustls::ClientConfig::builder_with_protocol_versions(&[version])
                .with_root_certificates(roots)
                .with_no_client_auth();
            exchange(Arc::new(server), Arc::new(client));
        }
    });
}

fn exchange(server: Arc<rustls::ServerConfig>, client: Arc<rustls::ClientConfig>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = tarae::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let session = rustls::ServerConnection::new(server).unwrap();
        let mut tls = rustls::StreamOwned::new(session, stream);
        let mut question = [0; 5];
        tls.read_exact(&mut question).unwrap();
        tls.write_all(&question.repeat(100_000)).unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
    });
    let asking = tarae::spawn(move || {
        let name = ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(client, name).unwrap();
        let mut tls = rustls::StreamOwned::new(session, TcpStream::connect(address).unwrap());
        tls.write_all(b"hello").unwrap();
        let mut answer = Vec::new();
        tls.read_to_end(&mut answer).unwrap();
        assert!(answer == b"hello".repeat(100_000));
    });
    answering.join().unwrap();
    asking.join().unwrap();
}

/// Stacks are reused: a hundred thousand coroutines, ten at a time, take no more address space
/// after the first few.
#[test]
fn stacks_are_reused() {
    let _guard = guard("stacks are reused");
    isolated("stacks::stacks_are_reused", || {
        run_on(1, || {
            let batch = || {
                let handles: Vec<_> = (0..10).map(|_| tarae::spawn(tarae::yield_now)).collect();
                handles
                    .into_iter()
                    .for_each(|handle| handle.join().unwrap());
            };
            (0..100).for_each(|_| batch());
            let before = memory("VmSize:");
            (0..10_000).for_each(|_| batch());
            // One per coroutine would be 30 GiB; the heap may grow a little.
            assert!(memory("VmSize:") - before < 64 << 20);
        });
    });
}
