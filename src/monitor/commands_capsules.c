/* SPDX-License-Identifier: MIT
 *
 * Commands about capsules: which there are, what they are, and what is asked of them.
 */
#include "monitor/command.h"

#include <string.h>

#include "core/hart.h"
#include "core/stats.h"
#include "monitor/human.h"

enum { STATE_COLUMNS = 12, REASON_COLUMNS = 17 }; /* of list */

struct capsule *next_capsule(struct monitor_job *job)
{
    struct capsule *capsule = capsule_after(job->cursor);
    if (capsule != NULL) {
        job->cursor = capsule->id;
    }
    return capsule;
}

bool capsule_is_alive(const struct capsule *capsule)
{
    switch (capsule_state(capsule)) {
    case CAPSULE_FILLING:
    case CAPSULE_RUNNING:
    case CAPSULE_STOPPING:
    case CAPSULE_COMMITTING:
    case CAPSULE_PAUSED:
    case CAPSULE_BACKOFF:
        return true;
    case CAPSULE_LOADED:
    case CAPSULE_STOPPED:
    case CAPSULE_CRASHED:
    case CAPSULE_DESTROYING:
    default:
        return false;
    }
}

/* --- list ------------------------------------------------------------------------------------------------------ */

/* Text in so many columns; what is cut ends in "...". padded: all of the columns are used. */
static void say_cut(const char *text, size_t columns, bool padded)
{
    const size_t length = strlen(text);
    if (length > columns) {
        say_text(text, columns - 3);
        say("...");
    } else {
        say_text(text, length);
        say("%*s", padded ? (int)(columns - length) : 0, "");
    }
}

static void list_row(const struct capsule *capsule)
{
    struct capsule_stats stats;
    capsule_stats(capsule, &stats);
    say_capsule_name(capsule);
    say(" ");
    say_cut(capsule_state_name(capsule_state(capsule)), STATE_COLUMNS, true);
    say(" %-3s %4u %8s %8s ", capsule->isolation->name, (unsigned)capsule->config.vcpus,
        human_bytes(capsule->ram.size).text, human_time(stats.cpu_ticks, clock_hz).text);
    say_cut(capsule_last_stop(capsule), REASON_COLUMNS, false);
    say("\n");
}

bool command_list(struct monitor_job *job)
{
    const bool first = job->cursor == 0;
    const struct capsule *capsule = next_capsule(job);
    if (capsule == NULL) {
        if (first) {
            say("There is no capsule.\n");
        }
        return false;
    }
    if (first) {
        say("%3s %-16s %-12s %-3s %4s %8s %8s %s\n", "ID", "NAME", "STATE", "ISO", "vCPU", "MEMORY", "CPU",
            "LAST STOP");
    }
    list_row(capsule);
    return true;
}

/* --- info ------------------------------------------------------------------------------------------------------ */

static void info_memory(const struct capsule *capsule)
{
    say("  memory     %s at 0x%llx for the guest%s\n", human_bytes(capsule->ram.size).text,
        (unsigned long long)capsule->ram.base, capsule->config.has_memory_base ? ", as asked for" : "");
    for (size_t n = 0; n < capsule->piece_count; n++) {
        const struct ram_piece *piece = &capsule->pieces[n];
        say("  piece %u    %s at 0x%llx of the machine\n", (unsigned)n + 1, human_bytes(piece->size).text,
            (unsigned long long)piece->host.at);
    }
    say("  isolation  %s", capsule->isolation->name);
    if (capsule->stage2.memory.size != 0) {
        say(", stage-2 tables of %s", human_bytes(capsule->stage2.memory.size).text);
    }
    say("\n  overhead   %s\n", human_bytes(capsule_overhead(capsule)).text);
}

/* As many harts as there may be in a list: in lines of some numbers each. */
static void info_harts(const struct capsule_config *config)
{
    enum { NUMBERS = 5 };
    const uint32_t count = config_hart_count(config);
    say("  harts      %s", count == 0 ? "all that serve its isolation" : "");
    for (uint32_t n = 0; n < MIN(count, (uint32_t)CAPSULE_HARTS_MAX); n++) {
        say("%s%u", n == 0 ? "" : n % NUMBERS == 0 ? "\n             " : " ", (unsigned)config_hart(config, n));
    }
    say("%s\n", config->dedicated ? ", dedicated" : "");
}

static void info_policy(const struct capsule_config *config)
{
    static const char *const policies[] = {
        [RESTART_NEVER] = "never", [RESTART_ON_FAILURE] = "on-failure", [RESTART_ALWAYS] = "always"};
    say("  share      priority %u, weight %u\n", (unsigned)config->priority, (unsigned)config->weight);
    say("  restart    %s\n", policies[config->restart]);
    if (!config->watchdog) {
        say("  watchdog   none\n");
    } else if (config->watchdog_seconds == 0) {
        say("  watchdog   runs when the guest starts it\n");
    } else {
        say("  watchdog   %u s, from the start on\n", (unsigned)config->watchdog_seconds);
    }
    say("  manager    %s\n", config->manager ? "yes" : "no");
    say("  manual     %s\n", config->manual ? "yes" : "no");
}

static void info_images(const struct capsule_config *config)
{
    say("  kernel     %s\n", human_bytes(config->kernel.length).text);
    say("  initrd     %s\n", config->initrd.bytes == NULL ? "none" : human_bytes(config->initrd.length).text);
}

static void info_past(const struct capsule *capsule)
{
    struct capsule_stats stats;
    const char *reason = capsule_last_stop(capsule);
    capsule_stats(capsule, &stats);
    say("  CPU time   %s\n", human_time(stats.cpu_ticks, clock_hz).text);
    say("  starts     %s\n", human_count(stats.starts).text);
    say_wrapped("  last stop  ", *reason == '\0' ? "never" : reason);
}

static void say_vcpu(const struct vcpu *vcpu)
{
    static const char *const names[] = {[RUN_OFF] = "off",
                                        [RUN_QUEUED] = "waits for a hart",
                                        [RUN_LOADED] = "runs",
                                        [RUN_WAITING] = "sleeps",
                                        [RUN_BLOCKED] = "waits for a request of its own",
                                        [RUN_PARKED] = "stands still: the capsule is paused"};
    const unsigned run = atomic_load(&vcpu->run);
    const struct hart *hart = atomic_load(&vcpu->hart);
    say("  vCPU %-5u %s", (unsigned)vcpu->id, run < ARRAY_LENGTH(names) ? names[run] : "?");
    if (run == RUN_LOADED && hart != NULL) {
        say(" on hart %lu", hart->arch.id);
    }
    say("\n");
}

/* Long texts of the manifest, some of it a step. */
static bool info_bootargs(struct monitor_job *job, const char *bootargs)
{
    enum { PART = 8 * 66 };
    char part[PART + 1];
    const size_t length = strlen(bootargs);
    const size_t taken = MIN(length - MIN(job->cursor, length), (size_t)PART);
    memcpy(part, bootargs + MIN(job->cursor, length), taken);
    part[taken] = '\0';
    say_wrapped(job->cursor == 0 ? "  bootargs   " : "             ", part);
    job->cursor += (uint32_t)taken;
    return job->cursor < length;
}

static bool info_vcpus(struct monitor_job *job)
{
    if (job->cursor < job->capsule->config.vcpus) {
        say_vcpu(capsule_vcpu(job->capsule, job->cursor));
        job->cursor++;
    }
    return job->cursor < job->capsule->config.vcpus;
}

/* One section a step. */
bool command_info(struct monitor_job *job)
{
    const struct capsule *capsule = job->capsule;
    const struct capsule_config *config = &capsule->config;
    bool more = false;
    switch (job->stage) {
    case 0:
        say("Capsule %u (%s): %s\n", (unsigned)capsule->id, config->name, capsule_state_name(capsule_state(capsule)));
        info_memory(capsule);
        break;
    case 1:
        info_harts(config);
        break;
    case 2:
        info_policy(config);
        info_images(config);
        break;
    case 3:
        more = info_bootargs(job, config->bootargs == NULL ? "" : config->bootargs);
        break;
    case 4:
        more = info_vcpus(job);
        break;
    default:
        info_past(capsule);
        return false;
    }
    if (!more) {
        job->stage++;
        job->cursor = 0;
    }
    return true;
}

/* --- requests -------------------------------------------------------------------------------------------------- */

static void say_what_follows(enum capsule_request request, const char *name)
{
    switch (request) {
    case REQUEST_START:
        say("ok: its RAM is cleared and loaded, then it runs\n");
        break;
    case REQUEST_STOP:
        say("ok: asked to power off; it is killed after %u s\n", (unsigned)STOP_GRACE_SECONDS);
        break;
    case REQUEST_KILL:
        say("ok: it stops at once\n");
        break;
    case REQUEST_RESTART:
        say("ok: it stops at once; its RAM is cleared and loaded, then it runs again\n");
        break;
    case REQUEST_PAUSE:
        say("ok: it stands still until 'resume %s'\n", name);
        break;
    case REQUEST_RESUME:
        say("ok: it goes on\n");
        break;
    case REQUEST_DESTROY:
        say("ok: its RAM is cleared, then all that it had is free\n");
        break;
    case CAPSULE_REQUESTS:
    default:
        break;
    }
}

bool command_request(struct monitor_job *job)
{
    struct refusal refusal = {.error = DX_OK};
    char name[CAPSULE_NAME_MAX + 1]; /* after a request to destroy it the capsule may be gone at once */
    memcpy(name, job->capsule->config.name, sizeof(name));
    if (capsule_request(job->capsule, job->command->request, "the operator", &refusal) == DX_OK) {
        say_what_follows(job->command->request, name);
    } else {
        say_refusal(&refusal);
    }
    return false;
}

bool command_create(struct monitor_job *job)
{
    struct refusal refusal = {.error = DX_OK};
    if (the_host()->create == NULL) {
        say("Capsules cannot be created here.\n");
    } else if (the_host()->create(job->arguments[0], &refusal) == DX_OK) {
        say("ok: it is there; 'start %s' runs it\n", job->arguments[0]);
    } else {
        say_refusal(&refusal);
    }
    return false;
}

bool command_focus(struct monitor_job *job)
{
    if (the_host()->focus == NULL) {
        say("There is no console to go to here.\n");
    } else if (the_host()->focus(job->capsule->config.name)) {
        leave_monitor(true); /* focus has chosen only who is next */
    } else {
        say("The terminal doesn't show %s.\n", job->capsule->config.name);
    }
    return false;
}
