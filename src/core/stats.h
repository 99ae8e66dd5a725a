/* SPDX-License-Identifier: MIT
 *
 * What is counted of vCPUs and harts, and the sums that operators see. Each counter is written by one hart at a time
 * and read by anybody without a lock: a sum may be some events old.
 */
#ifndef CORE_STATS_H
#define CORE_STATS_H

#include "core/network.h"
#include "core/vcpu.h"

struct capsule;
struct hart;

struct capsule_stats {
    uint64_t cpu_ticks;               /* its vCPUs were on a hart, hypervisor's work for them included */
    uint64_t steal_ticks;             /* they could have run and waited for a hart */
    uint64_t exits[VCPU_EXITS];       /* by enum vcpu_exit */
    uint64_t interrupts;              /* external interrupts given to the guest */
    uint64_t console_out, console_in; /* bytes */
    uint64_t console_dropped;         /* bytes of output that nobody has seen and the ring had no room for */
    uint64_t starts;                  /* since it was made */
};
void capsule_stats(const struct capsule *capsule, struct capsule_stats *out);

/* What a device has done since its capsule was made. A sum may be some events old, and one of 64 bits on RV32 torn. */
struct disk_counts {
    uint64_t requests;      /* answered */
    uint64_t failed;        /* of them: not with OK */
    uint64_t read, written; /* bytes, of those that were answered well */
};
struct device_stats {
    struct disk_counts disk;      /* of type disk */
    struct network_counts frames; /* of type net */
};
/* Of the device with this index in the capsule's config. False: it isn't there, or nothing is counted of its type. */
bool capsule_device_stats(const struct capsule *capsule, uint32_t index, struct device_stats *out);

/* Bytes of the host's memory that the capsule costs besides its RAM and its stage-2 tables. */
uint64_t capsule_overhead(const struct capsule *capsule);

struct hart_stats {
    uint64_t idle_ticks; /* asleep, or looking for something to do */
    uint64_t switches;   /* times that another vCPU than the last one was loaded */
    uint64_t steals;     /* vCPUs taken from another hart's queue */
    uint64_t up_ticks;   /* since it began to schedule */
};
void hart_stats(const struct hart *hart, struct hart_stats *out);

/* A cause's name for people, of 12 characters at most. */
const char *vcpu_exit_name(enum vcpu_exit exit);

#endif
