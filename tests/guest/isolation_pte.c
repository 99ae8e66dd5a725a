/* SPDX-License-Identifier: MIT
 *
 * The bits of a guest's own page-table entries: rights, who sets A and D, and those that mean something only with
 * extensions that the tree must name.
 */
#include "isolation.h"
#include "paging.h"

static unsigned long page[PAGE / sizeof(long)] __attribute__((aligned(4096)));

enum access { LOAD, STORE, FETCH };

static struct trap attempt(enum access access)
{
    return access == LOAD ? try_load(TEST_VA, 4) : access == STORE ? try_store(TEST_VA + 8, 4, 1) : try_fetch(TEST_VA);
}

static unsigned long page_fault(enum access access)
{
    return access == LOAD ? LOAD_PAGE : access == STORE ? STORE_PAGE : FETCH_PAGE;
}

/* With the entry for TEST_VA at that level set to bits. Returns what became of the access, and the entry afterwards. */
static struct trap with_entry(unsigned level, unsigned long bits, unsigned long status, enum access access,
                              unsigned long *after)
{
    tables_reset();
    page[0] = CODE_RET;
    fence_i();
    unsigned long *root = table_new_root();
    *table_entry(root, TEST_VA, level) = bits;
    csr_set(sstatus, status);
    paging_on(root, 0);
    struct trap trap = attempt(access);
    paging_off();
    csr_clear(sstatus, STATUS_SUM | STATUS_MXR);
    *after = *table_entry(root, TEST_VA, level);
    return trap;
}

static void faults(struct trap trap, enum access access, const char *name, unsigned long bits)
{
    unsigned long va = access == STORE ? TEST_VA + 8 : TEST_VA;
    case_check(trap.trapped && trap.cause == page_fault(access) && trap.value == va,
               "%s, entry 0x%lx: %s, cause %lu, stval 0x%lx", name, bits, trap.trapped ? "trapped" : "NO TRAP",
               trap.cause, trap.value);
}

/* --- rights --- */

void isolation_rights(void)
{
    static const struct {
        const char *name;
        unsigned long flags, status;
        bool may[3]; /* load, store, fetch */
    } rows[] = {
        {"all", PTE_RWX, 0, {true, true, true}},
        {"read", PTE_V | PTE_R | PTE_A | PTE_D, 0, {true, false, false}},
        {"read, write", PTE_RW, 0, {true, true, false}},
        {"execute", PTE_V | PTE_X | PTE_A | PTE_D, 0, {false, false, true}},
        {"execute, MXR", PTE_V | PTE_X | PTE_A | PTE_D, STATUS_MXR, {true, false, true}},
        {"read, execute", PTE_V | PTE_R | PTE_X | PTE_A | PTE_D, 0, {true, false, true}},
        {"write, no read", PTE_V | PTE_W | PTE_A | PTE_D, 0, {false, false, false}},
        {"write, execute", PTE_V | PTE_W | PTE_X | PTE_A | PTE_D, 0, {false, false, false}},
        {"nothing: a pointer at the last level", PTE_V, 0, {false, false, false}},
        {"not valid", PTE_RWX & ~(unsigned long)PTE_V, 0, {false, false, false}},
        {"user's", PTE_RWX | PTE_U, 0, {false, false, false}},
        {"user's, SUM", PTE_RWX | PTE_U, STATUS_SUM, {true, true, false}},
        {"global", PTE_RWX | PTE_G, 0, {true, true, true}},
    };
    unsigned long after;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        unsigned long bits = table_pte((uintptr_t)page, rows[i].flags);
        for (enum access access = LOAD; access <= FETCH; access++) {
            struct trap trap = with_entry(0, bits, rows[i].status, access, &after);
            if (rows[i].may[access]) {
                case_check(!trap.trapped, "%s, access %d: cause %lu", rows[i].name, access, trap.cause);
            } else {
                faults(trap, access, rows[i].name, bits);
            }
        }
    }
    cases_end("rights: what an entry allows of the guest's own memory");
    for (unsigned level = 1; level < (XLEN == 32 ? 2u : 3u); level++) {
        unsigned long bits = table_pte(machine.ram_base | PAGE, PTE_RWX);
        faults(with_entry(level, bits, 0, LOAD, &after), LOAD, "large page that is not aligned", bits);
        bits = table_pte((uintptr_t)page, PTE_V | PTE_U); /* A, D and U are reserved in a pointer */
        if (on_diosix) {
            faults(with_entry(level, bits | PTE_A, 0, STORE, &after), STORE, "pointer with A", bits);
        }
    }
    cases_end("rights: malformed entries of higher levels");
}

/* --- A and D --- */

/* By the hart or by the guest, as the tree says; without a word of it either will do. */
void isolation_update(void)
{
    static const struct {
        const char *name;
        unsigned long flags, becomes;
        enum access access;
    } rows[] = {
        {"A = 0, load", PTE_V | PTE_R | PTE_W | PTE_X, PTE_A, LOAD},
        {"A = 0, store", PTE_V | PTE_R | PTE_W | PTE_X, PTE_A | PTE_D, STORE},
        {"A = 0, fetch", PTE_V | PTE_R | PTE_W | PTE_X, PTE_A, FETCH},
        {"D = 0, load", PTE_V | PTE_R | PTE_W | PTE_X | PTE_A, 0, LOAD},
        {"D = 0, store", PTE_V | PTE_R | PTE_W | PTE_X | PTE_A, PTE_D, STORE},
        {"A = 0, D = 1, store", PTE_V | PTE_R | PTE_W | PTE_X | PTE_D, PTE_A, STORE},
    };
    bool by_hart = isa_names("svadu"), by_guest = isa_names("svade");
    case_check(!by_hart || !by_guest, "the tree names both Svadu and Svade");
    unsigned updated = 0, faulted = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        unsigned long bits = table_pte((uintptr_t)page, rows[i].flags), after;
        struct trap trap = with_entry(0, bits, 0, rows[i].access, &after);
        if (trap.trapped) {
            faults(trap, rows[i].access, rows[i].name, bits);
            case_check(after == bits, "%s: a fault, but the entry is 0x%lx, was 0x%lx", rows[i].name, after, bits);
            case_check(rows[i].becomes != 0 && !by_hart, "%s: a fault, though Svadu is named", rows[i].name);
            faulted++;
        } else {
            case_check(after == (bits | rows[i].becomes), "%s: the entry is 0x%lx, was 0x%lx", rows[i].name, after,
                       bits);
            case_check(rows[i].becomes == 0 || !by_guest, "%s: no fault, though Svade is named", rows[i].name);
            updated += rows[i].becomes != 0;
        }
    }
    case_check(updated == 0 || faulted == 0, "%u are updated, %u fault", updated, faulted);
    note("update: A and D are set by the %s; the tree says %s", updated != 0 ? "hart" : "guest",
         by_hart    ? "Svadu"
         : by_guest ? "Svade"
                    : "nothing of it");
    cases_end("update: A and D are set as the tree says");
}

/* --- bits 54 to 63 --- */

/* offered: the bit means something. Then a leaf may work with it or fault: the values are not for here. */
static void high_bit(unsigned bit, bool offered)
{
    unsigned long after, high = 1ul << bit % XLEN;
    unsigned long leaf = table_pte((uintptr_t)page, PTE_RWX) | high;
    for (enum access access = LOAD; access <= FETCH && !offered; access++) {
        faults(with_entry(0, leaf, 0, access, &after), access, "leaf", leaf);
        faults(with_entry(1, table_pte(machine.ram_base & ~0x1ffffful, PTE_RWX) | high, 0, access, &after), access,
               "large page", leaf);
    }
    tables_reset();
    static unsigned long table[PAGE / sizeof(long)] __attribute__((aligned(4096)));
    table[0] = table_pte((uintptr_t)page, PTE_RWX);
    unsigned long pointer = table_pte((uintptr_t)table, PTE_V) | high;
    faults(with_entry(1, pointer, 0, LOAD, &after), LOAD, "pointer", pointer);
}

void isolation_high_bits(void)
{
    if (XLEN == 32) {
        skip("high-bits", "Sv32 has none");
        return;
    }
    for (unsigned bit = 54; bit < 64; bit++) {
        bool offered = (bit == 63 && isa_names("svnapot")) || ((bit == 61 || bit == 62) && isa_names("svpbmt"));
        high_bit(bit, offered);
    }
    cases_end("high-bits: reserved bits fault, those of extensions too unless the tree names them");
}
