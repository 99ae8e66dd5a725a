/* SPDX-License-Identifier: MIT
 *
 * Inside manifest/ only: one kind of kernel each. A placer puts the kernel's pieces and entry into the plan and what
 * the kernel occupies, zeroed data included, into *extent (guest-physical, inside RAM).
 */
#ifndef MANIFEST_IMAGE_KIND_H
#define MANIFEST_IMAGE_KIND_H

#include "manifest/image.h"

enum { IMAGE_SEGMENTS_MAX = 16 };
static_assert(IMAGE_SEGMENTS_MAX + 1 <= LOAD_PIECES_MAX, "segments and an initrd");

typedef enum dx_error image_placer(const struct capsule_config *config, struct range ram, struct load_plan *plan,
                                   struct range *extent, struct refusal *refusal);

bool image_is_elf(struct blob kernel);
bool image_is_linux(struct blob kernel);
image_placer image_place_elf;
image_placer image_place_linux;

/* A little-endian number of width bytes (1 to 8) at any alignment. */
static inline uint64_t image_number(const uint8_t *bytes, unsigned width)
{
    uint64_t number = 0;
    for (unsigned i = width; i > 0; i--) {
        number = number << 8 | bytes[i - 1];
    }
    return number;
}

/* Linux maps itself with its biggest early pages: its RAM must start at a multiple of one. */
static inline uint64_t image_linux_align(void)
{
    return (uint64_t)(XLEN == 32 ? 4 : 2) * MIB;
}

#endif
