/* SPDX-License-Identifier: MIT
 *
 * Walks every node of a checked tree once, from the root on, and remembers what the nodes above say about buses, so
 * that a node's registers can be told as the processor's addresses. Time is linear in the tree, whatever is in it.
 */
#ifndef DT_TREE_WALK_H
#define DT_TREE_WALK_H

#include "lib/address.h"

enum {
    TREE_DEPTH_MAX = 16,  /* nodes below this are walked, but no register of theirs can be told */
    TREE_RANGES_MAX = 64, /* entries of one ranges property that are looked at */
};

/* What one node on the way says about the nodes in it. */
struct tree_bus {
    int node;
    unsigned address_cells; /* 0 or over 2: addresses can't be told */
    unsigned size_cells;
    const uint8_t *ranges;     /* NULL: its addresses are not the parent's */
    size_t ranges_length;      /* bytes; 0: they are the same */
    uint32_t interrupt_parent; /* phandle, inherited from above; 0: none is named */
};

struct tree_walk {
    const void *blob;
    int node;                              /* libfdt's offset of the node where the walk stands */
    int depth;                             /* 0: the root */
    struct tree_bus buses[TREE_DEPTH_MAX]; /* of the nodes from the root to this one */
};

/* Puts the walk before the root. */
void tree_walk_start(struct tree_walk *walk, const void *blob);
/* Steps to the next node; false after the last one. */
bool tree_walk_next(struct tree_walk *walk);
/* Starts again and goes to this node; false if there is none at that offset. */
bool tree_walk_to(struct tree_walk *walk, const void *blob, int node);

/* Writes the node's path, as the tree spells it, with a NUL. False if it has more than size bytes or a name can't be
 * read; then what path holds means nothing. */
bool tree_walk_path(const struct tree_walk *walk, char *path, size_t size);

/* The node's entry number index of reg, as the processor sees it. False if there is none, if it wraps, or if a bus
 * above doesn't pass it through. A bus without sizes gives size 0. */
bool tree_walk_reg(const struct tree_walk *walk, unsigned index, struct range *range);
/* The same, but only what a pointer of this machine can reach in whole. */
bool tree_walk_device(const struct tree_walk *walk, unsigned index, struct range *range);
/* The phandle of the controller that the node's interrupts property is for; 0 if none is named. */
uint32_t tree_walk_interrupt_parent(const struct tree_walk *walk);

#endif
