/* SPDX-License-Identifier: MIT
 *
 * Page tables as a way out: leaves that name foreign memory, and tables that lie in it. Translation must not lend a
 * capsule anybody's rights.
 */
#include "isolation.h"
#include "paging.h"

static unsigned long addresses[128];

static size_t targets(void)
{
    if (on_diosix) {
        return outside(addresses, COUNT_OF(addresses));
    }
    addresses[0] = 0x80000000;
    return 1;
}

static void faults(unsigned long va, unsigned long pa, const char *what)
{
    static const struct {
        const char *name;
        unsigned long cause, page_cause;
    } kinds[] = {
        {"load", LOAD_ACCESS, LOAD_PAGE}, {"store", STORE_ACCESS, STORE_PAGE}, {"fetch", FETCH_ACCESS, FETCH_PAGE}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct trap trap = i == 0 ? try_load(va, 4) : i == 1 ? try_store(va, 4, ~0ul) : try_fetch(va);
        case_check(trap.trapped && trap.cause == kinds[i].cause && trap.value == va,
                   "%s, %s, physical 0x%lx: %s, cause %lu, stval 0x%lx", what, kinds[i].name, pa,
                   trap.trapped ? "trapped" : "NO TRAP", trap.cause, trap.value);
    }
}

/* Whether a page-table entry can hold the address at all: 56 bits (Sv32: 34, of which a long has 32). */
static bool fits(unsigned long pa)
{
    return XLEN == 32 || pa >> (XLEN - 8) == 0;
}

/* Leaves of every size that name foreign memory. */
void isolation_tables(void)
{
    size_t count = targets();
    unsigned levels = XLEN == 32 ? 2 : 3;
    for (size_t i = 0; i < count; i++) {
        for (unsigned level = 0; level < levels; level++) {
            unsigned long size = PAGE << level * (XLEN == 32 ? 10 : 9);
            unsigned long va = TEST_VA + addresses[i] % size;
            if (!fits(addresses[i])) {
                continue;
            }
            tables_reset();
            unsigned long *root = table_new_root();
            table_map(root, TEST_VA, addresses[i] & ~(size - 1), level, PTE_RWX);
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
