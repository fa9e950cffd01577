//! The engine's memory, counted against the function's limit.
//!
//! QuickJS can limit itself, but then has no memory left for the error that says so, and `null` is
//! thrown. This allocator refuses once at the limit, remembers it, and then lets a little through.

use std::cell::Cell;
use std::rc::Rc;

use rquickjs::allocator::Allocator;

/// What may be allocated above the limit once it was hit: errors, their stacks, the handlers that
/// see them.
const HEADROOM: usize = 1024 * 1024;

#[derive(Default)]
pub(super) struct Budget {
    used: Cell<usize>,
    limit: Cell<usize>,
    exceeded: Cell<bool>,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Rc<Budget> {
        let budget = Budget::default();
        budget.begin_run(limit);
        Rc::new(budget)
    }

    pub(super) fn begin_run(&self, limit: u64) {
        self.limit.set(usize::try_from(limit).unwrap_or(usize::MAX));
        self.exceeded.set(false);
    }

    /// Whether the limit was hit since the run began.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }

    fn allows(&self, more: usize) -> bool {
        let headroom = if self.exceeded.get() { HEADROOM } else { 0 };
        let most = self.limit.get().saturating_add(headroom);
        let is_allowed = self.used.get().saturating_add(more) <= most;
        if !is_allowed {
            self.exceeded.set(true);
        }
        is_allowed
    }

    fn add(&self, pointer: *mut u8) -> *mut u8 {
        if pointer.is_null() {
            self.exceeded.set(true);
        } else {
            self.used.set(self.used.get().saturating_add(size_of_block(pointer)));
        }
        pointer
    }

    fn subtract(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }
}

fn size_of_block(pointer: *mut u8) -> usize {
    // SAFETY: called only with pointers that malloc, calloc or realloc returned and that are live.
    unsafe { libc::malloc_usable_size(pointer.cast()) }
}

pub(super) struct BudgetAllocator(pub Rc<Budget>);

// SAFETY: every pointer comes from the C allocator, whose blocks are aligned for any type and whose
// usable size is at least what was asked for; a refusal is a null pointer.
unsafe impl Allocator for BudgetAllocator {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        if !self.0.allows(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: malloc takes any size.
        self.0.add(unsafe { libc::malloc(size) }.cast())
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        if !count.checked_mul(size).is_some_and(|bytes| self.0.allows(bytes)) {
            return std::ptr::null_mut();
        }
        // SAFETY: calloc takes any sizes.
        self.0.add(unsafe { libc::calloc(count, size) }.cast())
    }

    unsafe fn dealloc(&mut self, pointer: *mut u8) {
        self.0.subtract(size_of_block(pointer));
        // SAFETY: the caller gives a live block of this allocator.
        unsafe { libc::free(pointer.cast()) };
    }

    unsafe fn realloc(&mut self, pointer: *mut u8, new_size: usize) -> *mut u8 {
        let old_size = if pointer.is_null() { 0 } else { size_of_block(pointer) };
        if !self.0.allows(new_size.saturating_sub(old_size)) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller gives null or a live block of this allocator.
        let moved: *mut u8 = unsafe { libc::realloc(pointer.cast(), new_size) }.cast();
        // A null pointer for no bytes means that the block is gone; otherwise it is still there.
        if !moved.is_null() || new_size == 0 {
            self.0.subtract(old_size);
        }
        if new_size == 0 && moved.is_null() { moved } else { self.0.add(moved) }
    }

    unsafe fn usable_size(pointer: *mut u8) -> usize {
        size_of_block(pointer)
    }
}
