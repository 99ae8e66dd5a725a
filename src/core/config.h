/* SPDX-License-Identifier: MIT
 *
 * One capsule as the manifest asks for it, checked on its own; filled by manifest/manifest.c. Pointers lead into
 * the manifest blob, which stays in memory and is never written.
 */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include <string.h>

#include "core/kept.h"
#include "core/network.h"
#include "core/rate.h"
#include "lib/address.h"

enum {
    CAPSULE_NAME_MAX = 31, /* characters; [a-z0-9-] */
    CAPSULE_VCPUS_MAX = 32,
    CAPSULES_MAX = 256,
    CAPSULE_HARTS_MAX = 64,    /* entries of harts */
    CAPSULE_PRIORITY_MAX = 15, /* 0 is the lowest, and what a capsule has if nothing is said */
    CAPSULE_WEIGHT_USUAL = 100,
    CAPSULE_WEIGHT_MAX = 10000,
    CAPSULE_WATCHDOG_MAX = 600, /* seconds */
    CAPSULE_DEVICES_MAX = 8,    /* as many slots as the capsule machine has for them */
    DISK_SECTOR = 512,          /* bytes; a disk has whole sectors */
};

/* What follows when a capsule stops by itself; see core/life.h for which stop is what. */
enum restart_policy { RESTART_NEVER, RESTART_ON_FAILURE, RESTART_ALWAYS };

enum isolation_wish { ISOLATION_AUTO, ISOLATION_PMP, ISOLATION_HYP };

struct blob {
    const uint8_t *bytes; /* NULL: none */
    size_t length;
};

/* A device that the capsule asks for: a node inside its own. */
enum device_type {
    DEVICE_DISK,
    DEVICE_RNG,
    DEVICE_CONSOLE,
    DEVICE_NET,
    DEVICE_CONTROL, /* a manager's that has no console: for its control ports; the manifest asks for it by manager */
};

struct device_config {
    const char *name; /* NUL-terminated; as a capsule's */
    enum device_type type;
    bool for_capsules; /* nets and disks of the machine: not a device, but what its capsules may have; of managers alone
                        */
    bool isolated;     /* net; likewise the next two */
    bool has_address;
    uint8_t address[NETWORK_ADDRESS];
    bool read_only;     /* disks; likewise all that follow but network and rate */
    struct blob data;   /* RAM disks: what is on it at first; not empty, whole sectors */
    const char *source; /* disks: "serial:…" or "path:…" of the machine, or "served:…"; NULL: a RAM disk */
    union {
        const char *partition; /* NULL: a stretch of sectors */
        const char *network;   /* net's: its name, NUL-terminated */
    };
    uint64_t first_sector;  /* of DISK_SECTOR bytes; likewise the next */
    uint64_t sectors;       /* 0: all from first_sector on */
    struct rate_limit rate; /* of disks of the machine, and of what a net device sends */
};

/* A switch, as the manifest's /networks has it. Strings lead into the manifest. */
struct network_config {
    const char *name;
    uint32_t mtu;
    const char *uplink; /* a path in the machine's tree; NULL: it has none */
};

/* Pages of memory, and vCPUs: of a quota, or of what is charged to it. */
struct charge {
    uint32_t pages, vcpus;
};

/* Whence it comes, if a manager has made it. */
struct capsule_origin {
    uint32_t creator;      /* the manager's id; 0: the manifest has it */
    struct charge charged; /* to the manager */
    struct kept image;     /* what it has sent: all pointers of the configuration lead into it */
};

struct capsule_config {
    struct capsule_origin origin;
    char name[CAPSULE_NAME_MAX + 1];
    uint32_t vcpus;  /* 1 … CAPSULE_VCPUS_MAX */
    uint64_t memory; /* bytes; a multiple of PAGE_SIZE, not 0 */
    bool has_memory_base;
    uint64_t memory_base; /* guest-physical */
    enum isolation_wish isolation;
    struct blob kernel; /* required */
    struct blob initrd; /* optional */
    bool has_kernel_offset;
    uint64_t kernel_offset; /* flat binaries: bytes from the start of RAM */
    const char *bootargs;   /* NUL-terminated, "" if none */
    bool manager;           /* has control ports */
    bool manages_all;       /* those of others too */
    struct charge quota;    /* what capsules that it makes may cost in all; 0: it makes none */
    bool manual;
    struct blob harts; /* mhartids as cells of a tree, at most CAPSULE_HARTS_MAX; it may run only there. None: on all
                        * that serve its isolation. Read them with config_hart. */
    bool dedicated;    /* those harts run nothing else: needs as many as vCPUs */
    uint32_t priority; /* 0 … CAPSULE_PRIORITY_MAX: higher runs first */
    uint32_t weight;   /* 1 … CAPSULE_WEIGHT_MAX: share among equals in priority */
    enum restart_policy restart;
    bool watchdog;             /* has a watchdog device */
    uint32_t watchdog_seconds; /* 0: it runs when the guest starts it; else from the start on, with this time-out */
    uint32_t device_count;     /* 0 … CAPSULE_DEVICES_MAX */
    struct device_config devices[CAPSULE_DEVICES_MAX]; /* in the order of the manifest, with different names */
};

/* The name of the disk of its manager's that a disk has; NULL: it has another. */
static inline const char *config_served(const struct device_config *device)
{
    static const char served[] = "served:";
    const bool is_served = device->source != NULL && strncmp(device->source, served, sizeof(served) - 1) == 0;
    return is_served ? device->source + sizeof(served) - 1 : NULL;
}

static inline uint32_t config_hart_count(const struct capsule_config *config)
{
    return (uint32_t)(config->harts.length / sizeof(uint32_t));
}

/* The mhartid at n < config_hart_count. */
static inline uint32_t config_hart(const struct capsule_config *config, uint32_t n)
{
    const uint8_t *cell = config->harts.bytes + n * sizeof(uint32_t);
    return (uint32_t)cell[0] << 24 | (uint32_t)cell[1] << 16 | (uint32_t)cell[2] << 8 | cell[3];
}

#endif
