//! Gives a panic its name: which actor, which life, where, and what it said.
//!
//! The hook runs on the panicking thread before unwinding, and blocks that arbiter: it only copies. No backtrace
//! (symbolising one took 200 ms, which is a stall of its own); location and message name the line.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Arc, Once};

/// A panic message keeps this many characters: one line is what a log line holds.
const MESSAGE_CHARS: usize = 200;

thread_local! {
    static CURRENT: RefCell<Option<Tag>> = const { RefCell::new(None) };
    static LAST: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
}

/// Which life of which actor is being polled on this thread.
#[derive(Debug, Clone)]
pub(super) struct Tag {
    pub(super) actor: Arc<str>,
    pub(super) incarnation: u64,
}

/// What is known of a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanicReport {
    /// Its message, on one line and cut.
    pub message: String,
    /// `file:line`, where the hook is installed.
    pub location: Option<String>,
}

/// Installs the hook, once per process however often it is called.
///
/// Every panic becomes one `tracing::error!` with actor, incarnation, location and message. A panic outside of any
/// actor goes to the hook that was there before when nobody listens to tracing on its thread, so that a test's failed
/// assertion stays visible.
pub fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let in_actor = note(info);
            if !in_actor && !tracing::enabled!(tracing::Level::ERROR) {
                previous(info);
            }
        }));
    });
}

/// Logs and keeps the report; true when it happened inside an actor. A panic in here would abort the process, so
/// whatever cannot be had is left out.
fn note(info: &PanicHookInfo<'_>) -> bool {
    let report = PanicReport {
        message: message_of(info.payload()),
        location: info.location().map(|at| format!("{}:{}", at.file(), at.line())),
    };
    let tag = CURRENT.try_with(|current| current.try_borrow().ok().and_then(|tag| tag.clone())).ok().flatten();
    let location = report.location.as_deref().unwrap_or("unknown");
    let message = report.message.as_str();
    match &tag {
        Some(Tag { actor, incarnation }) => {
            tracing::error!(actor = &**actor, incarnation, location, panic = message, "an actor panicked");
        }
        None => {
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(thread, location, panic = message, "a thread panicked outside of any actor");
        }
    }
    if tag.is_some() {
        // Unavailable only while the thread is being torn down: then nobody asks for the report either.
        LAST.try_with(|last| last.try_borrow_mut().map(|mut last| *last = Some(report)).ok()).ok();
    }
    tag.is_some()
}

/// Runs `f` as the life `tag`; a panic in it becomes a report.
pub(super) fn guarded<R>(tag: &Tag, f: impl FnOnce() -> R) -> Result<R, PanicReport> {
    let _in_actor = Entered::new(tag);
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        LAST.with(|last| last.borrow_mut().take())
            .unwrap_or_else(|| PanicReport { message: message_of(&*payload), location: None })
    })
}

/// While it lives, this thread's panics belong to its tag.
pub(super) struct Entered {
    before: Option<Tag>,
}

impl Entered {
    pub(super) fn new(tag: &Tag) -> Self {
        Self { before: CURRENT.with(|current| current.replace(Some(tag.clone()))) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        CURRENT.with(|current| *current.borrow_mut() = before);
    }
}

/// The actor being polled on this thread.
pub(super) fn current() -> Option<Tag> {
    CURRENT.with(|current| current.borrow().clone())
}

/// A message that stands in the source is shown. One that was put together at run time may quote what was at hand (a slice
/// out of range quotes the text, `expect` its error), and what was at hand may be an object: then the place must do.
fn message_of(payload: &(dyn Any + Send)) -> String {
    payload.downcast_ref::<&str>().map_or_else(|| WITHHELD.to_owned(), |text| one_line(text))
}

const WITHHELD: &str = "its message may quote data and is not shown; the place says where";

fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS).collect();
    if text.chars().nth(MESSAGE_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_message_is_one_line_of_bounded_length() {
        assert_eq!(one_line("a\nb\u{1b}[31m\tc"), "a b [31m c");
        let long = one_line(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), MESSAGE_CHARS + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn a_guarded_panic_is_reported_with_its_location() {
        install_hook();
        let tag = Tag { actor: "test".into(), incarnation: 1 };
        let report = guarded(&tag, || panic!("boom")).expect_err("it panicked");
        assert_eq!(report.message, "boom");
        assert!(report.location.expect("the hook is installed").starts_with(file!()));
    }

    #[test]
    fn a_message_that_was_put_together_from_data_is_not_shown() {
        install_hook();
        let tag = Tag { actor: "test".into(), incarnation: 1 };
        let secret = std::hint::black_box("c4n4ry ä".to_owned());
        let cut = std::hint::black_box(8);
        let provoked: [&dyn Fn(); 3] =
            [&|| panic!("{secret} is in here"), &|| assert!(secret[..cut].is_empty()), &|| {
                std::hint::black_box(Err::<(), _>(&secret)).expect("it works")
            }];
        for provoke in provoked {
            let report = guarded(&tag, provoke).expect_err("it panicked");
            assert!(!format!("{report:?}").contains("c4n4ry"), "{report:?}");
            assert!(report.location.is_some());
        }
    }

    #[test]
    fn a_tag_ends_with_its_guard_also_when_nested() {
        let tag = |actor: &str| Tag { actor: actor.into(), incarnation: 1 };
        guarded(&tag("outer"), || {
            guarded(&tag("inner"), || panic!("inner")).expect_err("it panicked");
            assert_eq!(&*current().expect("still in outer").actor, "outer");
        })
        .expect("outer lives");
        assert!(current().is_none());
    }
}
