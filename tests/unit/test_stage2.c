/* SPDX-License-Identifier: MIT
 *
 * Stage-2 tables: random layouts are mapped and every page is looked up again, known ones are compared entry by entry,
 * and tables that somebody has changed are looked at without following them anywhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/pmp.h"
#include "isolation/stage2.h"
#include "support.h"

enum { LEVELS_MAX = 5, ROUNDS = 600 /* for each mode */, ALL_MODES = 1 << 1 | 1 << 8 | 1 << 9 | 1 << 10 };

#define SEED UINT64_C(0x6469b05178000003) /* change it to look elsewhere; every failure names it and its round */
#define GIB  (UINT64_C(1) << 30)
#define TIB  (UINT64_C(1) << 40)

static const struct {
    const char *name;
    unsigned xlen, value;
    unsigned guest_bits, host_bits;
    unsigned levels;
    uint64_t pages[LEVELS_MAX]; /* sizes, level 0 first */
} modes[] = {
    {"Sv32x4", 32, 1, 34, 34, 2, {4 * KIB, 4 * MIB}},
    {"Sv39x4", 64, 8, 41, 56, 3, {4 * KIB, 2 * MIB, GIB}},
    {"Sv48x4", 64, 9, 50, 56, 4, {4 * KIB, 2 * MIB, GIB, 512 * GIB}},
    {"Sv57x4", 64, 10, 59, 56, 5, {4 * KIB, 2 * MIB, GIB, 512 * GIB, 256 * TIB}},
};

static const struct stage2_mode *mode_of(size_t row)
{
    const struct stage2_mode *mode = stage2_mode_find(modes[row].xlen, 1U << modes[row].value, 0);
    assert_non_null(mode);
    return mode;
}

/* --- a layout, and its tables where a hart would have them --- */

struct layout {
    size_t row; /* of modes */
    uint64_t base;
    struct ram_piece pieces[RAM_PIECES_MAX];
    size_t count;
};

static uint64_t layout_size(const struct layout *layout)
{
    uint64_t size = 0;
    for (size_t i = 0; i < layout->count; i++) {
        size += layout->pieces[i].size;
    }
    return size;
}

/* In an allocation of its own, so that the address sanitizer sees any step beyond. */
static struct stage2_tables tables_new(uint64_t size, uint64_t at)
{
    struct stage2_tables tables = {.memory = calloc(1, (size_t)size), .at = {at}, .size = size};
    assert_non_null(tables.memory);
    return tables;
}

static struct stage2_tables tables_of(const struct layout *layout, uint64_t at)
{
    const struct stage2_mode *mode = mode_of(layout->row);
    struct stage2_tables tables = tables_new(stage2_room(mode, layout->base, layout->pieces, layout->count), at);
    stage2_build(mode, layout->base, layout->pieces, layout->count, &tables);
    return tables;
}

static uint64_t entry_at(const struct stage2_mode *mode, const struct stage2_tables *tables, uint64_t place)
{
    uint64_t entry = 0; /* the test's machine is little-endian, as RISC-V is */
    assert_true(place + mode->entry_size <= tables->size);
    memcpy(&entry, (char *)tables->memory + place, mode->entry_size);
    return entry;
}

static void set_entry(const struct stage2_mode *mode, struct stage2_tables *tables, uint64_t place, uint64_t entry)
{
    assert_true(place + mode->entry_size <= tables->size);
    memcpy((char *)tables->memory + place, &entry, mode->entry_size);
}

/* --- all that tables say, entry by entry --- */

struct census {
    uint64_t leaves[LEVELS_MAX];
    uint64_t bytes;  /* mapped */
    uint64_t tables; /* pages of them that some entry leads to, and the root's */
};

/* Follows every entry. Each page of tables may be reached once, has something in it, and holds nothing but pointers
 * to other pages of tables and plain leaves. */
static void count_entries(const struct layout *layout, const struct stage2_tables *tables, uint64_t table,
                          unsigned level, uint8_t *seen, struct census *census)
{
    const struct stage2_mode *mode = mode_of(layout->row);
    const bool root = level + 1 == modes[layout->row].levels;
    const uint64_t size = root ? 16 * KIB : 4 * KIB;
    const uint64_t ppn_bits = modes[layout->row].xlen == 32 ? 22 : 44;
    uint64_t used = 0;
    for (uint64_t page = table; page < table + size; page += PAGE_SIZE) {
        assert_true(page < tables->used && seen[page / PAGE_SIZE] == 0);
        seen[page / PAGE_SIZE] = 1;
        census->tables++;
    }
    for (uint64_t place = table; place < table + size; place += mode->entry_size) {
        const uint64_t entry = entry_at(mode, tables, place);
        const uint64_t target = ((entry >> 10) & ((UINT64_C(1) << ppn_bits) - 1)) << 12;
        if (entry == 0) {
            continue;
        }
        used++;
        assert_true(entry >> 10 >> ppn_bits == 0);
        if ((entry & 0x3ff) == 0x01) {
            assert_true(level > 0 && target >= tables->at.at && target - tables->at.at < tables->used);
            count_entries(layout, tables, target - tables->at.at, level - 1, seen, census);
            continue;
        }
        assert_int_equal(entry & 0x3ff, 0xdf); /* D A - U X W R V */
        census->leaves[level]++;
        census->bytes += modes[layout->row].pages[level];
        bool in_piece = false;
        for (size_t i = 0; i < layout->count; i++) {
            const struct range host = {layout->pieces[i].host.at, layout->pieces[i].size};
            in_piece = in_piece || range_holds(host, target, modes[layout->row].pages[level]);
        }
        assert_true(in_piece);
    }
    assert_true(used != 0 || root);
}

static struct census census_of(const struct layout *layout, const struct stage2_tables *tables)
{
    struct census census = {.bytes = 0};
    uint8_t *seen = calloc((size_t)(tables->used / PAGE_SIZE), 1);
    assert_non_null(seen);
    count_entries(layout, tables, 0, modes[layout->row].levels - 1, seen, &census);
    free(seen);
    return census;
}

/* --- random layouts, every page looked up --- */

static uint64_t random_state;

static uint64_t random_to(uint64_t limit)
{
    return (test_random(&random_state) >> 3) % (limit + 1);
}

/* A few pages of every size up to the piece's own, and many of that. */
static uint64_t random_size(size_t row, unsigned level)
{
    uint64_t size = random_to(3) == 0 ? 0 : random_to(600) * modes[row].pages[level];
    for (unsigned below = 0; below < level; below++) {
        size += random_to(2) == 0 ? random_to(600) * modes[row].pages[below] : 0;
    }
    return size == 0 ? modes[row].pages[level] : size;
}

/* Lies to the guest's addresses as pages of that level must, and as those of no higher level do (or by chance). */
static struct ram_piece random_piece(size_t row, uint64_t base, uint64_t offset)
{
    const uint64_t guest_space = UINT64_C(1) << modes[row].guest_bits;
    const uint64_t host_space = UINT64_C(1) << modes[row].host_bits;
    const unsigned level = (unsigned)random_to(modes[row].levels - 1);
    const uint64_t page = modes[row].pages[level];
    uint64_t size = random_size(row, level);
    size = MIN(size, guest_space - base - offset);
    size = MIN(size, host_space / 2);
    uint64_t host = random_to((host_space - size) / page) * page + (base + offset) % page;
    if (random_to(15) == 0) {
        host = host_space; /* the last of all pages */
    }
    if (host > host_space - size) {
        host = host_space - size;
    }
    return (struct ram_piece){.offset = offset, .size = size, .host = {host}};
}

/* Pages that a layout takes, as if all were small: not too many for a test. */
static bool affordable(const struct layout *layout)
{
    uint64_t leaves = 0;
    for (size_t i = 0; i < layout->count; i++) {
        const uint64_t slant = layout->base + layout->pieces[i].offset - layout->pieces[i].host.at;
        uint64_t page = PAGE_SIZE;
        for (unsigned level = 0; level < modes[layout->row].levels; level++) {
            page = slant % modes[layout->row].pages[level] == 0 ? modes[layout->row].pages[level] : page;
        }
        leaves += layout->pieces[i].size / page;
    }
    return leaves < 4000;
}

static struct layout random_layout_once(size_t row)
{
    const uint64_t guest_space = UINT64_C(1) << modes[row].guest_bits;
    const uint64_t page = modes[row].pages[random_to(modes[row].levels - 1)];
    struct layout layout = {.row = row, .count = 1 + (size_t)random_to(RAM_PIECES_MAX - 1)};
    layout.base = random_to(3) == 0 ? 0x80000000 : random_to(guest_space / page - 1) * page;
    if (random_to(15) == 0) {
        layout.base = guest_space - PAGE_SIZE * (1 + random_to(2000));
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < layout.count; i++) {
        layout.pieces[i] = random_piece(row, layout.base, offset);
        offset += layout.pieces[i].size;
    }
    return layout;
}

static struct layout random_layout(size_t row)
{
    struct layout layout = random_layout_once(row);
    while (!affordable(&layout)) {
        layout = random_layout_once(row);
    }
    return layout;
}

/* The largest page around an address that a piece holds whole, and at whose size guest and host are in step. */
static uint64_t largest_page(const struct layout *layout, const struct ram_piece *piece, uint64_t address)
{
    const struct range guest = {layout->base + piece->offset, piece->size};
    uint64_t best = 0;
    for (unsigned level = 0; level < modes[layout->row].levels; level++) {
        const uint64_t size = modes[layout->row].pages[level];
        if (range_holds(guest, address / size * size, size) && (guest.base - piece->host.at) % size == 0) {
            best = size;
        }
    }
    return best;
}

static void fail_at(const struct layout *layout, unsigned round, uint64_t address, const char *what)
{
    for (size_t i = 0; i < layout->count; i++) {
        print_error("0x%llx bytes at 0x%llx in 0x%llx\n", (unsigned long long)layout->pieces[i].size,
                    (unsigned long long)(layout->base + layout->pieces[i].offset),
                    (unsigned long long)layout->pieces[i].host.at);
    }
    fail_msg("seed %llx, %s, round %u, address 0x%llx: %s", (unsigned long long)SEED, modes[layout->row].name, round,
             (unsigned long long)address, what);
}

/* One byte of a piece. */
static uint64_t check_byte(const struct layout *layout, const struct stage2_tables *tables,
                           const struct ram_piece *piece, uint64_t address, unsigned round)
{
    struct stage2_leaf leaf = {.host = {0}};
    if (!stage2_lookup(mode_of(layout->row), tables, (gpa_t){address}, &leaf)) {
        fail_at(layout, round, address, "not mapped");
    }
    if (leaf.host.at != piece->host.at + (address - layout->base - piece->offset)) {
        fail_at(layout, round, address, "leads elsewhere");
    }
    if (leaf.rights != (PMP_R | PMP_W | PMP_X)) {
        fail_at(layout, round, address, "has other rights");
    }
    if (leaf.page_size != largest_page(layout, piece, address)) {
        fail_at(layout, round, address, "has a page of another size");
    }
    return leaf.page_size;
}

static void check_unmapped(const struct layout *layout, const struct stage2_tables *tables, uint64_t address,
                           unsigned round)
{
    struct stage2_leaf leaf;
    const struct range ram = {layout->base, layout_size(layout)};
    if (!range_holds(ram, address, 1) && stage2_lookup(mode_of(layout->row), tables, (gpa_t){address}, &leaf)) {
        fail_at(layout, round, address, "mapped, but no RAM");
    }
}

/* The first and the last byte of every page, and one between them. */
static void check_pages(const struct layout *layout, const struct stage2_tables *tables, unsigned round)
{
    for (size_t i = 0; i < layout->count; i++) {
        const struct ram_piece *piece = &layout->pieces[i];
        const uint64_t begin = layout->base + piece->offset;
        for (uint64_t at = begin; at < begin + piece->size;) {
            const uint64_t size = check_byte(layout, tables, piece, at, round);
            check_byte(layout, tables, piece, at + random_to(size - 1), round);
            check_byte(layout, tables, piece, at + size - 1, round);
            at += size;
        }
    }
}

static void check_outside(const struct layout *layout, const struct stage2_tables *tables, unsigned round)
{
    const unsigned bits = modes[layout->row].guest_bits;
    const uint64_t end = layout->base + layout_size(layout);
    const uint64_t edges[] = {0, layout->base - 1, layout->base - PAGE_SIZE, end, end + PAGE_SIZE, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(edges); i++) {
        check_unmapped(layout, tables, edges[i], round);
    }
    for (unsigned i = 0; i < 64; i++) {
        check_unmapped(layout, tables, random_to((UINT64_C(1) << bits) - 1), round);
        /* The address of RAM with a bit set that the mode has no room for. */
        check_unmapped(layout, tables, layout->base | UINT64_C(1) << (bits + i % (64 - bits)), round);
    }
}

/* Everything mapped is right, and no more is mapped than that: so nothing else is. */
static void check_layout(const struct layout *layout, const struct stage2_tables *tables, unsigned round)
{
    const struct census census = census_of(layout, tables);
    check_pages(layout, tables, round);
    check_outside(layout, tables, round);
    if (census.bytes != layout_size(layout)) {
        fail_at(layout, round, layout->base, "more is mapped than the pieces");
    }
    if (tables->used != tables->size || census.tables * PAGE_SIZE != tables->used) {
        fail_at(layout, round, layout->base, "room, used and tables differ");
    }
}

static void random_rounds(size_t row)
{
    uint64_t leaves[LEVELS_MAX] = {0};
    random_state = SEED + row;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct layout layout = random_layout(row);
        const uint64_t at = random_to((UINT64_C(1) << modes[row].host_bits) / (64 * MIB) - 1) * (64 * MIB);
        struct stage2_tables tables = tables_of(&layout, at);
        check_layout(&layout, &tables, round);
        const struct census census = census_of(&layout, &tables);
        for (unsigned level = 0; level < modes[row].levels; level++) {
            leaves[level] += census.leaves[level];
        }
        free(tables.memory);
    }
    for (unsigned level = 0; level < modes[row].levels; level++) {
        assert_true(leaves[level] > ROUNDS); /* every size is really tried */
    }
}

static void test_random_sv32x4(void **state)
{
    (void)state;
    random_rounds(0);
}

static void test_random_sv39x4(void **state)
{
    (void)state;
    random_rounds(1);
}

static void test_random_sv48x4(void **state)
{
    (void)state;
    random_rounds(2);
}

static void test_random_sv57x4(void **state)
{
    (void)state;
    random_rounds(3);
}

/* --- known layouts --- */

/* clang-format off */
static const struct {
    const char *what;
    struct layout layout;
    uint64_t tables; /* pages, root's 4 included */
    uint64_t leaves[LEVELS_MAX];
} known_rows[] = {
    {"nothing", {1, 0x80000000, {{0}}, 0}, 4, {0}},
    {"an empty piece", {1, 0x80000000, {{0, 0, {0x80000000}}}, 1}, 4, {0}},
    {"one page", {1, 0x80000000, {{0, 0x1000, {0x90000000}}}, 1}, 6, {1}},
    {"one page, RV32", {0, 0x80000000, {{0, 0x1000, {0x90000000}}}, 1}, 5, {1}},
    {"1 GiB in step", {1, 0x80000000, {{0, 0x40000000, {0xc0000000}}}, 1}, 4, {0, 0, 1}},
    {"1 GiB, 2 MiB out of step", {1, 0x80000000, {{0, 0x40000000, {0xc0200000}}}, 1}, 5, {0, 512}},
    {"2 MiB, 4 KiB out of step", {1, 0x80000000, {{0, 0x200000, {0xc0001000}}}, 1}, 6, {512}},
    {"2 MiB and a page", {1, 0x80000000, {{0, 0x201000, {0xc0000000}}}, 1}, 6, {1, 1}},
    {"a page too little for 2 MiB", {1, 0x80000000, {{0, 0x1ff000, {0xc0000000}}}, 1}, 6, {511}},
    {"a page too little for 1 GiB", {1, 0x80000000, {{0, 0x3ffff000, {0xc0000000}}}, 1}, 6, {511, 511}},
    {"2 MiB across tables", {1, 0xbff00000, {{0, 0x200000, {0x1bff00000}}}, 1}, 8, {512}},
    {"1 GiB and a page on both sides", {1, 0x7ffff000, {{0, 0x40002000, {0x3ffff000}}}, 1}, 8, {2, 0, 1}},
    {"the same, 256 MiB out of step", {1, 0x7ffff000, {{0, 0x40002000, {0xffff000}}}, 1}, 9, {2, 512}},
    {"the whole space", {1, 0, {{0, 2 * TIB, {0}}}, 1}, 4, {0, 0, 2048}},
    {"the last page", {1, 2 * TIB - 0x1000, {{0, 0x1000, {0x90000000}}}, 1}, 6, {1}},
    {"the host's last page", {1, 0x80000000, {{0, 0x1000, {(UINT64_C(1) << 56) - 0x1000}}}, 1}, 6, {1}},
    {"two pieces of 1 GiB page each",
     {1, 0x80000000, {{0, 0x40000000, {0x140000000}}, {0x40000000, 0x40000000, {0x80000000}}}, 2}, 4, {0, 0, 2}},
    {"a 1 GiB page out of two pieces",
     {1, 0x80000000, {{0, 0x20000000, {0xc0000000}}, {0x20000000, 0x20000000, {0xe0000000}}}, 2}, 5, {0, 512}},
    {"four pieces",
     {1, 0x80000000, {{0, 0x200000, {0x90000000}}, {0x200000, 0x200000, {0xa0001000}},
                      {0x400000, 0x1000, {0xb0000000}}, {0x401000, 0x1000, {0xb0000000}}}, 4}, 7, {514, 1}},
    {"4 MiB, RV32", {0, 0x80000000, {{0, 0x400000, {0x90000000}}}, 1}, 4, {0, 1}},
    {"4 MiB, 2 MiB out of step, RV32", {0, 0x80000000, {{0, 0x400000, {0x90200000}}}, 1}, 5, {1024}},
    {"above 4 GiB, RV32", {0, 0x3ffc00000, {{0, 0x400000, {0x3ffc00000}}}, 1}, 4, {0, 1}},
    {"the whole space, RV32", {0, 0, {{0, 0x400000000, {0}}}, 1}, 4, {0, 4096}},
    {"512 GiB", {2, 512 * GIB, {{0, 512 * GIB, {1024 * GIB}}}, 1}, 4, {0, 0, 0, 1}},
    {"512 GiB out of step", {2, 512 * GIB, {{0, 512 * GIB, {1 * GIB}}}, 1}, 5, {0, 0, 512}},
    {"one page, four levels", {2, 0x80000000, {{0, 0x1000, {0x90000000}}}, 1}, 7, {1}},
    {"one page, five levels", {3, 0x80000000, {{0, 0x1000, {0x90000000}}}, 1}, 8, {1}},
    {"256 TiB", {3, 256 * TIB, {{0, 256 * TIB, {0}}}, 1}, 4, {0, 0, 0, 0, 1}},
};
/* clang-format on */

static void test_known_layouts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(known_rows); i++) {
        const struct layout *layout = &known_rows[i].layout;
        struct stage2_tables tables = tables_of(layout, 0x100000000);
        const struct census census = census_of(layout, &tables);
        if (tables.size != known_rows[i].tables * PAGE_SIZE ||
            memcmp(census.leaves, known_rows[i].leaves, sizeof(census.leaves)) != 0) {
            fail_msg("%s: 0x%llx bytes of tables, %llu %llu %llu leaves", known_rows[i].what,
                     (unsigned long long)tables.size, (unsigned long long)census.leaves[0],
                     (unsigned long long)census.leaves[1], (unsigned long long)census.leaves[2]);
        }
        check_layout(layout, &tables, 0);
        free(tables.memory);
    }
}

/* To the bit, from the specification's figures. */
static void test_entries(void **state)
{
    (void)state;
    const struct layout wide = {1, UINT64_C(0x18080200000), {{0, 0x201000, {0x90200000}}}, 1};
    struct stage2_tables tables = tables_of(&wide, 0x100000000);
    assert_int_equal(entry_at(mode_of(1), &tables, 1538 * 8), 0x40001001);       /* the root has 2,048 entries */
    assert_int_equal(entry_at(mode_of(1), &tables, 0x4000 + 1 * 8), 0x240800df); /* 2 MiB */
    assert_int_equal(entry_at(mode_of(1), &tables, 0x4000 + 2 * 8), 0x40001401);
    assert_int_equal(entry_at(mode_of(1), &tables, 0x5000), 0x241000df); /* 4 KiB */
    free(tables.memory);

    const struct layout narrow = {0, UINT64_C(0x3ffc00000), {{0, 0x400000, {UINT64_C(0x3fffff000) - 0x3ff000}}}, 1};
    tables = tables_of(&narrow, 0x200000000);
    assert_int_equal(tables.used, 0x4000);
    assert_int_equal(entry_at(mode_of(0), &tables, 4095 * 4), 0xfff000df);
    free(tables.memory);

    const struct layout page = {0, UINT64_C(0x3fffff000), {{0, 0x1000, {UINT64_C(0x3fffff000)}}}, 1};
    tables = tables_of(&page, 0x200000000);
    assert_int_equal(entry_at(mode_of(0), &tables, 4095 * 4), 0x80001001);
    assert_int_equal(entry_at(mode_of(0), &tables, 0x4000 + 1023 * 4), 0xfffffcdf);
    free(tables.memory);
}

/* More room than needed stays as it was. */
static void test_spare_room(void **state)
{
    (void)state;
    const struct layout layout = {1, 0x80000000, {{0, 0x201000, {0x90000000}}}, 1};
    struct stage2_tables tables = tables_new(0x10000, 0x100000000);
    stage2_build(mode_of(1), layout.base, layout.pieces, layout.count, &tables);
    assert_int_equal(tables.used, 0x6000);
    for (uint64_t place = tables.used; place < tables.size; place += 8) {
        assert_int_equal(entry_at(mode_of(1), &tables, place), 0);
    }
    free(tables.memory);
}

/* --- modes --- */

static const struct {
    unsigned xlen, modes;
    uint64_t last;
    const char *want;
} mode_rows[] = {
    {64, ALL_MODES, 0, "Sv39x4"},
    {64, ALL_MODES, 2 * TIB - 1, "Sv39x4"},
    {64, ALL_MODES, 2 * TIB, "Sv48x4"},
    {64, ALL_MODES, 1024 * TIB - 1, "Sv48x4"},
    {64, ALL_MODES, 1024 * TIB, "Sv57x4"},
    {64, ALL_MODES, (UINT64_C(1) << 59) - 1, "Sv57x4"},
    {64, ALL_MODES, UINT64_C(1) << 59, NULL},
    {64, ALL_MODES, UINT64_MAX, NULL},
    {64, 1 << 9 | 1 << 10, 0, "Sv48x4"},
    {64, 1 << 10, 0, "Sv57x4"},
    {64, 1 << 8, 2 * TIB, NULL},
    {64, 1 << 0 | 1 << 1 | 1 << 7 | 1 << 11, 0, NULL},
    {64, 0, 0, NULL},
    {32, ALL_MODES, 0, "Sv32x4"},
    {32, 1 << 1, (UINT64_C(1) << 34) - 1, "Sv32x4"},
    {32, 1 << 1, UINT64_C(1) << 34, NULL},
    {32, ALL_MODES & ~(1U << 1), 0, NULL},
    {128, ALL_MODES, 0, NULL},
};

static void test_modes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(mode_rows); i++) {
        const struct stage2_mode *mode = stage2_mode_find(mode_rows[i].xlen, mode_rows[i].modes, mode_rows[i].last);
        const char *name = mode == NULL ? "none" : mode->name;
        if (strcmp(name, mode_rows[i].want == NULL ? "none" : mode_rows[i].want) != 0) {
            fail_msg("row %u: %s", (unsigned)i, name);
        }
    }
    assert_string_equal(stage2_mode_least(64, ALL_MODES)->name, "Sv39x4");
    assert_string_equal(stage2_mode_least(64, 1 << 9)->name, "Sv48x4");
    assert_string_equal(stage2_mode_least(32, ALL_MODES)->name, "Sv32x4");
    assert_null(stage2_mode_least(64, 1 << 1));
    assert_null(stage2_mode_least(32, 0));
}

/* The rows are what the specification's figures say. */
static void test_mode_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
        const struct stage2_mode *mode = mode_of(i);
        assert_string_equal(mode->name, modes[i].name);
        assert_int_equal(mode->xlen, modes[i].xlen);
        assert_int_equal(mode->hgatp_mode, modes[i].value);
        assert_int_equal(mode->levels, modes[i].levels);
        assert_int_equal(mode->guest_bits, modes[i].guest_bits);
        assert_int_equal(mode->guest_bits, 12 + mode->levels * mode->index_bits + 2);
        assert_int_equal(mode->entry_size << mode->index_bits, PAGE_SIZE);
        assert_int_equal(mode->ppn_bits + 12, modes[i].host_bits);
    }
}

/* --- our own mistakes --- */

static const struct {
    const char *what;
    struct layout layout;
} wrong_rows[] = {
    {"base off a page", {1, 0x80000800, {{0, 0x1000, {0x90000000}}}, 1}},
    {"size off a page", {1, 0x80000000, {{0, 0x1800, {0x90000000}}}, 1}},
    {"host off a page", {1, 0x80000000, {{0, 0x1000, {0x90000800}}}, 1}},
    {"a first piece that is not at the start", {1, 0x80000000, {{0x1000, 0x1000, {0x90000000}}}, 1}},
    {"a gap", {1, 0x80000000, {{0, 0x1000, {0x90000000}}, {0x2000, 0x1000, {0xa0000000}}}, 2}},
    {"an overlap", {1, 0x80000000, {{0, 0x2000, {0x90000000}}, {0x1000, 0x1000, {0xa0000000}}}, 2}},
    {"beyond the guest's addresses", {1, 2 * TIB, {{0, 0x1000, {0x90000000}}}, 1}},
    {"far beyond the guest's addresses", {1, 4 * TIB, {{0, 0x1000, {0x90000000}}}, 1}},
    {"out of the guest's addresses", {1, 2 * TIB - 0x1000, {{0, 0x2000, {0x90000000}}}, 1}},
    {"out of them in the second piece",
     {1, 2 * TIB - 0x1000, {{0, 0x1000, {0x90000000}}, {0x1000, 0x1000, {0x90001000}}}, 2}},
    {"a size that wraps", {1, 0x80000000, {{0, UINT64_MAX - 0xfff, {0x90000000}}}, 1}},
    {"beyond the host's addresses", {1, 0x80000000, {{0, 0x1000, {UINT64_C(1) << 56}}}, 1}},
    {"out of the host's addresses", {1, 0x80000000, {{0, 0x2000, {(UINT64_C(1) << 56) - 0x1000}}}, 1}},
    {"beyond RV32's", {0, 0x80000000, {{0, 0x1000, {UINT64_C(1) << 34}}}, 1}},
};

static bool room_panics(const struct layout *layout)
{
    const struct stage2_mode *mode = mode_of(layout->row);
    return PANICS((void)stage2_room(mode, layout->base, layout->pieces, layout->count));
}

static bool build_panics(const struct layout *layout, struct stage2_tables *tables)
{
    const struct stage2_mode *mode = mode_of(layout->row);
    return PANICS(stage2_build(mode, layout->base, layout->pieces, layout->count, tables));
}

static void test_wrong_pieces(void **state)
{
    (void)state;
    struct stage2_tables tables = tables_new(0x10000, 0x100000000);
    for (size_t i = 0; i < ARRAY_LENGTH(wrong_rows); i++) {
        if (!room_panics(&wrong_rows[i].layout) || !build_panics(&wrong_rows[i].layout, &tables)) {
            fail_msg("%s", wrong_rows[i].what);
        }
    }
    for (uint64_t place = 0; place < tables.size; place += 8) {
        assert_int_equal(entry_at(mode_of(1), &tables, place), 0);
    }
    free(tables.memory);
}

static const struct {
    const char *what;
    uint64_t at, size;
} wrong_tables_rows[] = {
    {"a page too few", 0x100000000, 0x5000},
    {"the root alone", 0x100000000, 0x4000},
    {"not even the root", 0x100000000, 0x1000},
    {"the root is not aligned", 0x100001000, 0x6000},
    {"where no page number leads", UINT64_C(1) << 56, 0x6000},
    {"half of it there", (UINT64_C(1) << 56) - 0x4000, 0x6000},
};

static void test_wrong_tables(void **state)
{
    (void)state;
    const struct layout layout = {1, 0x80000000, {{0, 0x1000, {0x90000000}}}, 1};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong_tables_rows); i++) {
        struct stage2_tables tables = tables_new(wrong_tables_rows[i].size, wrong_tables_rows[i].at);
        if (!build_panics(&layout, &tables)) {
            fail_msg("%s", wrong_tables_rows[i].what);
        }
        free(tables.memory);
    }
    const struct layout nothing = {1, 0x80000000, {{0}}, 0};
    struct stage2_tables tables = tables_new(0x3000, 0x100000000);
    assert_true(build_panics(&nothing, &tables));
    free(tables.memory);
}

/* --- tables that were changed --- */

/* One page in each mode: tables right behind the root, one a level. */
static struct stage2_tables chain_of(size_t row, struct layout *layout)
{
    *layout = (struct layout){row, 0x80000000, {{0, 0x1000, {0x90000000}}}, 1};
    return tables_of(layout, 0x200000000);
}

/* Where the entry for 0x80000000 lies, from the root (walk 0) on. */
static uint64_t chain_place(size_t row, unsigned walk)
{
    const uint64_t index[4][LEVELS_MAX] = {{512, 0}, {2, 0, 0}, {0, 2, 0, 0}, {0, 0, 2, 0, 0}};
    return (walk == 0 ? 0 : 0x3000 + walk * UINT64_C(0x1000)) + index[row][walk] * (row == 0 ? 4 : 8);
}

static bool lookup_with(size_t row, struct stage2_tables *tables, uint64_t place, uint64_t entry,
                        struct stage2_leaf *leaf)
{
    const uint64_t before = entry_at(mode_of(row), tables, place);
    set_entry(mode_of(row), tables, place, entry);
    const bool mapped = stage2_lookup(mode_of(row), tables, (gpa_t){0x80000123}, leaf);
    set_entry(mode_of(row), tables, place, before);
    return mapped;
}

/* Rights under every combination of the ten low bits of a leaf. */
static uint8_t leaf_rights_of(uint64_t bits)
{
    const bool good = (bits & 0x320) == 0 && (bits & 0x51) == 0x51 && (bits & 0x0e) != 0 && (bits & 0x06) != 0x04;
    const uint8_t all = (uint8_t)(bits >> 1 & 7);
    return !good ? 0 : (bits & 0x80) != 0 ? all : all & (uint8_t)~PMP_W;
}

static void test_leaf_bits(void **state)
{
    (void)state;
    for (size_t row = 0; row < ARRAY_LENGTH(modes); row++) {
        struct layout layout;
        struct stage2_tables tables = chain_of(row, &layout);
        const uint64_t place = chain_place(row, modes[row].levels - 1);
        assert_int_equal(entry_at(mode_of(row), &tables, place), 0x240000df);
        for (uint64_t bits = 0; bits < 0x400; bits++) {
            struct stage2_leaf leaf;
            const bool mapped = lookup_with(row, &tables, place, 0x24000000 | bits, &leaf);
            /* A leaf that may only be written to, and has not D, gives nothing. */
            if (mapped != (leaf_rights_of(bits) != 0) || (mapped && leaf.rights != leaf_rights_of(bits)) ||
                (mapped && (leaf.host.at != 0x90000123 || leaf.page_size != 0x1000))) {
                fail_msg("%s: bits 0x%x", modes[row].name, (unsigned)bits);
            }
        }
        free(tables.memory);
    }
}

/* Bits 63:54: reserved, PBMT and N, in leaves and pointers. */
static void test_high_bits(void **state)
{
    (void)state;
    for (size_t row = 1; row < ARRAY_LENGTH(modes); row++) {
        struct layout layout;
        struct stage2_tables tables = chain_of(row, &layout);
        for (unsigned walk = 0; walk < modes[row].levels; walk++) {
            const uint64_t place = chain_place(row, walk);
            const uint64_t entry = entry_at(mode_of(row), &tables, place);
            struct stage2_leaf leaf;
            assert_true(lookup_with(row, &tables, place, entry, &leaf));
            for (unsigned bit = 54; bit < 64; bit++) {
                assert_false(lookup_with(row, &tables, place, entry | UINT64_C(1) << bit, &leaf));
            }
        }
        free(tables.memory);
    }
}

/* A pointer with any other flag, and one that leads anywhere but to a later table. */
static void test_pointers(void **state)
{
    (void)state;
    for (size_t row = 0; row < ARRAY_LENGTH(modes); row++) {
        struct layout layout;
        struct stage2_tables tables = chain_of(row, &layout);
        for (unsigned walk = 0; walk + 1 < modes[row].levels; walk++) {
            const uint64_t place = chain_place(row, walk);
            const uint64_t entry = entry_at(mode_of(row), &tables, place);
            struct stage2_leaf leaf;
            for (uint64_t bits = 0; bits < 0x400; bits++) {
                const bool want = bits == 1;
                /* As a leaf it would have to be aligned; the tables are only to 4 KiB of it. */
                const bool aligned = (entry >> 10 << 12) % modes[row].pages[modes[row].levels - 1 - walk] == 0;
                assert_false(aligned);
                assert_int_equal(lookup_with(row, &tables, place, (entry & ~UINT64_C(0x3ff)) | bits, &leaf), want);
            }
            const uint64_t mine = walk == 0 ? 0 : 0x3000 + walk * UINT64_C(0x1000);
            const uint64_t wrong[] = {
                mine,   0,          0x1000,          0x3000,         tables.used,
                0x8000, -0x1000ULL, -0x200000000ULL, 0xffffff000ULL, (UINT64_C(1) << 56) - 0x1000};
            for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
                const uint64_t ppn = (0x200000000 + wrong[i]) >> 12 & ((UINT64_C(1) << mode_of(row)->ppn_bits) - 1);
                if (lookup_with(row, &tables, place, ppn << 10 | 1, &leaf)) {
                    fail_msg("%s: level %u from the root led to tables + 0x%llx", modes[row].name, walk,
                             (unsigned long long)wrong[i]);
                }
            }
        }
        free(tables.memory);
    }
}

/* Tables are taken in order; one that leads to a table before it is not ours, though that be a good one. */
static void test_pointer_back(void **state)
{
    (void)state;
    const struct layout layout = {1, 0xbffff000, {{0, 0x2000, {0x90000000}}}, 1};
    struct stage2_tables tables = tables_of(&layout, 0x200000000);
    assert_int_equal(tables.used, 0x8000); /* the root, and two tables for each of the two pages */
    struct stage2_leaf leaf;
    assert_int_equal(entry_at(mode_of(1), &tables, 0x6000), 0x80001c01);
    set_entry(mode_of(1), &tables, 0x5000, 0x240000df);
    assert_true(stage2_lookup(mode_of(1), &tables, (gpa_t){0xc0000000}, &leaf));
    set_entry(mode_of(1), &tables, 0x6000, 0x80001401);
    assert_false(stage2_lookup(mode_of(1), &tables, (gpa_t){0xc0000000}, &leaf));

    /* Nor may it lead into its own table, or to another page of the root. */
    set_entry(mode_of(1), &tables, 0x1000, 0x800000df);
    set_entry(mode_of(1), &tables, 3 * 8, 0x80000401);
    assert_false(stage2_lookup(mode_of(1), &tables, (gpa_t){0xc0000000}, &leaf));
    set_entry(mode_of(1), &tables, 3 * 8, 0x80001801);
    set_entry(mode_of(1), &tables, 0x6000 + 8, 0x80001801);
    set_entry(mode_of(1), &tables, 0x6000, 0x240000df);
    assert_false(stage2_lookup(mode_of(1), &tables, (gpa_t){0xc0200000}, &leaf));
    free(tables.memory);
}

/* Where only a leaf may be, a pointer is none: not even one that leads to a table. */
static void test_pointer_at_the_end(void **state)
{
    (void)state;
    for (size_t row = 0; row < ARRAY_LENGTH(modes); row++) {
        const struct layout layout = {row, 0x80000000, {{0, 0x1000, {0x90000000}}}, 1};
        struct stage2_tables tables = tables_new(0x10000, 0x200000000);
        stage2_build(mode_of(row), layout.base, layout.pieces, layout.count, &tables);
        const uint64_t next = tables.used;
        tables.used = tables.size;
        struct stage2_leaf leaf;
        const uint64_t place = chain_place(row, modes[row].levels - 1);
        assert_false(lookup_with(row, &tables, place, (0x200000000 + next) >> 12 << 10 | 1, &leaf));
        assert_true(lookup_with(row, &tables, place, 0x240000df, &leaf));
        free(tables.memory);
    }
}

/* A large page must begin at a multiple of its size. */
static void test_crooked_large_pages(void **state)
{
    (void)state;
    for (size_t row = 0; row < ARRAY_LENGTH(modes); row++) {
        struct layout layout;
        struct stage2_tables tables = chain_of(row, &layout);
        for (unsigned walk = 0; walk + 1 < modes[row].levels; walk++) {
            const uint64_t size = modes[row].pages[modes[row].levels - 1 - walk];
            const uint64_t place = chain_place(row, walk);
            struct stage2_leaf leaf;
            assert_true(lookup_with(row, &tables, place, size >> 12 << 10 | 0xdf, &leaf));
            assert_int_equal(leaf.page_size, size);
            assert_true(leaf.host.at == size + 0x80000123 % size);
            for (uint64_t bit = 0x1000; bit < size; bit <<= 1) {
                assert_false(lookup_with(row, &tables, place, (size | bit) >> 12 << 10 | 0xdf, &leaf));
            }
        }
        free(tables.memory);
    }
}

static void test_wrong_use(void **state)
{
    (void)state;
    struct layout layout;
    struct stage2_tables tables = chain_of(1, &layout);
    struct stage2_leaf leaf;
    const uint64_t used = tables.used;
    const uint64_t wrong[] = {0, 0x1000, 0x3fff, used - 0x1000, used + 0x1000, UINT64_MAX};
    assert_true(stage2_lookup(mode_of(1), &tables, (gpa_t){0x80000000}, &leaf));
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        tables.used = wrong[i];
        assert_false(stage2_lookup(mode_of(1), &tables, (gpa_t){0x80000000}, &leaf));
    }
    free(tables.memory);
}

/* Garbage of the kind that leads furthest: walks end, and stay in the tables (or the address sanitizer says so). */
static void test_garbage(void **state)
{
    (void)state;
    random_state = SEED;
    unsigned mapped = 0;
    for (size_t row = 0; row < ARRAY_LENGTH(modes); row++) {
        struct stage2_tables tables = tables_new(0x10000, 0x200000000);
        tables.used = tables.size;
        for (uint64_t place = 0; place < tables.size; place += mode_of(row)->entry_size) {
            const uint64_t pointer = (0x200000000 + random_to(0x14) * 0x1000 - 0x2000) >> 12 << 10 | 1;
            const uint64_t leaf = test_random(&random_state) << 28 >> 36 << 28 | 0xdf;
            const uint64_t kinds[] = {pointer, pointer, pointer, leaf, test_random(&random_state)};
            set_entry(mode_of(row), &tables, place, kinds[random_to(4)]);
        }
        for (unsigned i = 0; i < 20000; i++) {
            struct stage2_leaf leaf;
            const gpa_t address = {random_to((UINT64_C(1) << modes[row].guest_bits) - 1)};
            if (stage2_lookup(mode_of(row), &tables, address, &leaf)) {
                assert_true(leaf.rights != 0 && leaf.host.at >> modes[row].host_bits == 0);
                assert_true(leaf.host.at % leaf.page_size == address.at % leaf.page_size);
                mapped++;
            }
        }
        free(tables.memory);
    }
    assert_true(mapped > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_sv32x4),
        cmocka_unit_test(test_random_sv39x4),
        cmocka_unit_test(test_random_sv48x4),
        cmocka_unit_test(test_random_sv57x4),
        cmocka_unit_test(test_known_layouts),
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_spare_room),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_mode_rows),
        cmocka_unit_test(test_wrong_pieces),
        cmocka_unit_test(test_wrong_tables),
        cmocka_unit_test(test_leaf_bits),
        cmocka_unit_test(test_high_bits),
        cmocka_unit_test(test_pointers),
        cmocka_unit_test(test_pointer_back),
        cmocka_unit_test(test_pointer_at_the_end),
        cmocka_unit_test(test_crooked_large_pages),
        cmocka_unit_test(test_wrong_use),
        cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
