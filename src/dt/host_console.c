/* SPDX-License-Identifier: MIT
 *
 * Finds the host's console: the node that /chosen names, or the alias serial0, or the first UART that can be driven.
 * Works on a tree that is damaged further on, since it is what reports the damage.
 */
#include <libfdt.h>
#include <string.h>

#include "core/tree.h"
#include "dt/host_parts.h"

enum { REG_SHIFT_MAX = 4 };

static const struct {
    const char *compatible;
    enum machine_uart_kind kind;
} kinds[] = {
    {"ns16550a", MACHINE_UART_NS16550},
    {"ns16550", MACHINE_UART_NS16550},
    {"snps,dw-apb-uart", MACHINE_UART_NS16550},
    {"sifive,uart0", MACHINE_UART_SIFIVE},
};

static enum machine_uart_kind uart_kind(const void *blob, int node)
{
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        if (tree_lists(blob, node, "compatible", kinds[i].compatible)) {
            return tree_enabled(blob, node) ? kinds[i].kind : MACHINE_UART_NONE;
        }
    }
    return MACHINE_UART_NONE;
}

/* Fills in *uart if the node where the walk stands is one that can be driven. */
static bool uart_read(const struct tree_walk *walk, struct machine_uart *uart)
{
    struct machine_uart found = {.kind = uart_kind(walk->blob, walk->node), .reg_io_width = 1};
    struct range window;
    uint32_t offset = 0;

    if (found.kind == MACHINE_UART_NONE || !tree_walk_device(walk, 0, &window)) {
        return false;
    }
    if (found.kind == MACHINE_UART_NS16550) {
        tree_u32(walk->blob, walk->node, "reg-shift", &found.reg_shift);
        tree_u32(walk->blob, walk->node, "reg-io-width", &found.reg_io_width);
        tree_u32(walk->blob, walk->node, "reg-offset", &offset);
    } else {
        found.reg_io_width = 4;
    }
    if (found.reg_shift > REG_SHIFT_MAX || (found.reg_io_width != 1 && found.reg_io_width != 4) ||
        offset >= window.size) {
        return false;
    }
    found.base = window.base + offset;
    *uart = found;
    return true;
}

/* A path of length bytes, or the name of an alias for one. libfdt would follow aliases too, but not every version of
 * it notices one that stands for itself. */
static int node_by_name(const void *blob, const char *name, size_t length)
{
    int bytes;

    if (length > 0 && name[0] == '/') {
        return fdt_path_offset_namelen(blob, name, (int)length);
    }
    int aliases = fdt_path_offset(blob, "/aliases");
    const char *path = aliases < 0 ? NULL : fdt_getprop_namelen(blob, aliases, name, (int)length, &bytes);
    if (path == NULL || bytes < 2 || path[0] != '/' || path[bytes - 1] != '\0') {
        return -FDT_ERR_NOTFOUND;
    }
    return fdt_path_offset(blob, path);
}

static bool uart_by_name(const void *blob, const char *name, struct machine_uart *uart, int *node)
{
    struct tree_walk walk;
    const char *options = strchr(name, ':');
    int found = node_by_name(blob, name, options == NULL ? strlen(name) : (size_t)(options - name));

    if (found < 0 || !tree_walk_to(&walk, blob, found) || !uart_read(&walk, uart)) {
        return false;
    }
    *node = found;
    return true;
}

bool host_console_find(const void *blob, struct machine_uart *uart, int *node)
{
    struct tree_walk walk;
    int chosen = fdt_path_offset(blob, "/chosen");
    const char *path = chosen < 0 ? NULL : tree_string(blob, chosen, "stdout-path");

    *uart = (struct machine_uart){.kind = MACHINE_UART_NONE};
    if ((path != NULL && uart_by_name(blob, path, uart, node)) || uart_by_name(blob, "serial0", uart, node)) {
        return true;
    }
    tree_walk_start(&walk, blob);
    while (tree_walk_next(&walk)) {
        if (uart_read(&walk, uart)) {
            *node = walk.node;
            return true;
        }
    }
    return false;
}

struct host_wire host_wire_read(const struct tree_walk *walk)
{
    int length;
    const uint8_t *extended = fdt_getprop(walk->blob, walk->node, "interrupts-extended", &length);
    if (extended != NULL) {
        bool whole = length >= (int)(2 * sizeof(fdt32_t));
        return whole ? (struct host_wire){(uint32_t)tree_cells(extended, 1),
                                          (uint32_t)tree_cells(extended + sizeof(fdt32_t), 1)}
                     : (struct host_wire){0};
    }
    const uint8_t *interrupts = fdt_getprop(walk->blob, walk->node, "interrupts", &length);
    bool whole = interrupts != NULL && length >= (int)sizeof(fdt32_t);
    return whole ? (struct host_wire){tree_walk_interrupt_parent(walk), (uint32_t)tree_cells(interrupts, 1)}
                 : (struct host_wire){0};
}

bool host_tree_console(const void *blob, size_t limit, struct machine_uart *uart)
{
    int node;

    *uart = (struct machine_uart){.kind = MACHINE_UART_NONE};
    return tree_size(blob, limit) != 0 && host_console_find(blob, uart, &node);
}
