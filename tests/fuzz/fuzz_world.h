/* SPDX-License-Identifier: MIT
 *
 * What the fuzzers of virtio share: a capsule whose RAM lies in three places of the host, each with red zones around
 * it, and a reader of the fuzzer's bytes.
 */
#ifndef FUZZ_WORLD_H
#define FUZZ_WORLD_H

#include <stdlib.h>
#include <string.h>

#include "core/capsule.h"

#define RAM_BASE UINT64_C(0x80000000)
enum { PIECES = 3, PIECE_SIZE = 4096, RAM_SIZE = PIECES * PIECE_SIZE };

static struct capsule world;

static inline void world_make(void)
{
    memset(&world, 0, sizeof(world));
    world.ram = (struct range){RAM_BASE, RAM_SIZE};
    world.piece_count = PIECES;
    for (unsigned n = 0; n < PIECES; n++) {
        void *host = aligned_alloc(PAGE_SIZE, PIECE_SIZE);
        assert(host != NULL);
        memset(host, 0, PIECE_SIZE);
        world.pieces[n] = (struct ram_piece){(uint64_t)n * PIECE_SIZE, PIECE_SIZE, {(uintptr_t)host}};
    }
}

static inline void world_free(void)
{
    for (unsigned n = 0; n < PIECES; n++) {
        free(hpa_pointer(world.pieces[n].host));
    }
}

/* The guest's own stores: what doesn't lie in RAM goes nowhere. */
static inline void store(uint64_t offset, uint64_t value, unsigned width)
{
    for (unsigned n = 0; n < width; n++) {
        uint8_t *place = capsule_ram(&world, (gpa_t){RAM_BASE + offset + n}, 1);
        if (place != NULL) {
            *place = (uint8_t)(value >> (8 * n));
        }
    }
}

/* The fuzzer's bytes; zeros after their end. */
struct input {
    const uint8_t *bytes;
    size_t left;
};

static inline uint64_t take(struct input *input, unsigned width)
{
    uint64_t value = 0;
    for (unsigned n = 0; n < width && input->left > 0; n++, input->left--) {
        value |= (uint64_t)*input->bytes++ << (8 * n);
    }
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#endif
