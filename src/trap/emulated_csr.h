/* SPDX-License-Identifier: MIT
 *
 * The CSRs that are emulated when a guest's access to them traps: the clock, on harts that cannot read
 * it, and cycle and instret. Pure.
 */
#ifndef TRAP_EMULATED_CSR_H
#define TRAP_EMULATED_CSR_H

#include "trap/decode.h"

/* Whether a decoded instruction is a CSR access that may be emulated: one of our CSRs, and no write to it (all of
 * them are read-only). If not, or if the guest's own counter-enable bits deny it, reflect an illegal instruction. */
bool emulated_csr_allowed(const struct instruction *insn, unsigned xlen);

/* The bit of scounteren that lets user mode read an emulated CSR; 0 for any other CSR. */
unsigned emulated_csr_enable(uint16_t csr);

/* The value that a read gives at the time now, in ticks as the guest counts them; false if the CSR is not emulated. */
bool emulated_csr_read(uint16_t csr, unsigned xlen, uint64_t now, unsigned long *value);

#endif
