/* SPDX-License-Identifier: MIT
 *
 * Which devices of the host the hypervisor knows, by their compatible property, and the small ones among them.
 */
#include <libfdt.h>
#include <string.h>

#include "core/tree.h"
#include "dt/host_parts.h"

static enum dx_error rtc_read(struct host_reader *reader, const struct tree_walk *walk, unsigned unused)
{
    struct range window;
    (void)unused;

    if (!reader->machine->has_rtc && tree_walk_device(walk, 0, &window)) {
        reader->machine->has_rtc = true;
        reader->machine->rtc_base = window.base;
    }
    return DX_OK;
}

static enum dx_error poweroff_note(struct host_reader *reader, const struct tree_walk *walk, unsigned unused)
{
    (void)unused;
    reader->poweroff_node = reader->poweroff_node < 0 ? walk->node : reader->poweroff_node;
    return DX_OK;
}

static enum dx_error reboot_note(struct host_reader *reader, const struct tree_walk *walk, unsigned unused)
{
    (void)unused;
    reader->reboot_node = reader->reboot_node < 0 ? walk->node : reader->reboot_node;
    return DX_OK;
}

/* One whose path is too long has none, and one beyond those that there is room for isn't noted: neither is used. */
static enum dx_error virtio_note(struct host_reader *reader, const struct tree_walk *walk, unsigned unused)
{
    struct machine *machine = reader->machine;
    struct range window;
    (void)unused;
    if (machine->virtio_count == MACHINE_VIRTIO_MAX || !tree_walk_device(walk, 0, &window)) {
        return DX_OK;
    }
    size_t place = machine->virtio_count++;
    for (; place > 0 && machine->virtio[place - 1].base > window.base; place--) {
        machine->virtio[place] = machine->virtio[place - 1];
        reader->virtio_wires[place] = reader->virtio_wires[place - 1];
    }
    machine->virtio[place] = (struct machine_virtio){.base = window.base};
    if (!tree_walk_path(walk, machine->virtio[place].path, sizeof(machine->virtio[place].path))) {
        machine->virtio[place].path[0] = '\0';
    }
    reader->virtio_wires[place] = host_wire_read(walk);
    return DX_OK;
}

/* The first row that a node's compatible property lists decides: special kinds stand before general ones. */
static const struct {
    const char *compatible;
    enum dx_error (*read)(struct host_reader *reader, const struct tree_walk *walk, unsigned kind);
    unsigned kind;
} rows[] = {
    {"thead,c900-clint", host_clint_read, CLINT_THEAD},
    {"sifive,clint0", host_clint_read, CLINT_SIFIVE},
    {"riscv,clint0", host_clint_read, CLINT_SIFIVE},
    {"thead,c900-aclint-mtimer", host_clint_read, ACLINT_MTIMER_THEAD},
    {"riscv,aclint-mtimer", host_clint_read, ACLINT_MTIMER},
    {"thead,c900-aclint-mswi", host_clint_read, ACLINT_MSWI},
    {"riscv,aclint-mswi", host_clint_read, ACLINT_MSWI},
    {"sifive,plic-1.0.0", host_plic_read, 0},
    {"riscv,plic0", host_plic_read, 0},
    {"thead,c900-plic", host_plic_read, 0},
    {"google,goldfish-rtc", rtc_read, 0},
    {"virtio,mmio", virtio_note, 0},
    {"syscon-poweroff", poweroff_note, 0},
    {"syscon-reboot", reboot_note, 0},
};

enum dx_error host_device_read(struct host_reader *reader, const struct tree_walk *walk)
{
    size_t length;
    const char *compatible = tree_strings(walk->blob, walk->node, "compatible", &length);

    for (size_t i = 0; compatible != NULL && i < ARRAY_LENGTH(rows); i++) {
        if (fdt_stringlist_contains(compatible, (int)length, rows[i].compatible)) {
            return tree_enabled(walk->blob, walk->node) ? rows[i].read(reader, walk, rows[i].kind) : DX_OK;
        }
    }
    return DX_OK;
}

/* A register in another node's window, named by that node's phandle. Without value, the mask is what is written. */
static void syscon_read(const void *blob, int node, struct machine_syscon *syscon)
{
    struct tree_walk walk;
    struct range window;
    uint32_t regmap = 0;
    uint32_t offset = 0;
    uint32_t mask = UINT32_MAX;
    uint32_t value = 0;
    bool has_mask = tree_u32(blob, node, "mask", &mask);
    bool has_value = tree_u32(blob, node, "value", &value);

    tree_u32(blob, node, "offset", &offset);
    if (!tree_u32(blob, node, "regmap", &regmap) || (!has_mask && !has_value)) {
        return;
    }
    int holder = fdt_node_offset_by_phandle(blob, regmap);
    if (holder < 0 || !tree_walk_to(&walk, blob, holder) || !tree_walk_device(&walk, 0, &window) ||
        !range_holds((struct range){0, window.size}, offset, sizeof(uint32_t)) ||
        (window.base + offset) % sizeof(uint32_t) != 0) {
        return;
    }
    *syscon = (struct machine_syscon){
        .address = window.base + offset,
        .value = has_value ? value : mask,
        .mask = has_value ? mask : UINT32_MAX,
    };
}

void host_devices_finish(struct host_reader *reader)
{
    struct machine *machine = reader->machine;
    struct tree_walk walk;
    int node;

    if (reader->poweroff_node >= 0) {
        syscon_read(reader->blob, reader->poweroff_node, &machine->poweroff);
    }
    if (reader->reboot_node >= 0) {
        syscon_read(reader->blob, reader->reboot_node, &machine->reboot);
    }
    for (size_t n = 0; n < machine->virtio_count; n++) {
        machine->virtio[n].interrupt = host_wire_source(reader, reader->virtio_wires[n]);
    }
    if (host_console_find(reader->blob, &machine->uart, &node) && tree_walk_to(&walk, reader->blob, node)) {
        machine->uart.interrupt = host_wire_source(reader, host_wire_read(&walk));
    }
}
