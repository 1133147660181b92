//! IO beside an actor: a task on the shared runtime that dies with the life that holds it.

use std::pin::Pin;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::panic::{self, Entered, Tag};

/// A task that is aborted when this is dropped. Kept in the actor's fields, it ends with the actor's life.
///
/// Aborting takes effect at the task's next await, on another thread: what the task hands over must go through a
/// channel whose receiver is the actor's, so that a dead life's last words reach nobody.
#[derive(Debug)]
#[must_use = "dropping it aborts the task"]
pub struct Task {
    handle: JoinHandle<()>,
}

impl Task {
    /// Whether it ended, by itself or by a panic.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Spawns `future` on `io`. A panic in it is logged under the actor that spawned it, and ends the task only: its
/// channel closes, which is how the actor learns of it.
pub fn spawn_io(io: &Handle, future: impl Future<Output = ()> + Send + 'static) -> Task {
    let handle = match panic::current() {
        Some(tag) => io.spawn(Attributed { tag, future: Box::pin(future) }),
        None => io.spawn(future),
    };
    Task { handle }
}

/// Says on each poll whose work this is.
struct Attributed {
    tag: Tag,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Attributed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let _in_actor = Entered::new(&this.tag);
        this.future.as_mut().poll(cx)
    }
}
