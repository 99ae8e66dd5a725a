/* SPDX-License-Identifier: MIT
 *
 * The RISC-V Image: what Linux and others that take its boot protocol are built as. 64 bytes of header that are
 * also the first instructions; the file is loaded as it is.
 */
#include <string.h>

#include "manifest/image_kind.h"

enum {
    HEADER_SIZE = 64,
    TEXT_OFFSET_AT = 8, /* 8 bytes: where it wants to be, from the start of RAM */
    IMAGE_SIZE_AT = 16, /* 8 bytes: with zeroed data; 0 in old kernels */
    FLAGS_AT = 24,      /* 8 bytes */
    MAGIC_AT = 48,      /* "RISCV"; the only one before version 0.2 */
    MAGIC2_AT = 56,     /* "RSC" and 5 */
    FLAG_BIG_ENDIAN = 1,
    TEXT_OFFSET_USUAL = 4 * MIB, /* the most that an honest kernel asks for */
};

bool image_is_linux(struct blob kernel)
{
    return kernel.length >= HEADER_SIZE && (memcmp(kernel.bytes + MAGIC2_AT, "RSC\x05", 4) == 0 ||
                                            memcmp(kernel.bytes + MAGIC_AT, "RISCV\0\0\0", 8) == 0);
}

/* Not enough memory for an honest file is one thing, a header that claims too much another. */
static enum dx_error misfit(const struct capsule_config *config, struct range ram, uint64_t text_offset, uint64_t size,
                            struct refusal *refusal)
{
    struct range whole = {.base = 0, .size = ram.size};
    bool honest = text_offset <= TEXT_OFFSET_USUAL && !range_holds(whole, text_offset, config->kernel.length);
    return refuse(refusal, honest ? DX_TOO_LARGE : DX_BAD_IMAGE,
                  "capsule %s: kernel: needs 0x%llx bytes at text_offset 0x%llx, but memory is 0x%llx bytes",
                  config->name, (unsigned long long)size, (unsigned long long)text_offset,
                  (unsigned long long)ram.size);
}

enum dx_error image_place_linux(const struct capsule_config *config, struct range ram, struct load_plan *plan,
                                struct range *extent, struct refusal *refusal)
{
    struct blob kernel = config->kernel;
    uint64_t text_offset = image_number(kernel.bytes + TEXT_OFFSET_AT, 8);
    uint64_t size = MAX(image_number(kernel.bytes + IMAGE_SIZE_AT, 8), (uint64_t)kernel.length);
    if ((image_number(kernel.bytes + FLAGS_AT, 8) & FLAG_BIG_ENDIAN) != 0) {
        return refuse(refusal, DX_BAD_IMAGE, "capsule %s: kernel: is built for big-endian harts", config->name);
    }
    if (ram.base % image_linux_align() != 0) {
        return refuse(refusal, DX_UNALIGNED,
                      "capsule %s: kernel: an Image needs memory-base at a multiple of %llu MiB, it is 0x%llx",
                      config->name, (unsigned long long)(image_linux_align() / MIB), (unsigned long long)ram.base);
    }
    if (!range_holds((struct range){.base = 0, .size = ram.size}, text_offset, size)) {
        return misfit(config, ram, text_offset, size, refusal);
    }
    if (text_offset % 4 != 0) {
        return refuse(refusal, DX_BAD_IMAGE, "capsule %s: kernel: text_offset 0x%llx is not aligned", config->name,
                      (unsigned long long)text_offset);
    }
    plan->pieces[plan->piece_count++] =
        (struct load_piece){.offset = text_offset, .bytes = kernel.bytes, .length = kernel.length};
    plan->entry = ram.base + text_offset;
    *extent = (struct range){.base = plan->entry, .size = size};
    return DX_OK;
}
