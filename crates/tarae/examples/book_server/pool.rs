//! The thread pool of the Book's server, on coroutines.
//!
//! Used by `main.rs`. The pool hands closures to a fixed number of workers through one channel;
//! dropping it lets them finish what they have. It must never drop a job it has taken.

use tarae::sync::{Arc, Mutex, mpsc};
use tarae::thread;

type Job = Box<dyn FnOnce() + Send + 'static>;

/// A fixed number of workers that run the closures they are given.
pub(crate) struct ThreadPool {
    workers: Vec<Worker>,
    /// Taken on drop: a channel without senders is how the workers learn of the end.
    sender: Option<mpsc::Sender<Job>>,
}

impl ThreadPool {
    /// Starts `size` workers.
    ///
    /// # Panics
    ///
    /// When `size` is zero.
    pub(crate) fn new(size: usize) -> ThreadPool {
        assert!(size > 0, "a pool needs a worker");
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        ThreadPool {
            workers: (0..size)
                .map(|id| Worker::new(id, Arc::clone(&receiver)))
                .collect(),
            sender: Some(sender),
        }
    }

    /// Has some worker run `f`.
    pub(crate) fn execute(&self, f: impl FnOnce() + Send + 'static) {
        let sender = self.sender.as_ref().expect("present until the drop");
        sender.send(Box::new(f)).expect("a worker is left");
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        drop(self.sender.take());
        for worker in self.workers.drain(..) {
            println!("Shutting down worker {}", worker.id);
            if worker.thread.join().is_err() {
                eprintln!("Worker {} had panicked", worker.id);
            }
        }
    }
}

struct Worker {
    id: usize,
    thread: thread::JoinHandle<()>,
}

impl Worker {
    fn new(id: usize, receiver: Arc<Mutex<mpsc::Receiver<Job>>>) -> Worker {
        let thread = thread::spawn(move || {
            loop {
                // One worker waits for a job while it holds the lock; the others wait for the lock.
                // Both kinds of wait park the coroutine.
                let job = receiver.lock().unwrap().recv();
                match job {
                    Ok(job) => job(),
                    Err(_) => break,
                }
            }
        });
        Worker { id, thread }
    }
}
