/* SPDX-License-Identifier: MIT
 *
 * Reading device tree blobs that may be hostile: what must be checked before libfdt may walk one, and values that
 * are read at any alignment and only if the property has the right form. Nothing here changes a blob; every
 * string that is handed out is NUL-terminated inside its property.
 */
#ifndef CORE_TREE_H
#define CORE_TREE_H

#include "lib/base.h"

/* How many bytes the tree at blob has by its own header, or 0 if the header isn't a sane tree's or names more than
 * limit. Reads the header alone; at most limit bytes. */
size_t tree_size(const void *blob, size_t limit);

/* True if the whole tree is well formed. Call it before anything below, and before any walk with libfdt. */
bool tree_check(const void *blob, size_t limit);

/* A big-endian number of 0 (giving 0), 1 or 2 cells at any alignment. */
uint64_t tree_cells(const void *at, unsigned cells);

/* The node's property of this name; false, and *value untouched, unless it is there with exactly one cell (u32), or
 * with one or two (number). */
bool tree_u32(const void *blob, int node, const char *name, uint32_t *value);
bool tree_number(const void *blob, int node, const char *name, uint64_t *value);

/* The node's property as text, or NULL if it isn't there or isn't terminated. In a list: the first text. */
const char *tree_string(const void *blob, int node, const char *name);

/* The node's property as a list of texts: its first byte, with its whole length in *length, or NULL if it isn't there,
 * is empty or isn't terminated. */
const char *tree_strings(const void *blob, int node, const char *name, size_t *length);

/* True if the node's property is a list of texts and one of them is this. */
bool tree_lists(const void *blob, int node, const char *name, const char *text);

/* False if the node's status says that it must not be used. */
bool tree_enabled(const void *blob, int node);

#endif
