//! What others may ask of the supervision tree, without knowing an actor.

pub use super::life::{ChildStatus, ControlError, KillHow};
use futures_util::future::BoxFuture;

/// The supervision tree, seen from HTTP. Every answer comes within a few seconds or is an error.
pub trait ActorControl: Send + Sync + 'static {
    /// The whole tree, in start order.
    fn tree(&self) -> BoxFuture<'_, Result<Vec<ChildStatus>, ControlError>>;
    /// Makes an actor fail the way it would by itself.
    fn kill<'a>(&'a self, id: &'a str, how: KillHow) -> BoxFuture<'a, Result<(), ControlError>>;
    /// Stops an actor and starts it again.
    fn restart<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), ControlError>>;
}
