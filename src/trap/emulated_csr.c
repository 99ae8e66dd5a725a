/* SPDX-License-Identifier: MIT
 *
 * The table of emulated CSRs. The real cycle and instret would show a capsule what others do on its hart; a kernel
 * that reads them must not fall over, so they count the clock's ticks instead.
 */
#include "trap/emulated_csr.h"

struct emulated_csr {
    uint16_t number;
    uint8_t enable; /* the bit of scounteren that opens it to user mode */
    bool only_32;   /* exists on RV32 alone */
    uint8_t shift;  /* of the 64-bit clock */
};

static const struct emulated_csr emulated_csrs[] = {
    {.number = 0xc00, .enable = 0},                               /* cycle */
    {.number = 0xc01, .enable = 1},                               /* time */
    {.number = 0xc02, .enable = 2},                               /* instret */
    {.number = 0xc80, .enable = 0, .only_32 = true, .shift = 32}, /* their high halves */
    {.number = 0xc81, .enable = 1, .only_32 = true, .shift = 32},
    {.number = 0xc82, .enable = 2, .only_32 = true, .shift = 32},
};

static const struct emulated_csr *find(uint16_t csr, unsigned xlen)
{
    for (size_t i = 0; i < ARRAY_LENGTH(emulated_csrs); i++) {
        if (emulated_csrs[i].number == csr && (xlen == 32 || !emulated_csrs[i].only_32)) {
            return &emulated_csrs[i];
        }
    }
    return NULL;
}

bool emulated_csr_allowed(const struct instruction *insn, unsigned xlen)
{
    return insn->kind == INSN_CSR && !insn->csr_writes && find(insn->csr, xlen) != NULL;
}

unsigned emulated_csr_enable(uint16_t csr)
{
    const struct emulated_csr *row = find(csr, 32);
    return row == NULL ? 0 : row->enable;
}

bool emulated_csr_read(uint16_t csr, unsigned xlen, uint64_t now, unsigned long *value)
{
    const struct emulated_csr *row = find(csr, xlen);
    if (row == NULL) {
        return false;
    }
    const uint64_t shifted = now >> row->shift;
    *value = (unsigned long)(xlen == 32 ? shifted & UINT32_MAX : shifted);
    return true;
}
