/* SPDX-License-Identifier: MIT
 *
 * Commands about what is counted, and a look into a vCPU's registers.
 */
#include "monitor/command.h"

#include <string.h>

#include "core/hart.h"
#include "core/stats.h"
#include "monitor/human.h"

/* --- stat ------------------------------------------------------------------------------------------------------ */

static uint64_t all_exits(const struct capsule_stats *stats)
{
    uint64_t sum = 0;
    for (unsigned n = 0; n < VCPU_EXITS; n++) {
        sum += stats->exits[n];
    }
    return sum;
}

static void stat_row(const struct capsule *capsule)
{
    struct capsule_stats stats;
    capsule_stats(capsule, &stats);
    say_capsule_name(capsule);
    say(" %8s %8s %8s %8s %8s %8s\n", human_time(stats.cpu_ticks, clock_hz).text,
        human_time(stats.steal_ticks, clock_hz).text, human_count(all_exits(&stats)).text,
        human_count(stats.interrupts).text, human_bytes(stats.console_out).text,
        human_bytes(stats.console_dropped).text);
}

static bool stat_capsules(struct monitor_job *job)
{
    if (job->cursor == 0) {
        say("%3s %-16s %8s %8s %8s %8s %8s %8s\n", "ID", "NAME", "CPU", "STEAL", "EXITS", "IRQS", "OUT", "DROPPED");
    }
    const struct capsule *capsule = next_capsule(job);
    if (capsule != NULL) {
        stat_row(capsule);
    }
    return capsule != NULL;
}

static bool stat_harts(struct monitor_job *job)
{
    if (job->cursor == 0) {
        say("HART %8s %8s %8s %8s\n", "IDLE", "SWITCHES", "STEALS", "UP");
    }
    if (job->cursor < hart_count) {
        const struct hart *hart = harts[job->cursor++];
        struct hart_stats stats;
        hart_stats(hart, &stats);
        say("%4lu %8s %8s %8s %8s\n", hart->arch.id, human_share(stats.idle_ticks, stats.up_ticks).text,
            human_count(stats.switches).text, human_count(stats.steals).text,
            human_time(stats.up_ticks, clock_hz).text);
    }
    return job->cursor < hart_count;
}

/* Causes of the same name (one word size or isolation has one, another the other) are one row. */
static bool named_before(unsigned exit)
{
    for (unsigned n = 0; n < exit; n++) {
        if (strcmp(vcpu_exit_name((enum vcpu_exit)n), vcpu_exit_name((enum vcpu_exit)exit)) == 0) {
            return true;
        }
    }
    return false;
}

static uint64_t exits_of_name(const struct capsule_stats *stats, const char *name)
{
    uint64_t sum = 0;
    for (unsigned n = 0; n < VCPU_EXITS; n++) {
        sum += strcmp(vcpu_exit_name((enum vcpu_exit)n), name) == 0 ? stats->exits[n] : 0;
    }
    return sum;
}

static void stat_exits(const struct capsule_stats *stats)
{
    say("  exits         %8s\n", human_count(all_exits(stats)).text);
    for (unsigned n = 0; n < VCPU_EXITS; n++) {
        const char *name = vcpu_exit_name((enum vcpu_exit)n);
        const uint64_t sum = named_before(n) ? 0 : exits_of_name(stats, name);
        if (sum != 0) {
            say("    %-12s%8s\n", name, human_count(sum).text);
        }
    }
}

static void stat_disk(const char *name, const struct disk_counts *disk)
{
    say("  %-13s %8s requests, %s read, %s written", name, human_count(disk->requests).text,
        human_bytes(disk->read).text, human_bytes(disk->written).text);
    say(disk->failed == 0 ? "\n" : ", %s failed\n", human_count(disk->failed).text);
}

static void stat_net(const char *name, const struct network_counts *frames)
{
    say("  %-13s %8s frames sent, %s received", name, human_count(frames->sent).text,
        human_count(frames->received).text);
    const struct {
        uint64_t count;
        const char *what;
    } rest[] = {{frames->dropped, "not received"}, {frames->spoofed, "spoofed"}, {frames->malformed, "malformed"}};
    for (size_t n = 0; n < ARRAY_LENGTH(rest); n++) {
        if (rest[n].count != 0) {
            say(", %s %s", human_count(rest[n].count).text, rest[n].what);
        }
    }
    say("\n");
}

/* Names are those of the manifest. */
static void stat_devices(const struct capsule *capsule)
{
    struct device_stats stats;
    for (uint32_t n = 0; n < capsule->config.device_count; n++) {
        const struct device_config *device = &capsule->config.devices[n];
        if (!capsule_device_stats(capsule, n, &stats)) {
            continue;
        }
        if (device->type == DEVICE_DISK) {
            stat_disk(device->name, &stats.disk);
        } else {
            stat_net(device->name, &stats.frames);
        }
    }
}

static void stat_capsule(const struct capsule *capsule)
{
    struct capsule_stats stats;
    capsule_stats(capsule, &stats);
    say("Capsule %u (%s): %s\n", (unsigned)capsule->id, capsule->config.name,
        capsule_state_name(capsule_state(capsule)));
    say("  starts        %8s\n", human_count(stats.starts).text);
    say("  CPU time      %8s\n", human_time(stats.cpu_ticks, clock_hz).text);
    say("  steal         %8s\n", human_time(stats.steal_ticks, clock_hz).text);
    say("  interrupts    %8s\n", human_count(stats.interrupts).text);
    say("  printed       %8s\n", human_bytes(stats.console_out).text);
    say("  typed         %8s\n", human_bytes(stats.console_in).text);
    say("  dropped       %8s\n", human_bytes(stats.console_dropped).text);
    stat_devices(capsule);
    stat_exits(&stats);
}

bool command_stat(struct monitor_job *job)
{
    if (job->capsule != NULL) {
        stat_capsule(job->capsule);
        return false;
    }
    if (job->stage == 0 && !stat_capsules(job)) {
        job->stage = 1;
        job->cursor = 0;
        return true;
    }
    return job->stage == 0 || stat_harts(job);
}

/* --- regs ------------------------------------------------------------------------------------------------------ */

/* Each as it was or as it is: a vCPU that runs changes them meanwhile. */
static unsigned long glimpse(const unsigned long *reg)
{
    return *(const volatile unsigned long *)reg;
}

static void regs_row(const struct arch_context *context, unsigned first)
{
    static const char *const names[32] = {
        "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0",  "a1",  "a2", "a3", "a4", "a5",
        "a6",   "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
    };
    for (unsigned n = first; n < MIN(first + 3, 32u); n++) {
        say("%s x%-2u %-3s %0*lx", n == first ? "" : "  ", n, names[n], XLEN / 4, glimpse(&context->x[n]));
    }
    say("\n");
}

static const struct vcpu *regs_vcpu(const struct monitor_job *job)
{
    uint32_t id = 0;
    for (const char *digit = job->arguments[1]; *digit != '\0'; digit++) {
        id = *digit >= '0' && *digit <= '9' && id < CAPSULE_VCPUS_MAX ? id * 10 + (uint32_t)(*digit - '0')
                                                                      : CAPSULE_VCPUS_MAX;
    }
    return id < job->capsule->config.vcpus ? capsule_vcpu(job->capsule, id) : NULL;
}

static void regs_head(const struct vcpu *vcpu)
{
    const struct hart *hart = atomic_load(&vcpu->hart);
    const bool runs = atomic_load(&vcpu->run) == RUN_LOADED && hart != NULL;
    say("%s vCPU %u", vcpu->capsule->config.name, (unsigned)vcpu->id);
    if (runs) {
        say(": runs on hart %lu; its registers as of its last trap\n", hart->arch.id);
    } else {
        say(": doesn't run now\n");
    }
    say(" pc      %0*lx   status  %0*lx\n", XLEN / 4, glimpse(&vcpu->context.pc), XLEN / 4,
        glimpse(&vcpu->context.status));
}

/* pc and status, then the rest in two steps. */
bool command_regs(struct monitor_job *job)
{
    enum { ROWS = 6, LAST = 31 };
    const struct vcpu *vcpu = regs_vcpu(job);
    if (vcpu == NULL) {
        say("%s has vCPUs 0 to %u.\n", job->capsule->config.name, (unsigned)job->capsule->config.vcpus - 1);
        return false;
    }
    if (job->cursor == 0) {
        regs_head(vcpu);
        job->cursor = 1;
    }
    for (unsigned n = 0; n < ROWS && job->cursor <= LAST; n++) {
        regs_row(&vcpu->context, job->cursor);
        job->cursor += 3;
    }
    return job->cursor <= LAST;
}
