/* SPDX-License-Identifier: MIT
 *
 * Walks a tree and translates its nodes' addresses through the buses above them.
 */
#include "dt/tree_walk.h"

#include <libfdt.h>
#include <string.h>

#include "core/tree.h"

enum { CELL = sizeof(fdt32_t), CELLS_MAX = 2 };

void tree_walk_start(struct tree_walk *walk, const void *blob)
{
    walk->blob = blob;
    walk->node = -1;
    walk->depth = -1;
}

/* libfdt's errors (more than 4 cells, a malformed count) become 0: no address below can be told. */
static unsigned cells_or_none(int cells)
{
    return cells < 0 ? 0 : (unsigned)cells;
}

static void bus_enter(struct tree_walk *walk)
{
    const void *blob = walk->blob;
    struct tree_bus *bus = &walk->buses[walk->depth];
    int length = 0;

    bus->node = walk->node;
    bus->address_cells = cells_or_none(fdt_address_cells(blob, walk->node));
    bus->size_cells = cells_or_none(fdt_size_cells(blob, walk->node));
    bus->ranges = fdt_getprop(blob, walk->node, "ranges", &length);
    bus->ranges_length = bus->ranges == NULL ? 0 : (size_t)length;
    bus->interrupt_parent = walk->depth == 0 ? 0 : walk->buses[walk->depth - 1].interrupt_parent;
    tree_u32(blob, walk->node, "interrupt-parent", &bus->interrupt_parent);
}

bool tree_walk_next(struct tree_walk *walk)
{
    walk->node = fdt_next_node(walk->blob, walk->node, &walk->depth);
    if (walk->node < 0 || walk->depth < 0) {
        return false;
    }
    if (walk->depth < TREE_DEPTH_MAX) {
        bus_enter(walk);
    }
    return true;
}

bool tree_walk_to(struct tree_walk *walk, const void *blob, int node)
{
    tree_walk_start(walk, blob);
    while (tree_walk_next(walk)) {
        if (walk->node == node) {
            return true;
        }
    }
    return false;
}

static size_t cells_size(unsigned cells)
{
    return (size_t)cells * CELL;
}

static bool cells_usable(unsigned address_cells, unsigned size_cells)
{
    return address_cells >= 1 && address_cells <= CELLS_MAX && size_cells <= CELLS_MAX;
}

/* One entry of a ranges property: moves the range from the bus's own addresses to its parent's if it lies in it. */
static bool entry_applies(const struct tree_bus *bus, const struct tree_bus *parent, const uint8_t *entry,
                          struct range *range)
{
    const uint8_t *parent_at = entry + cells_size(bus->address_cells);
    uint64_t child_base = tree_cells(entry, bus->address_cells);
    uint64_t parent_base = tree_cells(parent_at, parent->address_cells);
    uint64_t size = tree_cells(parent_at + cells_size(parent->address_cells), bus->size_cells);

    if (!range_holds((struct range){child_base, size}, range->base, range->size) ||
        parent_base > UINT64_MAX - (range->base - child_base)) {
        return false;
    }
    range->base = parent_base + (range->base - child_base);
    return range_valid(*range);
}

static bool bus_translate(const struct tree_bus *bus, const struct tree_bus *parent, struct range *range)
{
    if (bus->ranges == NULL || !cells_usable(bus->address_cells, bus->size_cells) ||
        !cells_usable(parent->address_cells, parent->size_cells)) {
        return false;
    }
    if (bus->ranges_length == 0) {
        return true;
    }
    size_t entry = cells_size(bus->address_cells + parent->address_cells + bus->size_cells);
    size_t count = MIN(bus->ranges_length / entry, (size_t)TREE_RANGES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (entry_applies(bus, parent, bus->ranges + i * entry, range)) {
            return true;
        }
    }
    return false;
}

bool tree_walk_reg(const struct tree_walk *walk, unsigned index, struct range *range)
{
    int length;
    const uint8_t *reg = fdt_getprop(walk->blob, walk->node, "reg", &length);
    if (reg == NULL || walk->depth < 1 || walk->depth > TREE_DEPTH_MAX) {
        return false;
    }
    const struct tree_bus *bus = &walk->buses[walk->depth - 1];
    if (!cells_usable(bus->address_cells, bus->size_cells)) {
        return false;
    }
    size_t entry = cells_size(bus->address_cells + bus->size_cells);
    if (index >= (size_t)length / entry) {
        return false;
    }
    reg += index * entry;
    struct range found = {tree_cells(reg, bus->address_cells),
                          tree_cells(reg + cells_size(bus->address_cells), bus->size_cells)};
    bool valid = range_valid(found);
    for (int level = walk->depth - 1; valid && level > 0; level--) {
        valid = bus_translate(&walk->buses[level], &walk->buses[level - 1], &found);
    }
    if (valid) {
        *range = found;
    }
    return valid;
}

bool tree_walk_device(const struct tree_walk *walk, unsigned index, struct range *range)
{
    struct range found;
    if (!tree_walk_reg(walk, index, &found) || found.size == 0 || range_last(found) != (uintptr_t)range_last(found)) {
        return false;
    }
    *range = found;
    return true;
}

uint32_t tree_walk_interrupt_parent(const struct tree_walk *walk)
{
    return walk->buses[MIN(walk->depth, TREE_DEPTH_MAX - 1)].interrupt_parent;
}

bool tree_walk_path(const struct tree_walk *walk, char *path, size_t size)
{
    size_t used = 0;
    if (walk->depth < 1 || walk->depth > TREE_DEPTH_MAX) {
        return false;
    }
    for (int level = 1; level <= walk->depth; level++) {
        int length;
        int node = level == walk->depth ? walk->node : walk->buses[level].node;
        const char *name = fdt_get_name(walk->blob, node, &length);
        if (name == NULL || (size_t)length + 2 > size - used) {
            return false;
        }
        path[used++] = '/';
        memcpy(path + used, name, (size_t)length);
        used += (size_t)length;
    }
    path[used] = '\0';
    return true;
}
