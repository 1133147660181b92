//! What scripted faults make of the body of an answer.

use super::typed_answer;
use crate::sandbox::faults::{Fault, Faults};
use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use std::io;

/// The answer to a list or a watch, as it leaves.
pub(super) fn by_faults(faults: &Faults, verb: &str, resource: &str, answer: Response<Body>) -> Response<Body> {
    faults.on_answer(verb, resource).into_iter().fold(answer, |answer, fault| match fault {
        Fault::Silent => answer.map(|_| Body::from_stream(stream::pending::<io::Result<Bytes>>())),
        Fault::Html => {
            let page = "<!DOCTYPE html>\n<html><body>\n<h1>Please sign in</h1>\n</body></html>\n";
            typed_answer(200, "text/html; charset=utf-8", Bytes::from_static(page.as_bytes()))
        }
        Fault::Gzip => {
            // Two members, both empty: all that matters is that these bytes are no JSON.
            const MEMBER: [u8; 20] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let mut answer = typed_answer(200, "application/json", Bytes::from([MEMBER, MEMBER].concat()));
            answer.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            answer
        }
        Fault::Dribble => answer.map(byte_by_byte),
        Fault::BlankLines => answer.map(|body| each_chunk(body, blank_lines)),
        Fault::LongVersions => answer.map(|body| each_chunk(body, long_versions)),
        _ => answer,
    })
}

fn each_chunk(body: Body, change: fn(&[u8]) -> Vec<u8>) -> Body {
    Body::from_stream(body.into_data_stream().map(move |chunk| chunk.map(|bytes| Bytes::from(change(&bytes)))))
}

fn byte_by_byte(body: Body) -> Body {
    let bytes = body.into_data_stream().flat_map(|chunk| {
        let (bytes, error) = match chunk {
            Ok(bytes) => (bytes, None),
            Err(error) => (Bytes::new(), Some(Err(error))),
        };
        let single = stream::unfold(bytes, |mut bytes| async move {
            if bytes.is_empty() {
                return None;
            }
            // What is written without a pause leaves in one piece.
            tokio::task::yield_now().await;
            Some((Ok(bytes.split_to(1)), bytes))
        });
        single.chain(stream::iter(error)).boxed()
    });
    Body::from_stream(bytes)
}

/// A watch's chunks are whole lines.
fn blank_lines(lines: &[u8]) -> Vec<u8> {
    let mut spaced = b"\r\n\n".to_vec();
    for line in lines.split_inclusive(|b| *b == b'\n') {
        spaced.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        spaced.extend_from_slice(b"\r\n\r\n\n");
    }
    spaced
}

const FIELD: &str = "\"resourceVersion\":\"";

/// `7` as `1000…0007`: as later etcds might, and as [`shortened`] takes back.
fn long_versions(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let mut long = String::with_capacity(body.len() * 2);
    for (i, part) in text.split(FIELD).enumerate() {
        if i == 0 {
            long.push_str(part);
            continue;
        }
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        long.push_str(FIELD);
        long.push_str(&format!("1{:0>39}", &part[..digits]));
        long.push_str(&part[digits..]);
    }
    long.into_bytes()
}

/// A version that was lengthened by a fault, as it was.
pub(super) fn shortened(version: &str) -> &str {
    match version.strip_prefix("100000000000000000000") {
        Some(short) if version.len() == 40 => short,
        _ => version,
    }
}
