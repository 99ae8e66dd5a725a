/* SPDX-License-Identifier: MIT
 *
 * GUID partition tables that anybody wrote. The disk is what the fuzzer gives, over and over; checksums are made right
 * more often than chance has them.
 */
#include "core/memory.h"
#include "driver/gpt.h"
#include "fuzz_world.h"

enum { POOL = 128 * KIB };

static const uint8_t *content;
static size_t content_length;
static struct gpt_source source;
static bool is_sealed;
static unsigned reads;

static uint32_t crc(const uint8_t *bytes, size_t length)
{
    uint32_t value = UINT32_MAX;
    for (size_t n = 0; n < length; n++) {
        value ^= bytes[n];
        for (unsigned bit = 0; bit < 8; bit++) {
            value = (value & 1) != 0 ? UINT32_C(0xedb88320) ^ (value >> 1) : value >> 1;
        }
    }
    return ~value;
}

static uint64_t number(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}

/* The disk's bytes from a sector on. */
static void fill(uint64_t sector, uint8_t *to, size_t length)
{
    for (size_t n = 0; n < length; n++) {
        to[n] = content[(size_t)((sector * DISK_SECTOR + n) % content_length)];
    }
}

/* With the signature, its own place and both checksums, as far as the table that it names can be read. */
static void seal(uint64_t sector, uint8_t *header)
{
    static uint8_t table[16 * KIB];
    const uint64_t length = number(header + 80, 4) * number(header + 84, 4);
    const uint64_t block = sector * DISK_SECTOR / source.block_size;
    const uint64_t size = number(header + 12, 4) % 600;
    memcpy(header, "EFI PART", 8);
    memcpy(header + 24, &block, 8);
    memcpy(header + 12, &size, 4);
    if (length <= sizeof(table)) {
        fill(number(header + 72, 8) * (source.block_size / DISK_SECTOR), table, (size_t)length);
        const uint32_t sum = crc(table, (size_t)length);
        memcpy(header + 88, &sum, 4);
    }
    memset(header + 16, 0, 4);
    const uint32_t sum = crc(header, (size_t)MIN(size, (uint64_t)source.block_size));
    memcpy(header + 16, &sum, 4);
}

static bool read_blocks(void *context, uint64_t sector, void *to, uint32_t length)
{
    const uint32_t sectors = length / DISK_SECTOR;
    assert(context == &source && length > 0 && length % source.block_size == 0);
    assert(sector % (source.block_size / DISK_SECTOR) == 0);
    assert(sector < source.sectors && sectors <= source.sectors - sector);
    assert(++reads <= 5);
    fill(sector, to, length);
    if (is_sealed && sector == 0) { /* says that the rest is a GPT */
        ((uint8_t *)to)[446 + 4] = 0xee;
        ((uint8_t *)to)[510] = 0x55;
        ((uint8_t *)to)[511] = 0xaa;
    }
    const uint64_t last = source.sectors * DISK_SECTOR / source.block_size - 1;
    if (is_sealed && length == source.block_size &&
        (sector == source.block_size / DISK_SECTOR || sector == last * (source.block_size / DISK_SECTOR))) {
        seal(sector, to);
    }
    return true;
}

static void check(const struct disk_partition *partitions, uint32_t count)
{
    assert((partitions != NULL) == (count != 0) && count <= DISK_PARTITIONS_MAX);
    for (uint32_t n = 0; n < count; n++) {
        const struct disk_partition *partition = &partitions[n];
        assert(partition->sectors > 0 && partition->first < source.sectors);
        assert(partition->sectors <= source.sectors - partition->first);
        assert(partition->first % (source.block_size / DISK_SECTOR) == 0);
        const size_t length = strnlen(partition->name, sizeof(partition->name));
        assert(length > 0 && length <= DISK_PARTITION_NAME_MAX);
        for (size_t at = 0; at < length; at++) {
            assert(partition->name[at] >= ' ' && partition->name[at] <= '~');
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static uint8_t pool[POOL] __attribute__((aligned(4096)));
    static struct memory map;
    struct input input = {bytes, length};
    const uint64_t kind = take(&input, 1);
    const uint64_t sectors = take(&input, (kind & 0x80) != 0 ? 8 : 2) & UINT64_MAX / DISK_SECTOR;
    if (input.left == 0) {
        return 0;
    }
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){(uintptr_t)pool, POOL});
    memory_init(&map);
    content = input.bytes;
    content_length = input.left;
    is_sealed = (kind & 0x40) != 0;
    reads = 0;
    source = (struct gpt_source){read_blocks, &source, (uint32_t)DISK_SECTOR << (kind & 3), sectors};
    const uint64_t before = memory_free_bytes();
    uint32_t count = 1;
    struct disk_partition *partitions = gpt_read(&source, &count);
    check(partitions, count);
    if (partitions != NULL) {
        memory_free(partitions, DISK_PARTITIONS_MAX * sizeof(*partitions));
    }
    assert(memory_free_bytes() == before);
    return 0;
}
