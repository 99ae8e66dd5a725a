/* SPDX-License-Identifier: MIT
 *
 * Values of a capsule's properties: their type is only known by their length.
 */
#include "manifest/property.h"

#include <string.h>

#include <libfdt.h>

#include "lib/format.h"
#include "manifest/capsule_node.h"

struct printable printable(const char *name)
{
    struct printable out = {.text = ""};
    for (size_t i = 0; i < sizeof(out.text) - 1 && name[i] != '\0'; i++) {
        out.text[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    }
    return out;
}

bool property_is_dtc_own(const char *name)
{
    return strcmp(name, "phandle") == 0 || strcmp(name, "linux,phandle") == 0;
}

enum dx_error property_wrong(const struct reading *r, enum dx_error error, const char *pattern, ...)
{
    char reason[REFUSAL_TEXT_MAX];
    va_list arguments;
    va_start(arguments, pattern);
    (void)format_list(reason, sizeof(reason), pattern, arguments);
    va_end(arguments);
    if (r->device != NULL) {
        return refuse(r->refusal, error, "capsule %s: %s: %s: %s", r->config->name, printable(r->device->name).text,
                      printable(r->property).text, reason);
    }
    return refuse(r->refusal, error, "capsule %s: %s: %s", r->config->name, printable(r->property).text, reason);
}

enum dx_error property_cell(const struct reading *r, uint32_t *cell)
{
    if (r->length != sizeof(fdt32_t)) {
        return property_wrong(r, DX_BAD_VALUE, "must be one number of 32 bits, has %zu bytes", r->length);
    }
    *cell = fdt32_ld((const fdt32_t *)(const void *)r->value);
    return DX_OK;
}

enum dx_error property_cell_within(const struct reading *r, uint32_t least, uint32_t most, uint32_t *cell)
{
    uint32_t value = 0;
    enum dx_error error = property_cell(r, &value);
    if (error != DX_OK) {
        return error;
    }
    if (value < least || value > most) {
        return property_wrong(r, DX_BAD_VALUE, "must be %u to %u, is %u", (unsigned)least, (unsigned)most,
                              (unsigned)value);
    }
    *cell = value;
    return DX_OK;
}

enum dx_error property_number(const struct reading *r, uint64_t *number)
{
    if (r->length == sizeof(fdt64_t)) {
        *number = fdt64_ld((const fdt64_t *)(const void *)r->value);
        return DX_OK;
    }
    if (r->length != sizeof(fdt32_t)) {
        return property_wrong(r, DX_BAD_VALUE, "must be one number of 32 or 64 bits, has %zu bytes", r->length);
    }
    *number = fdt32_ld((const fdt32_t *)(const void *)r->value);
    return DX_OK;
}

enum dx_error property_string(const struct reading *r, const char **string)
{
    const uint8_t *end = r->length == 0 ? NULL : memchr(r->value, '\0', r->length);
    if (end == NULL || end != r->value + r->length - 1) {
        return property_wrong(r, DX_BAD_VALUE, "must be one string");
    }
    *string = (const char *)r->value;
    return DX_OK;
}

enum dx_error property_choice(const struct reading *r, const char *const words[PROPERTY_CHOICES], unsigned *choice)
{
    const char *word = "";
    enum dx_error error = property_string(r, &word);
    if (error != DX_OK) {
        return error;
    }
    for (unsigned i = 0; i < PROPERTY_CHOICES; i++) {
        if (strcmp(word, words[i]) == 0) {
            *choice = i;
            return DX_OK;
        }
    }
    return property_wrong(r, DX_BAD_VALUE, "must be \"%s\", \"%s\" or \"%s\"", words[0], words[1], words[2]);
}

enum dx_error property_flag(const struct reading *r, bool *flag)
{
    if (r->length != 0) {
        return property_wrong(r, DX_BAD_VALUE, "takes no value, has %zu bytes", r->length);
    }
    *flag = true;
    return DX_OK;
}

enum dx_error property_data(const struct reading *r, struct blob *blob, const uint8_t *bytes, size_t length)
{
    if (blob->bytes != NULL) {
        return property_wrong(r, DX_DUPLICATE, "given both as data and as an image; choose one");
    }
    if (length == 0) {
        return property_wrong(r, DX_BAD_VALUE, "is empty");
    }
    *blob = (struct blob){.bytes = bytes, .length = length};
    return DX_OK;
}

static int image_by_phandle(const struct manifest *manifest, uint32_t phandle)
{
    if (manifest->images < 0 || phandle == 0) {
        return -FDT_ERR_NOTFOUND;
    }
    int node = fdt_first_subnode(manifest->blob, manifest->images);
    while (node >= 0 && fdt_get_phandle(manifest->blob, node) != phandle) {
        node = fdt_next_subnode(manifest->blob, node);
    }
    return node;
}

enum dx_error property_image(const struct reading *r, struct blob *blob)
{
    uint32_t phandle = 0;
    enum dx_error error = property_cell(r, &phandle);
    if (error != DX_OK) {
        return error;
    }
    const void *tree = r->manifest->blob;
    int node = image_by_phandle(r->manifest, phandle);
    if (node < 0) {
        return property_wrong(r, DX_NOT_FOUND, "must refer to a node in /images");
    }
    int length = 0;
    const void *data = fdt_getprop(tree, node, "data", &length);
    if (data == NULL) {
        struct printable name = printable(fdt_get_name(tree, node, NULL));
        return property_wrong(r, DX_MISSING, "/images/%s has no data", name.text);
    }
    return property_data(r, blob, data, (size_t)length);
}

enum dx_error property_reserved(const struct reading *r)
{
    return property_wrong(r, DX_NOT_SUPPORTED, "is not supported yet");
}

static enum dx_error read_by_row(const struct reading *r, const struct property_row *rows, size_t count, uint32_t *seen)
{
    for (size_t n = 0; n < count; n++) {
        if (strcmp(rows[n].name, r->property) != 0) {
            continue;
        }
        if ((*seen & UINT32_C(1) << n) != 0) {
            return property_wrong(r, DX_DUPLICATE, "is given twice");
        }
        *seen |= UINT32_C(1) << n;
        return rows[n].read(r);
    }
    return property_is_dtc_own(r->property) ? DX_OK : property_wrong(r, DX_UNKNOWN, "there is no such property");
}

enum dx_error properties_read(struct reading *r, int node, const struct property_row *rows, size_t count)
{
    const void *tree = r->manifest->blob;
    uint32_t seen = 0;
    int property = 0;
    assert(count <= PROPERTY_ROWS_MAX); /* one bit of seen for each */
    fdt_for_each_property_offset(property, tree, node)
    {
        int length = 0;
        r->value = fdt_getprop_by_offset(tree, property, &r->property, &length);
        if (r->value == NULL) {
            return refuse(r->refusal, DX_BAD_TREE, "capsule %s: %s", r->config->name, fdt_strerror(length));
        }
        r->length = (size_t)length;
        enum dx_error error = read_by_row(r, rows, count, &seen);
        if (error != DX_OK) {
            return error;
        }
    }
    return DX_OK;
}
