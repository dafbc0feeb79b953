//! `examples/streams`, as its first lines say it is used.

use std::io::Read;

use crate::peer::{after_head, unchunk};
use crate::program::{ANY_PORT, Program};

#[test]
fn uploads_forms_files_and_events() {
    let example = Program::example("streams", &[], &[ANY_PORT]);
    let mut client = example.client();

    client.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
    (0..300).for_each(|_| client.send(["x".repeat(9_999).as_bytes(), b"\n"].concat()));
    assert_eq!(client.answer().body, b"300 lines, 3000000 bytes\n");

    let form = "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhi\r\n\
                --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jpg\"\r\n\r\n\
                12345\r\n--b--\r\n";
    let fields = "Host: a\r\nContent-Type: multipart/form-data; boundary=b";
    let post = |form: &str| {
        let length = form.len();
        format!("POST /form HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{form}")
    };
    client.send(post(form));
    assert_eq!(
        client.answer().body,
        b"note: 2 bytes\nfile (a.jpg): 5 bytes\n"
    );
    client.send(post("--c\r\n"));
    assert_eq!(client.answer().status, "400");

    let itself = std::fs::read(format!("/proc/{}/exe", example.id())).expect("it runs");
    assert!(example.client().get("/self").body == itself);
    assert_eq!(example.client().get("/elsewhere").status, "404");

    let mut client = example.client();
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut events = vec![0; 1024];
    let mut seen = 0;
    while seen < events.len() && !events[..seen].ends_with(b"event 2\n\r\n") {
        seen += client.stream.read(&mut events[seen..]).expect("more");
    }
    assert!(after_head(&events[..seen]).starts_with(b"8\r\nevent 1\n\r\n"));
    assert_eq!(unchunk(after_head(&events[..seen])), None, "it goes on");
}
