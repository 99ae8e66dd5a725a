/* SPDX-License-Identifier: MIT
 *
 * The PLIC's model. Sets of sources are bitmaps, so that a claim looks at a few words whatever the guest enabled.
 */
#include "device/plic.h"

#include <string.h>

#include "device/tree_node.h"

enum {
    CONTEXTS_MAX = 2 * PLIC_VCPUS_MAX,
    ENABLE_WORDS = 0x80 / 4,  /* the layout has room for 1024 sources in each context */
    INTERRUPT_S_EXTERNAL = 9, /* in a hart's own numbering; what the S contexts drive */
};
#define NO_INTERRUPT 0xffffffffU /* how a tree says that a context leads nowhere */

static_assert(PLIC_SOURCE_MAX + 1 == PLIC_SOURCE_WORDS * 32, "every bit of the last word is a source");
static_assert(4 * PLIC_VCPUS_MAX <= TREE_NODE_CELLS_MAX, "interrupts-extended must fit");

static struct plic *plic_of(struct device *device)
{
    return CONTAINER_OF(device, struct plic, device);
}

static bool is_source(uint64_t source)
{
    return source >= 1 && source <= PLIC_SOURCE_MAX;
}

static bool has(const struct plic_sources *set, uint32_t source)
{
    return (set->words[source / 32] >> (source % 32) & 1) != 0;
}

static void put(struct plic_sources *set, uint32_t source, bool in)
{
    uint32_t bit = UINT32_C(1) << (source % 32);

    if (in) {
        set->words[source / 32] |= bit;
    } else {
        set->words[source / 32] &= ~bit;
    }
}

/* The source that vCPU's context would claim: highest priority above floor, then lowest number. 0 if none. */
static uint32_t best_source(const struct plic *plic, uint32_t vcpu, uint32_t floor)
{
    struct plic_sources wanted;
    uint32_t any = 0;

    for (size_t word = 0; word < PLIC_SOURCE_WORDS; word++) {
        wanted.words[word] = plic->pending.words[word] & plic->enabled[vcpu].words[word];
        any |= wanted.words[word];
    }
    if (any == 0) {
        return 0;
    }
    for (uint32_t priority = PLIC_PRIORITIES - 1; priority > floor; priority--) {
        for (uint32_t word = 0; word < PLIC_SOURCE_WORDS; word++) {
            uint32_t here = wanted.words[word] & plic->at_priority[priority].words[word];

            if (here != 0) {
                return word * 32 + (uint32_t)__builtin_ctz(here);
            }
        }
    }
    return 0;
}

static void update_vcpu(struct plic *plic, uint32_t vcpu)
{
    uint32_t bit = UINT32_C(1) << vcpu;
    bool level = best_source(plic, vcpu, plic->threshold[vcpu]) != 0;

    if (level != ((plic->raised & bit) != 0)) {
        plic->raised ^= bit;
        plic->output(plic->arg, vcpu, level);
    }
}

/* After a change of one source: of every context that listens to it. */
static void update_source(struct plic *plic, uint32_t source)
{
    for (uint32_t vcpu = 0; vcpu < plic->vcpus; vcpu++) {
        if (has(&plic->enabled[vcpu], source)) {
            update_vcpu(plic, vcpu);
        }
    }
}

/* The gateway: forwards a request while the line is high, one at a time until it is completed. A request that was
 * forwarded stays when the line falls. */
static void gate(struct plic *plic, uint32_t source)
{
    if (has(&plic->level, source) && !has(&plic->claimed, source) && !has(&plic->pending, source)) {
        put(&plic->pending, source, true);
        update_source(plic, source);
    }
}

void plic_line_set(void *controller, uint32_t source, bool level)
{
    struct plic *plic = controller;

    if (!is_source(source)) {
        return;
    }
    spinlock_take(&plic->device.lock);
    put(&plic->level, source, level);
    gate(plic, source);
    spinlock_release(&plic->device.lock);
}

static uint64_t priority_read(struct device *device, uint32_t source)
{
    const struct plic *plic = plic_of(device);
    uint32_t priority = PLIC_PRIORITIES - 1;

    while (priority > 0 && !has(&plic->at_priority[priority], source)) {
        priority--;
    }
    return priority;
}

static void priority_write(struct device *device, uint32_t source, uint64_t value)
{
    struct plic *plic = plic_of(device);

    if (!is_source(source)) {
        return;
    }
    for (uint32_t priority = 0; priority < PLIC_PRIORITIES; priority++) {
        put(&plic->at_priority[priority], source, priority == value % PLIC_PRIORITIES);
    }
    update_source(plic, source);
}

static uint64_t pending_read(struct device *device, uint32_t word)
{
    return plic_of(device)->pending.words[word];
}

/* The vCPU that a context belongs to, or PLIC_VCPUS_MAX if it is an M context or of no vCPU. */
static uint32_t vcpu_of_context(const struct plic *plic, uint32_t context)
{
    bool is_s_context = context % 2 == 1;

    return is_s_context && context / 2 < plic->vcpus ? context / 2 : PLIC_VCPUS_MAX;
}

static uint64_t enable_read(struct device *device, uint32_t index)
{
    const struct plic *plic = plic_of(device);
    uint32_t vcpu = vcpu_of_context(plic, index / ENABLE_WORDS);
    uint32_t word = index % ENABLE_WORDS;

    return vcpu < PLIC_VCPUS_MAX && word < PLIC_SOURCE_WORDS ? plic->enabled[vcpu].words[word] : 0;
}

static void enable_write(struct device *device, uint32_t index, uint64_t value)
{
    struct plic *plic = plic_of(device);
    uint32_t vcpu = vcpu_of_context(plic, index / ENABLE_WORDS);
    uint32_t word = index % ENABLE_WORDS;

    if (vcpu < PLIC_VCPUS_MAX && word < PLIC_SOURCE_WORDS) {
        uint32_t sources = word == 0 ? ~UINT32_C(1) : ~UINT32_C(0); /* there is no source 0 */

        plic->enabled[vcpu].words[word] = (uint32_t)value & sources;
        update_vcpu(plic, vcpu);
    }
}

static uint64_t threshold_read(struct device *device, uint32_t context)
{
    const struct plic *plic = plic_of(device);
    uint32_t vcpu = vcpu_of_context(plic, context);

    return vcpu < PLIC_VCPUS_MAX ? plic->threshold[vcpu] : 0;
}

static void threshold_write(struct device *device, uint32_t context, uint64_t value)
{
    struct plic *plic = plic_of(device);
    uint32_t vcpu = vcpu_of_context(plic, context);

    if (vcpu < PLIC_VCPUS_MAX) {
        plic->threshold[vcpu] = (uint8_t)(value % PLIC_PRIORITIES);
        update_vcpu(plic, vcpu);
    }
}

/* Reading the claim register: the threshold doesn't matter here, only whether the interrupt is raised. */
static uint64_t claim(struct device *device, uint32_t context)
{
    struct plic *plic = plic_of(device);
    uint32_t vcpu = vcpu_of_context(plic, context);
    uint32_t source = vcpu < PLIC_VCPUS_MAX ? best_source(plic, vcpu, 0) : 0;

    if (source != 0) {
        put(&plic->pending, source, false);
        put(&plic->claimed, source, true);
        update_source(plic, source);
    }
    return source;
}

/* Writing it. Guests complete sources that they never claimed and in any order; only one that the context has
 * enabled counts, which the usual way of masking an interrupt while it is handled relies on. */
static void complete(struct device *device, uint32_t context, uint64_t value)
{
    struct plic *plic = plic_of(device);
    uint32_t vcpu = vcpu_of_context(plic, context);

    if (vcpu < PLIC_VCPUS_MAX && is_source(value) && has(&plic->enabled[vcpu], (uint32_t)value)) {
        put(&plic->claimed, (uint32_t)value, false);
        gate(plic, (uint32_t)value);
    }
}

/* The lines are forgotten too: the capsule's other devices are reset with this one, and drive them low. */
static void plic_reset(struct device *device)
{
    struct plic *plic = plic_of(device);

    memset(&plic->level, 0, sizeof(plic->level));
    memset(&plic->pending, 0, sizeof(plic->pending));
    memset(&plic->claimed, 0, sizeof(plic->claimed));
    memset(plic->at_priority, 0, sizeof(plic->at_priority));
    memset(&plic->at_priority[0], 0xff, sizeof(plic->at_priority[0]));
    memset(plic->enabled, 0, sizeof(plic->enabled));
    memset(plic->threshold, 0, sizeof(plic->threshold));
    for (uint32_t vcpu = 0; vcpu < plic->vcpus; vcpu++) {
        update_vcpu(plic, vcpu);
    }
}

static int plic_describe(const struct device *device, void *tree, struct tree_context *context)
{
    static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
    const struct plic *plic = (const struct plic *)(const void *)device;
    struct tree_node node = {.tree = tree};
    uint32_t outputs[4 * PLIC_VCPUS_MAX];

    for (uint32_t vcpu = 0; vcpu < plic->vcpus; vcpu++) {
        uint32_t *pair = &outputs[(size_t)vcpu * 4];

        pair[0] = context->vcpu_phandle_base + vcpu;
        pair[1] = NO_INTERRUPT;
        pair[2] = context->vcpu_phandle_base + vcpu;
        pair[3] = INTERRUPT_S_EXTERNAL;
    }

    tree_node_begin_device(&node, "plic", device);
    tree_node_strings(&node, "compatible", compatible, sizeof(compatible));
    tree_node_cell(&node, "phandle", context->plic_phandle);
    tree_node_flag(&node, "interrupt-controller");
    tree_node_cell(&node, "#interrupt-cells", 1);
    tree_node_cell(&node, "#address-cells", 0);
    tree_node_cell(&node, "riscv,ndev", PLIC_SOURCE_MAX);
    tree_node_cells(&node, "interrupts-extended", outputs, (size_t)plic->vcpus * 4);
    tree_node_end(&node);
    return node.error;
}

static_assert(offsetof(struct plic, device) == 0, "plic_describe");

/* A row is easier to read on two lines than on eight. */
/* clang-format off */
static const struct device_register registers[] = {
    {.name = "priority", .offset = 0, .count = PLIC_SOURCE_MAX + 1, .stride = 4, .width = 4, .access = REG_RW,
     .read = priority_read, .write = priority_write},
    {.name = "pending", .offset = 0x1000, .count = PLIC_SOURCE_WORDS, .stride = 4, .width = 4, .access = REG_R,
     .read = pending_read},
    /* index = context * ENABLE_WORDS + word */
    {.name = "enable", .offset = 0x2000, .count = CONTEXTS_MAX * ENABLE_WORDS, .stride = 4, .width = 4,
     .access = REG_RW, .read = enable_read, .write = enable_write},
    {.name = "threshold", .offset = 0x200000, .count = CONTEXTS_MAX, .stride = 0x1000, .width = 4,
     .access = REG_RW, .read = threshold_read, .write = threshold_write},
    {.name = "claim", .offset = 0x200004, .count = CONTEXTS_MAX, .stride = 0x1000, .width = 4,
     .access = REG_RW, .read = claim, .write = complete},
};
/* clang-format on */

static const struct device_class plic_class = {
    .name = "plic",
    .registers = registers,
    .register_count = ARRAY_LENGTH(registers),
    .reset = plic_reset,
    .describe = plic_describe,
};

void plic_init(struct plic *plic, gpa_t base, uint32_t vcpus, void (*output)(void *arg, uint32_t vcpu, bool level),
               void *arg)
{
    assert(vcpus >= 1 && vcpus <= PLIC_VCPUS_MAX && output != NULL);
    memset(plic, 0, sizeof(*plic));
    plic->device.class = &plic_class;
    plic->device.window = (struct range){base.at, PLIC_WINDOW_SIZE};
    plic->vcpus = vcpus;
    plic->output = output;
    plic->arg = arg;
    plic_reset(&plic->device);
}
