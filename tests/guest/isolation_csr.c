/* SPDX-License-Identifier: MIT
 *
 * All 4096 control and status registers, read and written, from supervisor and from user mode. Only those of a
 * supervisor may answer.
 */
#include "isolation.h"

enum { CSRS = 4096 };

struct csr_row {
    unsigned short first, last;
    bool must; /* it has to be there; else it may be */
    bool keep; /* not to be written here: the test guest lives by it, or it acts */
    bool none; /* nothing of it is the guest's: it reads 0 whatever was written */
};

static const struct csr_row supervisor_csrs[] = {
    {0x001, 0x003, false, false, false}, /* fflags, frm, fcsr */
    {0x008, 0x00a, false, false, false}, /* vstart, vxsat, vxrm */
    {0x00f, 0x00f, false, false, false}, /* vcsr */
    {0x100, 0x100, true, true, false},   /* sstatus */
    {0x104, 0x104, true, true, false},   /* sie */
    {0x105, 0x105, true, true, false},   /* stvec */
    {0x106, 0x106, true, false, false},  /* scounteren */
    {0x10a, 0x10a, false, false, false}, /* senvcfg */
    {0x120, 0x120, false, false, true},  /* scountinhibit, by mcounteren */
    {0x140, 0x140, true, true, false},   /* sscratch */
    {0x141, 0x143, true, false, false},  /* sepc, scause, stval */
    {0x144, 0x144, true, true, false},   /* sip */
    {0x14d, 0x14d, false, true, false},  /* stimecmp */
    {0x15d, 0x15d, false, true, false},  /* stimecmph */
    {0x180, 0x180, true, true, false},   /* satp */
    {0xc00, 0xc00, false, false, false}, /* cycle */
    {0xc01, 0xc01, true, false, false},  /* time */
    {0xc02, 0xc02, false, false, false}, /* instret */
    {0xc20, 0xc22, false, false, false}, /* vl, vtype, vlenb */
    {0xc80, 0xc82, false, false, false}, /* their high halves, on RV32 */
    {0xda0, 0xda0, false, false, true},  /* scountovf, by mcounteren */
};

static const struct csr_row *row_of(unsigned csr)
{
    for (size_t i = 0; i < COUNT_OF(supervisor_csrs); i++) {
        if (csr >= supervisor_csrs[i].first && csr <= supervisor_csrs[i].last) {
            return &supervisor_csrs[i];
        }
    }
    return NULL;
}

/* csrrw (1), csrrs (2), csrrc (3) and the immediate forms (5 to 7), rd = a0 */
static uint32_t encode(unsigned csr, unsigned function, unsigned source)
{
    return csr << 20 | source << 15 | function << 12 | 10 << 7 | 0x73;
}

static void refused(uint32_t instruction, unsigned long value, const char *what, unsigned csr)
{
    uint32_t code[] = {instruction, CODE_RET};
    struct trap trap = run_code(code, COUNT_OF(code), value, value);
    case_check(trap.trapped && trap.cause == ILLEGAL && (trap.value == 0 || trap.value == instruction),
               "%s of CSR 0x%x: %s, cause %lu, stval 0x%lx, result 0x%lx", what, csr,
               trap.trapped ? "trapped" : "NO TRAP", trap.cause, trap.value, trap.result);
}

static void read_one(unsigned csr)
{
    const struct csr_row *row = row_of(csr);
    uint32_t code[] = {encode(csr, 2, 0), CODE_RET};
    struct trap trap = run_code(code, COUNT_OF(code), 0, 0);
    if (!trap.trapped) {
        case_check(row != NULL, "CSR 0x%x can be read: 0x%lx", csr, trap.result);
        case_check(row == NULL || !row->none || trap.result == 0, "CSR 0x%x shows 0x%lx", csr, trap.result);
    } else {
        case_check(trap.cause == ILLEGAL, "read of CSR 0x%x: cause %lu", csr, trap.cause);
        case_check(row == NULL || !row->must, "CSR 0x%x cannot be read", csr);
        case_check(trap.value == 0 || trap.value == code[0], "read of CSR 0x%x: stval 0x%lx", csr, trap.value);
    }
}

/* All ways of writing, none of which may work. */
static void write_one(unsigned csr)
{
    for (unsigned function = 1; function < 8; function++) {
        if (function != 4) {
            refused(encode(csr, function, 11), ~0ul, "write", csr); /* a1, or the immediate 11 */
        }
    }
    refused(encode(csr, 1, 0), 0, "write of 0", csr);
}

/* Writes what may be written and puts it back: nothing worse than a fault may come of it. */
static void exercise(unsigned csr)
{
    static const unsigned long values[] = {0, ~0ul, 0x55555555, 0xaaaaaaaa};
    uint32_t read[] = {encode(csr, 2, 0), CODE_RET}, write[] = {encode(csr, 1, 11), CODE_RET};
    struct trap before = run_code(read, COUNT_OF(read), 0, 0);
    if (before.trapped) {
        return;
    }
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct trap trap = run_code(write, COUNT_OF(write), 0, values[i]);
        bool read_only = csr >> 10 == 3;
        case_check(trap.trapped == read_only && (!read_only || trap.cause == ILLEGAL),
                   "CSR 0x%x: write traps %d, cause %lu", csr, trap.trapped, trap.cause);
        trap = run_code(read, COUNT_OF(read), 0, 0);
        case_check(!row_of(csr)->none || trap.result == 0, "CSR 0x%x shows 0x%lx", csr, trap.result);
    }
    run_code(write, COUNT_OF(write), 0, before.result);
}

void isolation_csrs(void)
{
    if (!on_diosix) {
        skip("csrs: more", "another implementation lets more through");
        for (unsigned csr = 0x300; csr < 0x400; csr++) {
            refused(encode(csr, 2, 0), 0, "read", csr);
            write_one(csr);
        }
        cases_end("csrs: machine-mode ones are refused");
        return;
    }
    for (unsigned csr = 0; csr < CSRS; csr++) {
        read_one(csr);
    }
    cases_end("csrs: reads");
    for (unsigned csr = 0; csr < CSRS; csr++) {
        if (row_of(csr) == NULL) {
            write_one(csr);
        }
    }
    cases_end("csrs: writes of what isn't a supervisor's");
    for (size_t i = 0; i < COUNT_OF(supervisor_csrs); i++) {
        for (unsigned csr = supervisor_csrs[i].first; csr <= supervisor_csrs[i].last && !supervisor_csrs[i].keep;
             csr++) {
            exercise(csr);
        }
    }
    cases_end("csrs: a supervisor's own take any value");
    csr_write(scounteren, 0);
}

/* From user mode only counters that scounteren opens, and floating point and vector where they are on. */
void isolation_csrs_user(void)
{
    csr_write(scounteren, 0);
    csr_clear(sstatus, STATUS_FS | STATUS_VS);
    for (unsigned csr = 0; csr < CSRS; csr++) {
        uint32_t read[] = {encode(csr, 2, 0), CODE_ECALL}, write[] = {encode(csr, 1, 11), CODE_ECALL};
        struct trap trap = run_user(read, COUNT_OF(read), 0, 0);
        case_check((trap.trapped && trap.cause == ILLEGAL) || (!on_diosix && csr == 0xc01),
                   "user reads CSR 0x%x: cause %lu, 0x%lx", csr, trap.cause, trap.result);
        trap = run_user(write, COUNT_OF(write), 0, ~0ul);
        case_check(trap.trapped && trap.cause == ILLEGAL, "user writes CSR 0x%x: cause %lu", csr, trap.cause);
    }
    cases_end("csrs-user: nothing answers while scounteren is 0");
    csr_write(scounteren, 2);
    uint32_t read[] = {encode(0xc01, 2, 0), CODE_ECALL};
    struct trap trap = run_user(read, COUNT_OF(read), 0, 0);
    same("csrs-user: time, once scounteren opens it", trap.cause, ECALL_U);
    csr_write(scounteren, 0);
}
