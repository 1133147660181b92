//! The only unsafe code of the crate: two calls of librdkafka that rdkafka 0.39 wraps in a way we cannot use, and one function
//! of librdkafka that is replaced because it can end the process.
#![allow(unsafe_code)]

use bytes::Bytes;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::message::BorrowedMessage;
use std::ffi::CStr;
#[cfg(target_os = "linux")]
use std::ffi::{c_int, c_void};
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Sends what lingers and waits until everything has been reported or the time is over; gives whether it was. Another
/// thread must poll meanwhile. rdkafka's own `flush` is quantised to 100 ms and hardly overrides the linger time.
pub(super) fn flush<C: ClientContext>(client: &Client<C>, timeout: Duration) -> bool {
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the pointer is that of a live client, which `client` borrows for the call; rd_kafka_flush is thread-safe.
    let result = unsafe { sys::rd_kafka_flush(client.native_ptr(), millis) };
    result == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Headers in their order. rdkafka's own iterator panics on a name that is not UTF-8, and anything may stand on a topic;
/// such a name is read with replacement characters.
pub(super) fn headers(message: &BorrowedMessage<'_>) -> Vec<(Box<str>, Option<Bytes>)> {
    let mut found = Vec::new();
    let mut list = std::ptr::null_mut();
    // SAFETY: the message lives as long as the borrow, and owns its headers. `list` is only read when the call succeeded.
    if unsafe { sys::rd_kafka_message_headers(message.ptr(), &mut list) }
        != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    {
        return found;
    }
    let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
    // SAFETY: `list` is valid as above; every successful call sets all three, past the last header it fails.
    while unsafe { sys::rd_kafka_header_get_all(list, found.len(), &mut name, &mut value, &mut size) }
        == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
    {
        // SAFETY: names are NUL-terminated by librdkafka and live as long as the message.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        // SAFETY: a value that is not null points to `size` bytes that live as long as the message.
        let value = (!value.is_null()).then(|| unsafe { std::slice::from_raw_parts(value.cast::<u8>(), size) });
        found.push((Box::from(&*name), value.map(Bytes::copy_from_slice)));
    }
    found
}

/// Stands for librdkafka's `rd_kafka_metadata_update_op` (linked so by `build.rs`): takes the hint of a fetch response about
/// who leads a partition now (KIP-951) and does nothing with it.
///
/// In 2.12.1 a hint that names no leader, as a broker gives it that has just come back, leaves the partition's number
/// uninitialised, and the original indexes an array with it: the process dies of a SIGSEGV when the broker restarts (seen;
/// confluentinc/librdkafka#5315 is the same crash). Without the hint the partition's error leads to a metadata request, as
/// it does with every broker older than 3.7: one round trip more. The operation that carries the hint frees it.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn __wrap_rd_kafka_metadata_update_op(_client: *mut sys::rd_kafka_t, _hint: *mut c_void) -> c_int {
    const RD_KAFKA_OP_RES_HANDLED: c_int = 1;
    HINTS.fetch_add(1, Ordering::Relaxed);
    RD_KAFKA_OP_RES_HANDLED
}

#[cfg(target_os = "linux")]
static HINTS: AtomicU64 = AtomicU64::new(0);

/// Hints that were ignored since the process began: a test sees by it that the function above is the one that was linked.
#[cfg(all(target_os = "linux", feature = "testing"))]
pub fn hints_ignored() -> u64 {
    HINTS.load(Ordering::Relaxed)
}
