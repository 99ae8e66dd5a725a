/* SPDX-License-Identifier: MIT
 *
 * Commands about the machine: its memory, its harts, its end.
 */
#include "monitor/command.h"

#include <string.h>

#include "core/hart.h"
#include "core/memory.h"
#include "core/stats.h"
#include "monitor/human.h"

/* --- mem ------------------------------------------------------------------------------------------------------- */

static void mem_row(struct monitor_job *job, const struct capsule *capsule)
{
    const uint64_t parts[] = {capsule->ram.size, capsule->stage2.memory.size, capsule_overhead(capsule)};
    static_assert(ARRAY_LENGTH(parts) == ARRAY_LENGTH(((struct monitor_job *)0)->sums), "one sum for each column");
    say_capsule_name(capsule);
    for (size_t n = 0; n < ARRAY_LENGTH(parts); n++) {
        job->sums[n] += parts[n];
        say(" %8s", human_bytes(parts[n]).text);
    }
    say("\n");
}

bool command_mem(struct monitor_job *job)
{
    if (job->stage == 0) {
        say("%s of %s are free.\n", human_bytes(memory_free_bytes()).text, human_bytes(memory_total_bytes()).text);
        say("%3s %-16s %8s %8s %8s\n", "ID", "NAME", "RAM", "TABLES", "OVERHEAD");
        job->stage = 1;
        return true;
    }
    const struct capsule *capsule = next_capsule(job);
    if (capsule != NULL) {
        mem_row(job, capsule);
        return true;
    }
    say("%3s %-16s", "", "all");
    for (size_t n = 0; n < ARRAY_LENGTH(job->sums); n++) {
        say(" %8s", human_bytes(job->sums[n]).text);
    }
    say("\n");
    return false;
}

/* --- harts ----------------------------------------------------------------------------------------------------- */

static void say_extensions(unsigned long misa)
{
    enum { COLUMNS = 12 };
    unsigned length = 0;
    for (unsigned n = 0; n < 26; n++) {
        if ((misa & BIT(n)) != 0) {
            say("%c", 'a' + (int)n);
            length++;
        }
    }
    say("%*s", length < COLUMNS ? COLUMNS - (int)length : 1, "");
}

static void harts_row(const struct hart *hart)
{
    struct hart_stats stats;
    /* Its own to write. What it leads to stays until we return from our trap: see core/capsules.h. */
    const struct vcpu *vcpu = __atomic_load_n(&hart->current, __ATOMIC_ACQUIRE);
    hart_stats(hart, &stats);
    say("%4lu %-4s %7s  ", hart->arch.id, hart->kind == HART_HYP ? "hyp" : "pmp",
        human_share(stats.idle_ticks, stats.up_ticks).text);
    say_extensions(hart->features.misa);
    if (!atomic_load(&hart->online)) {
        say("takes no part\n");
    } else if (vcpu == NULL) {
        say("idle\n");
    } else {
        say("%s vCPU %u\n", vcpu->capsule->config.name, (unsigned)vcpu->id);
    }
}

bool command_harts(struct monitor_job *job)
{
    if (job->cursor == 0) {
        say("%4s %-4s %7s  %-12s%s\n", "HART", "KIND", "IDLE", "ISA", "RUNS");
    }
    if (job->cursor < hart_count) {
        harts_row(harts[job->cursor++]);
    }
    return job->cursor < hart_count;
}

/* --- the end --------------------------------------------------------------------------------------------------- */

/* Asks if any capsule runs; some are looked at in a step. True: go on looking. */
static bool ask(struct monitor_job *job)
{
    for (unsigned n = 0; n < STEP_CAPSULES; n++) {
        const struct capsule *capsule = next_capsule(job);
        if (capsule == NULL) {
            job->confirmed = true;
            return true;
        }
        if (capsule_is_alive(capsule)) {
            say("Capsules run and would be cut off; one is %s.\nTo go on, type '%s' again, or 'yes'.\n",
                capsule->config.name, job->command->name);
            job->asks = true;
            return false;
        }
    }
    return true;
}

static bool end_machine(struct monitor_job *job, void (*end)(void), const char *impossible)
{
    if (end == NULL) {
        say("%s\n", impossible);
        return false;
    }
    if (!job->confirmed) {
        return ask(job);
    }
    end();
    return false;
}

bool command_reboot(struct monitor_job *job)
{
    return end_machine(job, the_host()->reboot, "This machine cannot be restarted by software.");
}

bool command_poweroff(struct monitor_job *job)
{
    return end_machine(job, the_host()->power_off, "This machine cannot be switched off by software.");
}

bool command_yes(struct monitor_job *job)
{
    (void)job;
    say("Nothing was asked.\n");
    return false;
}
