/* SPDX-License-Identifier: MIT
 *
 * Reads the host tree's timers, software interrupts and PLIC: which register belongs to which hart. All of them name
 * their harts in interrupts-extended, as pairs of a hart's interrupt controller and a cause.
 */
#include <libfdt.h>
#include <string.h>

#include "core/tree.h"
#include "dt/host_parts.h"

enum {
    PAIR = 2 * sizeof(fdt32_t),
    PLIC_CONTEXTS_MAX = 15872,
    PLIC_SOURCES_MAX = 1023,
    CAUSE_SUPERVISOR_EXTERNAL = 9,
    CAUSE_MACHINE_EXTERNAL = 11,
    /* where a CLINT has its parts, and an ACLINT's MTIMER of one piece its time */
    CLINT_MTIMECMP = 0x4000,
    CLINT_MTIME = 0xbff8,
    CLINT_SIZE = 0xc000,
    MTIMER_MTIME = 0x7ff8,
    MTIMER_SIZE = 0x8000,
};

struct pairs {
    const uint8_t *at;
    size_t count;
};

static bool pairs_find(const struct tree_walk *walk, struct pairs *pairs)
{
    int length;
    pairs->at = fdt_getprop(walk->blob, walk->node, "interrupts-extended", &length);
    if (pairs->at == NULL || length == 0 || (size_t)length % PAIR != 0) {
        return false;
    }
    pairs->count = (size_t)length / PAIR;
    return true;
}

static uint32_t pair_phandle(const struct pairs *pairs, size_t index)
{
    return (uint32_t)tree_cells(pairs->at + index * PAIR, 1);
}

static uint32_t pair_cause(const struct pairs *pairs, size_t index)
{
    return (uint32_t)tree_cells(pairs->at + index * PAIR + sizeof(fdt32_t), 1);
}

static enum dx_error bad_node(struct host_reader *reader, const struct tree_walk *walk, const char *property)
{
    const char *name = fdt_get_name(walk->blob, walk->node, NULL);
    return refuse(reader->refusal, DX_BAD_TREE, "device tree: %s: %s can't be used", name == NULL ? "?" : name,
                  property);
}

/* Slot n belongs to the n-th hart that the list names. A list names a hart once per cause, usually in a row. */
static enum dx_error slots_read(struct host_reader *reader, const struct tree_walk *walk, struct machine_clint *clint)
{
    uint32_t phandles[MACHINE_HARTS_MAX];
    struct pairs pairs;

    if (!pairs_find(walk, &pairs)) {
        return bad_node(reader, walk, "interrupts-extended");
    }
    clint->slots = 0;
    for (size_t i = 0; i < pairs.count; i++) {
        uint32_t phandle = pair_phandle(&pairs, i);
        uint32_t slot = 0;
        while (slot < clint->slots && phandles[slot] != phandle) {
            slot++;
        }
        if (slot == MACHINE_HARTS_MAX) {
            return refuse(reader->refusal, DX_TOO_MANY, "device tree: a timer for more than %u harts",
                          (unsigned)MACHINE_HARTS_MAX);
        }
        if (slot == clint->slots) {
            int index = host_hart_by_intc(reader->machine, phandle);
            phandles[slot] = phandle;
            clint->ids[slot] = index < 0 ? ~0UL : reader->machine->harts[index].id;
            clint->slots++;
        }
    }
    return DX_OK;
}

/* msip, mtimecmp and mtime at fixed places in one window. */
static bool clint_place(const struct tree_walk *walk, struct machine_clint *clint, bool has_mtime)
{
    struct range window;
    if (!tree_walk_device(walk, 0, &window) || window.size < CLINT_SIZE) {
        return false;
    }
    clint->msip = window.base;
    clint->mtimecmp = window.base + CLINT_MTIMECMP;
    clint->mtime = has_mtime ? window.base + CLINT_MTIME : 0;
    return true;
}

/* Two entries of reg, named, or mtime before mtimecmp; or one of both, or of mtimecmp alone. */
static bool mtimer_place(const struct tree_walk *walk, struct machine_clint *clint, bool has_mtime)
{
    struct range mtime;
    struct range mtimecmp;
    int named = fdt_stringlist_search(walk->blob, walk->node, "reg-names", "mtimecmp");
    unsigned second = named >= 0 ? (unsigned)named : 1;
    unsigned first = second == 0 ? 1 : 0;

    if (tree_walk_device(walk, second, &mtimecmp)) {
        clint->mtime = tree_walk_device(walk, first, &mtime) && mtime.size >= sizeof(uint64_t) ? mtime.base : 0;
    } else if (tree_walk_device(walk, 0, &mtimecmp)) {
        clint->mtime = has_mtime && mtimecmp.size >= MTIMER_SIZE ? mtimecmp.base + MTIMER_MTIME : 0;
    } else {
        return false;
    }
    clint->mtimecmp = mtimecmp.base;
    return mtimecmp.size / sizeof(uint64_t) >= clint->slots;
}

static bool mswi_place(const struct tree_walk *walk, struct machine_clint *clint)
{
    struct range window;
    if (!tree_walk_device(walk, 0, &window)) {
        return false;
    }
    clint->msip = window.base;
    return window.size / sizeof(uint32_t) >= clint->slots;
}

static bool place(const struct tree_walk *walk, struct machine_clint *clint, enum clint_kind kind)
{
    switch (kind) {
    case CLINT_SIFIVE:
        return clint_place(walk, clint, true);
    case CLINT_THEAD:
        return clint_place(walk, clint, false);
    case ACLINT_MTIMER:
        return mtimer_place(walk, clint, true);
    case ACLINT_MTIMER_THEAD:
        return mtimer_place(walk, clint, false);
    case ACLINT_MSWI:
        return mswi_place(walk, clint);
    }
    return false;
}

enum dx_error host_clint_read(struct host_reader *reader, const struct tree_walk *walk, unsigned kind)
{
    struct machine *machine = reader->machine;
    int length;

    if (machine->clint_count == MACHINE_CLINTS_MAX) {
        return refuse(reader->refusal, DX_TOO_MANY, "device tree: more than %u CLINT or ACLINT devices",
                      (unsigned)MACHINE_CLINTS_MAX);
    }
    struct machine_clint *clint = &machine->clints[machine->clint_count];
    enum dx_error error = slots_read(reader, walk, clint);
    if (error != DX_OK) {
        return error;
    }
    if (!place(walk, clint, kind)) {
        return bad_node(reader, walk, "reg");
    }
    clint->split_writes = kind == CLINT_THEAD || kind == ACLINT_MTIMER_THEAD ||
                          fdt_getprop(walk->blob, walk->node, "clint,has-no-64bit-mmio", &length) != NULL;
    machine->clint_count++;
    return DX_OK;
}

/* A context's position in the list is its number. Cause −1 means that the context is wired to nothing. */
static void contexts_read(struct machine *machine, const struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        int index = host_hart_by_intc(machine, pair_phandle(pairs, i));
        uint32_t cause = pair_cause(pairs, i);
        if (index >= 0 && cause == CAUSE_MACHINE_EXTERNAL) {
            machine->plic.m_context[index] = (int32_t)i;
        } else if (index >= 0 && cause == CAUSE_SUPERVISOR_EXTERNAL) {
            machine->plic.s_context[index] = (int32_t)i;
        }
    }
}

enum dx_error host_plic_read(struct host_reader *reader, const struct tree_walk *walk, unsigned unused)
{
    struct machine_plic *plic = &reader->machine->plic;
    struct range window;
    struct pairs pairs;
    uint32_t sources;
    (void)unused;

    if (plic->base != 0) {
        return DX_OK; /* a machine with several has its console on the first */
    }
    if (!tree_walk_device(walk, 0, &window) || window.base == 0) {
        return bad_node(reader, walk, "reg");
    }
    if (!tree_u32(walk->blob, walk->node, "riscv,ndev", &sources) || sources > PLIC_SOURCES_MAX) {
        return bad_node(reader, walk, "riscv,ndev");
    }
    if (!pairs_find(walk, &pairs) || pairs.count > PLIC_CONTEXTS_MAX) {
        return bad_node(reader, walk, "interrupts-extended");
    }
    contexts_read(reader->machine, &pairs);
    plic->base = window.base;
    plic->size = window.size;
    plic->sources = sources;
    plic->contexts = (uint32_t)pairs.count;
    reader->plic_phandle = fdt_get_phandle(walk->blob, walk->node);
    return DX_OK;
}
