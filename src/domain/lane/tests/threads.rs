//! The same promises with a real publisher thread that acks, fails and drops while another pushes.

use super::*;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn nothing_is_lost_when_one_thread_pushes_and_others_take_ack_and_drop() {
    const RECORDS: u64 = 4000;
    let (woken, look) = mpsc::channel::<()>();
    let wake = move || {
        // A publisher that is gone needs no waking.
        woken.send(()).unwrap_or_default();
    };
    let lane = Lane::new(Limits { bytes: 2000, records: 200 }, wake);
    let (deliveries, delivered) = mpsc::channel::<(u64, AckToken)>();
    let acker = std::thread::spawn(move || {
        let mut log = Vec::new();
        for (i, (n, token)) in delivered.into_iter().enumerate() {
            match i % 97 {
                13 => token.settle(failed()),
                57 => drop(token),
                _ if token.is_current() => {
                    log.push(n);
                    token.settle(ACKED);
                }
                _ => drop(token),
            }
        }
        log
    });
    let pusher = {
        let lane = lane.clone();
        std::thread::spawn(move || {
            let mut watermarks = Vec::new();
            for n in 0..RECORDS {
                lane.push([record((n % 5) as u8, n)], Some(n));
                watermarks.extend(lane.watermark());
            }
            watermarks
        })
    };
    loop {
        let done = pusher.is_finished();
        let batch = lane.take(16, usize::MAX);
        if batch.is_empty() {
            if done && lane.is_drained() {
                break;
            }
            // Not missed wake-ups but the pusher, which wakes nobody, is why this waits so shortly while it runs.
            let patience = if done { Duration::from_secs(20) } else { Duration::from_millis(1) };
            assert!(look.recv_timeout(patience).is_ok() || !done, "nobody woke the publisher: {:?}", lane.usage());
        }
        for (record, token) in batch {
            deliveries.send((record.timestamp_ms as u64, token)).expect("the acker lives");
        }
    }
    drop(deliveries);
    let log = acker.join().expect("the acker ended");
    let watermarks = pusher.join().expect("the pusher ended");
    assert!(watermarks.is_sorted());
    assert_eq!((lane.watermark(), lane.usage().bytes), (Some(RECORDS - 1), 0));
    let stats = lane.usage().stats;
    assert_eq!(stats.acked + stats.superseded, RECORDS);
    for key in 0..5 {
        let last = log.iter().rev().find(|n| *n % 5 == key).expect("every key was written");
        assert_eq!(*last, RECORDS - 5 + key, "the newest record of a key stands last");
    }
}
