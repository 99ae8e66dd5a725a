/* SPDX-License-Identifier: MIT
 *
 * What every unit test may use: a panic that can be expected.
 */
#ifndef UNIT_SUPPORT_H
#define UNIT_SUPPORT_H

#include <setjmp.h>

#include "lib/base.h"

/* While not NULL, panic_at jumps here with 1 instead of aborting; it is cleared by the jump. */
extern jmp_buf *panic_expected;
/* The last panic's text. */
extern char panic_text[256];

/* True if the statement panics. Variables that it changes must be volatile to be looked at afterwards. */
#define PANICS(statement)                                                                                              \
    ({                                                                                                                 \
        jmp_buf panics_jump;                                                                                           \
        volatile bool panics_result = true;                                                                            \
        if (setjmp(panics_jump) == 0) {                                                                                \
            panic_expected = &panics_jump;                                                                             \
            statement;                                                                                                 \
            panics_result = false;                                                                                     \
            panic_expected = NULL;                                                                                     \
        }                                                                                                              \
        panics_result;                                                                                                 \
    })

/* A small repeatable generator for tests (xorshift); the seed must not be 0. */
static inline uint64_t test_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* 0 … bound − 1 */
static inline uint32_t test_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(test_random(state) % bound);
}

#endif
