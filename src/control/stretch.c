/* SPDX-License-Identifier: MIT
 *
 * Stretches of disks: see stretch.h.
 */
#include "control/stretch.h"

#include <string.h>

enum dx_error stretch_find(const char *capsule, const struct device_config *wanted, const struct disk *disk,
                           struct range *stretch, struct refusal *refusal)
{
    if (disk == NULL) {
        return refuse(refusal, DX_NOT_FOUND,
                      config_served(wanted) != NULL ? "%s: %s: source: nobody serves %s to this manager's capsules"
                                                    : "%s: %s: source: the machine has no disk %s",
                      capsule, wanted->name, wanted->source);
    }
    *stretch = (struct range){wanted->first_sector, wanted->sectors};
    if (wanted->partition != NULL) {
        const struct disk_partition *partition = disk_partition(disk, wanted->partition);
        if (partition == NULL) {
            return refuse(refusal, DX_NOT_FOUND, "%s: %s: partition: %s has no partition %s", capsule, wanted->name,
                          wanted->source, wanted->partition);
        }
        *stretch = (struct range){partition->first, partition->sectors};
    } else if (stretch->size == 0 && stretch->base < disk->limits.sectors) {
        stretch->size = disk->limits.sectors - stretch->base;
    }
    const uint64_t step = disk->limits.block_size / DISK_SECTOR;
    if (stretch->base % step != 0 || stretch->size % step != 0) {
        return refuse(refusal, DX_UNALIGNED, "%s: %s: its sectors must begin and end on blocks of %u bytes", capsule,
                      wanted->name, (unsigned)disk->limits.block_size);
    }
    if (stretch->size == 0 || !range_holds((struct range){0, disk->limits.sectors}, stretch->base, stretch->size)) {
        return refuse(refusal, DX_BAD_VALUE, "%s: %s: sectors: %s has %llu sectors", capsule, wanted->name,
                      wanted->source, (unsigned long long)disk->limits.sectors);
    }
    return DX_OK;
}

/* Of two devices with a disk of the machine's: whether the second has no more than the first. */
static bool holds(const struct device_config *grant, const struct device_config *wanted)
{
    struct refusal refusal;
    struct range whole = {0, 0}, part = {0, 0};
    const struct disk *disk = disk_find(grant->source);
    return disk != NULL && disk == disk_find(wanted->source) && (wanted->read_only || !grant->read_only) &&
           stretch_find("", grant, disk, &whole, &refusal) == DX_OK &&
           stretch_find("", wanted, disk, &part, &refusal) == DX_OK && range_holds(whole, part.base, part.size);
}

bool stretch_is_granted(const struct capsule *manager, const struct device_config *wanted)
{
    const bool is_net = wanted->type == DEVICE_NET;
    const bool is_disk = wanted->type == DEVICE_DISK && wanted->source != NULL && config_served(wanted) == NULL;
    bool granted = !is_net && !is_disk;
    for (uint32_t n = 0; n < manager->config.device_count && !granted; n++) {
        const struct device_config *grant = &manager->config.devices[n];
        if (!grant->for_capsules || grant->type != wanted->type) {
            continue;
        }
        granted = is_net ? strcmp(grant->network, wanted->network) == 0 : holds(grant, wanted);
    }
    return granted;
}
