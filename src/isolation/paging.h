/* SPDX-License-Identifier: MIT
 *
 * What page-table entries of a guest's own tables and of stage 2 have in common. (Privileged
 * specification, 4.3.1, 4.4.1, 18.5.1.)
 */
#ifndef ISOLATION_PAGING_H
#define ISOLATION_PAGING_H

#include "lib/base.h"

enum { PAGE_BITS = 12, ENTRY_PPN_SHIFT = 10 };

enum page_entry {
    ENTRY_V = 1 << 0,
    ENTRY_R = 1 << 1,
    ENTRY_W = 1 << 2,
    ENTRY_X = 1 << 3,
    ENTRY_U = 1 << 4,
    ENTRY_A = 1 << 6,
    ENTRY_D = 1 << 7,
};

/* count < 64 */
static inline uint64_t low_bits(unsigned count)
{
    return (UINT64_C(1) << count) - 1;
}

#endif
