/* SPDX-License-Identifier: MIT
 *
 * Writes the device tree that a capsule's guest is started with: what the capsule has, and nothing else.
 */
#ifndef DT_GUEST_TREE_H
#define DT_GUEST_TREE_H

#include "core/capsule.h"

/* The class name of the device that /chosen's stdout-path leads to (device/uart16550.c); its node is serial@BASE. */
#define GUEST_TREE_UART_CLASS "uart16550"

struct guest_tree_options {
    const char *isa;        /* what vCPUs may use, as guest_isa() writes it */
    const char *isa_list;   /* and as guest_isa_list() does */
    size_t isa_list_length; /* bytes */
    const char *mmu_type;   /* the largest paging mode, such as "sv39"; "" if none */
    uint32_t timebase_hz;
    uint32_t cbom_block_size; /* bytes; 0: the guest isn't told; likewise the next two */
    uint32_t cboz_block_size;
    uint32_t cbop_block_size;
    void (*random)(uint8_t *bytes, size_t length); /* NULL: there is no rng-seed */
};

/* A tree that is being written. */
struct guest_tree {
    void *buffer;
    size_t size;           /* bytes at buffer */
    unsigned part;         /* which is next */
    uint32_t item;         /* done of that part: vCPUs, devices */
    uint32_t next_phandle; /* devices take them */
    int error;             /* libfdt's first; after it nothing is written */
};

/* Will write into size bytes at buffer, which is on 8 bytes and is nobody else's until all is written. */
void guest_tree_begin(struct guest_tree *tree, void *buffer, size_t size);
/* Writes the next part: some ten thousand instructions, but for the last but one, which walks the whole tree. True
 * when there is no more: the bytes behind the tree are zero, or tree->error says what was wrong, −FDT_ERR_NOSPACE if it
 * doesn't fit. Reads the capsule's config, RAM, initrd and devices, which must be the same at each step; each device
 * writes its own node. */
[[nodiscard]] bool guest_tree_step(struct guest_tree *tree, const struct capsule *capsule,
                                   const struct guest_tree_options *options);

#endif
