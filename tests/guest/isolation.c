/* SPDX-License-Identifier: MIT
 *
 * What a capsule can reach that isn't its own: nothing. Every try must end in a fault of the right kind, in the
 * capsule. Includes what a fresh vCPU finds in its registers.
 */
#include "isolation.h"
#include "registers.h"

bool is_outside(unsigned long address)
{
    return !in_ram(address) && !in_device(address);
}

size_t outside(unsigned long *addresses, size_t most)
{
    unsigned long base = (unsigned long)machine.ram_base, end = base + (unsigned long)machine.ram_size;
    const unsigned long fixed[] = {
        base - 8,
        base - PAGE,
        base - 0x200000,
        base - 0x1000000,
        end,
        end + 8,
        end + PAGE - 8,
        end + PAGE,
        end + 0x200000,
        end + 0x1000000, /* the neighbours, or the hypervisor at the top of RAM */
        0x0,
        0x8,
        0x1000,
        0x1ff8,
        0x100ff8,
        0x110000,
        0x02000000,
        0x02004000,
        0x0200bff8,
        0x0200fff8,
        0x02010000,
        0x03000000,
        0x0e000000,
        0x10001000,
        0x10008000,
        0x10100000,
        0x20000000,
        0x22000000,
        0x24000000,
        0x30000000,
        0x40000000,
        0x7ffffff8,
        0x80000000,
        0x80000ff8,
        0x80100000,
        0x801ffff8, /* the machine's own devices, and RAM's start */
    };
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(fixed) && count < most; i++) {
        if (is_outside(fixed[i])) {
            addresses[count++] = fixed[i];
        }
    }
    for (unsigned bit = 30; bit < XLEN && count < most; bit++) { /* aliases of own RAM */
        if (is_outside(base ^ 1ul << bit)) {
            addresses[count++] = base ^ 1ul << bit;
        }
    }
    static const unsigned long odd[] = {0ul - 8, 0ul - PAGE, 1ul << (XLEN - 1), ~0ul >> 1 & ~7ul};
    for (size_t i = 0; i < COUNT_OF(odd) && count < most; i++) {
        if (is_outside(odd[i])) { /* on RV32 the top bit alone is where RAM is */
            addresses[count++] = odd[i];
        }
    }
    if (argument("foreign", 0) != 0 && count < most) {
        addresses[count++] = argument("foreign", 0);
    }
    return count;
}

static void entry_float(void)
{
    static uint64_t f[32];
    if (!field_works(STATUS_FS)) {
        skip("entry: f0 to f31", "no F or D");
        return;
    }
    fp_store(f);
    for (unsigned i = 0; i < 32; i++) {
        case_check(f[i] == 0, "f%u 0x%llx", i, (unsigned long long)f[i]);
    }
    case_check(csr_read(0x003) == 0, "fcsr 0x%lx", csr_read(0x003));
    cases_end("entry: f0 to f31 and fcsr are zero");
}

static void entry_vector(void)
{
    static unsigned char v[VECTOR_BYTES_MAX];
    if (!field_works(STATUS_VS)) {
        skip("entry: v0 to v31", "no V");
        return;
    }
    unsigned long state[5];
    vector_state(state);
    if (state[0] * 32 > sizeof(v)) {
        skip("entry: v0 to v31", "registers too long");
        return;
    }
    vector_store(v);
    for (size_t i = 0; i < state[0] * 32; i++) {
        case_check(v[i] == 0, "v%u byte %u: 0x%x", (unsigned)(i / state[0]), (unsigned)(i % state[0]), v[i]);
    }
    case_check(state[1] == 0 && state[3] == 0 && state[4] == 0, "vl 0x%lx, vstart 0x%lx, vcsr 0x%lx", state[1],
               state[3], state[4]);
    case_check(state[2] == 0 || state[2] == 1ul << (XLEN - 1), "vtype 0x%lx", state[2]);
    cases_end("entry: v0 to v31, vl, vstart and vcsr are zero");
}

void isolation_entry(void)
{
    static const char *const csrs[] = {"satp",  "stvec", "sscratch", "sepc",    "scause",
                                       "stval", "sie",   "sip",      "sstatus", "scounteren"};
    const struct hart *hart = this_hart();
    same("entry: a0 is the hart id", hart->entry_x[10], hart->id);
    same("entry: a1 is the tree", hart->entry_x[11], machine.tree);
    check(machine.tree % 8 == 0 && in_ram(machine.tree) && in_ram(machine.tree + machine.tree_size - 1),
          "entry: the tree is aligned and in RAM");
    if (!on_diosix) {
        skip("entry: registers are zero", "another implementation differs here");
        return;
    }
    for (unsigned i = 1; i < 32; i++) {
        case_check(hart->entry_x[i] == 0 || i == 10 || i == 11, "x%u 0x%lx", i, hart->entry_x[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(csrs); i++) {
        unsigned long value = hart->entry_csr[i];
        if (i == 8) {
            value &= ~(3ul << 32 % XLEN); /* UXL */
        }
        case_check(value == (i == 9 ? 2 : 0), "%s 0x%lx", csrs[i], value); /* user mode may read the time */
    }
    cases_end("entry: registers are zero but a0 and a1");
    entry_float();
    entry_vector();
}

const struct subtest subtests[] = {
    {"entry", isolation_entry, false}, /* first: before anything uses the registers */
    {"zero", isolation_zero, false},   /* before anything uses RAM beyond the image */
    {"loads", isolation_loads, false},
    {"stores", isolation_stores, false},
    {"fetches", isolation_fetches, false},
    {"edges", isolation_edges, false},
    {"scan", isolation_scan, false},
    {"tables", isolation_tables, false},
    {"walks", isolation_table_walks, false},
    {"csrs", isolation_csrs, false},
    {"csrs-user", isolation_csrs_user, false},
    {"instructions", isolation_instructions, false},
    {"user", isolation_user, false},
    {"wfi", isolation_wfi, false},
    {"float", isolation_float, false},
    {"hypervisor", isolation_hypervisor, false},
    {"modes", isolation_modes, false},
    {"rights", isolation_rights, false},
    {"update", isolation_update, false},
    {"high-bits", isolation_high_bits, false},
    {"interrupts", isolation_interrupts, false},
    {"counters", isolation_counters, false},
    {"units", isolation_units, false},
    {"ram", isolation_ram, false},
    {"residue", isolation_residue, true},
};
const size_t subtest_count = COUNT_OF(subtests);
