/* SPDX-License-Identifier: MIT
 *
 * What the tests of virtio share: a capsule whose RAM lies in three places of the host, with red zones around each, and
 * the driver's side of one queue, which writes whatever it likes.
 */
#ifndef UNIT_VIRTIO_WORLD_H
#define UNIT_VIRTIO_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device/virtqueue.h"
#include "support.h"

#define RAM_BASE UINT64_C(0x80000000)
#define RAM_SIZE UINT64_C(0x10000)
#define RAM_END  (RAM_BASE + RAM_SIZE)
/* Where the pieces meet: buffers across these are in two places of the host. */
#define EDGE_1 (RAM_BASE + 0x4000)
#define EDGE_2 (RAM_BASE + 0xa000)
/* The driver's rings: the table begins 16 bytes before an edge, so all of it that is used lies beyond, but for 0. */
#define TABLE     (EDGE_1 - 16)
#define AVAILABLE (RAM_BASE + 0x6000)
#define USED      (EDGE_2 - 8)
#define INDIRECT  (EDGE_2 - 0x1000 - 24) /* across nothing, not aligned to 16 */

enum { NEXT = 1, WRITE = 2, INDIRECTLY = 4 };

static struct capsule world;

static inline void world_make(void)
{
    static const uint64_t edges[] = {0, EDGE_1 - RAM_BASE, EDGE_2 - RAM_BASE, RAM_SIZE};
    memset(&world, 0, sizeof(world));
    world.ram = (struct range){RAM_BASE, RAM_SIZE};
    world.piece_count = 3;
    for (unsigned n = 0; n < 3; n++) {
        const uint64_t size = edges[n + 1] - edges[n];
        void *host = aligned_alloc(4096, (size_t)size);
        assert_non_null(host);
        memset(host, 0, (size_t)size);
        world.pieces[n] = (struct ram_piece){edges[n], size, {(uintptr_t)host}};
    }
}

static inline void world_free(void)
{
    for (unsigned n = 0; n < 3; n++) {
        free(hpa_pointer(world.pieces[n].host));
    }
}

/* The driver's own accesses, byte by byte. */
static inline uint8_t *ram(uint64_t address)
{
    uint8_t *place = capsule_ram(&world, (gpa_t){address}, 1);
    assert_non_null(place);
    return place;
}

static inline void put(uint64_t address, uint64_t value, unsigned width)
{
    for (unsigned n = 0; n < width; n++) {
        *ram(address + n) = (uint8_t)(value >> (8 * n));
    }
}

static inline uint64_t get(uint64_t address, unsigned width)
{
    uint64_t value = 0;
    for (unsigned n = 0; n < width; n++) {
        value |= (uint64_t)*ram(address + n) << (8 * n);
    }
    return value;
}

static inline void put_bytes(uint64_t address, const void *bytes, size_t length)
{
    for (size_t n = 0; n < length; n++) {
        *ram(address + n) = ((const uint8_t *)bytes)[n];
    }
}

/* Entry n of a table. */
static inline void describe_at(uint64_t table, unsigned n, uint64_t address, uint32_t length, unsigned flags,
                               unsigned next)
{
    put(table + 16 * n, address, 8);
    put(table + 16 * n + 8, length, 4);
    put(table + 16 * n + 12, flags, 2);
    put(table + 16 * n + 14, next, 2);
}

static inline void describe(unsigned n, uint64_t address, uint32_t length, unsigned flags, unsigned next)
{
    describe_at(TABLE, n, address, length, flags, next);
}

static inline uint16_t available_index(void)
{
    return (uint16_t)get(AVAILABLE + 2, 2);
}

/* Makes the chain at head available, in a queue of size entries. */
static inline void offer(unsigned size, unsigned head)
{
    put(AVAILABLE + 4 + 2 * (available_index() % size), head, 2);
    put(AVAILABLE + 2, (uint16_t)(available_index() + 1), 2);
}

static inline uint16_t used_index(void)
{
    return (uint16_t)get(USED + 2, 2);
}

static inline uint32_t used_head(unsigned size, unsigned index)
{
    return (uint32_t)get(USED + 4 + 8 * (index % size), 4);
}

static inline uint32_t used_length(unsigned size, unsigned index)
{
    return (uint32_t)get(USED + 4 + 8 * (index % size) + 4, 4);
}

#endif
