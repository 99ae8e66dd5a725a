/* SPDX-License-Identifier: MIT
 *
 * Steal time: see steal.h.
 */
#include "core/steal.h"

#include <string.h>

#include "core/capsule.h"
#include "core/hart.h"
#include "diosix/sbi.h"

#define NANOSECONDS 1000000000ull

/* Looked up anew for each use, as every address of a guest. */
static struct sbi_sta_shared *shared(const struct vcpu *vcpu, gpa_t address)
{
    return capsule_ram(vcpu->capsule, address, sizeof(struct sbi_sta_shared));
}

static uint64_t nanoseconds(uint64_t ticks)
{
    return ticks / clock_hz * NANOSECONDS + ticks % clock_hz * NANOSECONDS / clock_hz;
}

/* An odd sequence says that the rest is being written: a reader that finds one, or two different ones before and after,
 * reads again. */
static void write_count(struct vcpu *vcpu, struct sbi_sta_shared *to)
{
    __atomic_store_n(&to->sequence, vcpu->sta.sequence + 1, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_release);
    *(volatile uint64_t *)&to->steal = nanoseconds(vcpu->steal_ticks - vcpu->sta.since);
    atomic_thread_fence(memory_order_release);
    vcpu->sta.sequence += 2;
    __atomic_store_n(&to->sequence, vcpu->sta.sequence, __ATOMIC_RELAXED);
    vcpu->sta.told = vcpu->steal_ticks;
}

bool steal_tell(struct vcpu *vcpu, gpa_t address)
{
    struct sbi_sta_shared *to = shared(vcpu, address);
    if (to == NULL) {
        return false;
    }
    memset(to, 0, sizeof(*to));
    if (!vcpu->sta.counts) {
        vcpu->sta.counts = true;
        vcpu->sta.since = vcpu->steal_ticks;
    }
    vcpu->sta.address = address;
    vcpu->sta.on = true;
    vcpu->sta.sequence = 0;
    vcpu->sta.told = vcpu->sta.since;
    steal_publish(vcpu);
    return true;
}

void steal_forget(struct vcpu *vcpu)
{
    vcpu->sta.on = false;
}

void steal_reset(struct vcpu *vcpu)
{
    vcpu->sta.on = false;
    vcpu->sta.counts = false;
}

void steal_publish(struct vcpu *vcpu)
{
    if (vcpu->sta.on && vcpu->sta.told != vcpu->steal_ticks) {
        struct sbi_sta_shared *to = shared(vcpu, vcpu->sta.address);
        assert(to != NULL); /* RAM stays where it is while the capsule lives */
        write_count(vcpu, to);
    }
}
