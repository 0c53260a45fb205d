//! Ctrl-C and SIGTERM: the first asks the work to stop and clean up, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

/// A flag that becomes true when the user asks to stop.
pub(crate) fn listen() -> std::io::Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    for (signal, status) in [(SIGINT, 130), (SIGTERM, 143)] {
        // The order matters: the conditional exit looks at the flag before the second handler sets it.
        signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&asked))?;
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(asked)
}
