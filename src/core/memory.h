/* SPDX-License-Identifier: MIT
 *
 * The host's physical memory: free ranges in a sorted array outside of the memory itself, so nothing that a guest
 * once wrote is ever read as bookkeeping. Page-granular; everything that was taken can be given back.
 */
#ifndef CORE_MEMORY_H
#define CORE_MEMORY_H

#include "lib/address.h"

enum { MEMORY_RANGES_MAX = 1536 }; /* 256 capsules take 4 pieces each, 64 harts 3 each; the rest is holes */

struct memory {
    struct range free[MEMORY_RANGES_MAX]; /* ascending, page-aligned, never adjacent, never empty */
    size_t count;
    size_t outstanding; /* allocations not yet given back; bounds how many ranges giving back may make */
};

/* Pure operations on one map. add: more free memory (edges rounded inwards to pages). carve: takes exactly these bytes
 * (rounded outwards) out of whatever is free there; bytes that aren't free are left alone. */
void memory_map_add(struct memory *map, struct range range);
void memory_map_carve(struct memory *map, struct range range);
/* Takes size bytes (rounded up to pages) at a multiple of align (a power of two, ≥ PAGE_SIZE): the lowest or the
 * highest that fits. False if there are none. take_at: exactly this range, all of which must be free. */
bool memory_map_take(struct memory *map, uint64_t size, uint64_t align, bool highest, struct range *taken);
bool memory_map_take_at(struct memory *map, struct range range);
/* Takes as much as there is in one place, up to size: a multiple of align at a multiple of align (a power of two,
 * ≥ PAGE_SIZE). False if nothing of align bytes is free. */
bool memory_map_take_most(struct memory *map, uint64_t size, uint64_t align, struct range *taken);
/* Gives back exactly a range that was taken. Asserts that no byte of it is free already. */
void memory_map_give(struct memory *map, struct range range);
uint64_t memory_map_free_bytes(const struct memory *map);

/* The machine's own map, behind a lock. Hypervisor memory comes from the top and is zeroed; NULL if there is none. */
void memory_init(const struct memory *map);
void *memory_alloc(size_t bytes);                                     /* page-aligned, rounded up to pages */
void memory_free(void *pointer, size_t bytes);                        /* same bytes as taken; scrubbed here */
bool memory_take(uint64_t size, uint64_t align, struct range *taken); /* for a capsule's RAM: lowest that fits */
bool memory_take_at(struct range range);
bool memory_take_most(uint64_t size, uint64_t align, struct range *taken);
bool memory_take_high(uint64_t size, uint64_t align, struct range *taken); /* the highest that fits; not zeroed */
void memory_give(struct range range);                                      /* must have been scrubbed by the caller */
uint64_t memory_free_bytes(void);
uint64_t memory_total_bytes(void); /* that were free at memory_init */

#endif
