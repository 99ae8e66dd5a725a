/* SPDX-License-Identifier: MIT
 *
 * Reading a GUID partition table: see gpt.h.
 */
#include "driver/gpt.h"

#include <string.h>

#include "core/memory.h"

/* Offsets in the header, and in an entry. */
enum {
    HEADER_SIZE = 12,
    HEADER_CHECKSUM = 16,
    HEADER_BLOCK = 24,
    HEADER_ENTRIES = 72,
    HEADER_COUNT = 80,
    HEADER_ENTRY_SIZE = 84,
    HEADER_ENTRIES_CHECKSUM = 88,
    HEADER_LEAST = 92,
    ENTRY_FIRST = 32,
    ENTRY_LAST = 40,
    ENTRY_NAME = 56,
    ENTRY_LEAST = 128,
    TYPE_SIZE = 16,
};
enum { TABLE_MOST = 16 * KIB };
/* In the first block, for those who know no GPT: a table of four with the whole disk in it. */
enum { MBR_TABLE = 446, MBR_ENTRY = 16, MBR_ENTRIES = 4, MBR_TYPE = 4, MBR_PROTECTIVE = 0xee, MBR_END = 510 };

static uint64_t number(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned n = 0; n < bytes; n++) {
        value |= (uint64_t)at[n] << (8 * n);
    }
    return value;
}

/* CRC-32 as in IEEE 802.3, bit by bit: some kilobytes, once. */
static uint32_t checksum(const uint8_t *bytes, size_t length)
{
    uint32_t crc = UINT32_MAX;
    for (size_t n = 0; n < length; n++) {
        crc ^= bytes[n];
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
        }
    }
    return ~crc;
}

static uint64_t blocks(const struct gpt_source *source)
{
    return source->sectors * DISK_SECTOR / source->block_size;
}

static uint64_t sector_of(const struct gpt_source *source, uint64_t block)
{
    return block * (source->block_size / DISK_SECTOR);
}

/* Without it the GPT was left behind by somebody who has divided the disk in another way since, and its partitions may
 * be anything now. */
static bool is_protected(const struct gpt_source *source, uint8_t *block)
{
    bool found = false;
    if (!source->read(source->context, 0, block, source->block_size) || number(block + MBR_END, 2) != 0xaa55) {
        return false;
    }
    for (unsigned n = 0; n < MBR_ENTRIES; n++) {
        found |= block[MBR_TABLE + n * MBR_ENTRY + MBR_TYPE] == MBR_PROTECTIVE;
    }
    return found;
}

/* The header at that block, if it is one. */
static bool read_header(const struct gpt_source *source, uint64_t block, uint8_t *header)
{
    static const uint8_t zero[4];
    if (!source->read(source->context, sector_of(source, block), header, source->block_size) ||
        memcmp(header, "EFI PART", 8) != 0) {
        return false;
    }
    const uint64_t size = number(header + HEADER_SIZE, 4);
    const uint32_t said = (uint32_t)number(header + HEADER_CHECKSUM, 4);
    if (size < HEADER_LEAST || size > source->block_size || number(header + HEADER_BLOCK, 8) != block) {
        return false;
    }
    memcpy(header + HEADER_CHECKSUM, zero, sizeof(zero));
    return checksum(header, (size_t)size) == said;
}

/* The table that a sound header names; its length in bytes, 0 if it isn't sound. */
static size_t read_table(const struct gpt_source *source, const uint8_t *header, uint8_t *table)
{
    const uint64_t place = number(header + HEADER_ENTRIES, 8);
    const uint64_t entry = number(header + HEADER_ENTRY_SIZE, 4);
    const uint64_t length = number(header + HEADER_COUNT, 4) * entry;
    const uint64_t whole = align_up(length, source->block_size);
    if (entry < ENTRY_LEAST || entry % 8 != 0 || length == 0 || length > TABLE_MOST || place >= blocks(source) ||
        whole / source->block_size > blocks(source) - place ||
        !source->read(source->context, sector_of(source, place), table, (uint32_t)whole)) {
        return 0;
    }
    return checksum(table, (size_t)length) == number(header + HEADER_ENTRIES_CHECKSUM, 4) ? (size_t)length : 0;
}

static void copy_name(const uint8_t *units, char *name)
{
    for (unsigned n = 0; n < DISK_PARTITION_NAME_MAX; n++) {
        const uint64_t unit = number(units + 2 * (size_t)n, 2);
        if (unit == 0) {
            return;
        }
        name[n] = unit >= ' ' && unit <= '~' ? (char)unit : '?';
    }
}

/* False: the entry is empty, or not of this disk. */
static bool read_entry(const struct gpt_source *source, const uint8_t *entry, struct disk_partition *partition)
{
    static const uint8_t unused[TYPE_SIZE];
    const uint64_t first = number(entry + ENTRY_FIRST, 8);
    const uint64_t last = number(entry + ENTRY_LAST, 8);
    if (memcmp(entry, unused, TYPE_SIZE) == 0 || first > last || last >= blocks(source)) {
        return false;
    }
    *partition = (struct disk_partition){
        .first = sector_of(source, first),
        .sectors = sector_of(source, last - first + 1),
    };
    copy_name(entry + ENTRY_NAME, partition->name);
    return partition->name[0] != '\0';
}

static uint32_t read_partitions(const struct gpt_source *source, uint64_t block, uint8_t *room,
                                struct disk_partition *partitions)
{
    uint8_t *table = room + PAGE_SIZE;
    uint32_t count = 0;
    const size_t length = read_header(source, block, room) ? read_table(source, room, table) : 0;
    const size_t step = (size_t)number(room + HEADER_ENTRY_SIZE, 4);
    for (size_t at = 0; at < length && count < DISK_PARTITIONS_MAX; at += step) {
        count += read_entry(source, table + at, &partitions[count]) ? 1 : 0;
    }
    return count;
}

struct disk_partition *gpt_read(const struct gpt_source *source, uint32_t *count)
{
    enum { ROOM = PAGE_SIZE + TABLE_MOST };
    const size_t size = DISK_PARTITIONS_MAX * sizeof(struct disk_partition);
    uint8_t *room = memory_alloc(ROOM);
    struct disk_partition *partitions = memory_alloc(size);
    *count = 0;
    if (room != NULL && partitions != NULL && blocks(source) > 2 && is_protected(source, room)) {
        *count = read_partitions(source, 1, room, partitions);
        if (*count == 0) {
            *count = read_partitions(source, blocks(source) - 1, room, partitions);
        }
    }
    if (room != NULL) {
        memory_free(room, ROOM);
    }
    if (*count == 0 && partitions != NULL) {
        memory_free(partitions, size);
        partitions = NULL;
    }
    return partitions;
}
