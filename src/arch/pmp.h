/* SPDX-License-Identifier: MIT
 *
 * PMP registers as plain data: what isolation plans and what arch loads. (Privileged specification, 3.7.)
 */
#ifndef ARCH_PMP_H
#define ARCH_PMP_H

#include "lib/base.h"

enum { PMP_ENTRIES_MAX = 64 };

/* Bits of one configuration byte */
enum pmp_config {
    PMP_R = 0x01,
    PMP_W = 0x02,
    PMP_X = 0x04,
    PMP_RWX = 0x07,
    PMP_A_MASK = 0x18,
    PMP_OFF = 0x00,
    PMP_TOR = 0x08,
    PMP_NA4 = 0x10,
    PMP_NAPOT = 0x18,
    PMP_LOCKED = 0x80,
};

/* What a hart's PMP can do, as probed on it. */
struct pmp_features {
    uint32_t entries;     /* implemented: 0, 8, 16, 64 … */
    uint32_t granule_log; /* log2 of the granule in bytes: 2 … 63 */
    bool napot_only;      /* TOR is not implemented */
};

/* The registers' contents, lowest entry first; entries at and above count are off with address 0. */
struct pmp_image {
    uint32_t count;
    uint8_t config[PMP_ENTRIES_MAX];
    unsigned long address[PMP_ENTRIES_MAX]; /* as written to pmpaddr: bits 55:2 (RV32: 33:2) of the address */
};

#endif
