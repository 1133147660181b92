//! Members that come and go while the tree runs.

use actix::fut::{self, ActorFutureExt as _};
use actix::prelude::{Handler, Message, ResponseActFuture};
use tokio::time::Instant;

use super::shutdown::Leaving;
use super::spec::ChildSpec;
use super::supervisor::{Supervisor, SupervisorHandle};
use crate::messages::life::{ControlError, Outcome};

#[derive(Debug, Message)]
#[rtype(result = "Result<(), ControlError>")]
struct Add {
    group: String,
    spec: ChildSpec,
}

impl Handler<Add> for Supervisor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, add: Add, ctx: &mut Self::Context) -> Self::Result {
        self.tree.add(&add.group, add.spec, Instant::now().into_std())?;
        self.go_on(ctx);
        Ok(())
    }
}

#[derive(Debug, Message)]
#[rtype(result = "Result<Outcome, ControlError>")]
struct Remove {
    id: String,
}

impl Handler<Remove> for Supervisor {
    type Result = ResponseActFuture<Self, Result<Outcome, ControlError>>;

    fn handle(&mut self, remove: Remove, ctx: &mut Self::Context) -> Self::Result {
        let number = match self.tree.part(&remove.id) {
            Ok(number) => number,
            Err(refused) => return Box::pin(fut::ready(Err(refused))),
        };
        // Its group may have waited for it.
        self.go_on(ctx);
        let slot = self.tree.slot(number);
        let (leaving, deadline) = (Leaving::of(slot), Instant::now() + slot.spec.shutdown);
        Box::pin(fut::wrap_future::<_, Self>(leaving.leave(deadline)).map(move |left, this, _| {
            this.tree.forget(number);
            let outcome = left.map_or(Outcome::WasDown, |(_, outcome)| outcome);
            tracing::info!(actor = remove.id, ?outcome, "the actor was taken out of the tree");
            Ok(outcome)
        }))
    }
}

impl SupervisorHandle {
    /// Adds a last member to a group and starts it; answers when that is under way. It is supervised, counted and ended
    /// at shutdown like any other.
    pub async fn add(&self, group: impl Into<String>, spec: ChildSpec) -> Result<(), ControlError> {
        self.addr.send(Add { group: group.into(), spec }).await.map_err(|_| ControlError::SupervisorGone)?
    }

    /// Takes an actor out of a one-for-one group: it drains within its own deadline, stops, and is ended if it does not.
    /// From the first moment on it is not restarted. Answers how it ended, when nothing is left of it: its name is free
    /// again then.
    pub async fn remove(&self, id: impl Into<String>) -> Result<Outcome, ControlError> {
        self.addr.send(Remove { id: id.into() }).await.map_err(|_| ControlError::SupervisorGone)?
    }
}
