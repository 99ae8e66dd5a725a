/* SPDX-License-Identifier: MIT
 *
 * GUID partition tables as tests want them: sound, unless they are damaged afterwards. The checksum here is another one
 * than that which is tested: by a table.
 */
#ifndef UNIT_GPT_TABLE_H
#define UNIT_GPT_TABLE_H

#include <stdint.h>
#include <string.h>

enum { ENTRIES = 128, ENTRY = 128 };

static inline uint32_t crc(const uint8_t *bytes, size_t length)
{
    static uint32_t table[256];
    uint32_t value = UINT32_MAX;
    for (uint32_t n = 0; table[1] == 0 || n < 256; n++) {
        uint32_t c = n % 256;
        for (unsigned k = 0; k < 8; k++) {
            c = (c & 1) != 0 ? UINT32_C(0xedb88320) ^ (c >> 1) : c >> 1;
        }
        table[n % 256] = c;
    }
    for (size_t n = 0; n < length; n++) {
        value = table[(value ^ bytes[n]) & 255] ^ (value >> 8);
    }
    return ~value;
}

static inline void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n++) {
        at[n] = (uint8_t)(value >> (8 * n));
    }
}

/* The first block's, for those who know no GPT. */
static inline void gpt_protect(uint8_t *disk)
{
    disk[446 + 4] = 0xee;
    put(disk + 510, 0xaa55, 2);
}

/* Of the header and the table at these blocks. */
static inline void gpt_seal(uint8_t *disk, uint32_t block_size, uint64_t at, uint64_t table)
{
    uint8_t *header = disk + at * block_size;
    put(header + 88, crc(disk + table * block_size, ENTRIES * ENTRY), 4);
    put(header + 16, 0, 4);
    put(header + 16, crc(header, 92), 4);
}

/* A header at a block, for a table at another one, which is there already. */
static inline void gpt_header(uint8_t *disk, uint32_t block_size, uint64_t at, uint64_t table)
{
    uint8_t *header = disk + at * block_size;
    memset(header, 0, block_size);
    memcpy(header, "EFI PART", 8);
    put(header + 8, 0x10000, 4);
    put(header + 12, 92, 4);
    put(header + 24, at, 8);
    put(header + 72, table, 8);
    put(header + 80, ENTRIES, 4);
    put(header + 84, ENTRY, 4);
    gpt_seal(disk, block_size, at, table);
}

/* An entry of a table: blocks first to last, by a name of one letter. */
static inline void gpt_entry(uint8_t *entry, uint64_t first, uint64_t last, char name)
{
    entry[3] = 1;
    put(entry + 32, first, 8);
    put(entry + 40, last, 8);
    entry[56] = (uint8_t)name;
}

#endif
