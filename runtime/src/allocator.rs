//! The allocator of every binary: mimalloc, asked in the way that costs least.
//!
//! The published binding asks for an alignment each time. This version of mimalloc then over-allocates, and looks for the
//! real block when it is freed, whenever the block is larger than a kilobyte and not a power of two, or none lies ready:
//! an allocation in ten of a simulated cluster, bodies of frames above all. Plain blocks are aligned well enough
//! for nearly everything, so that alignment is asked for only beyond that.

use libmimalloc_sys as mi;
use std::alloc::{GlobalAlloc, Layout};

/// What plain blocks are aligned to, in bytes, unless they are smaller: `MI_MAX_ALIGN_SIZE` of mimalloc, whose own
/// assertion in `mi_page_malloc_zero` says so. Smaller blocks are aligned to a word.
const PLAIN_ALIGN: usize = 16;

/// mimalloc as the global allocator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

/// Whether a plain block of so many bytes is aligned so.
const fn is_plain(bytes: usize, align: usize) -> bool {
    align <= PLAIN_ALIGN && align <= bytes
}

// SAFETY: mimalloc is a general allocator, and each block comes from and goes back to it. A plain block has the alignment
// that was asked for where `is_plain` says so: the block sizes of mimalloc are multiples of a word, and of 16 from 16
// bytes on, and pages of blocks begin at multiples of 16. `mi_free` and `mi_realloc` take blocks of either kind.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (bytes, align) = (layout.size(), layout.align());
        // SAFETY: any size and any power of two may be asked for; null is the answer when there is none.
        unsafe {
            if is_plain(bytes, align) { mi::mi_malloc(bytes) } else { mi::mi_malloc_aligned(bytes, align) }.cast()
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (bytes, align) = (layout.size(), layout.align());
        // SAFETY: as above.
        unsafe {
            if is_plain(bytes, align) { mi::mi_zalloc(bytes) } else { mi::mi_zalloc_aligned(bytes, align) }.cast()
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller vouches that the block is from here and is not used any more.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let align = layout.align();
        let block = block.cast();
        // SAFETY: the caller vouches that the block is from here; what comes back is aligned as a fresh one.
        unsafe {
            if is_plain(bytes, align) {
                mi::mi_realloc(block, bytes)
            } else {
                mi::mi_realloc_aligned(block, bytes, align)
            }
            .cast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Blocks of all sizes and alignments, grown and shrunk among others: each is aligned, its own, and keeps its bytes.
        #[test]
        fn blocks_are_aligned_apart_and_keep_their_bytes(
            wishes in proptest::collection::vec((0_usize..5_000, 0_u32..8, 1_usize..9_000), 1..40),
        ) {
            let mut held = Vec::new();
            for (at, &(bytes, align, bytes_later)) in wishes.iter().enumerate() {
                let layout = Layout::from_size_align(bytes.max(1), 1 << align).unwrap();
                let (mark, align) = ((at % 251) as u8 + 1, layout.align());
                // SAFETY: the layouts are not empty, and each block is used within its bounds and freed once, below.
                unsafe {
                    let block = if at % 2 == 0 { Allocator.alloc(layout) } else { Allocator.alloc_zeroed(layout) };
                    prop_assert!(!block.is_null() && block.addr() % align == 0, "{layout:?}");
                    if at % 2 == 1 {
                        prop_assert!(std::slice::from_raw_parts(block, layout.size()).iter().all(|&byte| byte == 0));
                    }
                    block.write_bytes(mark, layout.size());
                    let block = Allocator.realloc(block, layout, bytes_later);
                    prop_assert!(!block.is_null() && block.addr() % align == 0, "{layout:?} to {bytes_later}");
                    let kept = layout.size().min(bytes_later);
                    prop_assert!(std::slice::from_raw_parts(block, kept).iter().all(|&byte| byte == mark));
                    block.write_bytes(mark, bytes_later);
                    held.push((block, Layout::from_size_align(bytes_later, align).unwrap(), mark));
                }
            }
            for (block, layout, mark) in held {
                // SAFETY: it was allocated above with this layout.
                unsafe {
                    prop_assert!(std::slice::from_raw_parts(block, layout.size()).iter().all(|&byte| byte == mark));
                    Allocator.dealloc(block, layout);
                }
            }
        }
    }
}
