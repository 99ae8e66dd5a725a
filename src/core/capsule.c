/* SPDX-License-Identifier: MIT
 *
 * A capsule's life: filled, run, stopped. A stop is asked for by anybody and committed by the last hart to leave.
 */
#include "core/capsule.h"

#include <string.h>

#include "core/hart.h"
#include "core/log.h"
#include "core/scheduler.h"
#include "diosix/sbi.h"
#include "lib/format.h"

/* Filling this much takes seconds under emulation: say that it is being done. */
#define FILL_WORTH_SAYING ((uint64_t)1 << 30)

enum { FILL_STEP = 64 * KIB, REASON_SHIFT = 8 };

struct capsule *capsules;
static void (*when_all_stopped)(void);

void capsule_set_idle(void (*all_stopped)(void))
{
    when_all_stopped = all_stopped;
}

void *capsule_ram_part(const struct capsule *capsule, gpa_t address, uint64_t *length)
{
    if (*length == 0 || !range_holds(capsule->ram, address.at, *length)) {
        return NULL;
    }
    const uint64_t offset = address.at - capsule->ram.base;
    const struct ram_piece *piece = &capsule->pieces[0];
    while (offset - piece->offset >= piece->size) {
        piece++; /* pieces hold all of RAM */
    }
    *length = MIN(*length, piece->size - (offset - piece->offset));
    return hpa_pointer((hpa_t){piece->host.at + (offset - piece->offset)});
}

void *capsule_ram(const struct capsule *capsule, gpa_t address, uint64_t length)
{
    uint64_t adjacent = length;
    void *place = capsule_ram_part(capsule, address, &adjacent);
    return adjacent == length ? place : NULL;
}

/* --- filling ------------------------------------------------------------------------------------------------- */

/* Counts the capsule as loaded: the caller calls capsule_left() when this has returned. */
static void begin(struct capsule *capsule, enum capsule_state from)
{
    struct vcpu *first = capsule_vcpu(capsule, 0);
    unsigned expected = from;
    atomic_fetch_add(&capsule->loaded, 1); /* a stop from now on waits until the first vCPU is where it can be swept */
    if (atomic_compare_exchange_strong(&capsule->state, &expected, CAPSULE_FILLING)) {
        capsule->fill_cursor = 0;
        if (capsule->ram.size >= FILL_WORTH_SAYING) {
            log_info("Capsule %u (%s): clearing and loading %llu MiB of RAM", (unsigned)capsule->id,
                     capsule->config.name, (unsigned long long)(capsule->ram.size / MIB));
        }
        atomic_store(&first->hsm, SBI_HSM_START_PENDING);
        vcpu_start(first, (unsigned long)capsule->plan.entry,
                   (unsigned long)(capsule->ram.base + capsule->plan.tree_offset));
    }
}

void capsule_start(struct capsule *capsule)
{
    enum capsule_state state = capsule_state(capsule);
    if (state == CAPSULE_LOADED || state == CAPSULE_STOPPED || state == CAPSULE_CRASHED) {
        begin(capsule, state);
        capsule_left(capsule);
    }
}

/* The bytes from offset on that come from one piece or from none: how many, at most limit, and whence. */
static uint64_t span(const struct load_plan *plan, uint64_t offset, uint64_t limit, const uint8_t **source)
{
    *source = NULL;
    for (size_t n = 0; n < plan->piece_count; n++) {
        const struct load_piece *piece = &plan->pieces[n];
        if (offset < piece->offset) {
            return MIN(limit, piece->offset - offset);
        }
        if (offset - piece->offset < piece->length) {
            *source = piece->bytes + (size_t)(offset - piece->offset);
            return MIN(limit, piece->length - (offset - piece->offset));
        }
    }
    return limit;
}

bool capsule_fill(struct capsule *capsule)
{
    uint64_t left = MIN(capsule->ram.size - capsule->fill_cursor, FILL_STEP);
    while (left > 0) {
        const uint8_t *source;
        uint64_t length = span(&capsule->plan, capsule->fill_cursor, left, &source);
        uint8_t *place = capsule_ram_part(capsule, (gpa_t){capsule->ram.base + capsule->fill_cursor}, &length);
        assert(place != NULL);
        if (source != NULL) {
            memcpy(place, source, (size_t)length);
        } else {
            memset(place, 0, (size_t)length);
        }
        capsule->fill_cursor += length;
        left -= length;
    }
    if (capsule->fill_cursor < capsule->ram.size) {
        return false;
    }
    capsule->prepare(capsule);
    unsigned expected = CAPSULE_FILLING;
    return atomic_compare_exchange_strong(&capsule->state, &expected, CAPSULE_RUNNING);
}

/* --- stopping ------------------------------------------------------------------------------------------------ */

static const char *const reason_text[] = {
    [STOP_POWER_OFF] = "power off requested",
    [STOP_RESET] = "reset",
    [STOP_FAILURE] = "the guest reported a failure",
    [STOP_CRASH] = "crashed",
    [STOP_KILLED] = "killed",
};

static void clear_vcpus(struct capsule *capsule)
{
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct vcpu *vcpu = capsule_vcpu(capsule, id);
        timer_cancel(&vcpu->timer);
        if (atomic_exchange(&vcpu->hsm, SBI_HSM_STOPPED) != SBI_HSM_STOPPED) {
            scheduler_count_started(capsule, -1);
        }
        atomic_store(&vcpu->pending, 0);
        atomic_store(&vcpu->external, false);
        atomic_store(&vcpu->fence_waiters, 0);
        atomic_store(&vcpu->fences_outstanding, 0);
    }
    atomic_store(&capsule->started, 0);
    atomic_store(&capsule->console_waiters, 0);
}

static bool any_alive(void)
{
    for (struct capsule *capsule = capsules; capsule != NULL; capsule = capsule->next) {
        enum capsule_state state = capsule_state(capsule);
        if (state == CAPSULE_FILLING || state == CAPSULE_RUNNING || state == CAPSULE_STOPPING ||
            state == CAPSULE_COMMITTING) {
            return true;
        }
    }
    return false;
}

static void report_stop(struct capsule *capsule, enum stop_reason reason)
{
    const char *sep = capsule->why[0] == '\0' ? "" : ": ";
    uint32_t unreported = 0;
    if (reason != STOP_RESET || log_limit(&capsule->resets, clock_now(), clock_hz, &unreported)) {
        log_write(reason == STOP_CRASH ? LOG_ALERT : LOG_INFO, "Capsule %u (%s) stopped: %s%s%s", (unsigned)capsule->id,
                  capsule->config.name, reason_text[reason], sep, capsule->why);
    }
    if (unreported != 0) {
        log_info("Capsule %u (%s): %u resets before that were not reported", (unsigned)capsule->id,
                 capsule->config.name, (unsigned)unreported);
    }
    capsule->why[0] = '\0';
}

/* True if it began anew: then it counts as loaded once more. */
static bool commit_stop(struct capsule *capsule, enum stop_reason reason)
{
    clear_vcpus(capsule);
    report_stop(capsule, reason);
    if (reason == STOP_RESET) {
        begin(capsule, CAPSULE_COMMITTING);
        return true;
    }
    atomic_store(&capsule->state, reason == STOP_CRASH ? CAPSULE_CRASHED : CAPSULE_STOPPED);
    if (!any_alive() && when_all_stopped != NULL) {
        when_all_stopped();
    }
    return false;
}

void capsule_left(struct capsule *capsule)
{
    bool again = true;
    while (again) {
        unsigned state;
        if (atomic_fetch_sub(&capsule->loaded, 1) != 1 || capsule_state(capsule) != CAPSULE_STOPPING) {
            return;
        }
        /* Since we looked another vCPU may have been loaded, or another hart may have committed: the queue's lock
         * decides. */
        again = scheduler_sweep(capsule, &state) && commit_stop(capsule, (enum stop_reason)(state >> REASON_SHIFT));
    }
}

static void ring_vcpus(struct capsule *capsule)
{
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct hart *hart = atomic_load(&capsule_vcpu(capsule, id)->hart);
        if (hart != NULL && hart != hart_this()) {
            hart_ring(hart);
        }
    }
}

void capsule_stop(struct capsule *capsule, enum stop_reason reason, const char *pattern, ...)
{
    unsigned request = CAPSULE_STOPPING | (unsigned)reason << REASON_SHIFT;
    atomic_fetch_add(&capsule->loaded, 1); /* nobody commits before we have told everyone */
    unsigned state = atomic_load(&capsule->state);
    while (state == CAPSULE_RUNNING || state == CAPSULE_FILLING) {
        if (atomic_compare_exchange_weak(&capsule->state, &state, request)) {
            va_list arguments;
            va_start(arguments, pattern);
            format_list(capsule->why, sizeof(capsule->why), pattern, arguments);
            va_end(arguments);
            ring_vcpus(capsule);
            break;
        }
    }
    capsule_left(capsule);
}

/* --- crashing ------------------------------------------------------------------------------------------------ */

static const char *const cause_text[CAUSE_EXCEPTIONS] = {
    [CAUSE_FETCH_MISALIGNED] = "misaligned fetch",
    [CAUSE_FETCH_ACCESS] = "fetch access fault",
    [CAUSE_ILLEGAL] = "illegal instruction",
    [CAUSE_BREAKPOINT] = "breakpoint",
    [CAUSE_LOAD_MISALIGNED] = "misaligned load",
    [CAUSE_LOAD_ACCESS] = "load access fault",
    [CAUSE_STORE_MISALIGNED] = "misaligned store",
    [CAUSE_STORE_ACCESS] = "store access fault",
    [CAUSE_FETCH_PAGE] = "fetch page fault",
    [CAUSE_LOAD_PAGE] = "load page fault",
    [CAUSE_STORE_PAGE] = "store page fault",
    [CAUSE_FETCH_GUEST_PAGE] = "fetch guest-page fault",
    [CAUSE_LOAD_GUEST_PAGE] = "load guest-page fault",
    [CAUSE_STORE_GUEST_PAGE] = "store guest-page fault",
    [CAUSE_VIRTUAL_INSTRUCTION] = "virtual instruction",
};

static void log_registers(const struct vcpu *vcpu)
{
    static const char *const names[32] = {
        "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0",  "a1",  "a2", "a3", "a4", "a5",
        "a6",   "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
    };
    const unsigned long *x = vcpu->context.x;
    for (unsigned n = 1; n < 32; n += 3) {
        log_debug("  %3s=%016lx %3s=%016lx %3s=%016lx", names[n], x[n], names[(n + 1) % 32], n + 1 < 32 ? x[n + 1] : 0,
                  names[(n + 2) % 32], n + 2 < 32 ? x[n + 2] : 0);
    }
}

void capsule_crash(struct vcpu *vcpu, unsigned long cause, unsigned long value, const char *what)
{
    const char *name = cause < CAUSE_EXCEPTIONS && cause_text[cause] != NULL ? cause_text[cause] : "unknown trap";
    log_debug("Capsule %u (%s): vCPU %u registers at pc 0x%lx, status 0x%lx", (unsigned)vcpu->capsule->id,
              vcpu->capsule->config.name, (unsigned)vcpu->id, vcpu->context.pc, vcpu->context.status);
    log_registers(vcpu);
    capsule_stop(vcpu->capsule, STOP_CRASH, "%s at pc 0x%lx, address 0x%lx, vCPU %u: %s", name, vcpu->context.pc, value,
                 (unsigned)vcpu->id, what);
}
