/* SPDX-License-Identifier: MIT
 *
 * A set of harts, by their indices. Each half is atomic by itself: readers see a hart in or out, at worst of two sets.
 */
#ifndef CORE_HART_SET_H
#define CORE_HART_SET_H

#include <stdatomic.h>

#include "lib/base.h"

enum { HART_SET_WORD = 32, HART_SET_WORDS = 2 };

struct hart_set {
    atomic_uint words[HART_SET_WORDS];
};

static inline bool hart_set_has(const struct hart_set *set, uint32_t index)
{
    unsigned word = atomic_load_explicit(&set->words[index / HART_SET_WORD], memory_order_relaxed);
    return (word >> index % HART_SET_WORD & 1) != 0;
}

/* As plain bits, to compute with. */
static inline uint64_t hart_set_bits(const struct hart_set *set)
{
    return (uint64_t)atomic_load(&set->words[1]) << HART_SET_WORD | atomic_load(&set->words[0]);
}

static inline void hart_set_store(struct hart_set *set, uint64_t bits)
{
    atomic_store(&set->words[0], (unsigned)bits);
    atomic_store(&set->words[1], (unsigned)(bits >> HART_SET_WORD));
}

static inline void hart_set_add(struct hart_set *set, uint32_t index)
{
    atomic_fetch_or(&set->words[index / HART_SET_WORD], 1U << index % HART_SET_WORD);
}

#endif
