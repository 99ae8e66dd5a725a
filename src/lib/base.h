/* SPDX-License-Identifier: MIT
 *
 * What every file may use: fixed-width types, the word size as a constant, small macros, and the three kinds of
 * failure that never mix (DX results, assertions, outcomes).
 */
#ifndef LIB_BASE_H
#define LIB_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diosix/errors.h"

#define static_assert _Static_assert

enum { XLEN = (int)sizeof(long) * 8 }; /* the hart's word size in bits; choose with a plain if */

#define ARRAY_LENGTH(array)                 (sizeof(array) / sizeof((array)[0]))
#define BIT(n)                              (1UL << (n))
#define MIN(a, b)                           ((a) < (b) ? (a) : (b))
#define MAX(a, b)                           ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define CONTAINER_OF_CONST(pointer, type, member)                                                                      \
    ((const type *)(const void *)((const char *)(pointer)-offsetof(type, member)))

enum {
    PAGE_SIZE = 4096,
    KIB = 1024,
    MIB = 1024 * 1024,
};

/* What a guest's action leads to. A guest's mistake is always one of these, never a panic. */
enum outcome {
    OUTCOME_RESUME,  /* return to the guest at its pc as it now is */
    OUTCOME_SKIP,    /* step over the trapping instruction, then resume */
    OUTCOME_REFLECT, /* deliver the trap to the guest's own handler */
    OUTCOME_YIELD,   /* pc is set; let the scheduler choose again */
    OUTCOME_STOP,    /* the vCPU or its capsule is being stopped; do not resume */
};

/* An assertion holds in every build: if it fails, the hypervisor itself is wrong and the machine halts. */
_Noreturn void panic_at(const char *file, int line, const char *pattern, ...) __attribute__((format(printf, 3, 4)));
#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)
#define assert(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            panic("assertion failed: %s", #condition);                                                                 \
        }                                                                                                              \
    } while (0)

#endif
