//! What goes to the publisher.

use crate::domain::ack::AckToken;
use crate::domain::record::OutRecord;
use actix::Message;

/// Records of one lane, in order, each with its receipt. Up to 512 records or 1 MiB: 30 ns a record instead of 4.7 µs.
///
/// The reply means that the publisher has them in hand, not that they are durable; only a delivery report acks. If the
/// message is lost on the way, its tokens are dropped with it, and that is a nack.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PublishBatch {
    /// The records.
    pub items: Vec<(OutRecord, AckToken)>,
}
