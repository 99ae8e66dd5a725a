/* SPDX-License-Identifier: MIT
 *
 * Plans PMP entries: from the ranges that a capsule may use to the address and configuration registers that admit
 * exactly those bytes and nothing else. Pure; arch loads the image. (Privileged specification, 3.7.)
 */
#ifndef ISOLATION_PMP_PLAN_H
#define ISOLATION_PMP_PLAN_H

#include "arch/pmp.h"
#include "core/refusal.h"
#include "lib/address.h"

struct pmp_rule {
    struct range range;
    uint8_t rights; /* PMP_R, PMP_W, PMP_X together; 0 denies */
};

/* Plans the rules in their order (the first that holds a byte decides), from entry 0 on, with the fewest entries:
 * one where the range is NAPOT, or where TOR can start where the last TOR ended (entry 0: at 0), else two for TOR.
 * Empty ranges take nothing. Refuses with DX_UNALIGNED an edge that is no multiple of the granule (edges are never
 * moved), with DX_NO_PMP more entries than limit or a range that the hart cannot express, with DX_BAD_VALUE a range
 * that wraps or lies beyond the physical address space, or rights that PMP reserves (write without read). Writes *image
 * only on DX_OK. limit ≤ features->entries. */
[[nodiscard]] enum dx_error pmp_plan(const struct pmp_features *features, const struct pmp_rule *rules, size_t count,
                                     uint32_t limit, struct pmp_image *image, struct refusal *refusal);

/* The rights that S- and U-mode have to the length bytes at address under this image: 0 if no entry matches, or the
 * first match holds only some of the bytes. The reference that tests and the debug build check plans against. */
uint8_t pmp_rights(const struct pmp_image *image, uint64_t address, uint64_t length);

#endif
