/* SPDX-License-Identifier: MIT
 *
 * Page tables for the test guests.
 */
#include "paging.h"

enum { TABLES = 3 * HARTS_MAX };

static unsigned long pool[TABLES][PAGE / sizeof(long)] __attribute__((aligned(4096)));
static size_t used;

#define ENTRIES    (PAGE / sizeof(long))
#define INDEX_BITS (XLEN == 32 ? 10u : 9u)
#define LEVELS     (XLEN == 32 ? 2u : 3u)

void tables_reset(void)
{
    used = 0;
}

unsigned long *table_new(void)
{
    if (used == TABLES) {
        check(false, "page tables used up");
        finish();
    }
    memset(pool[used], 0, PAGE);
    return pool[used++];
}

unsigned long table_pte(uint64_t pa, unsigned long flags)
{
    return (unsigned long)(pa >> 12) << 10 | flags;
}

unsigned long *table_new_root(void)
{
    unsigned long *root = table_new();
    unsigned shift = 12 + INDEX_BITS * (LEVELS - 1);
    size_t count = XLEN == 32 ? ENTRIES * 3 / 4 : ENTRIES / 2;
    for (size_t i = 0; i < count; i++) {
        root[i] = table_pte((uint64_t)i << shift, PTE_RWX);
    }
    return root;
}

unsigned long *table_entry(unsigned long *root, unsigned long va, unsigned level)
{
    unsigned long *table = root;
    for (unsigned at = LEVELS - 1;; at--) {
        unsigned long *entry = &table[va >> (12 + INDEX_BITS * at) & (ENTRIES - 1)];
        if (at == level) {
            return entry;
        }
        if ((*entry & (PTE_V | PTE_R | PTE_X)) != PTE_V) {
            *entry = table_pte((uintptr_t)table_new(), PTE_V);
        }
        table = (unsigned long *)(uintptr_t)(*entry >> 10 << 12);
    }
}

void table_map(unsigned long *root, unsigned long va, uint64_t pa, unsigned level, unsigned long flags)
{
    *table_entry(root, va, level) = table_pte(pa, flags);
    fence_vma();
}

unsigned long paging_satp(const unsigned long *root, unsigned long asid)
{
    unsigned long frame = (unsigned long)(uintptr_t)root >> 12;
    if (XLEN == 32) {
        return BIT(31) | asid << 22 | frame;
    }
    return 8ul << (XLEN - 4) | asid << (XLEN - 20) | frame;
}

void paging_on(unsigned long *root, unsigned long asid)
{
    fence_all();
    csr_write(satp, paging_satp(root, asid));
    fence_vma();
}

void paging_off(void)
{
    csr_write(satp, 0);
    fence_vma();
}
