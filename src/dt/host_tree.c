/* SPDX-License-Identifier: MIT
 *
 * Reads the host's device tree: the order of things, RAM, reserved memory, and what the loader chose.
 */
#include "dt/host_tree.h"

#include <libfdt.h>
#include <string.h>

#include "core/tree.h"
#include "dt/host_parts.h"

size_t host_tree_size(const void *blob, size_t limit)
{
    return tree_size(blob, limit);
}

/* True if the two share a byte or are neighbours. */
static bool ranges_meet(struct range a, struct range b)
{
    return range_overlaps(a, b) || (a.base != 0 && a.base - 1 == range_last(b)) ||
           (b.base != 0 && b.base - 1 == range_last(a));
}

/* The smallest range with both in it, if both meet. The whole of 64 bits can't be told as a size: one byte less. */
static struct range ranges_joined(struct range a, struct range b)
{
    uint64_t first = MIN(a.base, b.base);
    uint64_t span = MAX(range_last(a), range_last(b)) - first;
    return (struct range){first, span == UINT64_MAX ? span : span + 1};
}

bool host_ranges_add(struct range *list, size_t *count, size_t max, struct range range)
{
    size_t kept = 0;
    size_t at = 0;

    if (range.size == 0) {
        return true;
    }
    /* what the new range meets becomes part of it; the rest moves up */
    for (size_t i = 0; i < *count; i++) {
        if (ranges_meet(list[i], range)) {
            range = ranges_joined(list[i], range);
        } else {
            list[kept++] = list[i];
        }
    }
    *count = kept;
    if (kept == max) {
        return false;
    }
    while (at < kept && list[at].base < range.base) {
        at++;
    }
    memmove(&list[at + 1], &list[at], (kept - at) * sizeof(*list));
    list[at] = range;
    *count = kept + 1;
    return true;
}

static const char *node_name(const struct tree_walk *walk)
{
    const char *name = fdt_get_name(walk->blob, walk->node, NULL);
    return name == NULL ? "?" : name;
}

/* Adds every entry of the node's reg to a list. what: how to call the list if it is full. */
static enum dx_error regs_add(struct host_reader *reader, const struct tree_walk *walk, struct range *list,
                              size_t *count, size_t max, const char *what)
{
    struct range range;
    int length;
    unsigned index = 0;

    while (tree_walk_reg(walk, index, &range)) {
        if (!host_ranges_add(list, count, max, range)) {
            return refuse(reader->refusal, DX_TOO_MANY, "device tree: more than %u ranges of %s", (unsigned)max, what);
        }
        index++;
    }
    /* the loop must have ended because the property did, not because an entry is bad */
    const void *reg = fdt_getprop(walk->blob, walk->node, "reg", &length);
    const struct tree_bus *bus = &walk->buses[walk->depth - 1];
    if (reg != NULL && (size_t)length != (size_t)index * (bus->address_cells + bus->size_cells) * sizeof(fdt32_t)) {
        return refuse(reader->refusal, DX_BAD_TREE, "device tree: %s: entry %u of reg can't be used", node_name(walk),
                      index);
    }
    return DX_OK;
}

static enum dx_error memory_node_read(struct host_reader *reader, const struct tree_walk *walk, int reserved)
{
    struct machine *machine = reader->machine;

    if (walk->depth == 1 && tree_lists(walk->blob, walk->node, "device_type", "memory") &&
        tree_enabled(walk->blob, walk->node)) {
        return regs_add(reader, walk, machine->banks, &machine->bank_count, MACHINE_BANKS_MAX, "RAM");
    }
    if (walk->depth == 2 && walk->buses[1].node == reserved && tree_enabled(walk->blob, walk->node)) {
        return regs_add(reader, walk, machine->reserved, &machine->reserved_count, MACHINE_RESERVED_MAX,
                        "reserved memory");
    }
    return DX_OK;
}

/* The reservations that stand before the tree's nodes, ended by an empty one. */
static enum dx_error reservations_read(struct host_reader *reader)
{
    struct machine *machine = reader->machine;
    struct range range;

    for (int i = 0; fdt_get_mem_rsv(reader->blob, i, &range.base, &range.size) == 0 && range.size != 0; i++) {
        if (!range_valid(range)) {
            return refuse(reader->refusal, DX_BAD_TREE, "device tree: memory reservation %d wraps", i);
        }
        if (!host_ranges_add(machine->reserved, &machine->reserved_count, MACHINE_RESERVED_MAX, range)) {
            return refuse(reader->refusal, DX_TOO_MANY, "device tree: more than %u ranges of reserved memory",
                          (unsigned)MACHINE_RESERVED_MAX);
        }
    }
    return DX_OK;
}

/* One walk over all nodes: memory and devices. */
static enum dx_error nodes_read(struct host_reader *reader)
{
    struct tree_walk walk;
    int reserved = fdt_path_offset(reader->blob, "/reserved-memory");
    enum dx_error error = reservations_read(reader);

    tree_walk_start(&walk, reader->blob);
    while (error == DX_OK && tree_walk_next(&walk)) {
        error = memory_node_read(reader, &walk, reserved);
        if (error == DX_OK) {
            error = host_device_read(reader, &walk);
        }
    }
    return error;
}

/* Loaders write the initrd's bounds with one cell or with two. Both 0, or neither there: none. */
static enum dx_error initrd_read(struct host_reader *reader, int chosen)
{
    uint64_t start;
    uint64_t end;
    int length;
    bool has_start = fdt_getprop(reader->blob, chosen, "linux,initrd-start", &length) != NULL;
    bool has_end = fdt_getprop(reader->blob, chosen, "linux,initrd-end", &length) != NULL;

    if (!has_start && !has_end) {
        return DX_OK;
    }
    if (!tree_number(reader->blob, chosen, "linux,initrd-start", &start) ||
        !tree_number(reader->blob, chosen, "linux,initrd-end", &end) || end < start) {
        return refuse(reader->refusal, DX_BAD_TREE,
                      "device tree: /chosen: linux,initrd-start and -end don't make a range");
    }
    reader->machine->initrd = (struct range){start, end - start};
    return DX_OK;
}

static enum dx_error chosen_read(struct host_reader *reader)
{
    struct machine *machine = reader->machine;
    int length;
    int chosen = fdt_path_offset(reader->blob, "/chosen");
    if (chosen < 0) {
        return DX_OK;
    }
    const char *bootargs = tree_string(reader->blob, chosen, "bootargs");
    if (bootargs == NULL && fdt_getprop(reader->blob, chosen, "bootargs", &length) != NULL) {
        return refuse(reader->refusal, DX_BAD_TREE, "device tree: /chosen: bootargs is not terminated");
    }
    if (bootargs != NULL && strlen(bootargs) >= sizeof(machine->bootargs)) {
        return refuse(reader->refusal, DX_TOO_MANY, "device tree: /chosen: bootargs has over %u characters",
                      (unsigned)sizeof(machine->bootargs) - 1);
    }
    if (bootargs != NULL) {
        memcpy(machine->bootargs, bootargs, strlen(bootargs));
    }
    const void *seed = fdt_getprop(reader->blob, chosen, "rng-seed", &length);
    if (seed != NULL) {
        machine->seed_length = MIN((size_t)length, sizeof(machine->seed));
        memcpy(machine->seed, seed, machine->seed_length);
    }
    return initrd_read(reader, chosen);
}

static void model_read(struct host_reader *reader)
{
    const char *model = tree_string(reader->blob, 0, "model");
    if (model != NULL) {
        memcpy(reader->machine->model, model, strnlen(model, sizeof(reader->machine->model) - 1));
    }
}

static bool hart_has_timer(const struct machine *machine, unsigned long id)
{
    for (size_t i = 0; i < machine->clint_count; i++) {
        const struct machine_clint *clint = &machine->clints[i];
        for (uint32_t slot = 0; clint->mtimecmp != 0 && slot < clint->slots; slot++) {
            if (clint->ids[slot] == id) {
                return true;
            }
        }
    }
    return false;
}

/* What the hypervisor can't do without. */
static enum dx_error required_check(struct host_reader *reader)
{
    struct machine *machine = reader->machine;
    size_t usable = 0;
    size_t served = 0;

    if (machine->bank_count == 0) {
        return refuse(reader->refusal, DX_MISSING, "device tree: no RAM: no node with device_type \"memory\"");
    }
    for (size_t i = 0; i < machine->hart_count; i++) {
        struct machine_hart *hart = &machine->harts[i];
        usable += hart->usable;
        hart->usable = hart->usable && hart_has_timer(machine, hart->id);
        served += hart->usable;
    }
    if (usable == 0) {
        return refuse(reader->refusal, DX_MISSING, "device tree: /cpus names no usable hart (status, mmu-type)");
    }
    if (served == 0) {
        return refuse(reader->refusal, DX_MISSING, "device tree: no CLINT or ACLINT timer serves a usable hart");
    }
    return DX_OK;
}

enum dx_error host_tree_read(const void *blob, size_t limit, struct machine *machine, struct refusal *refusal)
{
    struct host_reader reader = {
        .blob = blob, .machine = machine, .refusal = refusal, .poweroff_node = -1, .reboot_node = -1};
    enum dx_error error;

    memset(machine, 0, sizeof(*machine));
    for (size_t i = 0; i < MACHINE_HARTS_MAX; i++) {
        machine->plic.m_context[i] = -1;
        machine->plic.s_context[i] = -1;
    }
    if (!tree_check(blob, limit)) {
        return refuse(refusal, DX_BAD_TREE, "device tree: not a well-formed tree of at most %llu bytes",
                      (unsigned long long)limit);
    }
    model_read(&reader);
    error = chosen_read(&reader);
    error = error == DX_OK ? host_harts_read(&reader) : error;
    error = error == DX_OK ? nodes_read(&reader) : error;
    error = error == DX_OK ? required_check(&reader) : error;
    if (error == DX_OK) {
        host_devices_finish(&reader);
    }
    return error;
}
