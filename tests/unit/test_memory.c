/* SPDX-License-Identifier: MIT
 *
 * The map of free memory against a bitmap of pages, at its limits, and through many cycles of taking and giving.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory.h"
#include "support.h"

enum { PAGES = 512 };

static const uint64_t area_base = 0x80000000;
static const uint64_t page = PAGE_SIZE;

static struct range pages(uint64_t first, uint64_t count)
{
    return (struct range){.base = area_base + first * page, .size = count * page};
}

/* What memory.h promises of the array. */
static void check_map(const struct memory *map)
{
    assert_true(map->count + map->outstanding <= MEMORY_RANGES_MAX);
    for (size_t i = 0; i < map->count; i++) {
        struct range r = map->free[i];
        assert_true(r.size > 0 && range_valid(r));
        assert_true(r.base % page == 0 && r.size % page == 0);
        assert_true(i == 0 || map->free[i - 1].base + map->free[i - 1].size < r.base);
    }
}

static bool same_map(const struct memory *a, const struct memory *b)
{
    return a->count == b->count && a->outstanding == b->outstanding &&
           memcmp(a->free, b->free, a->count * sizeof(a->free[0])) == 0;
}

static void assert_range(struct range range, uint64_t base, uint64_t size)
{
    assert_true(range.base == base);
    assert_true(range.size == size);
}

static struct memory map;

static int set_up(void **state)
{
    (void)state;
    memset(&map, 0, sizeof(map));
    return 0;
}

static void test_add_rounds_inwards(void **state)
{
    (void)state;
    memory_map_add(&map, (struct range){.base = 0x1001, .size = 0x2fff});
    assert_int_equal(map.count, 1);
    assert_range(map.free[0], 0x2000, 0x2000);
    memory_map_add(&map, (struct range){.base = 0x9001, .size = 0x1ffe}); /* no whole page */
    memory_map_add(&map, (struct range){.base = 0x20000, .size = 0});
    memory_map_add(&map, (struct range){.base = 0x20000, .size = 0xfff});
    assert_int_equal(map.count, 1);
    assert_true(memory_map_free_bytes(&map) == 0x2000);
}

static void test_add_merges(void **state)
{
    (void)state;
    memory_map_add(&map, pages(10, 2));
    memory_map_add(&map, pages(20, 2));
    memory_map_add(&map, pages(0, 2));
    assert_int_equal(map.count, 3);
    memory_map_add(&map, pages(12, 1)); /* after */
    memory_map_add(&map, pages(19, 1)); /* before */
    assert_int_equal(map.count, 3);
    memory_map_add(&map, pages(1, 25)); /* over all */
    assert_int_equal(map.count, 1);
    assert_range(map.free[0], area_base, 26 * page);
    memory_map_add(&map, pages(3, 4)); /* already in */
    assert_range(map.free[0], area_base, 26 * page);
}

static void test_ends_of_the_address_space(void **state)
{
    struct range taken;

    (void)state;
    memory_map_add(&map, (struct range){.base = UINT64_MAX - 10, .size = 100}); /* wraps */
    memory_map_add(&map, (struct range){.base = 0x2000, .size = UINT64_MAX});
    memory_map_add(&map, (struct range){.base = UINT64_MAX - 10, .size = 11});
    assert_int_equal(map.count, 0);
    memory_map_add(&map, (struct range){.base = 0, .size = UINT64_MAX});
    assert_int_equal(map.count, 1);
    assert_range(map.free[0], 0, UINT64_MAX - 0xfff);
    check_map(&map);

    assert_true(memory_map_take(&map, page, page, true, &taken));
    assert_true(taken.base == UINT64_MAX - 0x1fff);
    memory_map_give(&map, taken);
    assert_false(memory_map_take(&map, UINT64_MAX, page, false, &taken));
    assert_false(memory_map_take(&map, UINT64_MAX - 0xffe, page, false, &taken));
    assert_true(memory_map_take(&map, page, 1ull << 63, true, &taken));
    assert_true(taken.base == 1ull << 63);
    memory_map_carve(&map, (struct range){.base = 0x100000, .size = UINT64_MAX}); /* wraps: all above */
    assert_true(memory_map_free_bytes(&map) == 0x100000);
    memory_map_carve(&map, (struct range){.base = UINT64_MAX, .size = 1});
    assert_true(memory_map_free_bytes(&map) == 0x100000);
}

static void test_alignment_beyond_the_highest_range(void **state)
{
    struct range taken;

    (void)state;
    memory_map_add(&map, (struct range){.base = UINT64_MAX - 0x4fff, .size = 0x4000});
    assert_false(memory_map_take(&map, page, 1ull << 40, false, &taken));
    assert_false(memory_map_take(&map, page, 1ull << 40, true, &taken));
    assert_int_equal(map.outstanding, 0);
}

static void test_carve(void **state)
{
    (void)state;
    memory_map_add(&map, pages(0, 100));
    memory_map_carve(&map, (struct range){.base = area_base + 10 * page + 5, .size = 1}); /* rounded outwards */
    assert_int_equal(map.count, 2);
    assert_range(map.free[0], area_base, 10 * page);
    assert_range(map.free[1], area_base + 11 * page, 89 * page);
    memory_map_carve(&map, pages(5, 20)); /* over a hole */
    assert_range(map.free[0], area_base, 5 * page);
    assert_range(map.free[1], area_base + 25 * page, 75 * page);
    memory_map_carve(&map, pages(200, 20)); /* nothing there */
    memory_map_carve(&map, (struct range){.base = area_base, .size = 0});
    assert_true(memory_map_free_bytes(&map) == 80 * page);
    memory_map_carve(&map, pages(0, 5)); /* exactly one range */
    assert_int_equal(map.count, 1);
    memory_map_carve(&map, (struct range){.base = 0, .size = UINT64_MAX});
    assert_int_equal(map.count, 0);
    assert_int_equal(map.outstanding, 0);
}

static void test_take_lowest_and_highest(void **state)
{
    struct range taken;

    (void)state;
    memory_map_add(&map, pages(1, 9));
    memory_map_add(&map, pages(20, 50));
    assert_true(memory_map_take(&map, 1, page, false, &taken)); /* rounded up */
    assert_range(taken, area_base + page, page);
    assert_true(memory_map_take(&map, 10 * page, page, false, &taken)); /* too large for the first range */
    assert_range(taken, area_base + 20 * page, 10 * page);
    assert_true(memory_map_take(&map, page, 16 * page, true, &taken)); /* below the top because of its alignment */
    assert_range(taken, area_base + 64 * page, page);
    assert_true(memory_map_take(&map, page, page, true, &taken));
    assert_range(taken, area_base + 69 * page, page);
    assert_int_equal(map.outstanding, 4);
    check_map(&map);
}

static void test_take_refuses(void **state)
{
    struct range taken = {.base = 77};

    (void)state;
    assert_false(memory_map_take(&map, page, page, false, &taken));
    memory_map_add(&map, pages(1, 3));
    assert_false(memory_map_take(&map, 0, page, false, &taken));
    assert_false(memory_map_take(&map, 4 * page, page, false, &taken));
    assert_false(memory_map_take(&map, 2 * page, 4 * page, false, &taken));
    assert_false(memory_map_take(&map, UINT64_MAX, page, true, &taken));
    assert_true(taken.base == 77);
    assert_int_equal(map.outstanding, 0);
    assert_true(PANICS(memory_map_take(&map, page, 3 * page, false, &taken)));
    assert_true(PANICS(memory_map_take(&map, page, 16, false, &taken)));
}

static void test_take_at(void **state)
{
    (void)state;
    memory_map_add(&map, pages(10, 10));
    assert_false(memory_map_take_at(&map, pages(9, 2)));
    assert_false(memory_map_take_at(&map, pages(19, 2)));
    assert_false(memory_map_take_at(&map, pages(12, 0)));
    assert_false(memory_map_take_at(&map, (struct range){.base = area_base + 12 * page + 1, .size = page}));
    assert_false(memory_map_take_at(&map, (struct range){.base = area_base + 12 * page, .size = page + 1}));
    assert_false(memory_map_take_at(&map, (struct range){.base = area_base + 12 * page, .size = 0 - page}));
    assert_true(memory_map_take_at(&map, pages(12, 2)));
    assert_int_equal(map.count, 2);
    assert_false(memory_map_take_at(&map, pages(13, 2))); /* partly taken */
    memory_map_give(&map, pages(12, 2));
    assert_int_equal(map.count, 1);
    assert_true(memory_map_take_at(&map, pages(10, 10)));
    assert_int_equal(map.count, 0);
}

static void test_take_most(void **state)
{
    struct range taken;

    (void)state;
    memory_map_add(&map, pages(1, 9));    /* 1 … 9: two fours begin at 4 */
    memory_map_add(&map, pages(19, 30));  /* 19 … 48: seven fours begin at 20 */
    memory_map_add(&map, pages(101, 33)); /* 101 … 133: seven fours begin at 104 */
    memory_map_add(&map, pages(200, 3));  /* none */
    const struct memory before = map;
    assert_true(memory_map_take_most(&map, 8 * page, 4 * page, &taken)); /* no more than is asked for */
    assert_range(taken, area_base + 20 * page, 8 * page);
    memory_map_give(&map, taken);
    assert_true(memory_map_take_most(&map, 100 * page, 4 * page, &taken)); /* the largest; of two the lowest */
    assert_range(taken, area_base + 20 * page, 28 * page);
    struct range second;
    assert_true(memory_map_take_most(&map, 100 * page, 4 * page, &second));
    assert_range(second, area_base + 104 * page, 28 * page);
    struct range third;
    assert_true(memory_map_take_most(&map, 100 * page, 4 * page, &third));
    assert_range(third, area_base + 4 * page, 4 * page);
    assert_int_equal(map.outstanding, 3);
    check_map(&map);
    struct range none;
    assert_false(memory_map_take_most(&map, 100 * page, 4 * page, &none));
    memory_map_give(&map, second);
    memory_map_give(&map, taken);
    memory_map_give(&map, third);
    assert_true(same_map(&map, &before));
}

static void test_take_most_refuses(void **state)
{
    struct range taken;

    (void)state;
    assert_false(memory_map_take_most(&map, 4 * page, page, &taken)); /* nothing there at all */
    memory_map_add(&map, pages(1, 3));
    const struct memory before = map;
    assert_false(memory_map_take_most(&map, 4 * page, 4 * page, &taken));
    assert_false(memory_map_take_most(&map, 0, page, &taken));
    assert_false(memory_map_take_most(&map, 4 * page, 1ull << 63, &taken));
    assert_true(same_map(&map, &before));
}

/* Where the next multiple of align is beyond the last address. */
static void test_take_most_at_the_ends(void **state)
{
    struct range taken;

    (void)state;
    memory_map_add(&map, (struct range){.base = 0 - 3 * page, .size = 2 * page});
    assert_false(memory_map_take_most(&map, 4 * page, 4 * page, &taken));
    assert_true(memory_map_take_most(&map, 4 * page, page, &taken));
    assert_range(taken, 0 - 3 * page, 2 * page);
    memory_map_give(&map, taken);
    memory_map_add(&map, (struct range){.base = 0, .size = 3 * page});
    assert_true(memory_map_take_most(&map, 4 * page, 2 * page, &taken));
    assert_range(taken, 0, 2 * page);
}

static void test_give_asserts(void **state)
{
    (void)state;
    memory_map_add(&map, pages(0, 10));
    assert_true(PANICS(memory_map_give(&map, pages(20, 1)))); /* nothing was taken */
    assert_true(memory_map_take_at(&map, pages(4, 2)));
    assert_true(PANICS(memory_map_give(&map, pages(3, 1))));
    assert_true(PANICS(memory_map_give(&map, pages(5, 2))));
    assert_true(PANICS(memory_map_give(&map, pages(4, 0))));
    assert_true(PANICS(memory_map_give(&map, (struct range){.base = area_base + 4 * page, .size = 5})));
    assert_true(PANICS(memory_map_give(&map, (struct range){.base = area_base + 5, .size = page})));
    assert_true(PANICS(memory_map_give(&map, (struct range){.base = 0 - page, .size = 2 * page})));
    memory_map_give(&map, pages(4, 2));
    assert_int_equal(map.count, 1);
    assert_true(PANICS(memory_map_give(&map, pages(4, 2)))); /* twice */
}

/* Every second page taken: as many ranges as can be, and all can be given back. */
static void test_fragmentation(void **state)
{
    static struct range taken[MEMORY_RANGES_MAX + 8];
    struct memory before;
    size_t count = 0;

    (void)state;
    memory_map_add(&map, pages(0, 8 * MEMORY_RANGES_MAX));
    before = map;
    while (count < ARRAY_LENGTH(taken) && memory_map_take_at(&map, pages(2 * count + 1, 1))) {
        taken[count] = pages(2 * count + 1, 1);
        count++;
    }
    assert_in_range(count, MEMORY_RANGES_MAX / 2 - 1, MEMORY_RANGES_MAX / 2);
    check_map(&map);

    /* what needs no new range can be taken: whole ranges free the room that their giving back takes */
    while (memory_map_take_at(&map, pages(2 * (count - MEMORY_RANGES_MAX / 4), 1))) {
        taken[count] = pages(2 * (count - MEMORY_RANGES_MAX / 4), 1);
        count++;
        check_map(&map);
        if (count == MEMORY_RANGES_MAX / 2 + 100) {
            break;
        }
    }
    assert_int_equal(count, MEMORY_RANGES_MAX / 2 + 100);
    for (size_t i = 0; i < count; i++) { /* odd ones first, then even ones, so that ranges are made before they merge */
        size_t which = i % 2 == 0 ? i / 2 : count - 1 - i / 2;
        memory_map_give(&map, taken[which]);
        check_map(&map);
    }
    assert_true(same_map(&map, &before));
}

/* Pieces from a range's edge make no range when taken, but one each when given back: they too must be refused in time.
 */
static void test_edges_leave_room_for_giving_back(void **state)
{
    static struct range taken[2 * MEMORY_RANGES_MAX];
    struct memory before;
    size_t count = 0;

    (void)state;
    memory_map_add(&map, pages(0, 2 * MEMORY_RANGES_MAX));
    before = map;
    while (count < ARRAY_LENGTH(taken) && memory_map_take(&map, page, page, count % 2 == 0, &taken[count])) {
        count++;
        check_map(&map);
    }
    assert_int_equal(count, MEMORY_RANGES_MAX - 1);
    for (size_t i = 0; i < count; i++) { /* every second one first: as many ranges as can be */
        memory_map_give(&map, taken[i * 4 % count]);
        check_map(&map);
    }
    assert_true(same_map(&map, &before));
}

/* While the map is being made, a hole that there is no room for costs memory, never safety. */
static void test_carve_without_room(void **state)
{
    (void)state;
    memory_map_add(&map, pages(0, 4 * MEMORY_RANGES_MAX));
    for (uint64_t i = 0; i < MEMORY_RANGES_MAX + 10; i++) {
        memory_map_carve(&map, pages(2 * i + 1, 1));
    }
    check_map(&map);
    assert_int_equal(map.count, MEMORY_RANGES_MAX);
    for (uint64_t i = 0; i < MEMORY_RANGES_MAX + 10; i++) {
        for (size_t r = 0; r < map.count; r++) {
            assert_false(range_overlaps(map.free[r], pages(2 * i + 1, 1)));
        }
    }
    uint64_t bytes = memory_map_free_bytes(&map);
    memory_map_add(&map, pages(100000, 1)); /* no room: left out */
    assert_true(memory_map_free_bytes(&map) == bytes);
}

/* --- the reference: one bit a page --- */

static bool free_page[PAGES];

static void compare_with_pages(void)
{
    bool expected[PAGES] = {false};

    check_map(&map);
    for (size_t i = 0; i < map.count; i++) {
        assert_true(range_holds_range(pages(0, PAGES), map.free[i]));
        for (uint64_t at = map.free[i].base; at - map.free[i].base < map.free[i].size; at += page) {
            expected[(at - area_base) / page] = true;
        }
    }
    assert_memory_equal(expected, free_page, sizeof(free_page));
}

static void mark(struct range range, bool is_free)
{
    for (uint64_t i = 0; i < range.size / page; i++) {
        size_t which = (size_t)((range.base - area_base) / page + i);
        assert_int_equal(free_page[which], !is_free);
        free_page[which] = is_free;
    }
}

/* Where a search page by page finds room; −1 if nowhere. */
static long find_pages(size_t count, size_t align, bool highest)
{
    long found = -1;

    for (size_t first = 0; first + count <= PAGES; first += align) {
        size_t n = 0;
        while (n < count && free_page[first + n]) {
            n++;
        }
        if (n == count) {
            found = (long)first;
            if (!highest) {
                break;
            }
        }
    }
    return found;
}

static void test_random_against_pages(void **state)
{
    struct range held[64];
    size_t held_count = 0;
    uint64_t seed = 424242;

    (void)state;
    memory_map_add(&map, pages(0, PAGES));
    memset(free_page, true, sizeof(free_page));
    for (unsigned round = 0; round < 20000; round++) {
        size_t count = 1 + test_below(&seed, 24), align = 1u << test_below(&seed, 5);
        unsigned what = test_below(&seed, 8);
        if (what < 4 && held_count < ARRAY_LENGTH(held)) {
            bool highest = what % 2 == 0;
            long expected = find_pages(count, align, highest);
            struct range taken;
            bool found =
                memory_map_take(&map, count * page - test_below(&seed, PAGE_SIZE), align * page, highest, &taken);
            assert_int_equal(found, expected >= 0);
            if (found) {
                assert_range(taken, area_base + (uint64_t)expected * page, count * page);
                mark(taken, false);
                held[held_count++] = taken;
            }
        } else if (what < 5 && held_count < ARRAY_LENGTH(held)) {
            struct range wanted = pages(test_below(&seed, PAGES), count);
            size_t first = (size_t)((wanted.base - area_base) / page), n = 0;
            while (n < count && first + n < PAGES && free_page[first + n]) {
                n++;
            }
            bool found = memory_map_take_at(&map, wanted);
            assert_int_equal(found, n == count);
            if (found) {
                mark(wanted, false);
                held[held_count++] = wanted;
            }
        } else if (held_count > 0) {
            size_t which = test_below(&seed, (uint32_t)held_count);
            mark(held[which], true);
            memory_map_give(&map, held[which]);
            held[which] = held[--held_count];
        }
        compare_with_pages();
        assert_int_equal(map.outstanding, held_count);
    }
}

/* As the machine fragments: what is taken from the largest places page by page, against a search of all places. */
static struct range find_most(size_t count, size_t align)
{
    struct range most = {0, 0};

    for (size_t first = 0; first < PAGES; first += align) {
        size_t n = 0;
        while (first + n < PAGES && free_page[first + n]) {
            n++;
        }
        n -= n % align;
        if (n * page > most.size) {
            most = pages(first, n);
        }
    }
    most.size = MIN(most.size, count * page);
    return most;
}

static void test_random_take_most(void **state)
{
    struct range held[128];
    size_t held_count = 0;
    uint64_t seed = 171717;

    (void)state;
    memory_map_add(&map, pages(0, PAGES));
    memset(free_page, true, sizeof(free_page));
    for (unsigned round = 0; round < 20000; round++) {
        const size_t align = 1u << test_below(&seed, 4);
        const size_t count = align * (1 + test_below(&seed, 12));
        const unsigned what = test_below(&seed, 8);
        struct range taken;
        bool found = false;
        if (what < 3 && held_count < ARRAY_LENGTH(held)) {
            const struct range expected = find_most(count, align);
            found = memory_map_take_most(&map, count * page, align * page, &taken);
            assert_int_equal(found, expected.size != 0);
            if (found) {
                assert_range(taken, expected.base, expected.size);
            }
        } else if (what < 5 && held_count < ARRAY_LENGTH(held)) { /* single pages, so that there are holes */
            taken = pages(test_below(&seed, PAGES), 1);
            found = memory_map_take_at(&map, taken);
        } else if (held_count > 0) {
            const size_t which = test_below(&seed, (uint32_t)held_count);
            mark(held[which], true);
            memory_map_give(&map, held[which]);
            held[which] = held[--held_count];
        }
        if (found) {
            mark(taken, false);
            held[held_count++] = taken;
        }
        compare_with_pages();
        assert_int_equal(map.outstanding, held_count);
    }
}

/* --- the machine's map, over memory of this process --- */

enum { ARENA = 64 * PAGE_SIZE };

static uint8_t *arena;

static int set_up_machine(void **state)
{
    set_up(state);
    arena = aligned_alloc(PAGE_SIZE, ARENA);
    memset(arena, 0xee, ARENA);
    memory_map_add(&map, (struct range){.base = (uintptr_t)arena, .size = ARENA});
    memory_init(&map);
    return 0;
}

static int tear_down_machine(void **state)
{
    (void)state;
    free(arena);
    return 0;
}

static void assert_all(const uint8_t *bytes, uint8_t value, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        assert_int_equal(bytes[i], value);
    }
}

static void test_alloc_is_zeroed_and_from_the_top(void **state)
{
    (void)state;
    uint8_t *bytes = memory_alloc(PAGE_SIZE + 1);
    assert_ptr_equal(bytes, arena + ARENA - 2 * PAGE_SIZE);
    assert_all(bytes, 0, 2 * PAGE_SIZE);
    assert_true(memory_free_bytes() == ARENA - 2 * PAGE_SIZE);
    assert_true(memory_total_bytes() == ARENA);
    memset(bytes, 0x5a, 2 * PAGE_SIZE);
    memory_free(bytes, PAGE_SIZE + 1);
    assert_true(memory_free_bytes() == ARENA);
    assert_all(bytes, 0, 2 * PAGE_SIZE); /* scrubbed */
    assert_null(memory_alloc(ARENA + 1));
    assert_null(memory_alloc(0));
    assert_null(memory_alloc(SIZE_MAX));
    memory_free(NULL, 5);
    assert_true(memory_free_bytes() == ARENA);
}

static void test_capsule_ram(void **state)
{
    struct range taken, exact = {.base = (uintptr_t)arena + 8 * PAGE_SIZE, .size = 4 * PAGE_SIZE};

    (void)state;
    assert_true(memory_take(3 * PAGE_SIZE, PAGE_SIZE, &taken));
    assert_true(taken.base == (uintptr_t)arena);
    assert_int_equal(arena[0], 0xee); /* not touched */
    assert_true(memory_take_at(exact));
    assert_false(memory_take_at(exact));
    assert_false(memory_take(ARENA, PAGE_SIZE, &taken));
    memory_give(exact);
    memory_give(taken);
    assert_true(memory_free_bytes() == ARENA);
}

/* For capsules in pieces, and for tables: neither is touched either. */
static void test_most_and_high(void **state)
{
    struct range all, high, most;

    (void)state;
    assert_true(memory_take_high(3 * PAGE_SIZE, PAGE_SIZE, &high));
    assert_true(high.base == (uintptr_t)arena + ARENA - 3 * PAGE_SIZE);
    assert_int_equal(arena[ARENA - 1], 0xee);
    const struct range middle = {.base = (uintptr_t)arena + 20 * PAGE_SIZE, .size = PAGE_SIZE};
    assert_true(memory_take_at(middle));
    assert_true(memory_take_most(ARENA, PAGE_SIZE, &most));
    assert_range(most, middle.base + PAGE_SIZE, ARENA - 24 * PAGE_SIZE);
    assert_true(memory_take_most(ARENA, PAGE_SIZE, &all));
    assert_range(all, (uintptr_t)arena, 20 * PAGE_SIZE);
    assert_int_equal(arena[0], 0xee);
    struct range none = {.base = 77};
    assert_false(memory_take_most(ARENA, PAGE_SIZE, &none));
    assert_false(memory_take_high(PAGE_SIZE, PAGE_SIZE, &none));
    assert_true(memory_free_bytes() == 0);
    memory_give(middle);
    memory_give(high);
    memory_give(all);
    memory_give(most);
    assert_true(memory_free_bytes() == ARENA);
}

/* RAM at 0 can be a capsule's; a pointer to it can't be told from none. */
static void test_no_pointer_to_address_0(void **state)
{
    struct range taken;

    (void)state;
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){.base = 0, .size = 2 * PAGE_SIZE});
    memory_init(&map);
    assert_true(memory_free_bytes() == PAGE_SIZE);
    assert_false(memory_take_at((struct range){.base = 0, .size = PAGE_SIZE}));
    assert_true(memory_take(PAGE_SIZE, PAGE_SIZE, &taken));
    assert_true(taken.base == PAGE_SIZE);
}

static void test_memory_out_of_reach(void **state)
{
    (void)state;
    memory_map_add(&map, (struct range){.base = 1ull << 32, .size = 1ull << 33});
    memory_init(&map);
    if (XLEN == 32) {
        assert_true(memory_free_bytes() == ARENA);
    } else {
        assert_true(memory_free_bytes() == ARENA + (1ull << 33));
    }
}

/* 10,000 capsules made and destroyed leave the map as it was. */
static void test_cycles_leave_the_map_identical(void **state)
{
    struct memory before;
    uint64_t seed = 99;

    (void)state;
    memory_map_add(&map, pages(0, 300));
    memory_map_carve(&map, pages(100, 3));
    memory_map_carve(&map, pages(200, 1));
    before = map;
    for (unsigned cycle = 0; cycle < 10000; cycle++) {
        struct range ram, tables, vcpus;
        assert_true(memory_map_take(&map, (1 + test_below(&seed, 90)) * page, 2 * page, false, &ram));
        assert_true(memory_map_take(&map, (1 + test_below(&seed, 9)) * page, page, true, &tables));
        assert_true(memory_map_take(&map, page, page, true, &vcpus));
        bool first = test_below(&seed, 2) == 0;
        memory_map_give(&map, first ? ram : vcpus);
        memory_map_give(&map, tables);
        memory_map_give(&map, first ? vcpus : ram);
        assert_true(same_map(&map, &before));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_add_rounds_inwards, set_up),
        cmocka_unit_test_setup(test_add_merges, set_up),
        cmocka_unit_test_setup(test_ends_of_the_address_space, set_up),
        cmocka_unit_test_setup(test_alignment_beyond_the_highest_range, set_up),
        cmocka_unit_test_setup(test_carve, set_up),
        cmocka_unit_test_setup(test_take_lowest_and_highest, set_up),
        cmocka_unit_test_setup(test_take_refuses, set_up),
        cmocka_unit_test_setup(test_take_at, set_up),
        cmocka_unit_test_setup(test_take_most, set_up),
        cmocka_unit_test_setup(test_take_most_refuses, set_up),
        cmocka_unit_test_setup(test_take_most_at_the_ends, set_up),
        cmocka_unit_test_setup(test_random_take_most, set_up),
        cmocka_unit_test_setup(test_give_asserts, set_up),
        cmocka_unit_test_setup(test_fragmentation, set_up),
        cmocka_unit_test_setup(test_edges_leave_room_for_giving_back, set_up),
        cmocka_unit_test_setup(test_carve_without_room, set_up),
        cmocka_unit_test_setup(test_random_against_pages, set_up),
        cmocka_unit_test_setup(test_cycles_leave_the_map_identical, set_up),
        cmocka_unit_test_setup_teardown(test_alloc_is_zeroed_and_from_the_top, set_up_machine, tear_down_machine),
        cmocka_unit_test_setup_teardown(test_capsule_ram, set_up_machine, tear_down_machine),
        cmocka_unit_test_setup_teardown(test_most_and_high, set_up_machine, tear_down_machine),
        cmocka_unit_test_setup_teardown(test_no_pointer_to_address_0, set_up_machine, tear_down_machine),
        cmocka_unit_test_setup_teardown(test_memory_out_of_reach, set_up_machine, tear_down_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
