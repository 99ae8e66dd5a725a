/* SPDX-License-Identifier: MIT
 *
 * What belongs to a vCPU: its interrupt registers, its counters, its floating-point and vector units, all of its RAM.
 * And a guest that leaves as much behind as it can, for the next one to find.
 */
#include "isolation.h"
#include "paging.h"
#include "registers.h"

/* --- sie and sip --- */

static bool timer_becomes(bool want)
{
    uint64_t end = now() + milliseconds(1000);
    while (is_pending(TIMER) != want && now() < end) {
    }
    return is_pending(TIMER) == want;
}

/* In VS-mode QEMU takes bits 2, 6 and 10, as hypervisors number them, for those below. */
static bool took(unsigned long now, unsigned bit, unsigned long all)
{
    return now == (1ul << bit & all) || (bit % 4 == 2 && bit <= 10 && now == (1ul << (bit - 1) & all));
}

void isolation_interrupts(void)
{
    const unsigned long three = BIT(SOFT) | BIT(TIMER) | BIT(EXTERNAL);
    csr_clear(sstatus, STATUS_SIE);
    csr_write(sie, ~0ul);
    same("interrupts: sie has three bits", csr_read(sie), three);
    for (unsigned bit = 0; bit < XLEN; bit++) {
        csr_write(sie, 1ul << bit);
        case_check(took(csr_read(sie), bit, three), "sie, bit %u: 0x%lx", bit, csr_read(sie));
        csr_write(sip, 1ul << bit);
        case_check(took(csr_read(sip), bit, BIT(SOFT)), "sip, bit %u: 0x%lx", bit, csr_read(sip));
        case_check(!is_pending(TIMER) && !is_pending(EXTERNAL), "sip, bit %u: something is pending", bit);
    }
    csr_write(sie, 0);
    csr_write(sip, 0);
    cases_end("interrupts: each bit of sie is its own, of sip only the software interrupt can be written");
    csr_set(sip, ~0ul);
    case_check((csr_read(sip) & BIT(SOFT)) != 0, "csrs: 0x%lx", csr_read(sip));
    csr_clear(sip, ~0ul);
    case_check(csr_read(sip) == 0, "csrc: 0x%lx", csr_read(sip));
    sbi_set_timer(0);
    case_check(timer_becomes(true), "no timer interrupt");
    csr_write(sip, 0);
    csr_clear(sip, ~0ul);
    case_check(is_pending(TIMER), "writing sip cleared the timer interrupt");
    sbi_set_timer(~0ull);
    case_check(timer_becomes(false), "the timer interrupt stays");
    cases_end("interrupts: a timer interrupt is cleared by its timer only");
}

/* --- cycle, time, instret --- */

static uint32_t csr_instruction(unsigned csr, unsigned function, unsigned source)
{
    return csr << 20 | source << 15 | function << 12 | 10 << 7 | 0x73; /* rd = a0 */
}

void isolation_counters(void)
{
    if (!on_diosix) {
        skip("counters", "another implementation differs here");
        return;
    }
    for (unsigned long open = 0; open < 8; open++) {
        csr_write(scounteren, open | ~7ul);
        for (unsigned csr = 0xc00; csr < 0xc20; csr++) {
            for (unsigned high = 0; high < (XLEN == 32 ? 0x100 : 1); high += 0x80) {
                bool may = csr < 0xc03 && (open >> (csr - 0xc00) & 1) != 0;
                uint32_t read[] = {csr_instruction(csr + high, 2, 0), CODE_ECALL};
                uint32_t write[] = {csr_instruction(csr + high, 1, 11), CODE_ECALL};
                unsigned long cause = run_user(read, 2, 0, 0).cause;
                case_check(cause == (may ? ECALL_U : ILLEGAL), "scounteren 0x%lx, user reads 0x%x: cause %lu", open,
                           csr + high, cause);
                cause = run_user(write, 2, 0, 0).cause;
                case_check(cause == ILLEGAL, "scounteren 0x%lx, user writes 0x%x: cause %lu", open, csr + high, cause);
                read[1] = CODE_RET;
                case_check(run_code(read, 2, 0, 0).trapped == (csr >= 0xc03), "supervisor reads 0x%x", csr + high);
            }
        }
    }
    csr_write(scounteren, 0);
    cases_end("counters: user mode reads what scounteren opens, a supervisor all three");
    for (unsigned csr = 0xc00; csr < 0xc03; csr++) {
        uint32_t read[] = {csr_instruction(csr, 2, 0), CODE_RET};
        unsigned long before = run_code(read, 2, 0, 0).result;
        spin(milliseconds(2));
        unsigned long step = run_code(read, 2, 0, 0).result - before;
        case_check(step > 0 && step < ~0ul / 2, "CSR 0x%x went on by %ld", csr, (long)step);
    }
    cases_end("counters: they go on");
}

/* --- the units --- */

struct unit_row {
    const char *name;
    unsigned long field;
    uint32_t bits;
};

/* Each needs its unit; a0 is an address. */
static const struct unit_row unit_rows[] = {
    {"csrr fcsr", STATUS_FS, 0x00302573},   {"csrr frm", STATUS_FS, 0x00202573},
    {"csrr fflags", STATUS_FS, 0x00102573}, {"csrw fcsr", STATUS_FS, 0x00301073},
    {"flw", STATUS_FS, 0x00052507},         {"fld", STATUS_FS, 0x00053507},
    {"fsw", STATUS_FS, 0x00a52027},         {"fmv.x.w", STATUS_FS, 0xe0050553},
    {"fmv.w.x", STATUS_FS, 0xf0000553},     {"csrr vl", STATUS_VS, 0xc2002573},
    {"csrr vtype", STATUS_VS, 0xc2102573},  {"csrr vlenb", STATUS_VS, 0xc2202573},
    {"csrr vstart", STATUS_VS, 0x00802573}, {"csrr vcsr", STATUS_VS, 0x00f02573},
    {"vsetivli", STATUS_VS, 0xc000f557},    {"vle8.v", STATUS_VS, 0x02050007},
};

static void units_of(unsigned long field)
{
    static unsigned long area[64] __attribute__((aligned(64)));
    for (unsigned value = FIELD_OFF; value <= FIELD_DIRTY; value += FIELD_DIRTY) {
        for (size_t i = 0; i < COUNT_OF(unit_rows); i++) {
            const struct unit_row *row = &unit_rows[i];
            if (row->field != field) {
                continue;
            }
            uint32_t code[] = {0xc000f057, row->bits, CODE_RET}; /* vsetivli zero, 1, e8, m1 */
            bool vector = field == STATUS_VS;
            status_field(field, FIELD_DIRTY);
            if (vector) {
                run_code(code, 3, (uintptr_t)area, 0); /* so that the next one has a type */
            }
            status_field(field, value);
            struct trap trap = run_code(code + 1, 2, (uintptr_t)area, 0);
            case_check(value == FIELD_OFF ? trap.trapped && trap.cause == ILLEGAL : !trap.trapped,
                       "%s, field %u: trapped %d, cause %lu", row->name, value, trap.trapped, trap.cause);
            code[2] = CODE_ECALL;
            trap = run_user(code + 1, 2, (uintptr_t)area, 0);
            case_check(trap.cause == (value == FIELD_OFF ? ILLEGAL : ECALL_U), "%s, field %u, user: cause %lu",
                       row->name, value, trap.cause);
        }
    }
}

static void becomes_dirty(const char *name, unsigned long field, const uint32_t *code, size_t count)
{
    for (unsigned value = FIELD_INITIAL; value <= FIELD_CLEAN; value++) {
        status_field(field, value);
        struct trap trap = run_code(code, count, 0, 0);
        unsigned long status = csr_read(sstatus);
        case_check(!trap.trapped && (status & field) == field && status >> (XLEN - 1) != 0,
                   "%s, field %u: cause %lu, sstatus 0x%lx", name, value, trap.cause, status);
    }
}

void isolation_units(void)
{
    static const uint32_t fmv[] = {0xf0000553, CODE_RET}, fcsr[] = {0x00301073, CODE_RET};
    static const uint32_t vset[] = {0xc000f557, CODE_RET};
    if (field_works(STATUS_FS)) {
        units_of(STATUS_FS);
        becomes_dirty("fmv.w.x", STATUS_FS, fmv, 2);
        becomes_dirty("csrw fcsr", STATUS_FS, fcsr, 2);
    }
    if (field_works(STATUS_VS)) {
        units_of(STATUS_VS);
        becomes_dirty("vsetivli", STATUS_VS, vset, 2);
    }
    csr_clear(sstatus, STATUS_FS | STATUS_VS);
    cases_end("units: off, their instructions are illegal; used, they are dirty");
}

/* --- RAM --- */

extern char _start[], __end[]; /* of the image: guest.ld */

static unsigned long mark(unsigned long address, unsigned long salt)
{
    return (address + salt) * 0x9e3779b1ul ^ address >> 7;
}

/* Bytes of an aligned word, and an instruction, that lie on both sides of a boundary. */
static void across(unsigned long boundary)
{
    static const uint32_t code[] = {0x00150513, CODE_RET}; /* addi a0, a0, 1 */
    unsigned char *bytes = (unsigned char *)(uintptr_t)(boundary - 2);
    memcpy(bytes, code, sizeof(code));
    fence_i();
    struct trap trap = catch_trap((catchable)(uintptr_t)(boundary - 2), 41, 0, 0);
    case_check(!trap.trapped && trap.result == 42, "code across 0x%lx: cause %lu, %lu", boundary, trap.cause,
               trap.result);
    trap = try_store(boundary - 2, 4, 0x12345678);
    struct trap back = try_load(boundary - 2, 4);
    bool misaligned = trap.trapped && (trap.cause == LOAD_MISALIGNED || trap.cause == STORE_MISALIGNED);
    case_check(misaligned || (!trap.trapped && !back.trapped && (back.result & 0xffffffff) == 0x12345678),
               "word across 0x%lx: cause %lu, then %lu, 0x%lx", boundary, trap.cause, back.cause, back.result);
}

/* Every page is there once. bootargs: rounds=N; salt=N, to tell capsules apart. */
void isolation_ram(void)
{
    unsigned long from = ((uintptr_t)__end + 2 * PAGE) & ~(PAGE - 1), salt = argument("salt", 0);
    unsigned long to = machine.tree & ~(PAGE - 1);
    if (machine.ram_base + machine.ram_size - 1 > ~0ul || to <= from) {
        skip("ram", "RAM beyond a word's reach, or its tree is elsewhere");
        return;
    }
    for (unsigned long round = 0; round < argument("rounds", 1); round++) {
        for (unsigned long at = from; at < to; at += PAGE) {
            *(volatile unsigned long *)(uintptr_t)at = mark(at, salt + round);
            *(volatile unsigned long *)(uintptr_t)(at + PAGE - sizeof(long)) = ~mark(at, salt + round);
        }
        for (unsigned long at = from; at < to; at += PAGE) {
            unsigned long first = *(volatile unsigned long *)(uintptr_t)at;
            unsigned long last = *(volatile unsigned long *)(uintptr_t)(at + PAGE - sizeof(long));
            case_check(first == mark(at, salt + round) && last == ~mark(at, salt + round), "page 0x%lx: 0x%lx, 0x%lx",
                       at, first, last);
        }
    }
    cases_end("ram: every page keeps what was written to it");
    const unsigned long large = XLEN == 32 ? 0x400000 : 0x200000;
    for (unsigned long at = (from + large) & ~(large - 1); at > from && at < to - 16; at += large) {
        across(at);
    }
    across(from + 2 * PAGE);
    cases_end("ram: accesses across pages, large ones too");
}

/* --- left behind by others, or for the next one to find --- */

static bool within_words_reach(void)
{
    return machine.ram_base + machine.ram_size - 1 <= ~0ul;
}

static void all_zero(const char *where, unsigned long from, unsigned long to)
{
    unsigned long bad = 0, first = 0;
    for (unsigned long at = from; at < to; at += sizeof(long)) {
        if (*(volatile unsigned long *)(uintptr_t)at != 0 && bad++ == 0) {
            first = at;
        }
    }
    case_check(bad == 0, "%s, 0x%lx to 0x%lx: %lu words are not 0, the first at 0x%lx", where, from, to, bad, first);
}

/* Of a first start or a later one: RAM has the image, the tree, and nothing else. */
void isolation_zero(void)
{
    unsigned long tree_end = (machine.tree + machine.tree_size + sizeof(long) - 1) & ~(sizeof(long) - 1);
    if (!on_diosix || !within_words_reach() || machine.tree < (uintptr_t)__end) {
        skip("zero: RAM is empty", "another implementation differs here, or RAM is beyond a word's reach");
        return;
    }
    all_zero("before the image", (unsigned long)machine.ram_base, (uintptr_t)_start);
    all_zero("behind the image", (uintptr_t)__end, machine.tree);
    all_zero("behind the tree", tree_end,
             (unsigned long)(machine.ram_base + machine.ram_size - 1) & ~(sizeof(long) - 1));
    cases_end("zero: RAM has the image, the tree, and nothing else");
}

/* All that isn't needed to get to the end of isolation_residue. */
static void soil_ram(void)
{
    unsigned long end = (unsigned long)(machine.ram_base + machine.ram_size - 1);
    for (unsigned long at = (uintptr_t)__end; within_words_reach() && at < end; at += sizeof(long)) {
        *(volatile unsigned long *)(uintptr_t)at = 0x5a5a5a5aul;
    }
}

static unsigned long write_csr(unsigned long csr, unsigned long value, unsigned long unused)
{
    uint32_t code[] = {csr_instruction((unsigned)csr, 1, 11), CODE_RET};
    (void)unused;
    run_code(code, 2, 0, value);
    return 0;
}

/* bootargs then=reboot: begins anew; then=off: stops; else goes on for ever. What trap_vector needs goes last. */
void isolation_residue(void)
{
    static uint64_t f[32];
    static unsigned char v[VECTOR_BYTES_MAX];
    const char *then = argument_text("then");
    bool reboot = then != NULL && has_word(then, "reboot"), off = then != NULL && has_word(then, "off");
    soil_ram(); /* the tree too */
    memset(f, 0x5a, sizeof(f));
    memset(v, 0x5a, sizeof(v));
    if (field_works(STATUS_FS)) {
        fp_load(f);
        csr_write(0x003, 0xff);
    }
    if (field_works(STATUS_VS)) {
        vector_load(v);
        vector_set(5);
        csr_write(0x00f, 7);
    }
    static const unsigned short csrs[] = {0x106, 0x10a, 0x141, 0x142, 0x143, 0x150, 0x5a8, 0x181, 0x017};
    for (size_t i = 0; i < COUNT_OF(csrs); i++) {
        write_csr(csrs[i], ~0ul, 0);
    }
    tables_reset();
    unsigned long *root = table_new_root();
    table_map(root, TEST_VA, (uintptr_t)f & ~(PAGE - 1), 0, PTE_RWX | PTE_G);
    paging_on(root, 7);
    sbi_set_timer(0);
    csr_set(sie, ~0ul);
    csr_set(sip, ~0ul);
    csr_set(sstatus, STATUS_SUM | STATUS_MXR | STATUS_SPIE | STATUS_SPP);
    csr_write(sscratch, ~0ul);
    csr_write(stvec, ~0ul);
    csr_write(sepc, ~0ul);
    csr_write(scause, ~0ul);
    csr_write(stval, ~0ul);
    if (reboot || off) {
        sbi(SBI_EXT_SRST, 0, reboot ? SBI_SRST_COLD_REBOOT : SBI_SRST_SHUTDOWN, SBI_SRST_REASON_NONE, 0);
    }
    for (;;) {
    }
}
