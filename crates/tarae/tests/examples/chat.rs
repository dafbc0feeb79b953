//! The chat server: who sees which lines, and in which order.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::program::{Program, connect};

struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects and answers the first question.
    fn named(address: &str, name: &str) -> Client {
        let mut client = Client {
            reader: BufReader::new(connect(address)),
        };
        client.sees(&["name?"]);
        client.say(name);
        client
    }

    fn say(&mut self, text: &str) {
        let line = format!("{text}\n");
        self.reader
            .get_mut()
            .write_all(line.as_bytes())
            .expect("the server reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a line in time");
        line.trim_end_matches('\n').into()
    }

    #[track_caller]
    fn sees(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line(), *line);
        }
    }
}

/// Ann, Bob and Eve, in this order, with the greetings read.
fn three(address: &str) -> [Client; 3] {
    let mut ann = Client::named(address, "ann");
    ann.sees(&["* 0 here: ", "* ann joined"]);
    let mut bob = Client::named(address, "bob");
    bob.sees(&["* 1 here: ann", "* bob joined"]);
    ann.sees(&["* bob joined"]);
    let mut eve = Client::named(address, "eve");
    eve.sees(&["* 2 here: ann, bob", "* eve joined"]);
    ann.sees(&["* eve joined"]);
    bob.sees(&["* eve joined"]);
    [ann, bob, eve]
}

#[test]
fn everybody_sees_what_one_says_and_who_comes_and_goes() {
    let (_program, address) = Program::server("chat");
    let [mut ann, mut bob, mut eve] = three(&address);
    ann.say("hello");
    for client in [&mut ann, &mut bob, &mut eve] {
        client.sees(&["<ann> hello"]);
    }
    bob.say("타래 \u{1b}[31mred");
    for client in [&mut ann, &mut bob, &mut eve] {
        client.sees(&["<bob> 타래 [31mred"]);
    }
    drop(bob);
    ann.sees(&["* bob left"]);
    eve.sees(&["* bob left"]);
    // Only the sending half ends: what was said is still delivered, then the server closes.
    eve.say("bye");
    eve.reader
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("connected");
    ann.sees(&["<eve> bye", "* eve left"]);
    eve.sees(&["<eve> bye", ""]);
}

#[test]
fn names_are_checked_and_unique() {
    let (_program, address) = Program::server("chat");
    let mut ann = Client::named(&address, "ann");
    ann.sees(&["* 0 here: ", "* ann joined"]);
    let mut other = Client::named(&address, "no spaces");
    other.sees(&["* letters and digits, 20 at most", "name?"]);
    other.say("ann");
    other.sees(&["* ann is taken", "name?"]);
    other.say("ann2");
    other.sees(&["* 1 here: ann", "* ann2 joined"]);
    drop(ann);
    other.sees(&["* ann left"]);
    Client::named(&address, "ann").sees(&["* 1 here: ann2", "* ann joined"]);
}

#[test]
fn lines_said_at_the_same_time_arrive_once_and_in_one_order() {
    const LINES: usize = 200;
    let (_program, address) = Program::server("chat");
    let clients = three(&address);
    let seen: Vec<Vec<String>> = thread::scope(|scope| {
        let talk = |mut client: Client| {
            scope.spawn(move || {
                (0..LINES).for_each(|n| client.say(&n.to_string()));
                (0..3 * LINES).map(|_| client.line()).collect()
            })
        };
        let talking = clients.map(talk);
        talking
            .into_iter()
            .map(|talker| talker.join().expect("it saw all lines"))
            .collect()
    });
    assert!(seen[0] == seen[1] && seen[1] == seen[2], "orders differ");
    for name in ["ann", "bob", "eve"] {
        let prefix = format!("<{name}> ");
        let said = seen[0].iter().filter_map(|line| line.strip_prefix(&prefix));
        let want: Vec<String> = (0..LINES).map(|n| n.to_string()).collect();
        assert_eq!(said.collect::<Vec<_>>(), want);
    }
}
