/* SPDX-License-Identifier: MIT
 *
 * Bounds of a manifest that a guest sends: see bounded.h. Reads the tree's tokens by itself, since the library's walk
 * is as long as names and padding are. (Devicetree specification, 5.2 to 5.4.)
 */
#include "manifest/bounded.h"

#include <libfdt.h>
#include <string.h>

struct walk {
    const uint8_t *bytes;
    uint64_t at, end;             /* of the structure */
    uint64_t strings, string_end; /* likewise */
};

static bool next_cell(struct walk *walk, uint32_t *cell)
{
    if (walk->end - walk->at < sizeof(*cell)) {
        return false;
    }
    const uint8_t *byte = walk->bytes + walk->at;
    *cell = (uint32_t)byte[0] << 24 | (uint32_t)byte[1] << 16 | (uint32_t)byte[2] << 8 | byte[3];
    walk->at += sizeof(*cell);
    return true;
}

static bool skip(struct walk *walk, uint64_t bytes)
{
    const uint64_t aligned = align_up(bytes, FDT_TAGSIZE);
    if (walk->end - walk->at < aligned) {
        return false;
    }
    walk->at += aligned;
    return true;
}

static bool is_image(const struct walk *walk, uint32_t name)
{
    static const char *const images[] = {"kernel", "initrd", "data"};
    for (size_t n = 0; n < ARRAY_LENGTH(images); n++) {
        const size_t length = strlen(images[n]) + 1;
        if (length <= walk->string_end - walk->strings && name <= walk->string_end - walk->strings - length &&
            memcmp(walk->bytes + walk->strings + name, images[n], length) == 0) {
            return true;
        }
    }
    return false;
}

static enum dx_error no_tree(struct refusal *refusal)
{
    return refuse(refusal, DX_BAD_TREE, "create: what was sent is not a compiled manifest, or not all of it");
}

static enum dx_error skip_node(struct walk *walk, struct refusal *refusal)
{
    const uint64_t room = walk->end - walk->at;
    const size_t length =
        strnlen((const char *)walk->bytes + walk->at, (size_t)MIN(room, (uint64_t)BOUNDED_NAME_MAX + 1));
    if (length > BOUNDED_NAME_MAX) {
        return refuse(refusal, DX_BAD_VALUE, "create: a node's name is longer than %d characters", BOUNDED_NAME_MAX);
    }
    return skip(walk, length + 1) ? DX_OK : no_tree(refusal);
}

static enum dx_error skip_property(struct walk *walk, struct refusal *refusal)
{
    uint32_t length;
    uint32_t name;
    if (!next_cell(walk, &length) || !next_cell(walk, &name)) {
        return no_tree(refusal);
    }
    if (length > BOUNDED_VALUE_MAX && !is_image(walk, name)) {
        return refuse(refusal, DX_BAD_VALUE,
                      "create: a property that is no kernel, initrd or data has more than %d bytes", BOUNDED_VALUE_MAX);
    }
    return skip(walk, length) ? DX_OK : no_tree(refusal);
}

static enum dx_error walk_tokens(struct walk *walk, struct refusal *refusal)
{
    for (unsigned n = 0; n < BOUNDED_TOKENS_MAX; n++) {
        uint32_t token;
        enum dx_error error = DX_OK;
        if (!next_cell(walk, &token)) {
            return no_tree(refusal);
        }
        if (token == FDT_END) {
            return DX_OK;
        }
        if (token == FDT_BEGIN_NODE) {
            error = skip_node(walk, refusal);
        } else if (token == FDT_PROP) {
            error = skip_property(walk, refusal);
        } else if (token != FDT_END_NODE) { /* padding too: compilers leave none */
            error = no_tree(refusal);
        }
        if (error != DX_OK) {
            return error;
        }
    }
    return refuse(refusal, DX_TOO_MANY, "create: it has more than %d nodes and properties", BOUNDED_TOKENS_MAX / 2);
}

enum dx_error manifest_bounded(struct blob blob, struct refusal *refusal)
{
    struct fdt_header header;
    struct fdt_reserve_entry reserved;
    if (blob.length < sizeof(header)) {
        return no_tree(refusal);
    }
    memcpy(&header, blob.bytes, sizeof(header));
    const uint64_t tokens = fdt32_to_cpu(header.off_dt_struct);
    const uint64_t strings = fdt32_to_cpu(header.off_dt_strings);
    const uint64_t strings_size = fdt32_to_cpu(header.size_dt_strings);
    const uint64_t reserves = fdt32_to_cpu(header.off_mem_rsvmap);
    if (fdt32_to_cpu(header.magic) != FDT_MAGIC || tokens > blob.length || strings > blob.length ||
        strings_size > blob.length - strings || reserves > blob.length - sizeof(reserved)) {
        return no_tree(refusal);
    }
    memcpy(&reserved, blob.bytes + reserves, sizeof(reserved));
    if (reserved.address != 0 || reserved.size != 0) {
        return refuse(refusal, DX_BAD_VALUE, "create: it has memory reservations, which mean nothing here");
    }
    if (strings_size > BOUNDED_STRINGS_MAX) {
        return refuse(refusal, DX_BAD_VALUE, "create: the names of its properties have more than %d bytes",
                      BOUNDED_STRINGS_MAX);
    }
    struct walk walk = {blob.bytes, tokens, blob.length, strings, strings + strings_size};
    return walk_tokens(&walk, refusal);
}
