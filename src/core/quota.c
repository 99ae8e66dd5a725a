/* SPDX-License-Identifier: MIT
 *
 * Managers' quotas: see quota.h.
 */
#include "core/quota.h"

#include "core/capsules.h"

enum { TABLES_SHARE = 256 };

static uint64_t pages(uint64_t bytes)
{
    return align_up(bytes, PAGE_SIZE) / PAGE_SIZE;
}

struct charge quota_of(const struct capsule_config *config)
{
    const uint64_t ram = pages(config->memory);
    const uint64_t all = ram + ram / TABLES_SHARE + QUOTA_CAPSULE_PAGES + (uint64_t)config->vcpus * QUOTA_VCPU_PAGES +
                         config->quota.pages;
    return (struct charge){(uint32_t)MIN(all, (uint64_t)UINT32_MAX), config->vcpus + config->quota.vcpus};
}

/* False: more than limit would be used. */
static bool add(atomic_uint *used, uint32_t limit, uint32_t more)
{
    unsigned before = atomic_load(used);
    do {
        if (before > limit || more > limit - before) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(used, &before, before + more));
    return true;
}

static unsigned long long kib(uint32_t count)
{
    return (unsigned long long)count * (PAGE_SIZE / KIB);
}

enum dx_error quota_charge(struct capsule *manager, struct charge charge, struct refusal *refusal)
{
    const struct charge *quota = &manager->config.quota;
    if (!add(&manager->used.pages, quota->pages, charge.pages)) {
        const uint32_t used = atomic_load(&manager->used.pages);
        return refuse(refusal, DX_NO_MEMORY,
                      "create: it takes %llu KiB with its image, and of this manager's quota-memory of %llu KiB "
                      "%llu KiB are left",
                      kib(charge.pages), kib(quota->pages), kib(quota->pages - MIN(used, quota->pages)));
    }
    if (!add(&manager->used.vcpus, quota->vcpus, charge.vcpus)) {
        atomic_fetch_sub(&manager->used.pages, charge.pages);
        const uint32_t used = atomic_load(&manager->used.vcpus);
        return refuse(
            refusal, DX_TOO_MANY, "create: it has %u vCPUs, and of this manager's quota-vcpus of %u %u are left",
            (unsigned)charge.vcpus, (unsigned)quota->vcpus, (unsigned)(quota->vcpus - MIN(used, quota->vcpus)));
    }
    return DX_OK;
}

void quota_give_back(uint32_t manager, struct charge charge)
{
    struct capsule *capsule = manager == 0 ? NULL : capsule_after(manager - 1);
    if (capsule != NULL && capsule->id == manager) {
        atomic_fetch_sub(&capsule->used.pages, charge.pages);
        atomic_fetch_sub(&capsule->used.vcpus, charge.vcpus);
    }
}
