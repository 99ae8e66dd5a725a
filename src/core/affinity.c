/* SPDX-License-Identifier: MIT
 *
 * Which harts a capsule's vCPUs may run on: see affinity.h.
 */
#include "core/affinity.h"

#include "core/capsules.h"
#include "core/hart.h"
#include "core/scheduler.h"

/* From the look at who has harts for himself until the sets that follow from it are stored: of two who do that at once
 * the later one must not store what is older. Only the list's lock is taken with it held. */
static struct spinlock lock;

static uint64_t bit(uint32_t index)
{
    return (uint64_t)1 << index;
}

/* The hart with that mhartid; NULL if it isn't there or can't run guests. */
static const struct hart *hart_by_id(uint32_t id)
{
    for (uint32_t n = 0; n < hart_count; n++) {
        if (harts[n]->arch.id == id) {
            return harts[n];
        }
    }
    return NULL;
}

static uint64_t of_kind(enum hart_kind kind)
{
    uint64_t bits = 0;
    for (uint32_t n = 0; n < hart_count; n++) {
        bits |= harts[n]->kind == kind ? bit(n) : 0;
    }
    return bits;
}

/* What the capsule's configuration and isolation allow, whatever others want. */
static uint64_t wanted(const struct capsule *capsule)
{
    uint64_t named = 0;
    for (uint32_t n = 0; n < config_hart_count(&capsule->config); n++) {
        const struct hart *hart = hart_by_id(config_hart(&capsule->config, n));
        named |= hart == NULL ? 0 : bit(hart->index);
    }
    return of_kind(capsule->hart_kind) & (capsule->config.harts.bytes == NULL ? ~(uint64_t)0 : named);
}

static void add_dedicated(struct capsule *capsule, void *bits)
{
    *(uint64_t *)bits |= capsule->config.dedicated ? wanted(capsule) : 0;
}

uint64_t affinity_dedicated(void)
{
    uint64_t bits = 0;
    capsules_each(add_dedicated, &bits);
    return bits;
}

/* What is left for the capsule when others have harts for themselves; dedicated ones never share any. */
static uint64_t left_for(const struct capsule *capsule, uint64_t dedicated)
{
    return wanted(capsule) & (capsule->config.dedicated ? ~(uint64_t)0 : ~dedicated);
}

static enum dx_error check_names(const struct capsule *capsule, struct refusal *refusal)
{
    for (uint32_t n = 0; n < config_hart_count(&capsule->config); n++) {
        const uint32_t id = config_hart(&capsule->config, n);
        const struct hart *hart = hart_by_id(id);
        if (hart == NULL) {
            return refuse(refusal, DX_NOT_FOUND, "%s: harts: there is no hart %u that runs guests",
                          capsule->config.name, (unsigned)id);
        }
        if (hart->kind != capsule->hart_kind) {
            return refuse(refusal, DX_NO_HART, "%s: harts: hart %u does not serve its isolation (%s)",
                          capsule->config.name, (unsigned)id, capsule->isolation->name);
        }
    }
    return DX_OK;
}

/* A dedicated capsule that comes: whom it would leave nothing, if anybody. */
struct newcomer {
    uint64_t harts;
    uint64_t dedicated; /* without it */
    const struct capsule *victim;
};

static void find_victim(struct capsule *capsule, void *argument)
{
    struct newcomer *newcomer = argument;
    if ((left_for(capsule, newcomer->dedicated) & ~newcomer->harts) == 0) {
        newcomer->victim = capsule;
    }
}

enum dx_error affinity_check(const struct capsule *capsule, struct refusal *refusal)
{
    const uint64_t dedicated = affinity_dedicated();
    struct newcomer newcomer = {.harts = wanted(capsule), .dedicated = dedicated};
    enum dx_error error = check_names(capsule, refusal);
    if (error == DX_OK &&
        ((newcomer.harts & ~dedicated) == 0 || (capsule->config.dedicated && (newcomer.harts & dedicated) != 0))) {
        error = refuse(refusal, DX_NO_HART, "%s: harts that it needs are dedicated to another capsule",
                       capsule->config.name);
    }
    if (error == DX_OK && capsule->config.dedicated) {
        capsules_each(find_victim, &newcomer);
        if (newcomer.victim != NULL) {
            error = refuse(refusal, DX_NO_HART, "%s: dedicated: its harts would leave none for %s",
                           capsule->config.name, newcomer.victim->config.name);
        }
    }
    return error;
}

/* The n-th of the harts, counted round: a dedicated capsule has at least as many as vCPUs. */
static uint64_t nth(uint64_t harts_of_capsule, uint32_t n)
{
    uint64_t left = harts_of_capsule;
    while (n > 0) {
        left &= left - 1;
        left = left == 0 ? harts_of_capsule : left;
        n--;
    }
    return left & -left;
}

static void apply(struct capsule *capsule, void *dedicated)
{
    const uint64_t allowed = left_for(capsule, *(const uint64_t *)dedicated);
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        hart_set_store(&capsule_vcpu(capsule, id)->allowed, capsule->config.dedicated ? nth(allowed, id) : allowed);
    }
}

void affinity_apply(struct capsule *capsule)
{
    spinlock_take(&lock);
    uint64_t dedicated = affinity_dedicated();
    apply(capsule, &dedicated);
    spinlock_release(&lock);
}

void affinity_apply_all(void)
{
    spinlock_take(&lock);
    uint64_t dedicated = affinity_dedicated();
    capsules_each(apply, &dedicated);
    spinlock_release(&lock);
    scheduler_reallow();
}
