//! Giving memory back to the system after a peak.

/// Gives back what this thread, or any, has freed and the allocator still holds. mimalloc does that by itself only as long as
/// the program goes on to allocate and free; after a peak it may stay silent for hours. Costs system calls, and page faults
/// where the memory is soon needed again.
pub(crate) fn give_back() {
    // SAFETY: touches nothing but free memory. In a program whose allocator is another one there is nothing to do.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
