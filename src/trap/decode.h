/* SPDX-License-Identifier: MIT
 *
 * The instruction decoder: loads, stores and CSR accesses, compressed forms included, for both word sizes. Pure.
 * What it doesn't know it says so; it never guesses.
 */
#ifndef TRAP_DECODE_H
#define TRAP_DECODE_H

#include "lib/base.h"

enum instruction_kind {
    INSN_UNKNOWN,
    INSN_LOAD,     /* integer load */
    INSN_STORE,    /* integer store */
    INSN_FP_LOAD,  /* flw, fld and compressed forms */
    INSN_FP_STORE, /* fsw, fsd and compressed forms */
    INSN_CSR,      /* csrrw, csrrs, csrrc and immediate forms */
    INSN_WFI,
    INSN_WRS_NTO, /* Zawrs: wait on a reservation, with no time-out */
};

enum csr_operation { CSR_WRITE, CSR_SET, CSR_CLEAR };

struct instruction {
    enum instruction_kind kind;
    uint8_t length;   /* bytes: 2 or 4 */
    uint8_t width;    /* loads and stores: bytes moved, 1 … 8 */
    bool sign_extend; /* loads */
    uint8_t rd;       /* destination register (loads, CSR) */
    uint8_t rs1;      /* base register; CSR: source register or immediate */
    uint8_t rs2;      /* source register of stores */
    int32_t offset;   /* added to the base */
    uint16_t csr;     /* CSR number */
    enum csr_operation csr_operation;
    bool csr_immediate; /* rs1 is a 5-bit immediate */
    bool csr_writes;    /* false for csrrs/csrrc with rs1 = x0 or immediate 0 */
};

/* Decodes the instruction whose low half-word is in bits 15:0 (32-bit forms: whole). xlen is 32 or 64. Covers I, C and
 * Zcb loads and stores, F and D loads and stores, Zicsr and wfi. Atomics, vector, cbo.* and everything else are
 * INSN_UNKNOWN with the right length (2 or 4). */
struct instruction decode(uint32_t bits, unsigned xlen);

/* The value that a load puts in rd, from the width bytes it read (zero-extended in raw). */
unsigned long load_extend(const struct instruction *insn, uint64_t raw);

#endif
