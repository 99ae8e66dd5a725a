/* SPDX-License-Identifier: MIT
 *
 * The manifest as a whole: is it sound, what stands at its root, and capsule after capsule.
 */
#include "manifest/manifest.h"

#include <string.h>

#include <libfdt.h>

#include "manifest/capsule_node.h"

/* libfdt reads the structure block in words and the header as it is: on a hart that traps on misaligned accesses
 * a crooked offset would be ours to suffer, so it is refused before libfdt's own walk. */
static enum dx_error check_header(const void *blob, size_t limit, struct refusal *refusal)
{
    if ((uintptr_t)blob % 8 != 0) {
        return refuse(refusal, DX_UNALIGNED, "manifest: must lie at a multiple of 8 bytes");
    }
    if (limit < sizeof(struct fdt_header) || fdt_magic(blob) != FDT_MAGIC) {
        return refuse(refusal, DX_BAD_TREE, "manifest: not a device tree blob; compile it with dtc");
    }
    if (fdt_totalsize(blob) > limit) {
        return refuse(refusal, DX_BAD_TREE, "manifest: cut short, has %zu of %u bytes", limit,
                      (unsigned)fdt_totalsize(blob));
    }
    if (fdt_version(blob) < 17) {
        return refuse(refusal, DX_BAD_TREE, "manifest: version %u of the format, must be 17; use a newer dtc",
                      (unsigned)fdt_version(blob));
    }
    if (fdt_off_dt_struct(blob) % sizeof(fdt32_t) != 0 || fdt_off_mem_rsvmap(blob) % sizeof(fdt64_t) != 0) {
        return refuse(refusal, DX_BAD_TREE, "manifest: its blocks are not aligned");
    }
    return DX_OK;
}

enum dx_error manifest_check(const void *blob, size_t limit, struct refusal *refusal)
{
    enum dx_error error = check_header(blob, limit, refusal);
    if (error != DX_OK) {
        return error;
    }
    int status = fdt_check_full(blob, limit);
    if (status != 0) {
        return refuse(refusal, DX_BAD_TREE, "manifest: %s", fdt_strerror(status));
    }
    if (fdt_node_check_compatible(blob, 0, "diosix,manifest") != 0) {
        return refuse(refusal, DX_BAD_VALUE, "manifest: compatible: the root's must be \"diosix,manifest\"");
    }
    if (fdt_subnode_offset(blob, 0, "capsules") < 0) {
        return refuse(refusal, DX_MISSING, "manifest: has no /capsules");
    }
    return DX_OK;
}

enum dx_error manifest_open(struct manifest *manifest, const void *blob, size_t limit, struct refusal *refusal)
{
    enum dx_error error = manifest_check(blob, limit, refusal);
    if (error != DX_OK) {
        return error;
    }
    int capsules = fdt_subnode_offset(blob, 0, "capsules");
    *manifest = (struct manifest){
        .blob = blob,
        .capsules = capsules,
        .after_capsules = fdt_next_subnode(blob, capsules),
        .networks = fdt_subnode_offset(blob, 0, "networks"),
        .images = fdt_subnode_offset(blob, 0, "images"),
    };
    return DX_OK;
}

/* --- what stands outside of capsules --------------------------------------------------------------------------- */

/* Refuses the first property of the node that is neither dtc's own nor in the list, which NULL ends. */
static enum dx_error check_properties(const void *tree, int node, const char *const *known, struct refusal *refusal)
{
    int property = 0;
    fdt_for_each_property_offset(property, tree, node)
    {
        const char *name = "";
        int length = 0;
        if (fdt_getprop_by_offset(tree, property, &name, &length) == NULL) {
            return refuse(refusal, DX_BAD_TREE, "manifest: %s", fdt_strerror(length));
        }
        const char *const *row = known;
        while (*row != NULL && strcmp(*row, name) != 0) {
            row++;
        }
        if (*row == NULL && !property_is_dtc_own(name)) {
            const char *where = node == 0 ? "the root" : fdt_get_name(tree, node, NULL);
            return refuse(refusal, DX_UNKNOWN, "manifest: %s: there is no such property in %s", printable(name).text,
                          printable(where).text);
        }
    }
    return DX_OK;
}

static enum dx_error check_image(const void *tree, int node, struct refusal *refusal)
{
    static const char *const known[] = {"data", NULL};
    struct printable name = printable(fdt_get_name(tree, node, NULL));
    int length = 0;
    if (fdt_getprop(tree, node, "data", &length) == NULL || length == 0) {
        return refuse(refusal, DX_MISSING, "manifest: image %s: has no data", name.text);
    }
    if (fdt_first_subnode(tree, node) >= 0) {
        return refuse(refusal, DX_UNKNOWN, "manifest: image %s: must not have nodes inside", name.text);
    }
    return check_properties(tree, node, known, refusal);
}

static enum dx_error check_images(const void *tree, int images, struct refusal *refusal)
{
    static const char *const none[] = {NULL};
    enum dx_error error = check_properties(tree, images, none, refusal);
    int node = fdt_first_subnode(tree, images);
    while (node >= 0 && error == DX_OK) {
        error = check_image(tree, node, refusal);
        node = fdt_next_subnode(tree, node);
    }
    return error;
}

/* The root itself, or a child of it. A mistake here is reported, and the capsules that don't need it still start. */
static enum dx_error check_outside(const struct manifest *manifest, int node, struct refusal *refusal)
{
    static const char *const known_root[] = {"compatible", "model", "#address-cells", "#size-cells", NULL};
    static const char *const none[] = {NULL};
    const void *tree = manifest->blob;
    const char *name = fdt_get_name(tree, node, NULL);
    if (node == 0) {
        return check_properties(tree, node, known_root, refusal);
    }
    if (node == manifest->capsules) {
        return check_properties(tree, node, none, refusal);
    }
    if (node == manifest->images) {
        return check_images(tree, node, refusal);
    }
    if (node == manifest->networks) {
        return check_properties(tree, node, none, refusal);
    }
    if (strcmp(name, "capsules") == 0 || strcmp(name, "images") == 0 || strcmp(name, "networks") == 0) {
        return refuse(refusal, DX_DUPLICATE, "manifest: /%s is there twice; only the first is used", name);
    }
    if (strncmp(name, "__", 2) == 0) {
        return DX_OK; /* dtc -@ writes labels to /__symbols__ and the like */
    }
    return refuse(refusal, DX_UNKNOWN, "manifest: /%s: there is no such node", printable(name).text);
}

/* --- capsule after capsule ------------------------------------------------------------------------------------- */

static bool in_capsules(const struct manifest *manifest, int node)
{
    return node > manifest->capsules && (manifest->after_capsules < 0 || node < manifest->after_capsules);
}

/* The walk's order: the root, its children, and right after /capsules the capsules in it. Negative at the end. */
static int following(const struct manifest *manifest, int node)
{
    bool opens = node == 0 || node == manifest->capsules;
    int next = opens ? fdt_first_subnode(manifest->blob, node) : fdt_next_subnode(manifest->blob, node);
    if (next < 0 && (node == manifest->capsules || in_capsules(manifest, node))) {
        next = manifest->after_capsules;
    }
    return next;
}

/* How many capsules stand before this one, counted no further than the limit. */
static unsigned capsules_before(const struct manifest *manifest, int node)
{
    unsigned count = 0;
    int other = fdt_first_subnode(manifest->blob, manifest->capsules);
    for (; other >= 0 && other != node && count < CAPSULES_MAX; count++) {
        other = fdt_next_subnode(manifest->blob, other);
    }
    return count;
}

static enum dx_error check_names_before(const struct manifest *manifest, int node, const struct capsule_config *config,
                                        struct refusal *refusal)
{
    int other = fdt_first_subnode(manifest->blob, manifest->capsules);
    for (; other >= 0 && other != node; other = fdt_next_subnode(manifest->blob, other)) {
        if (strcmp(fdt_get_name(manifest->blob, other, NULL), config->name) == 0) {
            return refuse(refusal, DX_DUPLICATE, "capsule %s: another capsule before it has this name", config->name);
        }
    }
    return DX_OK;
}

/* A memory-base may be a place in the host's memory, unless isolation is surely hyp. */
static bool wants_place(const struct manifest *manifest, const struct capsule_config *config)
{
    const bool physical =
        config->isolation == ISOLATION_AUTO ? manifest->places_are_physical : config->isolation == ISOLATION_PMP;
    return config->has_memory_base && physical;
}

/* Two capsules that ask for the same memory: the first keeps it, unless its node on its own is refused. One that was
 * itself refused for an overlap still counts, so that the answer needs no memory of earlier answers. */
static enum dx_error check_places_before(const struct manifest *manifest, int node, const struct capsule_config *config,
                                         struct refusal *refusal)
{
    struct range mine = {.base = config->memory_base, .size = config->memory};
    int other = fdt_first_subnode(manifest->blob, manifest->capsules);
    for (; other >= 0 && other != node; other = fdt_next_subnode(manifest->blob, other)) {
        if (fdt_getprop(manifest->blob, other, "memory-base", NULL) == NULL) {
            continue;
        }
        struct capsule_config first;
        if (capsule_node_read(manifest, other, &first, refusal) != DX_OK || !wants_place(manifest, &first)) {
            continue;
        }
        struct range theirs = {.base = first.memory_base, .size = first.memory};
        if (range_overlaps(mine, theirs)) {
            return refuse(refusal, DX_OVERLAP, "capsule %s: memory-base: 0x%llx-0x%llx overlaps %s's 0x%llx-0x%llx",
                          config->name, (unsigned long long)mine.base, (unsigned long long)range_last(mine), first.name,
                          (unsigned long long)theirs.base, (unsigned long long)range_last(theirs));
        }
    }
    return DX_OK;
}

/* A capsule beyond the limit ends the walk of /capsules, so that a hostile manifest has a bounded cost. */
static enum dx_error visit_capsule(const struct manifest *manifest, int node, int *cursor,
                                   struct capsule_config *config, struct refusal *refusal)
{
    enum dx_error error = capsule_node_read(manifest, node, config, refusal);
    if (capsules_before(manifest, node) >= CAPSULES_MAX) {
        *cursor = manifest->after_capsules;
        return refuse(refusal, DX_TOO_MANY, "capsule %s: it and all after it are beyond the limit of %d capsules",
                      config->name, CAPSULES_MAX);
    }
    if (error == DX_OK) {
        error = check_names_before(manifest, node, config, refusal);
    }
    if (error == DX_OK && wants_place(manifest, config)) {
        error = check_places_before(manifest, node, config, refusal);
    }
    return error;
}

bool manifest_next(const struct manifest *manifest, int *cursor, struct capsule_config *config, struct refusal *refusal,
                   enum dx_error *error)
{
    while (*cursor >= 0) {
        int node = *cursor;
        *cursor = following(manifest, node);
        if (in_capsules(manifest, node)) {
            *error = visit_capsule(manifest, node, cursor, config, refusal);
            return true;
        }
        *error = check_outside(manifest, node, refusal);
        if (*error != DX_OK) {
            config->name[0] = '\0';
            return true;
        }
    }
    return false;
}
