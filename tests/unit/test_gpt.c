/* SPDX-License-Identifier: MIT
 *
 * GUID partition tables, sound and damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/memory.h"
#include "driver/gpt.h"
#include "gpt_table.h"
#include "support.h"

enum { SECTORS = 4096, POOL = 256 * KIB, COUNT = 3 };

static uint8_t disk[SECTORS * 512];
static struct gpt_source source;
static unsigned reads;

static bool read_blocks(void *context, uint64_t sector, void *to, uint32_t length)
{
    assert_ptr_equal(context, disk);
    assert_int_equal(length % source.block_size, 0);
    assert_true(sector <= SECTORS && length / 512 <= SECTORS - sector);
    memcpy(to, disk + sector * 512, length);
    return reads++ != UINT32_MAX;
}

static uint8_t *block(uint64_t n)
{
    return disk + n * source.block_size;
}

static void seal(uint64_t at, uint64_t table)
{
    gpt_seal(disk, source.block_size, at, table);
}

/* Blocks 40 to 49, 50 to 59, …, by the names a, b, … */
static void put_table(uint64_t at)
{
    for (unsigned n = 0; n < COUNT; n++) {
        uint8_t *entry = block(at) + 2 * ENTRY * n; /* with unused ones between them */
        gpt_entry(entry, 40 + 10 * n, 49 + 10 * n, (char)('a' + n));
    }
}

static uint64_t last_block(void)
{
    return (uint64_t)SECTORS * 512 / source.block_size - 1;
}

static uint64_t table_blocks(void)
{
    return ENTRIES * ENTRY / source.block_size;
}

static void make(uint32_t block_size)
{
    memset(disk, 0, sizeof(disk));
    source = (struct gpt_source){read_blocks, disk, block_size, SECTORS};
    put_table(2);
    put_table(last_block() - table_blocks());
    gpt_protect(disk);
    gpt_header(disk, block_size, 1, 2);
    gpt_header(disk, block_size, last_block(), last_block() - table_blocks());
}

/* How many there are; all of them are on the disk, whatever its tables say. */
static uint32_t count(char *first)
{
    uint32_t found = 0;
    const uint64_t before = memory_free_bytes();
    struct disk_partition *partitions = gpt_read(&source, &found);
    assert_int_equal(partitions != NULL, found != 0);
    assert_true(found <= DISK_PARTITIONS_MAX);
    for (uint32_t n = 0; n < found; n++) {
        assert_true(partitions[n].sectors > 0 && partitions[n].first < SECTORS);
        assert_true(partitions[n].sectors <= SECTORS - partitions[n].first);
        assert_true(strlen(partitions[n].name) <= DISK_PARTITION_NAME_MAX);
    }
    if (found != 0) {
        *first = partitions[0].name[0];
        assert_int_equal(partitions[0].first, 40 * source.block_size / 512);
        assert_int_equal(partitions[0].sectors, 10 * source.block_size / 512);
        memory_free(partitions, DISK_PARTITIONS_MAX * sizeof(*partitions));
    }
    assert_int_equal(memory_free_bytes(), before);
    return found;
}

static int setup(void **state)
{
    static struct memory map;
    static uint8_t pool[POOL] __attribute__((aligned(4096)));
    (void)state;
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){(uintptr_t)pool, POOL});
    memory_init(&map);
    make(512);
    return 0;
}

static void test_sound(void **state)
{
    char first = 0;
    (void)state;
    for (uint32_t size = 512; size <= 4096; size *= 2) {
        make(size);
        assert_int_equal(count(&first), COUNT);
        assert_int_equal(first, 'a');
    }
}

static void test_none(void **state)
{
    char first;
    (void)state;
    memset(disk, 0, sizeof(disk));
    assert_int_equal(count(&first), 0);
    source.sectors = 1;
    assert_int_equal(count(&first), 0);
}

/* What is left of a GPT on a disk that was divided in another way since. */
static void test_not_protected(void **state)
{
    char first;
    (void)state;
    disk[446 + 4] = 0x83;
    assert_int_equal(count(&first), 0);
    disk[446 + 3 * 16 + 4] = 0xee; /* beside others, and not the first */
    assert_int_equal(count(&first), COUNT);
    disk[511] = 0;
    assert_int_equal(count(&first), 0);
}

/* Each byte that counts, damaged in one of the two: the other one serves; in both: there is none. */
static void test_damaged(void **state)
{
    char first = 0;
    (void)state;
    for (unsigned n = 0; n < 92; n++) {
        make(512);
        block(1)[n] ^= 0x40;
        block(2)[56] = 'x'; /* whose table was taken can be seen */
        assert_int_equal(count(&first), COUNT);
        assert_int_equal(first, 'a');
        block(last_block())[n] ^= 0x40;
        assert_int_equal(count(&first), 0);
    }
}

/* With checksums that are right, whatever it says. */
static void test_hostile(void **state)
{
    static const struct {
        unsigned offset, width;
        uint64_t value;
    } rows[] = {
        {12, 4, 91},         {12, 4, 513},     {12, 4, UINT32_MAX},  {24, 8, 2},
        {72, 8, UINT64_MAX}, {72, 8, SECTORS}, {72, 8, SECTORS - 5}, {72, 8, UINT64_C(1) << 55},
        {80, 4, 0},          {80, 4, 129},     {80, 4, UINT32_MAX},  {84, 4, 0},
        {84, 4, 64},         {84, 4, 129},     {84, 4, UINT32_MAX},  {84, 4, UINT32_C(0x80000000)},
    };
    char first;
    (void)state;
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        make(512);
        memset(block(last_block()), 0, 512);
        put(block(1) + rows[n].offset, rows[n].value, rows[n].width);
        put(block(1) + 16, 0, 4);
        put(block(1) + 16, crc(block(1), 92), 4);
        assert_int_equal(count(&first), 0);
    }
}

/* Partitions that are not on the disk, end before they begin, or have no name aren't there; the others are. */
static void test_entries(void **state)
{
    static const uint64_t bad[][2] = {
        {50, 49}, {0, UINT64_MAX}, {UINT64_MAX, UINT64_MAX}, {SECTORS, SECTORS}, {1, SECTORS}};
    char first;
    (void)state;
    for (unsigned n = 0; n <= ARRAY_LENGTH(bad); n++) {
        make(512);
        uint8_t *entry = block(2) + 2 * ENTRY;
        if (n < ARRAY_LENGTH(bad)) {
            put(entry + 32, bad[n][0], 8);
            put(entry + 40, bad[n][1], 8);
        } else {
            put(entry + 56, 0, 2);
        }
        seal(1, 2);
        assert_int_equal(count(&first), COUNT - 1);
    }
    make(512);
    memset(block(2) + 56, 0xe4, 72); /* no end, and nothing of it is ASCII */
    seal(1, 2);
    assert_int_equal(count(&first), COUNT);
    assert_int_equal(first, '?');
}

static void test_noise(void **state)
{
    uint64_t seed = 4711;
    (void)state;
    for (unsigned n = 0; n < 3000; n++) {
        uint32_t found;
        make(512);
        for (unsigned i = 0; i < 6; i++) {
            put(block(1) + test_below(&seed, 92), test_random(&seed), 1 + test_below(&seed, 8));
            put(block(2) + test_below(&seed, 3 * ENTRY), test_random(&seed), 1 + test_below(&seed, 8));
        }
        put(block(1), UINT64_C(0x5452415020494645), 8);
        put(block(1) + 12, 92, 4);
        seal(1, 2);
        struct disk_partition *partitions = gpt_read(&source, &found);
        if (partitions != NULL) {
            memory_free(partitions, DISK_PARTITIONS_MAX * sizeof(*partitions));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sound, setup),         cmocka_unit_test_setup(test_none, setup),
        cmocka_unit_test_setup(test_not_protected, setup), cmocka_unit_test_setup(test_damaged, setup),
        cmocka_unit_test_setup(test_hostile, setup),       cmocka_unit_test_setup(test_entries, setup),
        cmocka_unit_test_setup(test_noise, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
