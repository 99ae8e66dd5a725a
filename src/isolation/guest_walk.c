/* SPDX-License-Identifier: MIT
 *
 * The software walk of a guest's page tables. One loop serves every mode; what differs is data. (Privileged
 * specification, 4.3.2 and 4.4 to 4.6; Svnapot, Svpbmt.)
 */
#include "isolation/guest_walk.h"

#include "isolation/paging.h"

enum { NAPOT_BITS = 4, NAPOT_64K = 8 };

/* Above the page number, in entries of 8 bytes. Memory types (62:61) are for the hardware, which took them already. */
#define ENTRY_N         (UINT64_C(1) << 63)
#define ENTRY_RESERVED  (UINT64_C(0x7f) << 54)
#define ENTRY_ABOVE_PPN (UINT64_C(0x3ff) << 54)

/* clang-format off */
static const struct paging_mode paging_modes[] = {
    {.name = "bare", .xlen = 32, .satp_mode = 0},
    {.name = "sv32", .xlen = 32, .satp_mode = 1, .levels = 2, .index_bits = 10, .entry_size = 4, .virtual_bits = 32,
     .ppn_bits = 22},
    {.name = "bare", .xlen = 64, .satp_mode = 0},
    {.name = "sv39", .xlen = 64, .satp_mode = 8, .levels = 3, .index_bits = 9, .entry_size = 8, .virtual_bits = 39,
     .ppn_bits = 44},
    {.name = "sv48", .xlen = 64, .satp_mode = 9, .levels = 4, .index_bits = 9, .entry_size = 8, .virtual_bits = 48,
     .ppn_bits = 44},
    {.name = "sv57", .xlen = 64, .satp_mode = 10, .levels = 5, .index_bits = 9, .entry_size = 8, .virtual_bits = 57,
     .ppn_bits = 44},
};
/* clang-format on */

/* One walk: what every step needs. */
struct walk {
    const struct paging_mode *mode;
    const struct guest_view *view;
    uint64_t address;
    enum guest_access access;
};

const struct paging_mode *paging_mode_find(unsigned xlen, unsigned long satp)
{
    const uint64_t mode = xlen == 32 ? (satp >> 31) & 1 : (uint64_t)satp >> 60;
    for (size_t i = 0; i < ARRAY_LENGTH(paging_modes); i++) {
        if (paging_modes[i].xlen == xlen && paging_modes[i].satp_mode == mode) {
            return &paging_modes[i];
        }
    }
    return NULL;
}

/* RV64: the bits above the virtual address must all repeat its highest. RV32 has none above. */
static bool is_canonical(const struct walk *walk)
{
    const unsigned spare = 64U - walk->mode->virtual_bits;
    return walk->mode->xlen == 32 || (uint64_t)((int64_t)(walk->address << spare) >> spare) == walk->address;
}

static bool is_leaf(uint64_t entry)
{
    return (entry & (ENTRY_R | ENTRY_X)) != 0;
}

/* Valid, and no encoding that is reserved: those fault, whatever they may come to mean. */
static bool is_well_formed(const struct walk *walk, uint64_t entry)
{
    if ((entry & ENTRY_V) == 0 || (entry & (ENTRY_R | ENTRY_W)) == ENTRY_W) {
        return false;
    }
    const bool wide = walk->mode->entry_size == 8;
    if (!is_leaf(entry)) {
        return (entry & (ENTRY_A | ENTRY_D | ENTRY_U)) == 0 && (!wide || (entry & ENTRY_ABOVE_PPN) == 0);
    }
    return !wide || (entry & ENTRY_RESERVED) == 0;
}

static bool is_permitted(const struct walk *walk, uint64_t entry)
{
    const bool user_page = (entry & ENTRY_U) != 0;
    const bool readable = (entry & ENTRY_R) != 0 || (walk->view->mxr && (entry & ENTRY_X) != 0);
    if (walk->view->user != user_page) {
        /* Only the supervisor may cross over, for data, and if it said so. */
        if (walk->view->user || !walk->view->sum || walk->access == GUEST_FETCH) {
            return false;
        }
    }
    const uint64_t needed = ENTRY_A | (walk->access == GUEST_STORE ? ENTRY_D : 0);
    if (walk->view->checks_bits && (entry & needed) != needed) {
        return false;
    }
    switch (walk->access) {
    case GUEST_FETCH:
        return (entry & ENTRY_X) != 0;
    case GUEST_LOAD:
        return readable;
    case GUEST_STORE:
        return (entry & ENTRY_W) != 0;
    default:
        return false;
    }
}

/* Joins a leaf's page number with the address's offset; false if the page number does not suit the leaf's size. */
static bool resolve_leaf(const struct walk *walk, uint64_t entry, unsigned level, gpa_t *result)
{
    uint64_t ppn = (entry >> ENTRY_PPN_SHIFT) & low_bits(walk->mode->ppn_bits);
    unsigned page_number_bits = level * walk->mode->index_bits; /* that come from the address */
    if (walk->mode->entry_size == 8 && (entry & ENTRY_N) != 0) {
        if (level != 0 || (ppn & low_bits(NAPOT_BITS)) != NAPOT_64K) {
            return false;
        }
        ppn &= ~low_bits(NAPOT_BITS);
        page_number_bits = NAPOT_BITS;
    }
    if ((ppn & low_bits(page_number_bits)) != 0) {
        return false;
    }
    result->at = (ppn << PAGE_BITS) | (walk->address & low_bits(PAGE_BITS + page_number_bits));
    return true;
}

static enum walk_result walk_tables(const struct walk *walk, uint64_t table, gpa_t *result)
{
    const struct paging_mode *mode = walk->mode;
    for (unsigned level = mode->levels; level-- > 0;) {
        const unsigned shift = PAGE_BITS + level * mode->index_bits;
        const uint64_t index = (walk->address >> shift) & low_bits(mode->index_bits);
        const gpa_t at = {(table << PAGE_BITS) + index * mode->entry_size};
        uint64_t entry = 0;
        if (!walk->view->read_entry(walk->view->context, at, mode->entry_size, &entry)) {
            return WALK_ACCESS_FAULT;
        }
        if (!is_well_formed(walk, entry)) {
            return WALK_PAGE_FAULT;
        }
        if (is_leaf(entry)) {
            return is_permitted(walk, entry) && resolve_leaf(walk, entry, level, result) ? WALK_OK : WALK_PAGE_FAULT;
        }
        table = (entry >> ENTRY_PPN_SHIFT) & low_bits(mode->ppn_bits);
    }
    return WALK_PAGE_FAULT; /* a pointer where only a leaf may be */
}

enum walk_result guest_walk(const struct guest_view *view, gva_t address, enum guest_access access, gpa_t *result)
{
    const struct walk walk = {
        .mode = paging_mode_find(view->xlen, view->satp),
        .view = view,
        .address = address.at,
        .access = access,
    };
    if (walk.mode == NULL) {
        return WALK_PAGE_FAULT; /* satp never takes a reserved mode on real harts */
    }
    if (walk.mode->levels == 0) {
        result->at = address.at;
        return WALK_OK;
    }
    if (!is_canonical(&walk)) {
        return WALK_PAGE_FAULT;
    }
    return walk_tables(&walk, view->satp & low_bits(walk.mode->ppn_bits), result);
}
