/* SPDX-License-Identifier: MIT
 *
 * The load plan: recognises the kernel, has it placed, and puts the initrd and the tree above it where every kernel
 * can reach them.
 */
#include "manifest/image.h"

#include <string.h>

#include "manifest/image_kind.h"

enum {
    TREE_ROOM_USUAL = 64 * KIB,
    TREE_ROOM_LARGE = 128 * KIB, /* for most vCPUs */
    TREE_SHARE = 16,             /* take the usual room only where it is at most this part of what is free */
    TREE_ROOM_BASE = 4 * KIB,
    TREE_ROOM_VCPU = 2 * KIB, /* its ISA string twice, each up to 512 bytes, and the rest */
    TREE_ROOM_LEAST = 8 * KIB,
    INITRD_ALIGN_USUAL = 2 * MIB,
};

/* --- what kind of kernel ---------------------------------------------------------------------------------------- */

/* Files that would be taken for flat binaries and run as garbage; their users need telling. */
struct foreign_row {
    uint8_t at, length;
    const char *magic;
    const char *advice;
};

static const struct foreign_row foreign[] = {
    {0, 3, "\x1f\x8b\x08", "is compressed (gzip); decompress it first: gzip -d"},
    {0, 4, "\x28\xb5\x2f\xfd", "is compressed (zstd); decompress it first: zstd -d"},
    {0, 6, "\xfd\x37zXZ\0", "is compressed (xz); decompress it first: xz -d"},
    {0, 4, "\x02\x21\x4c\x18", "is compressed (lz4); decompress it first: lz4 -d"},
    {4, 4, "zimg", "is a compressed EFI program (zboot); use the Image that it was made from"},
    {0, 4, "\x27\x05\x19\x56", "is wrapped for U-Boot (uImage); use the file that it was made from"},
    {0, 4, "\xd0\x0d\xfe\xed", "is a device tree or a FIT image; use the kernel inside"},
};

static const struct foreign_row *find_foreign(struct blob kernel)
{
    for (size_t i = 0; i < ARRAY_LENGTH(foreign); i++) {
        const struct foreign_row *row = &foreign[i];
        if (kernel.length >= (size_t)row->at + row->length &&
            memcmp(kernel.bytes + row->at, row->magic, row->length) == 0) {
            return row;
        }
    }
    return NULL;
}

/* Nobody knows how much zeroed data a flat binary has: initrd and tree go as far from it as they can, as always. */
static enum dx_error place_flat(const struct capsule_config *config, struct range ram, struct load_plan *plan,
                                struct range *extent, struct refusal *refusal)
{
    uint64_t offset = config->has_kernel_offset ? config->kernel_offset : 0;
    if (offset % 2 != 0) {
        return refuse(refusal, DX_UNALIGNED, "capsule %s: kernel-offset: 0x%llx is odd", config->name,
                      (unsigned long long)offset);
    }
    if (offset >= ram.size) {
        return refuse(refusal, DX_BAD_VALUE, "capsule %s: kernel-offset: 0x%llx is beyond memory's 0x%llx bytes",
                      config->name, (unsigned long long)offset, (unsigned long long)ram.size);
    }
    if (config->kernel.length > ram.size - offset) {
        return refuse(refusal, DX_TOO_LARGE, "capsule %s: kernel: has 0x%llx bytes at 0x%llx, but memory is 0x%llx",
                      config->name, (unsigned long long)config->kernel.length, (unsigned long long)offset,
                      (unsigned long long)ram.size);
    }
    plan->pieces[plan->piece_count++] =
        (struct load_piece){.offset = offset, .bytes = config->kernel.bytes, .length = config->kernel.length};
    plan->entry = ram.base + offset;
    *extent = (struct range){.base = plan->entry, .size = config->kernel.length};
    return DX_OK;
}

static enum dx_error place_kernel(const struct capsule_config *config, struct range ram, struct load_plan *plan,
                                  struct range *extent, struct refusal *refusal)
{
    const struct foreign_row *row = find_foreign(config->kernel);
    if (row != NULL) {
        return refuse(refusal, DX_BAD_IMAGE, "capsule %s: kernel: %s", config->name, row->advice);
    }
    image_placer *placer = image_is_elf(config->kernel)     ? image_place_elf
                           : image_is_linux(config->kernel) ? image_place_linux
                                                            : place_flat;
    if (placer != place_flat && config->has_kernel_offset) {
        return refuse(refusal, DX_BAD_VALUE, "capsule %s: kernel-offset: only for flat binaries; this is an %s",
                      config->name, placer == image_place_elf ? "ELF file" : "Image");
    }
    return placer(config, ram, plan, extent, refusal);
}

/* --- initrd and tree -------------------------------------------------------------------------------------------- */

/* What the generated tree may need: a cpu node with its ISA string for each vCPU, the rest, and the bootargs. */
static uint64_t tree_least(const struct capsule_config *config)
{
    uint64_t bytes = TREE_ROOM_BASE + (uint64_t)TREE_ROOM_VCPU * config->vcpus + strlen(config->bootargs);
    return MAX(align_up(bytes, PAGE_SIZE), (uint64_t)TREE_ROOM_LEAST);
}

/* How many bytes from RAM's start a kernel is sure to reach: 32-bit Linux maps its low memory only, and no 32-bit
 * kernel has an address beyond 4 GiB before it has page tables. */
static uint64_t reach_of(struct range ram)
{
    uint64_t reach = (uint64_t)(XLEN == 32 ? 512 : 1024) * MIB;
    if (XLEN == 32) {
        reach = MIN(reach, (UINT64_C(1) << 32) - ram.base);
    }
    return MIN(reach, ram.size);
}

/* From the top down: tree, initrd; false if the kernel is in the way. Below the kernel nothing is put, since Linux
 * doesn't map what lies below it. */
static bool place_below(const struct capsule_config *config, struct range ram, uint64_t reach, uint64_t floor,
                        struct load_plan *plan)
{
    uint64_t top = ram.base + reach;
    uint64_t pages = align_up(config->initrd.length, PAGE_SIZE);
    uint64_t least = tree_least(config);
    if (top < floor || top - floor < pages || top - floor - pages < least) {
        return false;
    }
    uint64_t room = top - floor - pages;
    uint64_t usual = least <= TREE_ROOM_USUAL ? TREE_ROOM_USUAL : TREE_ROOM_LARGE;
    uint64_t tree = top - least;
    plan->tree_room = least;
    if (room / TREE_SHARE >= usual && least <= usual) {
        /* on its own size, so that it never straddles two of the kernel's early pages */
        tree = align_down(top - usual, usual);
        plan->tree_room = usual;
    }
    plan->tree_offset = tree - ram.base;
    if (config->initrd.length > 0) {
        uint64_t base = align_down(tree - pages, INITRD_ALIGN_USUAL);
        base = base >= floor ? base : tree - pages;
        plan->initrd = (struct range){.base = base, .size = config->initrd.length};
    }
    return true;
}

static enum dx_error place_rest(const struct capsule_config *config, struct range ram, struct range kernel,
                                struct load_plan *plan, struct refusal *refusal)
{
    uint64_t floor = align_up(kernel.base + kernel.size, PAGE_SIZE);
    uint64_t reach = reach_of(ram);
    bool placed = place_below(config, ram, reach, floor, plan);
    if (!placed && XLEN == 64) {
        reach = ram.size; /* 64-bit kernels do reach all of it */
        placed = place_below(config, ram, reach, floor, plan);
    }
    if (!placed) {
        uint64_t needed = floor - ram.base + align_up(config->initrd.length, PAGE_SIZE) + tree_least(config);
        return refuse(refusal, DX_TOO_LARGE,
                      "capsule %s: memory: kernel, initrd and tree need %llu KiB, of %llu KiB that they can lie in",
                      config->name, (unsigned long long)(needed / KIB), (unsigned long long)(reach / KIB));
    }
    if (plan->initrd.size > 0) {
        plan->pieces[plan->piece_count++] = (struct load_piece){
            .offset = plan->initrd.base - ram.base,
            .bytes = config->initrd.bytes,
            .length = config->initrd.length,
        };
    }
    return DX_OK;
}

/* --- the whole --------------------------------------------------------------------------------------------------- */

/* What loading relies on, whatever the headers said. */
static void assert_sound(const struct load_plan *plan, struct range ram)
{
    struct range whole = {.base = 0, .size = ram.size};
    uint64_t end = 0;
    for (size_t i = 0; i < plan->piece_count; i++) {
        const struct load_piece *piece = &plan->pieces[i];
        assert(piece->offset >= end && range_holds(whole, piece->offset, piece->length));
        end = piece->offset + piece->length;
    }
    assert(plan->tree_offset >= end && plan->tree_offset % 8 == 0);
    assert(range_holds(whole, plan->tree_offset, plan->tree_room));
    assert(range_holds(ram, plan->entry, 1));
}

enum dx_error image_plan(const struct capsule_config *config, struct range ram, struct load_plan *plan,
                         struct refusal *refusal)
{
    struct range addresses = {.base = 0, .size = UINT64_C(1) << 56};
    assert(ram.size > 0 && ram.base % PAGE_SIZE == 0 && ram.size % PAGE_SIZE == 0 && range_holds_range(addresses, ram));

    *plan = (struct load_plan){.piece_count = 0};
    struct range kernel = {.base = ram.base, .size = 0};
    enum dx_error error = place_kernel(config, ram, plan, &kernel, refusal);
    if (error != DX_OK) {
        return error;
    }
    if (XLEN == 32 && plan->entry > UINT32_MAX) {
        return refuse(refusal, DX_BAD_VALUE, "capsule %s: memory-base: 32-bit harts cannot start at 0x%llx",
                      config->name, (unsigned long long)plan->entry);
    }
    error = place_rest(config, ram, kernel, plan, refusal);
    if (error == DX_OK) {
        assert_sound(plan, ram);
    }
    return error;
}
