/* SPDX-License-Identifier: MIT
 *
 * Reads device tree blobs without trusting them, on top of libfdt.
 */
#include "core/tree.h"

#include <libfdt.h>
#include <string.h>

enum { CELL = sizeof(fdt32_t), VERSION_WITH_BLOCK_SIZES = 17 };

size_t tree_size(const void *blob, size_t limit)
{
    if (blob == NULL || limit < sizeof(struct fdt_header) || fdt_check_header(blob) != 0) {
        return 0;
    }
    /* libfdt reads tags with aligned loads, but doesn't ask where its caller's blob puts them. */
    bool aligned = fdt_off_dt_struct(blob) % CELL == 0 && fdt_off_mem_rsvmap(blob) % sizeof(uint64_t) == 0;
    /* Older versions don't say where the structure block ends. */
    bool bounded = fdt_version(blob) >= VERSION_WITH_BLOCK_SIZES && fdt_totalsize(blob) <= limit;
    return aligned && bounded ? fdt_totalsize(blob) : 0;
}

bool tree_check(const void *blob, size_t limit)
{
    size_t size = tree_size(blob, limit);
    return size != 0 && fdt_check_full(blob, size) == 0;
}

uint64_t tree_cells(const void *at, unsigned cells)
{
    const uint8_t *byte = at;
    uint64_t value = 0;

    for (unsigned i = 0; i < cells * CELL; i++) {
        value = value << 8 | byte[i];
    }
    return value;
}

bool tree_number(const void *blob, int node, const char *name, uint64_t *value)
{
    int length;
    const void *at = fdt_getprop(blob, node, name, &length);
    if (at == NULL || (length != CELL && length != 2 * CELL)) {
        return false;
    }
    *value = tree_cells(at, (unsigned)length / CELL);
    return true;
}

bool tree_u32(const void *blob, int node, const char *name, uint32_t *value)
{
    int length;
    const void *at = fdt_getprop(blob, node, name, &length);
    if (at == NULL || length != CELL) {
        return false;
    }
    *value = (uint32_t)tree_cells(at, 1);
    return true;
}

const char *tree_strings(const void *blob, int node, const char *name, size_t *length)
{
    int bytes;
    const char *text = fdt_getprop(blob, node, name, &bytes);
    if (text == NULL || bytes <= 0 || text[bytes - 1] != '\0') {
        return NULL;
    }
    *length = (size_t)bytes;
    return text;
}

const char *tree_string(const void *blob, int node, const char *name)
{
    size_t length;
    return tree_strings(blob, node, name, &length);
}

bool tree_lists(const void *blob, int node, const char *name, const char *text)
{
    size_t length;
    const char *list = tree_strings(blob, node, name, &length);
    return list != NULL && fdt_stringlist_contains(list, (int)length, text);
}

bool tree_enabled(const void *blob, int node)
{
    int length;
    const char *status = tree_string(blob, node, "status");
    if (status == NULL) {
        /* absent means usable; one that can't be read doesn't */
        return fdt_getprop(blob, node, "status", &length) == NULL;
    }
    return strcmp(status, "okay") == 0 || strcmp(status, "ok") == 0;
}
