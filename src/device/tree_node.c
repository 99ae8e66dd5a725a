/* SPDX-License-Identifier: MIT
 *
 * Writing a device's node: thin over libfdt, with the first error kept.
 */
#include "device/tree_node.h"

#include <libfdt.h>

#include "lib/format.h"

void tree_node_begin(struct tree_node *node, const char *name)
{
    if (node->error == 0) {
        node->error = fdt_begin_node(node->tree, name);
    }
}

void tree_node_begin_device(struct tree_node *node, const char *name, const struct device *device)
{
    const struct range *window = &device->window;
    const uint32_t reg[4] = {
        (uint32_t)(window->base >> 32),
        (uint32_t)window->base,
        (uint32_t)(window->size >> 32),
        (uint32_t)window->size,
    };
    char full_name[48];

    format(full_name, sizeof(full_name), "%s@%llx", name, (unsigned long long)window->base);
    tree_node_begin(node, full_name);
    tree_node_cells(node, "reg", reg, ARRAY_LENGTH(reg));
}

void tree_node_end(struct tree_node *node)
{
    if (node->error == 0) {
        node->error = fdt_end_node(node->tree);
    }
}

void tree_node_flag(struct tree_node *node, const char *name)
{
    tree_node_strings(node, name, "", 0);
}

void tree_node_cell(struct tree_node *node, const char *name, uint32_t value)
{
    tree_node_cells(node, name, &value, 1);
}

void tree_node_cells(struct tree_node *node, const char *name, const uint32_t *cells, size_t count)
{
    void *place = NULL;

    assert(count <= TREE_NODE_CELLS_MAX);
    if (node->error == 0) {
        node->error = fdt_property_placeholder(node->tree, name, (int)(count * sizeof(*cells)), &place);
    }
    if (node->error == 0) {
        for (size_t i = 0; i < count; i++) {
            fdt32_st((uint8_t *)place + i * sizeof(*cells), cells[i]);
        }
    }
}

void tree_node_strings(struct tree_node *node, const char *name, const char *strings, size_t size)
{
    if (node->error == 0) {
        node->error = fdt_property(node->tree, name, strings, (int)size);
    }
}

void tree_node_interrupt(struct tree_node *node, const struct irq_line *line, const struct tree_context *context)
{
    if (line->set != NULL) {
        tree_node_cell(node, "interrupts", line->source);
        tree_node_cell(node, "interrupt-parent", context->plic_phandle);
    }
}
