/* SPDX-License-Identifier: MIT
 *
 * The map of free memory. Every range in it is page-aligned and ends below the last page of the address space, so base
 * plus size is always a number.
 *
 * Room for bookkeeping never runs out when memory is given back: giving back makes at most one more range and ends one
 * allocation, and nothing is taken unless ranges plus allocations stay within MEMORY_RANGES_MAX.
 */
#include "core/memory.h"

#include <string.h>

#include "lib/spinlock.h"

static const uint64_t page = PAGE_SIZE;
static const uint64_t end_max = UINT64_MAX - (PAGE_SIZE - 1); /* no free range ends above */

static uint64_t range_end(struct range r)
{
    return r.base + r.size;
}

/* Overlapping or adjacent */
static bool touches(struct range a, struct range b)
{
    return a.base <= range_end(b) && b.base <= range_end(a);
}

/* The whole pages inside the range; size 0 if there are none. */
static struct range pages_inside(struct range range)
{
    if (range.size == 0 || !range_valid(range) || range.base > end_max - page) {
        return (struct range){0};
    }
    uint64_t base = align_up(range.base, page);
    uint64_t end = range_last(range) >= end_max ? end_max : align_down(range_end(range), page);
    return (struct range){.base = base, .size = end > base ? end - base : 0};
}

/* The whole pages that the range touches; one that wraps goes on to the end of the address space. */
static struct range pages_around(struct range range)
{
    if (range.size == 0 || range.base >= end_max) {
        return (struct range){0};
    }
    uint64_t base = align_down(range.base, page);
    uint64_t last = range_valid(range) ? range_last(range) : UINT64_MAX;
    uint64_t end = last >= end_max ? end_max : align_down(last, page) + page;
    return (struct range){.base = base, .size = end - base};
}

static void delete_ranges(struct memory *map, size_t first, size_t count)
{
    memmove(&map->free[first], &map->free[first + count], (map->count - first - count) * sizeof(map->free[0]));
    map->count -= count;
}

static void insert_range(struct memory *map, size_t index, struct range range)
{
    memmove(&map->free[index + 1], &map->free[index], (map->count - index) * sizeof(map->free[0]));
    map->free[index] = range;
    map->count++;
}

/* How many more ranges the map may hold, with room kept for all that may be given back. */
static size_t ranges_left(const struct memory *map)
{
    return MEMORY_RANGES_MAX - map->count - map->outstanding;
}

/* The index of the first range that ends at or after address. */
static size_t find_ending_from(const struct memory *map, uint64_t address)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (range_end(map->free[middle]) < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Makes a page-aligned range free, merged with all that it touches. False if one more range would be needed and there
 * is no room for it. */
static bool merge(struct memory *map, struct range range, size_t room)
{
    size_t first = find_ending_from(map, range.base);
    size_t count = 0;

    while (first + count < map->count && touches(map->free[first + count], range)) {
        struct range other = map->free[first + count];
        uint64_t end = MAX(range_end(range), range_end(other));
        range.base = MIN(range.base, other.base);
        range.size = end - range.base;
        count++;
    }
    if (count > 0) {
        map->free[first] = range;
        delete_ranges(map, first + 1, count - 1);
        return true;
    }
    if (room == 0) {
        return false;
    }
    insert_range(map, first, range);
    return true;
}

/* Takes a piece, which lies in the free range at index, out of it: 0, 1 or 2 pieces of that range remain. If there is
 * no room for both, the smaller one is forgotten (only while the map is being made: takers have asked for room). */
static void cut(struct memory *map, size_t index, struct range piece)
{
    struct range whole = map->free[index];
    struct range before = {.base = whole.base, .size = piece.base - whole.base};
    struct range after = {.base = range_end(piece), .size = range_end(whole) - range_end(piece)};

    if (before.size > 0 && after.size > 0 && ranges_left(map) > 0) {
        map->free[index] = before;
        insert_range(map, index + 1, after);
    } else if (before.size > 0 || after.size > 0) {
        map->free[index] = before.size > after.size ? before : after;
    } else {
        delete_ranges(map, index, 1);
    }
}

/* Cuts a piece out for good keeping; false if what may be given back later could then not be written down. */
static bool cut_taken(struct memory *map, size_t index, struct range piece)
{
    struct range whole = map->free[index];
    bool splits = piece.base != whole.base && range_end(piece) != range_end(whole);
    size_t needed = splits ? 2 : piece.size == whole.size ? 0 : 1;

    if (ranges_left(map) < needed) {
        return false;
    }
    cut(map, index, piece);
    map->outstanding++;
    return true;
}

void memory_map_add(struct memory *map, struct range range)
{
    range = pages_inside(range);
    if (range.size > 0) {
        (void)merge(map, range, ranges_left(map)); /* what can't be written down is not used */
    }
}

void memory_map_carve(struct memory *map, struct range range)
{
    range = pages_around(range);
    if (range.size == 0) {
        return;
    }
    for (size_t i = map->count; i-- > 0;) { /* from the top: cutting moves only what is above */
        struct range whole = map->free[i];
        if (range_overlaps(whole, range)) {
            uint64_t base = MAX(whole.base, range.base);
            uint64_t end = MIN(range_end(whole), range_end(range));
            cut(map, i, (struct range){.base = base, .size = end - base});
        }
    }
}

/* The lowest or highest place in whole for size bytes at a multiple of align; false if there is none. */
static bool place(struct range whole, uint64_t size, uint64_t align, bool highest, struct range *piece)
{
    if (size > whole.size) {
        return false;
    }
    piece->base = highest ? align_down(range_end(whole) - size, align) : align_up(whole.base, align);
    piece->size = size;
    return range_holds_range(whole, *piece);
}

bool memory_map_take(struct memory *map, uint64_t size, uint64_t align, bool highest, struct range *taken)
{
    assert(is_power_of_two(align) && align >= page);
    if (size == 0 || size > end_max) {
        return false;
    }
    size = align_up(size, page);
    for (size_t i = 0; i < map->count; i++) {
        size_t index = highest ? map->count - 1 - i : i;
        struct range piece;
        if (place(map->free[index], size, align, highest, &piece) && cut_taken(map, index, piece)) {
            *taken = piece;
            return true;
        }
    }
    return false;
}

bool memory_map_take_at(struct memory *map, struct range range)
{
    if (range.size == 0 || range.base % page != 0 || range.size % page != 0) {
        return false;
    }
    for (size_t i = 0; i < map->count; i++) {
        if (range_holds_range(map->free[i], range)) {
            return cut_taken(map, i, range);
        }
    }
    return false;
}

/* The multiple of align at a multiple of align that a free range holds; size 0: none. */
static struct range aligned_part(struct range whole, uint64_t align)
{
    const uint64_t base = align_up(whole.base, align);
    const uint64_t skipped = base - whole.base;
    if (base < whole.base || skipped >= whole.size) {
        return (struct range){0, 0};
    }
    return (struct range){base, align_down(whole.size - skipped, align)};
}

bool memory_map_take_most(struct memory *map, uint64_t size, uint64_t align, struct range *taken)
{
    struct range most = {0, 0};
    for (size_t i = 0; i < map->count; i++) {
        struct range part = aligned_part(map->free[i], align);
        most = part.size > most.size ? part : most;
    }
    most.size = MIN(most.size, align_up(size, align));
    *taken = most;
    return memory_map_take_at(map, most);
}

void memory_map_give(struct memory *map, struct range range)
{
    assert(map->outstanding > 0);
    assert(range.size > 0 && range.base % page == 0 && range.size % page == 0);
    assert(range_valid(range) && range_last(range) < end_max);
    for (size_t i = 0; i < map->count; i++) {
        assert(!range_overlaps(map->free[i], range));
    }
    map->outstanding--;
    bool given = merge(map, range, ranges_left(map));
    assert(given);
}

uint64_t memory_map_free_bytes(const struct memory *map)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < map->count; i++) {
        bytes += map->free[i].size;
    }
    return bytes;
}

/* --- the machine's own map --- */

static struct spinlock machine_lock; /* no other lock is taken with it held; bounded by MEMORY_RANGES_MAX */
static struct memory machine_memory; /* machine_lock guards it */
static uint64_t machine_total;       /* bytes; constant after memory_init */

void memory_init(const struct memory *map)
{
    spinlock_take(&machine_lock);
    machine_memory = *map;
    memory_map_carve(&machine_memory, (struct range){.base = 0, .size = page}); /* no pointer leads there */
    if (XLEN == 32) {
        /* RAM above 4 GiB: neither the hypervisor's pointers nor its scrubbing reach it */
        memory_map_carve(&machine_memory, (struct range){.base = 1ull << 32, .size = UINT64_MAX});
    }
    machine_total = memory_map_free_bytes(&machine_memory);
    spinlock_release(&machine_lock);
}

/* As memory_map_take, from the machine's map. */
static bool machine_take(uint64_t size, uint64_t align, bool highest, struct range *taken)
{
    spinlock_take(&machine_lock);
    bool found = memory_map_take(&machine_memory, size, align, highest, taken);
    spinlock_release(&machine_lock);
    return found;
}

void *memory_alloc(size_t bytes)
{
    struct range taken;

    if (!machine_take(bytes, page, true, &taken)) {
        return NULL;
    }
    void *pointer = hpa_pointer((hpa_t){taken.base});
    memset(pointer, 0, (size_t)taken.size);
    return pointer;
}

void memory_free(void *pointer, size_t bytes)
{
    if (pointer == NULL) {
        return;
    }
    struct range range = {.base = (uintptr_t)pointer, .size = align_up(bytes, page)};
    memset(pointer, 0, (size_t)range.size);
    memory_give(range);
}

bool memory_take(uint64_t size, uint64_t align, struct range *taken)
{
    return machine_take(size, align, false, taken);
}

bool memory_take_high(uint64_t size, uint64_t align, struct range *taken)
{
    return machine_take(size, align, true, taken);
}

bool memory_take_most(uint64_t size, uint64_t align, struct range *taken)
{
    spinlock_take(&machine_lock);
    bool found = memory_map_take_most(&machine_memory, size, align, taken);
    spinlock_release(&machine_lock);
    return found;
}

bool memory_take_at(struct range range)
{
    spinlock_take(&machine_lock);
    bool taken = memory_map_take_at(&machine_memory, range);
    spinlock_release(&machine_lock);
    return taken;
}

void memory_give(struct range range)
{
    spinlock_take(&machine_lock);
    memory_map_give(&machine_memory, range);
    spinlock_release(&machine_lock);
}

uint64_t memory_free_bytes(void)
{
    spinlock_take(&machine_lock);
    uint64_t bytes = memory_map_free_bytes(&machine_memory);
    spinlock_release(&machine_lock);
    return bytes;
}

uint64_t memory_total_bytes(void)
{
    return machine_total;
}
