/* SPDX-License-Identifier: MIT
 *
 * Instructions that are not a supervisor's, or not any: each must come back as an illegal instruction, to the guest.
 */
#include "isolation.h"
#include "registers.h"

struct row {
    const char *name;
    uint32_t bits;
};

static const struct row illegal[] = {
    {"mret", 0x30200073},
    {"dret", 0x7b200073},
    {"mnret", 0x70200073},
    {"uret", 0x00200073},
    {"custom-0", 0x0000000b},
    {"custom-0 with registers", 0x00b5050b},
    {"custom-1", 0x0000002b},
    {"custom-2", 0x0000005b},
    {"custom-3", 0x0000007b},
    {"all zeroes", 0x00000000},
    {"all ones", 0xffffffff},
    {"c.unimp, then a good one", 0x80820000},
    {"reserved compressed (quadrant 0, 100)", 0x80829000}, /* 0x8000 is Zcb's */
    {"c.addi4spn of 0", 0x80820004},
    {"c.lwsp to x0", 0x80824002},
    {"48 bits", 0x0000001f},
    {"64 bits", 0x0000003f},
    {"80 bits", 0x0000007f},
    {"system, function 4", 0x00004073},
    {"hlv.b", 0x60054573},
    {"hlv.w", 0x68054573},
    {"hlv.d", 0x6c054573},
    {"hlvx.hu", 0x64354573},
    {"hsv.b", 0x62b54073},
    {"hsv.w", 0x6ab54073},
    {"hfence.gvma", 0x62000073},
    {"hfence.vvma", 0x22000073},
    {"hinval.gvma", 0x66000073},
    {"hinval.vvma", 0x26000073},
    {"sctrclr", 0x10400073},
    {"amo of a reserved width", 0x00b5552f},
    {"op-32 reserved", 0x0000703b},
    {"branch reserved", 0x00002063},
    {"store reserved", 0x00b57023},
};

/* Lawful for a supervisor, refused in user mode. */
static const struct row supervisor_only[] = {
    {"sret", 0x10200073}, {"wfi", 0x10500073},        {"sfence.vma", 0x12000073},  {"sfence.vma a0, a1", 0x12b50073},
    {"mret", 0x30200073}, {"sinval.vma", 0x16000073}, {"hfence.gvma", 0x62000073}, {"dret", 0x7b200073},
};

static bool is_illegal(struct trap trap, uint32_t bits)
{
    unsigned long first = (bits & 3) == 3 ? bits : bits & 0xffff;
    bool returns = bits == 0x30200073 || bits == 0x10200073; /* QEMU 10 leaves an older instruction in stval */
    return trap.trapped && trap.cause == ILLEGAL &&
           (returns || trap.value == 0 || trap.value == first || trap.value == bits);
}

void isolation_instructions(void)
{
    for (size_t i = 0; i < COUNT_OF(illegal); i++) {
        uint32_t code[] = {illegal[i].bits, CODE_RET, CODE_RET};
        struct trap trap = run_code(code, COUNT_OF(code), machine.ram_base & ~0ul, 0);
        case_check(is_illegal(trap, illegal[i].bits), "%s: %s, cause %lu, stval 0x%lx", illegal[i].name,
                   trap.trapped ? "trapped" : "NO TRAP", trap.cause, trap.value);
    }
    cases_end("instructions: illegal ones");
    static const struct row harmless[] = {
        {"fence.tso", 0x8330000f},  {"pause", 0x0100000f},  {"fence, reserved fields", 0xff0f8f8f},
        {"prefetch.r", 0x00156013}, {"ntl.p1", 0x00200033}, {"fence.i", 0x0000100f},
        {"sfence.vma", 0x12000073},
    };
    for (size_t i = 0; i < COUNT_OF(harmless); i++) {
        uint32_t code[] = {harmless[i].bits, CODE_RET};
        struct trap trap = run_code(code, COUNT_OF(code), 0, 0);
        case_check(!trap.trapped, "%s: cause %lu", harmless[i].name, trap.cause);
    }
    cases_end("instructions: hints and fences go through");
    static const struct row optional[] = {
        {"wrs.nto", 0x00d00073},   {"wrs.sto", 0x01d00073},   {"cbo.clean", 0x0015200f},
        {"cbo.flush", 0x0025200f}, {"cbo.inval", 0x0005200f}, {"sinval.vma", 0x16000073},
    };
    static unsigned long block[64] __attribute__((aligned(256)));
    for (size_t i = 0; i < COUNT_OF(optional); i++) {
        uint32_t code[] = {optional[i].bits, CODE_RET};
        struct trap trap = run_code(code, COUNT_OF(code), (uintptr_t)block, 0);
        case_check(!trap.trapped || trap.cause == ILLEGAL, "%s: cause %lu", optional[i].name, trap.cause);
    }
    cases_end("instructions: optional ones work or are illegal");
    static const uint32_t ebreak[] = {0x00100073, CODE_RET}, c_ebreak[] = {0x80829002, CODE_RET};
    same("instructions: ebreak", run_code(ebreak, 2, 0, 0).cause, BREAKPOINT);
    same("instructions: c.ebreak", run_code(c_ebreak, 2, 0, 0).cause, BREAKPOINT);
}

void isolation_user(void)
{
    for (size_t i = 0; i < COUNT_OF(supervisor_only); i++) {
        uint32_t code[] = {supervisor_only[i].bits, CODE_ECALL};
        struct trap trap = run_user(code, COUNT_OF(code), 0, 0);
        case_check(is_illegal(trap, supervisor_only[i].bits), "%s: cause %lu, stval 0x%lx", supervisor_only[i].name,
                   trap.cause, trap.value);
    }
    cases_end("user: a supervisor's instructions are illegal");
    static const struct row waits[] = {{"wrs.nto", 0x00d00073}, {"wrs.sto", 0x01d00073}, {"pause", 0x0100000f}};
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        uint32_t code[] = {waits[i].bits, CODE_ECALL};
        unsigned long cause = run_user(code, COUNT_OF(code), 0, 0).cause;
        bool may = i == 2 || isa_names("zawrs");
        case_check(may ? cause == ECALL_U : cause == ECALL_U || cause == ILLEGAL, "%s: cause %lu", waits[i].name,
                   cause);
    }
    cases_end("user: waits that it may make");
    unsigned long targets[128];
    size_t count = on_diosix ? outside(targets, COUNT_OF(targets)) : 0;
    for (size_t i = 0; i < count; i++) {
        static const uint32_t load[] = {0x00052503, CODE_ECALL}, store[] = {0x00b52023, CODE_ECALL}; /* lw, sw */
        struct trap trap = run_user(load, 2, targets[i], 0);
        case_check(trap.cause == LOAD_ACCESS && trap.value == targets[i], "load at 0x%lx: cause %lu", targets[i],
                   trap.cause);
        trap = run_user(store, 2, targets[i], 0);
        case_check(trap.cause == STORE_ACCESS && trap.value == targets[i], "store at 0x%lx: cause %lu", targets[i],
                   trap.cause);
    }
    cases_end("user: outside RAM faults");
    static const uint32_t breakpoint[] = {0x00100073, CODE_ECALL};
    same("user: ebreak comes to the guest", run_user(breakpoint, 2, 0, 0).cause, BREAKPOINT);
}

void isolation_wfi(void)
{
    csr_clear(sstatus, STATUS_SIE);
    csr_write(sie, BIT(SOFT));
    csr_set(sip, BIT(SOFT));
    for (unsigned long i = 0; i < 10000; i++) {
        wait_for_interrupt();
    }
    check(true, "wfi: returns while an interrupt is pending and SIE is off");
    csr_write(sie, BIT(SOFT) | BIT(TIMER));
    csr_clear(sip, BIT(SOFT));
    unsigned long rounds = argument("count", 1000);
    for (unsigned long i = 0; i < rounds; i++) {
        sbi_set_timer(now() + i % 200);
        while (!is_pending(TIMER)) {
            wait_for_interrupt();
        }
    }
    check(true, "wfi: %lu times until the timer", rounds);
    sbi_set_timer(~0ull);
    csr_write(sie, 0);
}

/* The unit is the guest's to turn off: then its instructions are illegal, and its registers keep their values. */
void isolation_float(void)
{
    static uint64_t in[32], out[32];
    static const uint32_t fmv[] = {0xe0050553, CODE_RET}; /* fmv.x.w a0, fa0 */
    if (!field_works(STATUS_FS)) {
        skip("float", "no F or D");
        return;
    }
    for (size_t i = 0; i < 32; i++) {
        in[i] = 0x4000000000000000ull + i;
    }
    fp_load(in);
    same("float: the field says Dirty after a load", csr_read(sstatus) & STATUS_FS, STATUS_FS);
    status_field(STATUS_FS, FIELD_OFF);
    struct trap trap = run_code(fmv, COUNT_OF(fmv), 0, 0);
    check(trap.trapped && trap.cause == ILLEGAL, "float: illegal while Off: cause %lu", trap.cause);
    for (unsigned field = FIELD_INITIAL; field <= FIELD_DIRTY; field++) {
        status_field(STATUS_FS, FIELD_OFF);
        sbi(SBI_EXT_BASE, 0, 0, 0, 0);
        spin(milliseconds(2));
        status_field(STATUS_FS, field);
        same("float: the field keeps what the guest wrote", csr_read(sstatus) & STATUS_FS, field * BIT(13));
        fp_store(out);
        check(memcmp(in, out, sizeof(in)) == 0, "float: registers are kept, field %u", field);
    }
}
