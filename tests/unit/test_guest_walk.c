/* SPDX-License-Identifier: MIT
 *
 * The software page-table walk: every mode that fits this word size, at every leaf size, and hostile tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "isolation/guest_walk.h"

/* clang-format off */
enum {
    V = 1, R = 2, W = 4, X = 8, U = 16, G = 32, A = 64, D = 128,
    ALL = V | R | W | X | A | D,
    TABLES_MAX = 8,
    ROUNDS = 200000,
};
/* clang-format on */

#define RAM_BASE UINT64_C(0x80000000)
#define SEED     UINT64_C(0x6469b05178000002)

/* Guest RAM that holds nothing but page tables, and counts how often it is read. */
struct ram {
    uint8_t bytes[TABLES_MAX * PAGE_SIZE];
    unsigned tables; /* in use */
    unsigned reads;
};

static struct ram ram;

static bool read_entry(void *context, gpa_t address, unsigned size, uint64_t *entry)
{
    struct ram *r = context;
    const struct range range = {RAM_BASE, sizeof(r->bytes)};
    r->reads++;
    assert_true(size == 4 || size == 8);
    assert_int_equal(address.at % size, 0);
    if (!range_holds(range, address.at, size)) {
        return false;
    }
    *entry = 0;
    memcpy(entry, r->bytes + (address.at - RAM_BASE), size);
    return true;
}

static unsigned long satp_of(unsigned xlen, unsigned mode, uint64_t table)
{
    return (unsigned long)((uint64_t)mode << (xlen == 32 ? 31 : 60) | table >> 12);
}

/* A supervisor's view with empty tables, root first. */
static struct guest_view new_view(const struct paging_mode *mode)
{
    memset(&ram, 0, sizeof(ram));
    ram.tables = 1;
    return (struct guest_view){
        .xlen = mode->xlen,
        .satp = satp_of(mode->xlen, mode->satp_mode, RAM_BASE),
        .read_entry = read_entry,
        .context = &ram,
    };
}

static uint8_t *entry_at(const struct paging_mode *mode, unsigned table, uint64_t address, unsigned level)
{
    const uint64_t index = address >> (12 + level * mode->index_bits) & ((1U << mode->index_bits) - 1);
    return ram.bytes + (size_t)table * PAGE_SIZE + (size_t)index * mode->entry_size;
}

/* Writes an entry for address at level, with fresh tables down to there (a walk's own path only). */
static void map(const struct paging_mode *mode, uint64_t address, unsigned level, uint64_t entry)
{
    unsigned table = 0;
    for (unsigned above = mode->levels - 1U; above > level; above--) {
        const uint64_t pointer = ((RAM_BASE >> 12) + ram.tables) << 10 | V;
        memcpy(entry_at(mode, table, address, above), &pointer, mode->entry_size);
        table = ram.tables++;
        assert_true(table < TABLES_MAX);
    }
    memcpy(entry_at(mode, table, address, level), &entry, mode->entry_size);
}

static uint64_t leaf(uint64_t physical, uint64_t flags)
{
    return physical >> 12 << 10 | flags;
}

/* The modes that satp can name at this word size. */
static size_t modes_here(const struct paging_mode *modes[4])
{
    size_t count = 0;
    modes[count++] = paging_mode_find(32, 1UL << 31);
    for (unsigned mode = 8; XLEN == 64 && mode <= 10; mode++) {
        modes[count++] = paging_mode_find(64, satp_of(64, mode, 0));
    }
    return count;
}

static const struct paging_mode *widest(void)
{
    const struct paging_mode *modes[4];
    return modes[modes_here(modes) - 1];
}

static enum walk_result walk(const struct guest_view *view, uint64_t address, enum guest_access access,
                             uint64_t *result)
{
    gpa_t at = {0};
    ram.reads = 0;
    const enum walk_result outcome = guest_walk(view, (gva_t){(unsigned long)address}, access, &at);
    *result = at.at;
    return outcome;
}

static void check_walk(const struct guest_view *view, uint64_t address, enum guest_access access, enum walk_result want,
                       uint64_t physical)
{
    uint64_t result;
    const enum walk_result got = walk(view, address, access, &result);
    if (got != want || (want == WALK_OK && result != physical)) {
        fail_msg("0x%llx: result %d, not %d; at 0x%llx, not 0x%llx", (unsigned long long)address, (int)got, (int)want,
                 (unsigned long long)result, (unsigned long long)physical);
    }
}

/* --- modes --- */

static void test_modes(void **state)
{
    (void)state;
    static const struct {
        unsigned xlen, satp_mode;
        const char *name;
        unsigned levels, virtual_bits, ppn_bits;
    } want[] = {
        {32, 0, "bare", 0, 0, 0},   {32, 1, "sv32", 2, 32, 22}, {64, 0, "bare", 0, 0, 0},
        {64, 8, "sv39", 3, 39, 44}, {64, 9, "sv48", 4, 48, 44}, {64, 10, "sv57", 5, 57, 44},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(want); i++) {
        if (want[i].xlen > XLEN) {
            continue;
        }
        const struct paging_mode *mode = paging_mode_find(want[i].xlen, satp_of(want[i].xlen, want[i].satp_mode, 0));
        assert_non_null(mode);
        assert_string_equal(mode->name, want[i].name);
        assert_int_equal(mode->levels, want[i].levels);
        assert_int_equal(mode->virtual_bits, want[i].virtual_bits);
        assert_int_equal(mode->ppn_bits, want[i].ppn_bits);
        assert_int_equal(mode->levels == 0 ? 0 : mode->levels * mode->index_bits + 12, want[i].virtual_bits);
    }
    for (unsigned mode = 0; XLEN == 64 && mode < 16; mode++) {
        const bool known = mode == 0 || (mode >= 8 && mode <= 10);
        assert_int_equal(paging_mode_find(64, satp_of(64, mode, 0)) != NULL, known);
    }
    assert_null(paging_mode_find(128, 0));
}

static void test_bare(void **state)
{
    (void)state;
    struct guest_view view = {.xlen = XLEN, .satp = 0x12345, .read_entry = read_entry, .context = &ram};
    check_walk(&view, 0x80001234, GUEST_LOAD, WALK_OK, 0x80001234);
    check_walk(&view, ~0UL, GUEST_STORE, WALK_OK, ~0UL);
    assert_int_equal(ram.reads, 0);
}

static void test_reserved_mode(void **state)
{
    (void)state;
    struct guest_view view = {.xlen = XLEN, .satp = ~0UL, .read_entry = read_entry, .context = &ram};
    if (XLEN == 64) {
        check_walk(&view, 0x80001234, GUEST_LOAD, WALK_PAGE_FAULT, 0);
        assert_int_equal(ram.reads, 0);
    } else {
        check_walk(&view, 0x80001234, GUEST_LOAD, WALK_ACCESS_FAULT, 0); /* Sv32 with a root far outside RAM */
    }
}

/* --- translation --- */

static void check_leaf_size(const struct paging_mode *mode, uint64_t address, unsigned level)
{
    const unsigned bits = 12 + level * mode->index_bits;
    const uint64_t size = UINT64_C(1) << bits;
    const uint64_t space = UINT64_C(1) << (mode->ppn_bits + 12);
    const uint64_t page = address & ~(size - 1);
    const uint64_t physical[] = {0, size, space - size}; /* none is in RAM: that is for the caller to check */
    for (size_t i = 0; i < ARRAY_LENGTH(physical); i++) {
        const struct guest_view view = new_view(mode);
        map(mode, address, level, leaf(physical[i], ALL | G));
        check_walk(&view, address, GUEST_LOAD, WALK_OK, physical[i] | (address & (size - 1)));
        assert_int_equal(ram.reads, mode->levels - level);
        check_walk(&view, page, GUEST_STORE, WALK_OK, physical[i]);
        check_walk(&view, page + size - 1, GUEST_FETCH, WALK_OK, physical[i] + size - 1);
        /* One bit of the page number too many, at every place: a misaligned superpage. */
        for (unsigned bit = 12; bit < bits; bit++) {
            map(mode, address, level, leaf(physical[i] | UINT64_C(1) << bit, ALL));
            check_walk(&view, address, GUEST_LOAD, WALK_PAGE_FAULT, 0);
            ram.tables = 1;
        }
    }
}

static void test_every_mode_and_size(void **state)
{
    (void)state;
    const struct paging_mode *modes[4];
    const size_t count = modes_here(modes);
    for (size_t i = 0; i < count; i++) {
        const uint64_t half = UINT64_C(1) << (modes[i]->virtual_bits - 1);
        const uint64_t mask = modes[i]->xlen == 32 ? UINT32_MAX : UINT64_MAX;
        const uint64_t addresses[] = {0, 0x1234567, half - 1, -half & mask, mask, (0 - UINT64_C(0x7654321)) & mask};
        for (size_t j = 0; j < ARRAY_LENGTH(addresses); j++) {
            for (unsigned level = 0; level < modes[i]->levels; level++) {
                check_leaf_size(modes[i], addresses[j], level);
            }
        }
    }
}

static void test_not_canonical(void **state)
{
    (void)state;
    const struct paging_mode *modes[4];
    const size_t count = modes_here(modes);
    for (size_t i = 1; i < count; i++) {
        const struct guest_view view = new_view(modes[i]);
        const uint64_t half = UINT64_C(1) << (modes[i]->virtual_bits - 1);
        map(modes[i], 0, 0, leaf(0x1000, ALL));
        /* Each bit above the last one that the tables see */
        for (unsigned bit = modes[i]->virtual_bits; bit < 64; bit++) {
            check_walk(&view, UINT64_C(1) << bit, GUEST_LOAD, WALK_PAGE_FAULT, 0);
            assert_int_equal(ram.reads, 0);
        }
        check_walk(&view, half, GUEST_LOAD, WALK_PAGE_FAULT, 0);
        check_walk(&view, ~half, GUEST_LOAD, WALK_PAGE_FAULT, 0);
        check_walk(&view, 0x10, GUEST_LOAD, WALK_OK, 0x1010);
    }
}

/* --- rights --- */

/* What the specification grants, in its own order of words. */
static bool granted(unsigned flags, bool user, bool sum, bool mxr, enum guest_access access)
{
    if (user && (flags & U) == 0) {
        return false;
    }
    if (!user && (flags & U) != 0 && (access == GUEST_FETCH || !sum)) {
        return false;
    }
    if (access == GUEST_FETCH) {
        return (flags & X) != 0;
    }
    if (access == GUEST_STORE) {
        return (flags & W) != 0;
    }
    return (flags & R) != 0 || (mxr && (flags & X) != 0);
}

static void test_rights(void **state)
{
    (void)state;
    const struct paging_mode *mode = widest();
    for (unsigned flags = 0; flags < 256; flags++) {
        struct guest_view view = new_view(mode);
        map(mode, 0x4000, 0, leaf(0x9000, flags));
        const bool valid = (flags & V) != 0 && (flags & (R | X)) != 0 && (flags & (R | W)) != W;
        for (unsigned how = 0; how < 24; how++) {
            view.user = (how & 1) != 0;
            view.sum = (how & 2) != 0;
            view.mxr = (how & 4) != 0;
            const enum guest_access access = (enum guest_access)(how >> 3);
            const bool ok = valid && granted(flags, view.user, view.sum, view.mxr, access);
            check_walk(&view, 0x4008, access, ok ? WALK_OK : WALK_PAGE_FAULT, 0x9008);
        }
    }
    const struct guest_view view = new_view(mode);
    map(mode, 0x4000, 0, leaf(0x9000, ALL));
    check_walk(&view, 0x4000, (enum guest_access)7, WALK_PAGE_FAULT, 0);
}

/* --- reserved encodings --- */

static void test_pointers(void **state)
{
    (void)state;
    const struct paging_mode *mode = widest();
    struct guest_view view = new_view(mode);
    const uint64_t pointer = leaf(RAM_BASE + PAGE_SIZE, V);
    map(mode, 0, mode->levels - 1U, pointer);
    ram.tables = 2;
    /* The second table holds a superpage for address 0. */
    const uint64_t page = leaf(0, ALL);
    memcpy(ram.bytes + PAGE_SIZE, &page, mode->entry_size);
    check_walk(&view, 0x10, GUEST_LOAD, WALK_OK, 0x10);

    static const uint64_t spoils[] = {A, D, U, W};
    for (size_t i = 0; i < ARRAY_LENGTH(spoils); i++) {
        map(mode, 0, mode->levels - 1U, pointer | spoils[i]);
        check_walk(&view, 0x10, GUEST_LOAD, WALK_PAGE_FAULT, 0);
    }
    map(mode, 0, mode->levels - 1U, pointer | G | 3 << 8); /* global, and the software's own bits */
    check_walk(&view, 0x10, GUEST_LOAD, WALK_OK, 0x10);
    for (unsigned bit = 54; mode->entry_size == 8 && bit < 64; bit++) {
        map(mode, 0, mode->levels - 1U, pointer | UINT64_C(1) << bit);
        check_walk(&view, 0x10, GUEST_LOAD, WALK_PAGE_FAULT, 0);
    }
    /* A pointer where only a leaf may be */
    view = new_view(mode);
    map(mode, 0, 0, pointer);
    check_walk(&view, 0x10, GUEST_LOAD, WALK_PAGE_FAULT, 0);
    assert_int_equal(ram.reads, mode->levels);
}

static void test_leaf_high_bits(void **state)
{
    (void)state;
    const struct paging_mode *modes[4];
    const size_t count = modes_here(modes);
    for (size_t i = 1; i < count; i++) {
        const struct guest_view view = new_view(modes[i]);
        for (unsigned bit = 54; bit <= 60; bit++) {
            map(modes[i], 0, modes[i]->levels - 1U, leaf(0, ALL) | UINT64_C(1) << bit);
            check_walk(&view, 0, GUEST_LOAD, WALK_PAGE_FAULT, 0);
        }
        for (uint64_t type = 0; type <= 3; type++) {
            map(modes[i], 0, modes[i]->levels - 1U, leaf(0, ALL) | type << 61);
            check_walk(&view, 8, GUEST_LOAD, WALK_OK, 8);
        }
    }
}

static void test_svnapot(void **state)
{
    (void)state;
    const struct paging_mode *modes[4];
    const size_t count = modes_here(modes);
    const uint64_t n = UINT64_C(1) << 63;
    for (size_t i = 1; i < count; i++) {
        for (uint64_t low = 0; low < 16; low++) {
            const struct guest_view view = new_view(modes[i]);
            map(modes[i], 0x3a000, 0, leaf(0x90000 | low << 12, ALL) | n);
            check_walk(&view, 0x3abcd, GUEST_LOAD, low == 8 ? WALK_OK : WALK_PAGE_FAULT, 0x9abcd);
        }
        /* Superpages have no such form. */
        const struct guest_view view = new_view(modes[i]);
        map(modes[i], 0, 1, leaf(0x8000, ALL) | n);
        check_walk(&view, 0, GUEST_LOAD, WALK_PAGE_FAULT, 0);
        map(modes[i], 0, 1, leaf(0, ALL) | n);
        check_walk(&view, 0, GUEST_LOAD, WALK_PAGE_FAULT, 0);
    }
}

/* --- hostile tables --- */

static void test_tables_outside_ram(void **state)
{
    (void)state;
    const struct paging_mode *mode = widest();
    const uint64_t last = (UINT64_C(1) << (mode->ppn_bits + 12)) - PAGE_SIZE;
    const uint64_t outside[] = {0, RAM_BASE - PAGE_SIZE, RAM_BASE + sizeof(ram.bytes), last};
    for (size_t i = 0; i < ARRAY_LENGTH(outside); i++) {
        struct guest_view view = new_view(mode);
        map(mode, 0, mode->levels - 1U, leaf(outside[i], V));
        check_walk(&view, 0, GUEST_STORE, WALK_ACCESS_FAULT, 0);
        assert_int_equal(ram.reads, 2);
        view.satp = satp_of(mode->xlen, mode->satp_mode, outside[i]);
        check_walk(&view, 0, GUEST_STORE, WALK_ACCESS_FAULT, 0);
        assert_int_equal(ram.reads, 1);
    }
}

/* A table that points to itself ends after as many reads as there are levels. */
static void test_loop(void **state)
{
    (void)state;
    const struct paging_mode *modes[4];
    const size_t count = modes_here(modes);
    for (size_t i = 0; i < count; i++) {
        const struct guest_view view = new_view(modes[i]);
        map(modes[i], 0, modes[i]->levels - 1U, leaf(RAM_BASE, V));
        check_walk(&view, 0, GUEST_LOAD, WALK_PAGE_FAULT, 0);
        assert_int_equal(ram.reads, modes[i]->levels);
    }
}

static uint64_t random_state = SEED;

static uint64_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static void scribble_tables(void)
{
    for (size_t at = 0; at < sizeof(ram.bytes); at += sizeof(uint64_t)) {
        uint64_t entry = random_next();
        if ((entry & 0x1000) != 0) {
            /* Often a pointer back into RAM, so that walks get somewhere */
            entry = leaf(RAM_BASE + entry % TABLES_MAX * PAGE_SIZE, V);
        }
        memcpy(ram.bytes + at, &entry, sizeof(entry));
    }
}

static void test_random_tables(void **state)
{
    (void)state;
    const struct paging_mode *modes[4];
    const size_t count = modes_here(modes);
    unsigned seen[3] = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct paging_mode *mode = modes[round % count];
        struct guest_view view = {
            .xlen = mode->xlen,
            .satp = satp_of(mode->xlen, mode->satp_mode, RAM_BASE),
            .user = (random_next() & 1) != 0,
            .sum = true,
            .mxr = true,
            .read_entry = read_entry,
            .context = &ram,
        };
        if (round % 4096 == 0) {
            scribble_tables();
        }
        uint64_t result;
        const uint64_t address = random_next() >> (mode->xlen == 32 ? 32 : 65 - mode->virtual_bits);
        const enum walk_result got = walk(&view, address, (enum guest_access)(random_next() % 3), &result);
        seen[got]++;
        assert_true(ram.reads >= 1 && ram.reads <= mode->levels);
        assert_true(got != WALK_OK || (result >> (mode->ppn_bits + 12) == 0 && ((result ^ address) & 0xfff) == 0));
    }
    assert_true(seen[WALK_OK] > 0 && seen[WALK_PAGE_FAULT] > 0 && seen[WALK_ACCESS_FAULT] > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_modes),         cmocka_unit_test(test_bare),
        cmocka_unit_test(test_reserved_mode), cmocka_unit_test(test_every_mode_and_size),
        cmocka_unit_test(test_not_canonical), cmocka_unit_test(test_rights),
        cmocka_unit_test(test_pointers),      cmocka_unit_test(test_leaf_high_bits),
        cmocka_unit_test(test_svnapot),       cmocka_unit_test(test_tables_outside_ram),
        cmocka_unit_test(test_loop),          cmocka_unit_test(test_random_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
