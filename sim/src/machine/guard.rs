//! Catches what panics in a handler, and keeps its words instead of printing them.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

static HOOK: Once = Once::new();

/// Makes panics under [`run`] silent. Others go where they went before. Call it before a world begins.
pub(crate) fn install() {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if GUARDED.get() {
                WORDS.with_borrow_mut(|words| *words = info.to_string());
            } else {
                before(info);
            }
        }));
    });
}

/// Runs a handler; the words of its panic if there is one. The caller drops what the handler was changing.
pub(crate) fn run(handler: impl FnOnce()) -> Result<(), String> {
    GUARDED.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(handler));
    GUARDED.set(false);
    outcome.map_err(|_| WORDS.with_borrow_mut(core::mem::take))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_words() {
        install();
        assert_eq!(run(|| ()), Ok(()));
        let words = run(|| panic!("the books are wrong"));
        assert!(words.is_err_and(|words| words.contains("the books are wrong")));
    }
}
