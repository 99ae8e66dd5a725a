/* SPDX-License-Identifier: MIT
 *
 * The table of emulated CSRs.
 */
#include "trap/emulated_csr.h"

struct emulated_csr {
    uint16_t number;
    bool only_32;  /* exists on RV32 alone */
    uint8_t shift; /* of the 64-bit clock */
};

static const struct emulated_csr emulated_csrs[] = {
    {.number = 0xc01},                               /* time */
    {.number = 0xc81, .only_32 = true, .shift = 32}, /* timeh */
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
