//! Test programs that start themselves anew as something else.

/// Has a test program call a function before its tests, and end there if the function returns `Some`.
///
/// Programs that re-execute themselves look at their arguments first in `main`; a test program has a `main` of its
/// own. One line at the top of the file does the same for it:
///
/// ```
/// osmith_testing::before_tests!(nothing_to_do);
///
/// fn nothing_to_do() -> Option<()> {
///     None
/// }
/// ```
#[macro_export]
macro_rules! before_tests {
    ($function:path) => {
        #[allow(unsafe_code)]
        const _: () = {
            extern "C" fn run() {
                if $function().is_some() {
                    std::process::exit(0);
                }
            }

            // SAFETY: the C library calls what is listed in this section before `main`, with the process set up as far
            // as the standard library needs on Linux.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BEFORE_MAIN: extern "C" fn() = run;
        };
    };
}
