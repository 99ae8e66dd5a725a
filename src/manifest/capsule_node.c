/* SPDX-License-Identifier: MIT
 *
 * One capsule's node of the manifest → struct capsule_config.
 */
#include "manifest/capsule_node.h"

#include <string.h>

#include <libfdt.h>

#include "manifest/property.h"

/* Nodes inside are devices. */
static enum dx_error read_devices(const struct manifest *manifest, int node, struct capsule_config *config,
                                  struct refusal *refusal)
{
    int child = 0;
    fdt_for_each_subnode(child, manifest->blob, node)
    {
        enum dx_error error = device_node_read(manifest, child, config, refusal);
        if (error != DX_OK) {
            return error;
        }
    }
    return DX_OK;
}

static enum dx_error check_dedicated(const struct capsule_config *config, struct refusal *refusal)
{
    if (config_hart_count(config) == 0) {
        return refuse(refusal, DX_MISSING, "capsule %s: dedicated: harts must be given too", config->name);
    }
    if (config_hart_count(config) < config->vcpus) {
        return refuse(refusal, DX_BAD_VALUE, "capsule %s: dedicated: needs as many harts as vcpus, has %u for %u",
                      config->name, (unsigned)config_hart_count(config), (unsigned)config->vcpus);
    }
    return DX_OK;
}

/* What can only be judged when every property has been read. */
static enum dx_error check_whole(const struct capsule_config *config, struct refusal *refusal)
{
    if (config->memory == 0) {
        return refuse(refusal, DX_MISSING, "capsule %s: memory: must be given", config->name);
    }
    if (config->kernel.bytes == NULL) {
        return refuse(refusal, DX_MISSING, "capsule %s: kernel: kernel or kernel-image must be given", config->name);
    }
    struct range reach = {.base = 0, .size = UINT64_C(1) << manifest_address_bits()};
    if (!range_holds(reach, config->memory_base, config->memory)) {
        return refuse(refusal, DX_BAD_VALUE, "capsule %s: memory-base: 0x%llx and 0x%llx bytes end beyond %u bits",
                      config->name, (unsigned long long)config->memory_base, (unsigned long long)config->memory,
                      manifest_address_bits());
    }
    if (config->manages_all && !config->manager) {
        return refuse(refusal, DX_MISSING, "capsule %s: manages: manager must be given too", config->name);
    }
    if ((config->quota.pages != 0 || config->quota.vcpus != 0) && !config->manager) {
        return refuse(refusal, DX_MISSING, "capsule %s: quota-memory, quota-vcpus: manager must be given too",
                      config->name);
    }
    return config->dedicated ? check_dedicated(config, refusal) : DX_OK;
}

/* A manager's control ports are its console device's; one that has none gets a device for them. */
static enum dx_error add_control(struct capsule_config *config, struct refusal *refusal)
{
    for (uint32_t n = 0; n < config->device_count; n++) {
        if (config->devices[n].type == DEVICE_CONSOLE) {
            return DX_OK;
        }
    }
    if (config->device_count == CAPSULE_DEVICES_MAX) {
        return refuse(
            refusal, DX_TOO_MANY,
            "capsule %s: manager: needs a device for its control ports, and there are %d already: make one of "
            "them a console",
            config->name, CAPSULE_DEVICES_MAX);
    }
    config->devices[config->device_count++] =
        (struct device_config){.name = "org.diosix.control", .type = DEVICE_CONTROL};
    return DX_OK;
}

bool name_allowed(const char *name)
{
    size_t length = strnlen(name, CAPSULE_NAME_MAX + 1);
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return length >= 1 && length <= CAPSULE_NAME_MAX;
}

enum dx_error capsule_node_read(const struct manifest *manifest, int node, struct capsule_config *config,
                                struct refusal *refusal)
{
    const char *name = fdt_get_name(manifest->blob, node, NULL);
    struct printable shown = printable(name);
    *config = (struct capsule_config){.vcpus = 1, .bootargs = "", .weight = CAPSULE_WEIGHT_USUAL};
    memcpy(config->name, shown.text, sizeof(config->name));
    if (!name_allowed(name)) {
        return refuse(refusal, DX_BAD_VALUE, "capsule %s: a name is 1 to %d of a-z, 0-9 and -", shown.text,
                      CAPSULE_NAME_MAX);
    }

    struct reading reading = {.manifest = manifest, .config = config, .refusal = refusal};
    enum dx_error error = capsule_properties_read(&reading, node);
    if (error == DX_OK) {
        error = read_devices(manifest, node, config, refusal);
    }
    if (error == DX_OK && config->manager) {
        error = add_control(config, refusal);
    }
    return error == DX_OK ? check_whole(config, refusal) : error;
}
