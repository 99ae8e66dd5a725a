/* SPDX-License-Identifier: MIT
 *
 * What each property of a capsule means: one table row per property, one small reader each; a property without a row
 * is refused.
 */
#include <string.h>

#include "manifest/capsule_node.h"
#include "manifest/property.h"

static enum dx_error on_vcpus(const struct reading *r)
{
    return property_cell_within(r, 1, CAPSULE_VCPUS_MAX, &r->config->vcpus);
}

static enum dx_error on_memory(const struct reading *r)
{
    uint64_t memory = 0;
    enum dx_error error = property_number(r, &memory);
    if (error != DX_OK) {
        return error;
    }
    if (memory == 0) {
        return property_wrong(r, DX_BAD_VALUE, "must not be 0");
    }
    if (memory % PAGE_SIZE != 0) {
        return property_wrong(r, DX_UNALIGNED, "must be a multiple of 4 KiB, is 0x%llx", (unsigned long long)memory);
    }
    if (memory > UINT64_C(1) << manifest_address_bits()) {
        return property_wrong(r, DX_BAD_VALUE, "0x%llx is more than %u bits of address reach",
                              (unsigned long long)memory, manifest_address_bits());
    }
    r->config->memory = memory;
    return DX_OK;
}

static enum dx_error on_memory_base(const struct reading *r)
{
    uint64_t base = 0;
    enum dx_error error = property_number(r, &base);
    if (error != DX_OK) {
        return error;
    }
    if (base % PAGE_SIZE != 0) {
        return property_wrong(r, DX_UNALIGNED, "must be a multiple of 4 KiB, is 0x%llx", (unsigned long long)base);
    }
    r->config->has_memory_base = true;
    r->config->memory_base = base;
    return DX_OK;
}

static enum dx_error on_isolation(const struct reading *r)
{
    static const char *const wishes[PROPERTY_CHOICES] = {
        [ISOLATION_AUTO] = "auto",
        [ISOLATION_PMP] = "pmp",
        [ISOLATION_HYP] = "hyp",
    };
    unsigned wish = ISOLATION_AUTO;
    enum dx_error error = property_choice(r, wishes, &wish);
    r->config->isolation = (enum isolation_wish)wish;
    return error;
}

static enum dx_error on_kernel(const struct reading *r)
{
    return property_data(r, &r->config->kernel, r->value, r->length);
}

static enum dx_error on_kernel_image(const struct reading *r)
{
    return property_image(r, &r->config->kernel);
}

static enum dx_error on_kernel_offset(const struct reading *r)
{
    r->config->has_kernel_offset = true;
    return property_number(r, &r->config->kernel_offset);
}

static enum dx_error on_initrd(const struct reading *r)
{
    return property_data(r, &r->config->initrd, r->value, r->length);
}

static enum dx_error on_initrd_image(const struct reading *r)
{
    return property_image(r, &r->config->initrd);
}

static enum dx_error on_bootargs(const struct reading *r)
{
    if (r->length > CAPSULE_BOOTARGS_MAX + 1) {
        return property_wrong(r, DX_BAD_VALUE, "must not be longer than %d characters", CAPSULE_BOOTARGS_MAX);
    }
    return property_string(r, &r->config->bootargs);
}

static enum dx_error on_manager(const struct reading *r)
{
    return property_flag(r, &r->config->manager);
}

static enum dx_error on_manages(const struct reading *r)
{
    const char *what = NULL;
    enum dx_error error = property_string(r, &what);
    if (error != DX_OK) {
        return error;
    }
    if (strcmp(what, "all") != 0 && strcmp(what, "created") != 0) {
        return property_wrong(r, DX_BAD_VALUE, "must be \"all\" or \"created\"");
    }
    r->config->manages_all = strcmp(what, "all") == 0;
    return DX_OK;
}

static enum dx_error on_quota_memory(const struct reading *r)
{
    uint64_t bytes = 0;
    enum dx_error error = property_number(r, &bytes);
    if (error == DX_OK && (bytes % PAGE_SIZE != 0 || bytes / PAGE_SIZE > UINT32_MAX)) {
        return property_wrong(r, DX_BAD_VALUE, "must be a multiple of 4 KiB, and less than 16 TiB");
    }
    r->config->quota.pages = (uint32_t)(bytes / PAGE_SIZE);
    return error;
}

static enum dx_error on_quota_vcpus(const struct reading *r)
{
    return property_cell_within(r, 0, UINT16_MAX, &r->config->quota.vcpus);
}

static enum dx_error on_manual(const struct reading *r)
{
    return property_flag(r, &r->config->manual);
}

static enum dx_error on_restart(const struct reading *r)
{
    static const char *const policies[PROPERTY_CHOICES] = {
        [RESTART_NEVER] = "never",
        [RESTART_ON_FAILURE] = "on-failure",
        [RESTART_ALWAYS] = "always",
    };
    unsigned policy = RESTART_NEVER;
    enum dx_error error = property_choice(r, policies, &policy);
    r->config->restart = (enum restart_policy)policy;
    return error;
}

static enum dx_error on_priority(const struct reading *r)
{
    return property_cell_within(r, 0, CAPSULE_PRIORITY_MAX, &r->config->priority);
}

static enum dx_error on_weight(const struct reading *r)
{
    return property_cell_within(r, 1, CAPSULE_WEIGHT_MAX, &r->config->weight);
}

/* Whether a hart is named twice, and which. */
static bool find_twin(const struct capsule_config *config, uint32_t *twin)
{
    for (uint32_t n = 0; n < config_hart_count(config); n++) {
        for (uint32_t before = 0; before < n; before++) {
            if (config_hart(config, before) == config_hart(config, n)) {
                *twin = config_hart(config, n);
                return true;
            }
        }
    }
    return false;
}

/* Whether the machine has them is judged when the capsule is made. */
static enum dx_error on_harts(const struct reading *r)
{
    const size_t count = r->length / sizeof(uint32_t);
    uint32_t twin = 0;
    if (count == 0 || r->length % sizeof(uint32_t) != 0) {
        return property_wrong(r, DX_BAD_VALUE, "must be numbers of 32 bits, has %zu bytes", r->length);
    }
    if (count > CAPSULE_HARTS_MAX) {
        return property_wrong(r, DX_TOO_MANY, "must not be more than %d, are %zu", CAPSULE_HARTS_MAX, count);
    }
    r->config->harts = (struct blob){.bytes = r->value, .length = r->length};
    if (find_twin(r->config, &twin)) {
        return property_wrong(r, DX_DUPLICATE, "has %u twice", (unsigned)twin);
    }
    return DX_OK;
}

static enum dx_error on_dedicated(const struct reading *r)
{
    return property_flag(r, &r->config->dedicated);
}

/* A flag: the guest starts it. A number: it runs from the start on. */
static enum dx_error on_watchdog(const struct reading *r)
{
    r->config->watchdog = true;
    return r->length == 0 ? DX_OK : property_cell_within(r, 1, CAPSULE_WATCHDOG_MAX, &r->config->watchdog_seconds);
}

static const struct property_row rows[] = {
    {"vcpus", on_vcpus},
    {"memory", on_memory},
    {"memory-base", on_memory_base},
    {"isolation", on_isolation},
    {"kernel", on_kernel},
    {"kernel-image", on_kernel_image},
    {"kernel-offset", on_kernel_offset},
    {"initrd", on_initrd},
    {"initrd-image", on_initrd_image},
    {"bootargs", on_bootargs},
    {"manager", on_manager},
    {"manages", on_manages},
    {"quota-memory", on_quota_memory},
    {"quota-vcpus", on_quota_vcpus},
    {"manual", on_manual},
    {"restart", on_restart},
    {"priority", on_priority},
    {"weight", on_weight},
    {"harts", on_harts},
    {"dedicated", on_dedicated},
    {"watchdog", on_watchdog},
    {"quota", property_reserved},
    {"rate", property_reserved},
    {"isolated", property_reserved},
    {"after", property_reserved},
};
static_assert(ARRAY_LENGTH(rows) <= PROPERTY_ROWS_MAX, "properties_read");

enum dx_error capsule_properties_read(struct reading *r, int node)
{
    return properties_read(r, node, rows, ARRAY_LENGTH(rows));
}
