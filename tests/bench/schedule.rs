//! Scheduling of the benchmark's own threads: the one piece of `unsafe` here.

/// Lets the calling thread run before all ordinary ones, if the system allows it; otherwise its times are
/// somewhat later than what they measure.
pub(crate) fn run_before_others() {
    let lowest_of_the_first_class = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads one structure, which lives until it returns; 0 names the calling thread.
    let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest_of_the_first_class) };
}
