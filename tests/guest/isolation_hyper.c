/* SPDX-License-Identifier: MIT
 *
 * The instructions of the H extension, which no capsule has: illegal ones, in supervisor and in user mode, that do
 * nothing else. And satp's modes: those that the tree names work, reserved ones are not taken.
 */
#include "isolation.h"
#include "paging.h"

struct row {
    const char *name;
    uint32_t bits;
    bool wide; /* RV64 only; not an instruction at all on RV32, which is illegal just the same */
};

/* rd = a0, rs1 = a0, rs2 = a1 where they have them */
static const struct row hypervisor_rows[] = {
    {"hlv.b", 0x60054573, false},
    {"hlv.bu", 0x60154573, false},
    {"hlv.h", 0x64054573, false},
    {"hlv.hu", 0x64154573, false},
    {"hlvx.hu", 0x64354573, false},
    {"hlv.w", 0x68054573, false},
    {"hlvx.wu", 0x68354573, false},
    {"hlv.wu", 0x68154573, true},
    {"hlv.d", 0x6c054573, true},
    {"hsv.b", 0x62b54073, false},
    {"hsv.h", 0x66b54073, false},
    {"hsv.w", 0x6ab54073, false},
    {"hsv.d", 0x6eb54073, true},
    {"hfence.vvma", 0x22000073, false},
    {"hfence.vvma a0, a1", 0x22b50073, false},
    {"hfence.gvma", 0x62000073, false},
    {"hfence.gvma a0, a1", 0x62b50073, false},
    {"hinval.vvma", 0x26000073, false},
    {"hinval.vvma a0, a1", 0x26b50073, false},
    {"hinval.gvma", 0x66000073, false},
    {"hinval.gvma a0, a1", 0x66b50073, false},
};

/* A supervisor's with Svinval. */
static const struct row invalidations[] = {
    {"sinval.vma", 0x16000073, false},
    {"sinval.vma a0, a1", 0x16b50073, false},
    {"sfence.w.inval", 0x18000073, false},
    {"sfence.inval.ir", 0x18100073, false},
};

static unsigned long canary[8] __attribute__((aligned(64)));
#define CANARY 0x5ca1ab1eul

static void is_refused(const struct row *row, bool user, unsigned long address)
{
    uint32_t code[] = {row->bits, user ? CODE_ECALL : CODE_RET};
    canary[0] = CANARY;
    struct trap trap = user ? run_user(code, 2, address, ~0ul) : run_code(code, 2, address, ~0ul);
    case_check(trap.trapped && trap.cause == ILLEGAL && (trap.value == 0 || trap.value == row->bits),
               "%s, %s, 0x%lx: %s, cause %lu, stval 0x%lx", row->name, user ? "user" : "supervisor", address,
               trap.trapped ? "trapped" : "NO TRAP", trap.cause, trap.value);
    case_check(trap.result == address && canary[0] == CANARY, "%s, 0x%lx: a0 0x%lx, memory 0x%lx", row->name, address,
               trap.result, canary[0]);
}

void isolation_hypervisor(void)
{
    const unsigned long addresses[] = {(uintptr_t)canary, 0, (unsigned long)machine.ram_base - PAGE,
                                       argument("foreign", 0x02000000)};
    for (size_t i = 0; i < COUNT_OF(hypervisor_rows); i++) {
        for (size_t j = 0; j < COUNT_OF(addresses); j++) {
            is_refused(&hypervisor_rows[i], false, addresses[j]);
            is_refused(&hypervisor_rows[i], true, addresses[j]);
        }
    }
    cases_end("hypervisor: its instructions are illegal and do nothing");
    for (size_t i = 0; i < COUNT_OF(invalidations); i++) {
        uint32_t code[] = {invalidations[i].bits, CODE_RET};
        struct trap trap = run_code(code, 2, (uintptr_t)canary, 0);
        bool offered = isa_names("svinval");
        case_check(offered ? !trap.trapped : !trap.trapped || trap.cause == ILLEGAL, "%s: trapped %d, cause %lu",
                   invalidations[i].name, trap.trapped, trap.cause);
        if (invalidations[i].bits >> 20 != 0x180 &&
            invalidations[i].bits >> 20 != 0x181) { /* QEMU lets these through */
            is_refused(&invalidations[i], true, (uintptr_t)canary);
        }
    }
    cases_end("hypervisor: Svinval's work if the tree names it, for a supervisor only");
}

/* --- satp --- */

/* The identity map with more levels on top of it: the one for three levels is the first entry of each. */
static unsigned long deeper(const unsigned long *root, unsigned levels)
{
    unsigned long frame = (unsigned long)(uintptr_t)root >> 12;
    for (unsigned n = 3; n < levels; n++) {
        unsigned long *table = table_new();
        table[0] = frame << 10 | PTE_V;
        frame = (unsigned long)(uintptr_t)table >> 12;
    }
    return frame;
}

static bool mode_named(unsigned mode)
{
    static const char *const from[] = {"riscv,sv39", "riscv,sv48", "riscv,sv57"};
    for (unsigned n = mode - 8; n < COUNT_OF(from); n++) {
        if (text_equal(machine.mmu, from[n])) {
            return true;
        }
    }
    return false;
}

static void mode_64(unsigned mode)
{
    bool known = mode >= 8 && mode <= 10;
    tables_reset();
    unsigned long *root = table_new_root();
    unsigned long value = (unsigned long)mode << (XLEN - 4) | deeper(root, known ? mode - 5 : 3);
    unsigned long marker = CANARY;
    table_map(root, 0x3000000000ul & ~0ul, (uintptr_t)&canary & ~(PAGE - 1), 0, PTE_RW); /* beyond RAM, within Sv39 */
    canary[0] = marker;
    fence_all();
    csr_write(satp, value);
    unsigned long took = csr_read(satp);
    if (took != 0) {
        fence_vma();
        struct trap trap = try_load((0x3000000000ul & ~0ul) + (uintptr_t)&canary % PAGE, 4);
        paging_off();
        case_check(known && took == value, "mode %u: satp is 0x%lx", mode, took);
        case_check(!trap.trapped && (trap.result & 0xffffffff) == marker, "mode %u: cause %lu, 0x%lx", mode, trap.cause,
                   trap.result);
    }
    case_check(mode == 0 || took != 0 || !known || !mode_named(mode), "mode %u is named but not taken", mode);
}

void isolation_modes(void)
{
    if (XLEN == 32) {
        csr_write(satp, 0x7ffffffful); /* bare: whether the other fields stay is the hart's affair */
        struct trap trap = try_load((uintptr_t)&canary, 4);
        csr_write(satp, 0);
        check(!trap.trapped, "modes: bare with other fields set: cause %lu", trap.cause);
        return;
    }
    for (unsigned mode = 1; mode < 16; mode++) {
        mode_64(mode);
    }
    cases_end("modes: satp takes those that exist, and translates by them");
}
