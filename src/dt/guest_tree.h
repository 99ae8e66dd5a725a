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
    const char *isa;      /* what vCPUs may use, as guest_isa() writes it */
    const char *mmu_type; /* the largest paging mode, such as "sv39"; "" if none */
    uint32_t timebase_hz;
    uint32_t cbom_block_size; /* bytes; 0: the guest isn't told, nor of the extension; likewise the next two */
    uint32_t cboz_block_size;
    uint32_t cbop_block_size;
    const uint8_t *seed; /* fresh random bytes for this start; must not be used for anything else */
    size_t seed_length;
};

/* Writes the tree into size bytes at buffer, which is on 8 bytes. Returns how many bytes it has, or libfdt's negative
 * error: −FDT_ERR_NOSPACE if it doesn't fit. Reads the capsule's config, RAM, initrd and devices; the capsule must
 * not be changing. Each device writes its own node. */
int guest_tree_write(const struct capsule *capsule, const struct guest_tree_options *options, void *buffer,
                     size_t size);

#endif
