/* SPDX-License-Identifier: MIT
 *
 * Sums of what is counted: see stats.h.
 */
#include "core/stats.h"

#include "core/capsule.h"
#include "core/hart.h"

/* What it has had since it was last charged, if it is on a hart now. */
static uint64_t uncharged(const struct vcpu *vcpu)
{
    const uint64_t now = clock_now();
    return atomic_load(&vcpu->run) == RUN_LOADED && now > vcpu->since ? now - vcpu->since : 0;
}

void capsule_stats(const struct capsule *capsule, struct capsule_stats *out)
{
    struct console_counts console;
    console_port_counts(&capsule->console, &console);
    *out = (struct capsule_stats){
        .starts = capsule->life.starts,
        .console_out = console.out,
        .console_in = console.in,
        .console_dropped = console.dropped,
    };
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        const struct vcpu *vcpu = capsule_vcpu(capsule, id);
        out->cpu_ticks += vcpu->cpu_ticks + uncharged(vcpu);
        out->steal_ticks += vcpu->steal_ticks;
        out->interrupts += vcpu->interrupts;
        for (unsigned n = 0; n < VCPU_EXITS; n++) {
            out->exits[n] += vcpu->exits[n];
        }
    }
}

static uint64_t pages(uint64_t bytes)
{
    return align_up(bytes, PAGE_SIZE);
}

uint64_t capsule_overhead(const struct capsule *capsule)
{
    return pages(sizeof(*capsule)) + pages(capsule->config.vcpus * capsule->vcpu_stride) + pages(capsule->parts_size);
}

bool capsule_device_stats(const struct capsule *capsule, uint32_t index, struct device_stats *out)
{
    *out = (struct device_stats){0};
    return capsule->hooks->device_stats != NULL && index < capsule->config.device_count &&
           capsule->hooks->device_stats(capsule, index, out);
}

void hart_stats(const struct hart *hart, struct hart_stats *out)
{
    *out = (struct hart_stats){
        .idle_ticks = hart->idle_ticks,
        .switches = hart->switches,
        .steals = hart->steals,
        .up_ticks = clock_now() - hart->up_since,
    };
}

static const char *const exit_names[VCPU_EXITS] = {
    [CAUSE_FETCH_ACCESS] = "fetch fault",
    [CAUSE_ILLEGAL] = "illegal",
    [CAUSE_LOAD_MISALIGNED] = "misaligned",
    [CAUSE_LOAD_ACCESS] = "device read",
    [CAUSE_STORE_MISALIGNED] = "misaligned",
    [CAUSE_STORE_ACCESS] = "device write",
    [CAUSE_ECALL_S] = "SBI call",
    [CAUSE_ECALL_VS] = "SBI call",
    [CAUSE_FETCH_GUEST_PAGE] = "fetch fault",
    [CAUSE_LOAD_GUEST_PAGE] = "device read",
    [CAUSE_STORE_GUEST_PAGE] = "device write",
    [CAUSE_VIRTUAL_INSTRUCTION] = "wfi",
    [EXIT_SOFT] = "ring",
    [EXIT_TIMER] = "timer",
    [EXIT_DEVICE] = "device irq",
};

const char *vcpu_exit_name(enum vcpu_exit exit)
{
    return exit_names[exit] == NULL ? "other" : exit_names[exit];
}
