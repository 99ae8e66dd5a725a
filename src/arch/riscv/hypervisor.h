/* SPDX-License-Identifier: MIT
 *
 * The H extension of this hart. Guests run in VS-mode and nothing ever runs in HS-mode: every trap and interrupt goes
 * either to VS-mode, by hardware, or to us. (Privileged specification, chapter 18.)
 */
#ifndef ARCH_RISCV_HYPERVISOR_H
#define ARCH_RISCV_HYPERVISOR_H

#include "arch/arch.h"

/* menvcfg and henvcfg, the same bits in both */
#define ENVCFG_CBIE_FLUSH (UINT64_C(1) << 4)
#define ENVCFG_CBCFE      (UINT64_C(1) << 6)
#define ENVCFG_CBZE       (UINT64_C(1) << 7)
#define ENVCFG_ADUE       (UINT64_C(1) << 61)
#define ENVCFG_PBMTE      (UINT64_C(1) << 62)
#define ENVCFG_STCE       (UINT64_C(1) << 63)

/* hart.c: what menvcfg and henvcfg are set to. */
uint64_t environment_bits(const struct hart_features *features);

/* Fills in what H has; the hart has it. menvcfg's bits are probed already, and those that henvcfg lacks are cleared. */
void hypervisor_probe(struct hart_features *features);
/* Sets every CSR of HS-mode to the hypervisor's policy. NULL, or the name of one that did not take it. */
const char *hypervisor_prepare(const struct hart_features *features);
void hypervisor_environment(const struct hart_features *features);
/* Where HS-mode's trap vector points: to memory that PMP always denies, so that whatever gets there traps to us. */
unsigned long hypervisor_tripwire(void);
/* Whether WFI in VS-mode comes to us, or sleeps. */
void hypervisor_trap_wfi(bool trap);

#endif
