/* SPDX-License-Identifier: MIT
 *
 * Builds a small tree around one device's nodes and looks at it with libfdt's reading half.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "described.h"

#include <libfdt.h>

int described(const struct device *device, void *tree, size_t room, struct tree_context *context)
{
    int error = fdt_create(tree, (int)room);

    error = error != 0 ? error : fdt_finish_reservemap(tree);
    error = error != 0 ? error : fdt_begin_node(tree, "");
    error = error != 0 ? error : fdt_begin_node(tree, "soc");
    if (error == 0) {
        error = device->class->describe(device, tree, context);
    }
    error = error != 0 ? error : fdt_end_node(tree);
    error = error != 0 ? error : fdt_end_node(tree);
    error = error != 0 ? error : fdt_finish(tree);
    if (error == 0) {
        assert_int_equal(fdt_check_full(tree, room), 0);
    }
    return error;
}

static const uint8_t *property_of(const void *tree, const char *path, const char *property, int *length)
{
    int node = fdt_path_offset(tree, path);

    assert_true(node >= 0);
    return fdt_getprop(tree, node, property, length);
}

uint32_t described_cell(const void *tree, const char *path, const char *property, size_t index)
{
    int length = 0;
    const uint8_t *bytes = property_of(tree, path, property, &length);

    assert_non_null(bytes);
    assert_true((size_t)length >= (index + 1) * sizeof(uint32_t));
    return fdt32_ld((const fdt32_t *)(const void *)(bytes + index * sizeof(uint32_t)));
}

int described_length(const void *tree, const char *path, const char *property)
{
    int length = 0;

    return property_of(tree, path, property, &length) == NULL ? -1 : length;
}

bool described_has_string(const void *tree, const char *path, const char *property, const char *string)
{
    int node = fdt_path_offset(tree, path);

    assert_true(node >= 0);
    return fdt_stringlist_search(tree, node, property, string) >= 0;
}

void described_needs_room(const struct device *device, const struct tree_context *context)
{
    static _Alignas(8) uint8_t tree[DESCRIBED_SIZE];
    struct tree_context copy = *context;

    assert_int_equal(described(device, tree, sizeof(tree), &copy), 0);
    for (size_t room = 0; room < fdt_totalsize(tree); room += 4) {
        static _Alignas(8) uint8_t small[DESCRIBED_SIZE];

        copy = *context;
        assert_int_equal(described(device, small, room, &copy), -FDT_ERR_NOSPACE);
    }
}
