/* SPDX-License-Identifier: MIT
 *
 * The PMP registers of this hart.
 */
#ifndef ARCH_RISCV_PMP_H
#define ARCH_RISCV_PMP_H

#include "arch/pmp.h"

/* Counts the entries and finds the granule. Leaves all unlocked entries off. True if one is locked. */
bool pmp_probe(struct pmp_features *features);

#endif
