// SPDX-License-Identifier: GPL-2.0-or-later
//! Messages on their way out: they wait in memory until the client takes them, and there is an end to that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use zbus::{Connection, Message};

/// What may wait for one client, in bytes. A dump, or the list of ten thousand units, has some millions; all that is told
/// while ten thousand units start has a hundred, and comes faster than systemctl(1) reads it. systemd lets 393,216 messages
/// wait.
const MOST_BYTES: usize = 256 << 20;
/// What a message costs beside its bytes.
const EACH: usize = 512;

/// The client does not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// The way to one client.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::UnboundedSender<Message>,
    waiting: Arc<AtomicUsize>,
}

/// The other end of a [`Writer`].
#[derive(Debug)]
pub(crate) struct Drain {
    queue: mpsc::UnboundedReceiver<Message>,
    waiting: Arc<AtomicUsize>,
}

fn cost(message: &Message) -> usize {
    message.data().len() + EACH
}

impl Writer {
    /// Both ends.
    pub(crate) fn new() -> (Writer, Drain) {
        let (sender, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        (Writer { queue: sender, waiting: Arc::clone(&waiting) }, Drain { queue, waiting })
    }

    /// Has a message written, once all that were before it are.
    pub(crate) fn put(&self, message: Message) -> Result<(), Full> {
        let cost = cost(&message);
        if self.waiting.fetch_add(cost, Ordering::Relaxed) + cost > MOST_BYTES {
            return Err(Full);
        }
        // The other end is gone only when the connection is, and that is told elsewhere.
        let _ = self.queue.send(message);
        Ok(())
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0 || self.queue.is_closed()
    }
}

impl Drain {
    /// Writes until the connection breaks or nobody can put anything any more.
    pub(crate) async fn run(mut self, connection: Connection) -> zbus::Result<()> {
        while let Some(message) = self.queue.recv().await {
            let sent = connection.send(&message).await;
            self.waiting.fetch_sub(cost(&message), Ordering::Relaxed);
            sent?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_waiting() {
        let (writer, drain) = Writer::new();
        let message = Message::signal("/", "a.b", "C").unwrap().build(&"x".repeat(1 << 20)).unwrap();
        let fitted = (0..1000).take_while(|_| writer.put(message.clone()).is_ok()).count();
        assert!((250..256).contains(&fitted), "{fitted}");
        assert!(!writer.is_empty());
        drop(drain);
        assert!(writer.is_empty(), "nobody takes it any more");
    }
}
