//! Ctrl-C and SIGTERM: the first asks the work to stop and clean up, the second ends the program at once.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// A flag that becomes true when the user asks to stop, from [`listen`] on. Signals are the process's, and so is it.
pub(crate) fn asked() -> Arc<AtomicBool> {
    Arc::clone(&ASKED)
}

/// Takes the signals for [`asked`].
pub(crate) fn listen() -> std::io::Result<()> {
    let asked = asked();
    for (signal, status) in [(SIGINT, 130), (SIGTERM, 143)] {
        // The order matters: the conditional exit looks at the flag before the second handler sets it.
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(())
}
