/* SPDX-License-Identifier: MIT
 *
 * A pairing heap of nodes that lie in what is ordered: inserting is one comparison, taking out merges the node's
 * children in pairs, without recursion. Each node's children are a list; the first one's back is its parent, the
 * others' back is the one before. The caller keeps the root, and a lock over all of it. before is a constant at each
 * call, so that compilers put it in.
 */
#ifndef LIB_PAIRING_HEAP_H
#define LIB_PAIRING_HEAP_H

#include "lib/base.h"

struct heap_node {
    struct heap_node *child, *sibling, *back; /* all NULL while in no heap */
};

/* Whether a comes out before b. */
typedef bool heap_before(const struct heap_node *a, const struct heap_node *b);

/* Joins two heaps into one, either of which may be NULL. Both are roots: siblings and back are NULL. */
static inline struct heap_node *heap_join(struct heap_node *a, struct heap_node *b, heap_before *before)
{
    if (a == NULL) {
        return b;
    }
    if (b == NULL) {
        return a;
    }
    struct heap_node *top = before(b, a) ? b : a;
    struct heap_node *under = top == a ? b : a;

    under->sibling = top->child;
    if (under->sibling != NULL) {
        under->sibling->back = under;
    }
    under->back = top;
    top->child = under;
    return top;
}

/* Makes a root of the first of a list of siblings; returns the rest. */
static inline struct heap_node *heap_unlink_first(struct heap_node *first)
{
    struct heap_node *rest = first->sibling;

    first->sibling = NULL;
    first->back = NULL;
    return rest;
}

/* Makes one heap of a list of siblings: pairs from first to last, then the pairs from last to first. */
static inline struct heap_node *heap_join_siblings(struct heap_node *list, heap_before *before)
{
    struct heap_node *pairs = NULL; /* a stack, linked by sibling */
    struct heap_node *root = NULL;

    while (list != NULL) {
        struct heap_node *a = list, *b = heap_unlink_first(a);
        list = b != NULL ? heap_unlink_first(b) : NULL;
        a = heap_join(a, b, before);
        a->sibling = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        struct heap_node *a = pairs;
        pairs = heap_unlink_first(a);
        root = heap_join(root, a, before);
    }
    return root;
}

/* Takes a node out of the heap that has this root; returns the new root. */
static inline struct heap_node *heap_take_out(struct heap_node *root, struct heap_node *node, heap_before *before)
{
    struct heap_node *children = heap_join_siblings(node->child, before);

    node->child = NULL;
    if (node == root) {
        return children;
    }
    if (node->back->child == node) {
        node->back->child = node->sibling;
    } else {
        node->back->sibling = node->sibling;
    }
    if (node->sibling != NULL) {
        node->sibling->back = node->back;
    }
    node->sibling = NULL;
    node->back = NULL;
    return heap_join(root, children, before);
}

#endif
