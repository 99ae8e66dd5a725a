/* SPDX-License-Identifier: MIT
 *
 * Page tables as a way out: leaves that name foreign memory, and tables that lie in it. Translation must not lend a
 * capsule anybody's rights.
 */
#include "isolation.h"
#include "paging.h"

enum { FIRST_ODD_BIT = 32, PHYSICAL_BITS = XLEN == 32 ? 34 : 56 };

static uint64_t addresses[192];

/* QEMU 7.2 drops bits 32 and 33 of Sv32's physical addresses. That can't be mended from below, and does no harm: what
 * is left is what PMP and stage 2 judge. bootargs sv32=short: this was to be expected. */
static bool drops_high_bits(void)
{
    static bool known, drops;
    const char *expected = argument_text("sv32");
    if (XLEN == 64 || known) {
        return drops;
    }
    tables_reset();
    unsigned long *root = table_new_root();
    table_map(root, TEST_VA, machine.ram_base | 1ull << 32, 0, PTE_RWX);
    paging_on(root, 0);
    drops = !try_load(TEST_VA, 4).trapped;
    paging_off();
    known = true;
    if (drops) {
        note("bits 32 and 33 of physical addresses are dropped");
        check(expected != NULL && has_word(expected, "short"), "tables: bootargs say that high bits are dropped");
    }
    return drops;
}

/* RAM and devices with bits set that a page-table entry can hold but nothing has: none may be ignored. */
static size_t aliases(size_t count)
{
    for (unsigned bit = FIRST_ODD_BIT; bit < PHYSICAL_BITS; bit += XLEN == 32 ? 1 : 3) {
        const uint64_t places[] = {machine.ram_base, machine.ram_base + machine.ram_size - 8, machine.devices[0].base,
                                   find_device("ns16550a") == NULL ? 0 : find_device("ns16550a")->base};
        for (size_t i = 0; i < COUNT_OF(places) && count < COUNT_OF(addresses); i++) {
            uint64_t alias = places[i] ^ 1ull << bit;
            if (!in_ram(alias) && !in_device(alias)) {
                addresses[count++] = alias;
            }
        }
    }
    return count;
}

static size_t targets(void)
{
    static unsigned long words[128];
    addresses[0] = 0x80000000;
    if (!on_diosix) {
        return 1;
    }
    size_t count = outside(words, COUNT_OF(words));
    for (size_t i = 0; i < count; i++) {
        addresses[i] = words[i];
    }
    return drops_high_bits() ? count : aliases(count);
}

static void faults(unsigned long va, uint64_t pa, const char *what)
{
    static const struct {
        const char *name;
        unsigned long cause, page_cause;
    } kinds[] = {
        {"load", LOAD_ACCESS, LOAD_PAGE}, {"store", STORE_ACCESS, STORE_PAGE}, {"fetch", FETCH_ACCESS, FETCH_PAGE}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct trap trap = i == 0 ? try_load(va, 4) : i == 1 ? try_store(va, 4, ~0ul) : try_fetch(va);
        case_check(trap.trapped && trap.cause == kinds[i].cause && trap.value == va,
                   "%s, %s, physical 0x%llx: %s, cause %lu, stval 0x%lx", what, kinds[i].name, (unsigned long long)pa,
                   trap.trapped ? "trapped" : "NO TRAP", trap.cause, trap.value);
    }
}

/* Whether a page-table entry can hold the address at all. */
static bool fits(uint64_t pa)
{
    return pa >> PHYSICAL_BITS == 0;
}

/* Leaves of every size that name foreign memory. */
void isolation_tables(void)
{
    size_t count = targets();
    unsigned levels = XLEN == 32 ? 2 : 3;
    for (size_t i = 0; i < count; i++) {
        for (unsigned level = 0; level < levels; level++) {
            unsigned long size = PAGE << level * (XLEN == 32 ? 10 : 9);
            unsigned long va = TEST_VA + (unsigned long)addresses[i] % size;
            if (!fits(addresses[i])) {
                continue;
            }
            tables_reset();
            unsigned long *root = table_new_root();
            table_map(root, TEST_VA, addresses[i] & ~(uint64_t)(size - 1), level, PTE_RWX);
            paging_on(root, 0);
            faults(va & ~3ul, addresses[i], level == 0 ? "page" : level == 1 ? "large page" : "largest page");
            paging_off();
        }
    }
    cases_end("tables: pages that name foreign memory fault as the access that was made");
}

/* Tables that lie in foreign memory: the walk itself must fault, and nothing of what lies there may show. */
void isolation_table_walks(void)
{
    size_t count = targets();
    unsigned top = XLEN == 32 ? 1 : 2;
    for (size_t i = 0; i < count; i++) {
        for (unsigned level = 1; level <= top; level++) {
            if (!fits(addresses[i])) {
                continue;
            }
            tables_reset();
            unsigned long *root = table_new_root();
            *table_entry(root, TEST_VA, level) = table_pte(addresses[i], PTE_V);
            paging_on(root, 0);
            faults(TEST_VA, addresses[i], level == 1 ? "last table" : "second table");
            faults(TEST_VA + 8 * PAGE, addresses[i], level == 1 ? "last table, entry 8" : "second table");
            paging_off();
        }
    }
    cases_end("walks: tables in foreign memory fault as the access that was made");
    /* The instruction that the hypervisor reads for itself must not come from there either: code in a page whose table
     * is foreign was tried by the fetches above. A device page without execute right: */
    tables_reset();
    unsigned long *root = table_new_root();
    static unsigned long own[PAGE / sizeof(long)] __attribute__((aligned(4096)));
    own[0] = 0x1234;
    table_map(root, TEST_VA, (uintptr_t)own, 0, PTE_V | PTE_R | PTE_A | PTE_D);
    paging_on(root, 0);
    struct trap load = try_load(TEST_VA, 4), store = try_store(TEST_VA, 4, 1), fetch = try_fetch(TEST_VA);
    paging_off();
    check(!load.trapped && load.result == 0x1234, "walks: own page, readable: loads");
    check(store.trapped && store.cause == STORE_PAGE && store.value == TEST_VA,
          "walks: own page, readable: store faults, %lu", store.cause);
    check(fetch.trapped && fetch.cause == FETCH_PAGE && fetch.value == TEST_VA,
          "walks: own page, readable: fetch faults, %lu", fetch.cause);
    same("walks: and is unchanged", own[0], 0x1234);
}
