/* SPDX-License-Identifier: MIT
 *
 * Whether reading a manifest takes a short time whatever it says: it may come from a guest, and the size of its images
 * is all that may be large about it. To be asked before manifest_open, which says whether it is sound.
 */
#ifndef MANIFEST_BOUNDED_H
#define MANIFEST_BOUNDED_H

#include "core/config.h"
#include "core/refusal.h"

enum {
    BOUNDED_TOKENS_MAX = 1024,     /* beginnings and ends of nodes, properties */
    BOUNDED_NAME_MAX = 63,         /* characters of a node's name */
    BOUNDED_STRINGS_MAX = 4 * KIB, /* bytes of properties' names */
    BOUNDED_VALUE_MAX = 4 * KIB,   /* bytes of a property that isn't an image: kernel, initrd, data */
};

/* blob.bytes is 8-byte aligned. DX_BAD_TREE: it isn't a tree. DX_TOO_MANY, DX_BAD_VALUE: it is too large. */
[[nodiscard]] enum dx_error manifest_bounded(struct blob blob, struct refusal *refusal);

#endif
