//! Our own terminal: raw while a container's is shown on it, and as it was afterwards, however that ends.

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io::{IsTerminal, stdin};

/// Gives the terminal back its state when dropped.
pub(crate) struct Raw(Option<Termios>);

impl Raw {
    /// Leaves it as it is.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Hands every key on as it is; nothing to do where the input is no terminal.
    pub(crate) fn enter() -> Self {
        let before = stdin().is_terminal().then(|| tcgetattr(stdin()).ok()).flatten();
        if let Some(before) = &before {
            let mut raw = before.clone();
            cfmakeraw(&mut raw);
            if tcsetattr(stdin(), SetArg::TCSADRAIN, &raw).is_err() {
                return Self(None);
            }
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

/// Rows and columns of our terminal, if we have one.
pub(crate) fn window() -> Option<(u16, u16)> {
    let (terminal_size::Width(columns), terminal_size::Height(rows)) = terminal_size::terminal_size()?;
    Some((rows, columns))
}
