/* SPDX-License-Identifier: MIT
 *
 * How a device writes its node into the guest's tree: libfdt's sequential-write calls with the error kept, so that
 * a describe function is a plain list of properties. After the first error nothing more is written.
 */
#ifndef DEVICE_TREE_NODE_H
#define DEVICE_TREE_NODE_H

#include "core/device.h"

struct tree_node {
    void *tree; /* being written with libfdt's sequential-write calls */
    int error;  /* 0, or libfdt's first negative error: what describe returns */
};

/* Opens a node; tree_node_end closes it. The device form is named NAME@<its window's base> and gets its reg, in two
 * address and two size cells. */
void tree_node_begin(struct tree_node *node, const char *name);
void tree_node_begin_device(struct tree_node *node, const char *name, const struct device *device);
void tree_node_end(struct tree_node *node);

/* Properties of the open node. cells takes count host-order values, at most TREE_NODE_CELLS_MAX; strings takes a
 * literal list separated by NULs, with its size. */
enum { TREE_NODE_CELLS_MAX = 128 };
void tree_node_flag(struct tree_node *node, const char *name);
void tree_node_cell(struct tree_node *node, const char *name, uint32_t value);
void tree_node_cells(struct tree_node *node, const char *name, const uint32_t *cells, size_t count);
void tree_node_strings(struct tree_node *node, const char *name, const char *strings, size_t size);
/* interrupts and interrupt-parent for a line into the capsule's PLIC; nothing if the line leads nowhere. */
void tree_node_interrupt(struct tree_node *node, const struct irq_line *line, const struct tree_context *context);

#endif
