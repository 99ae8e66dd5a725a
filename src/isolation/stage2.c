/* SPDX-License-Identifier: MIT
 *
 * Builds stage-2 page tables, and walks them to say what hardware would make of them. What differs between the modes
 * is data. (Privileged specification, 18.5.1.)
 */
#include "isolation/stage2.h"

#include "arch/pmp.h"
#include "isolation/paging.h"

enum { ROOT_EXTRA_BITS = 2, LEVELS_MAX = 5 };

/* U, since stage 2 sees every guest as user mode; A and D from the start, since harts differ in who sets them. */
enum {
    ENTRY_POINTER = ENTRY_V,
    ENTRY_LEAF = ENTRY_V | ENTRY_R | ENTRY_W | ENTRY_X | ENTRY_U | ENTRY_A | ENTRY_D,
};

/* clang-format off */
static const struct stage2_mode stage2_modes[] = { /* of each word size, the smallest first */
    {.name = "Sv32x4", .xlen = 32, .hgatp_mode = 1, .levels = 2, .index_bits = 10, .entry_size = 4, .guest_bits = 34,
     .ppn_bits = 22},
    {.name = "Sv39x4", .xlen = 64, .hgatp_mode = 8, .levels = 3, .index_bits = 9, .entry_size = 8, .guest_bits = 41,
     .ppn_bits = 44},
    {.name = "Sv48x4", .xlen = 64, .hgatp_mode = 9, .levels = 4, .index_bits = 9, .entry_size = 8, .guest_bits = 50,
     .ppn_bits = 44},
    {.name = "Sv57x4", .xlen = 64, .hgatp_mode = 10, .levels = 5, .index_bits = 9, .entry_size = 8, .guest_bits = 59,
     .ppn_bits = 44},
};
/* clang-format on */

const struct stage2_mode *stage2_mode_find(unsigned xlen, unsigned modes, uint64_t last)
{
    for (size_t i = 0; i < ARRAY_LENGTH(stage2_modes); i++) {
        const struct stage2_mode *mode = &stage2_modes[i];
        if (mode->xlen == xlen && ((modes >> mode->hgatp_mode) & 1) != 0 && (last >> mode->guest_bits) == 0) {
            return mode;
        }
    }
    return NULL;
}

const struct stage2_mode *stage2_mode_least(unsigned xlen, unsigned modes)
{
    return stage2_mode_find(xlen, modes, 0);
}

/* --- what both halves know of a table --- */

/* Bits of an address below the ones that choose an entry of a table of this level; level 0 maps pages. */
static unsigned level_shift(const struct stage2_mode *mode, unsigned level)
{
    return PAGE_BITS + level * mode->index_bits;
}

static uint64_t level_page_size(const struct stage2_mode *mode, unsigned level)
{
    return UINT64_C(1) << level_shift(mode, level);
}

static uint64_t level_table_size(const struct stage2_mode *mode, unsigned level)
{
    return level + 1U == mode->levels ? STAGE2_ROOT_SIZE : PAGE_SIZE;
}

/* The bits of an entry that hold an address. */
static uint64_t ppn_mask(const struct stage2_mode *mode)
{
    return low_bits(mode->ppn_bits) << ENTRY_PPN_SHIFT;
}

/* The place of the entry for address, in bytes from the first table; table is where its table lies, likewise. */
static uint64_t entry_place(const struct stage2_mode *mode, uint64_t table, unsigned level, uint64_t address)
{
    const unsigned bits = mode->index_bits + (level + 1U == mode->levels ? ROOT_EXTRA_BITS : 0U);
    return table + ((address >> level_shift(mode, level)) & low_bits(bits)) * mode->entry_size;
}

static void *entry_pointer(const struct stage2_tables *tables, uint64_t place)
{
    return (char *)tables->memory + (size_t)place;
}

/* --- building --- */

/* A build or, with tables NULL, only the count of what it takes. Leaves come in ascending order, so that of each level
 * but the root's only one table is being filled. */
struct builder {
    const struct stage2_mode *mode;
    struct stage2_tables *tables;
    uint64_t used;              /* bytes */
    uint64_t table[LEVELS_MAX]; /* where that table lies, in bytes from the first; the root: 0 */
    uint64_t span[LEVELS_MAX];  /* the addresses that it covers: any of them over how many they are */
};

#define SPAN_NONE UINT64_MAX

static struct builder builder_begin(const struct stage2_mode *mode, struct stage2_tables *tables)
{
    struct builder builder = {.mode = mode, .tables = tables, .used = STAGE2_ROOT_SIZE};
    assert(mode->levels <= LEVELS_MAX);
    for (unsigned level = 0; level < LEVELS_MAX; level++) {
        builder.span[level] = SPAN_NONE;
    }
    return builder;
}

static void put_entry(const struct builder *builder, uint64_t place, hpa_t target, uint64_t bits)
{
    if (builder->tables == NULL) {
        return;
    }
    const uint64_t entry = (target.at >> PAGE_BITS) << ENTRY_PPN_SHIFT | bits;
    void *to = entry_pointer(builder->tables, place);
    if (builder->mode->entry_size == 4) {
        *(uint32_t *)to = (uint32_t)entry;
    } else {
        *(uint64_t *)to = entry;
    }
}

/* Takes the next free page as the table of this level for address, and enters it in the table above. */
static void add_table(struct builder *builder, unsigned level, uint64_t address)
{
    const uint64_t table = builder->used;
    builder->used += PAGE_SIZE;
    assert(builder->tables == NULL || builder->used <= builder->tables->size);
    const hpa_t target = {builder->tables == NULL ? 0 : builder->tables->at.at + table};
    put_entry(builder, entry_place(builder->mode, builder->table[level + 1], level + 1, address), target,
              ENTRY_POINTER);
    builder->table[level] = table;
}

static void add_leaf(struct builder *builder, unsigned leaf_level, uint64_t address, hpa_t host)
{
    const struct stage2_mode *mode = builder->mode;
    for (unsigned level = mode->levels - 1U; level-- > leaf_level;) {
        const uint64_t span = address >> level_shift(mode, level + 1);
        if (builder->span[level] != span) {
            add_table(builder, level, address);
            builder->span[level] = span;
        }
    }
    put_entry(builder, entry_place(mode, builder->table[leaf_level], leaf_level, address), host, ENTRY_LEAF);
}

/* The level of the largest page that begins at both addresses and is no longer than left. */
static unsigned largest_level(const struct stage2_mode *mode, uint64_t address, hpa_t host, uint64_t left)
{
    unsigned level = mode->levels - 1U;
    while (level > 0 &&
           (((address | host.at) & (level_page_size(mode, level) - 1)) != 0 || level_page_size(mode, level) > left)) {
        level--;
    }
    return level;
}

static void add_piece(struct builder *builder, uint64_t base, const struct ram_piece *piece)
{
    const struct stage2_mode *mode = builder->mode;
    for (uint64_t done = 0; done < piece->size;) {
        const uint64_t address = base + piece->offset + done;
        const hpa_t host = {piece->host.at + done};
        const unsigned level = largest_level(mode, address, host, piece->size - done);
        add_leaf(builder, level, address, host);
        done += level_page_size(mode, level);
    }
}

/* Anything else would be a mistake of our own: pieces come from the allocator, and the mode was chosen for them. */
static void check_pieces(const struct stage2_mode *mode, uint64_t base, const struct ram_piece *pieces, size_t count)
{
    const struct range guest = {.base = base, .size = (UINT64_C(1) << mode->guest_bits) - base};
    const struct range host = {.base = 0, .size = UINT64_C(1) << (PAGE_BITS + mode->ppn_bits)};
    uint64_t offset = 0;
    assert(base >> mode->guest_bits == 0 && base % PAGE_SIZE == 0);
    for (size_t i = 0; i < count; i++) {
        const struct ram_piece *piece = &pieces[i];
        assert(piece->offset == offset && piece->size % PAGE_SIZE == 0 && piece->host.at % PAGE_SIZE == 0);
        assert(range_holds(guest, base + offset, piece->size) && range_holds(host, piece->host.at, piece->size));
        offset += piece->size;
    }
}

static uint64_t build(const struct stage2_mode *mode, uint64_t base, const struct ram_piece *pieces, size_t count,
                      struct stage2_tables *tables)
{
    struct builder builder = builder_begin(mode, tables);
    check_pieces(mode, base, pieces, count);
    for (size_t i = 0; i < count; i++) {
        add_piece(&builder, base, &pieces[i]);
    }
    return builder.used;
}

uint64_t stage2_room(const struct stage2_mode *mode, uint64_t base, const struct ram_piece *pieces, size_t count)
{
    return build(mode, base, pieces, count, NULL);
}

void stage2_build(const struct stage2_mode *mode, uint64_t base, const struct ram_piece *pieces, size_t count,
                  struct stage2_tables *tables)
{
    const struct range host = {.base = 0, .size = UINT64_C(1) << (PAGE_BITS + mode->ppn_bits)};
    assert(tables->at.at % STAGE2_ROOT_SIZE == 0 && range_holds(host, tables->at.at, tables->size));
    assert(tables->size >= STAGE2_ROOT_SIZE);
    tables->used = build(mode, base, pieces, count, tables);
}

/* --- looking up --- */

static uint64_t get_entry(const struct stage2_mode *mode, const struct stage2_tables *tables, uint64_t place)
{
    const void *from = entry_pointer(tables, place);
    return mode->entry_size == 4 ? *(const uint32_t *)from : *(const uint64_t *)from;
}

/* What the bits of a leaf let a guest do; 0 if hardware, or this file's own rules, would not take it as a leaf. */
static uint8_t leaf_rights(uint64_t bits)
{
    const bool allowed = (bits & ~(uint64_t)ENTRY_LEAF) == 0;
    const uint64_t needed = ENTRY_V | ENTRY_U | ENTRY_A;
    if (!allowed || (bits & needed) != needed || (bits & (ENTRY_R | ENTRY_W)) == ENTRY_W) {
        return 0;
    }
    const bool writable = (bits & ENTRY_W) != 0 && (bits & ENTRY_D) != 0;
    return (uint8_t)(((bits & ENTRY_R) != 0 ? PMP_R : 0) | (writable ? PMP_W : 0) |
                     ((bits & ENTRY_X) != 0 ? PMP_X : 0));
}

/* False too if the page is not aligned to its size. */
static bool read_leaf(const struct stage2_mode *mode, unsigned level, uint64_t entry, gpa_t address,
                      struct stage2_leaf *leaf)
{
    const uint64_t page = (entry & ppn_mask(mode)) >> ENTRY_PPN_SHIFT << PAGE_BITS;
    const uint64_t inside = level_page_size(mode, level) - 1;
    *leaf = (struct stage2_leaf){
        .host = {page | (address.at & inside)},
        .page_size = inside + 1,
        .rights = leaf_rights(entry & ~ppn_mask(mode)),
    };
    return leaf->rights != 0 && (page & inside) == 0;
}

bool stage2_lookup(const struct stage2_mode *mode, const struct stage2_tables *tables, gpa_t address,
                   struct stage2_leaf *leaf)
{
    if (address.at >> mode->guest_bits != 0 || tables->used > tables->size || tables->used < STAGE2_ROOT_SIZE) {
        return false;
    }
    uint64_t table = 0;
    for (unsigned level = mode->levels; level-- > 0;) {
        const uint64_t entry = get_entry(mode, tables, entry_place(mode, table, level, address.at));
        if ((entry & ~ppn_mask(mode)) != ENTRY_POINTER) {
            return read_leaf(mode, level, entry, address, leaf);
        }
        /* Tables are taken in order, so that a pointer leads forwards: no walk can turn in a circle. */
        const uint64_t next = table + level_table_size(mode, level);
        const struct range tables_after = {.base = tables->at.at + next, .size = tables->used - next};
        const hpa_t target = {(entry & ppn_mask(mode)) >> ENTRY_PPN_SHIFT << PAGE_BITS};
        if (!range_holds(tables_after, target.at, PAGE_SIZE)) {
            return false;
        }
        table = target.at - tables->at.at;
    }
    return false; /* a pointer where only a leaf may be */
}
