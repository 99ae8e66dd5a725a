/* SPDX-License-Identifier: MIT
 *
 * A capsule's life: filled, run, stopped. A stop is asked for by anybody and committed by the last hart to leave.
 */
#include "core/capsule.h"

#include <string.h>

#include "core/affinity.h"
#include "core/capsules.h"
#include "core/events.h"
#include "core/hart.h"
#include "core/life.h"
#include "core/log.h"
#include "core/reaper.h"
#include "core/scheduler.h"
#include "diosix/sbi.h"
#include "lib/format.h"

/* Filling this much takes seconds under emulation: say that it is being done. */
#define FILL_WORTH_SAYING ((uint64_t)1 << 30)

enum { FILL_STEP = 64 * KIB };

static void (*_Atomic when_all_stopped)(void);

void capsule_set_idle(void (*all_stopped)(void))
{
    atomic_store(&when_all_stopped, all_stopped);
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

bool capsule_move(struct capsule *capsule, enum capsule_state from, enum capsule_state to)
{
    unsigned word = atomic_load(&capsule->state);
    while ((word & CAPSULE_STATE_MASK) == from) {
        const unsigned moved = word / CAPSULE_HOLD * CAPSULE_HOLD | to;
        if (atomic_compare_exchange_weak(&capsule->state, &word, moved)) {
            return true;
        }
    }
    return false;
}

/* Holds the capsule, for the caller to let go: a stop from now on waits until the first vCPU is where it can be
 * dropped. False: it is in another state. */
static bool begin(struct capsule *capsule, enum capsule_state from)
{
    struct vcpu *first = capsule_vcpu(capsule, 0);
    (void)capsule_hold(capsule);
    const bool moved = capsule_move(capsule, from, CAPSULE_FILLING);
    if (moved) {
        capsule->fill_cursor = 0;
        life_begins(capsule);
        affinity_apply(capsule);
        if (capsule->ram.size >= FILL_WORTH_SAYING) {
            log_info("Capsule %u (%s): clearing and loading %llu MiB of RAM", (unsigned)capsule->id,
                     capsule->config.name, (unsigned long long)(capsule->ram.size / MIB));
        }
        atomic_store(&first->hsm, SBI_HSM_START_PENDING);
        vcpu_start(first, (unsigned long)capsule->plan.entry,
                   (unsigned long)(capsule->ram.base + capsule->plan.tree_offset));
    }
    return moved;
}

bool capsule_begin(struct capsule *capsule, enum capsule_state from)
{
    const bool begun = begin(capsule, from);
    capsule_left(capsule);
    return begun;
}

bool capsule_start(struct capsule *capsule)
{
    enum capsule_state state = capsule_state(capsule);
    return (state == CAPSULE_LOADED || state == CAPSULE_STOPPED || state == CAPSULE_CRASHED) &&
           capsule_begin(capsule, state);
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

/* Fills the next step of RAM by the plan; NULL: with zeros. True when all is done. */
static bool fill_step(struct capsule *capsule, const struct load_plan *plan)
{
    uint64_t left = MIN(capsule->ram.size - capsule->fill_cursor, (uint64_t)FILL_STEP);
    while (left > 0) {
        const uint8_t *source = NULL;
        uint64_t length = plan == NULL ? left : span(plan, capsule->fill_cursor, left, &source);
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
    return capsule->fill_cursor == capsule->ram.size;
}

/* A step of RAM or, once that is done, of what the layers above have. */
static bool step(struct capsule *capsule, const struct load_plan *plan, bool (*further)(struct capsule *capsule))
{
    const bool was_full = capsule->fill_cursor == capsule->ram.size;
    if (!fill_step(capsule, plan)) {
        return false;
    }
    return further == NULL || (was_full && further(capsule));
}

bool capsule_fill(struct capsule *capsule)
{
    if (!step(capsule, &capsule->plan, capsule->hooks->fill) || !capsule->hooks->prepare(capsule)) {
        return false;
    }
    life_runs(capsule);
    const bool runs = capsule_move(capsule, CAPSULE_FILLING, CAPSULE_RUNNING);
    if (runs) {
        event_report(capsule, EVENT_STARTED, "");
    }
    return runs;
}

bool capsule_scrub_begin(struct capsule *capsule, enum capsule_state from)
{
    (void)capsule_hold(capsule);
    const bool moved = capsule_move(capsule, from, CAPSULE_DESTROYING);
    if (moved) {
        capsule->fill_cursor = 0;
        affinity_apply(capsule);
        scheduler_wake(capsule_vcpu(capsule, 0), RUN_OFF, NULL);
    }
    capsule_left(capsule);
    return moved;
}

bool capsule_scrub(struct capsule *capsule)
{
    return step(capsule, NULL, capsule->hooks->scrub) && kept_scrub(&capsule->config.origin.image);
}

/* --- stopping ------------------------------------------------------------------------------------------------ */

static const char *const reason_text[] = {
    [STOP_POWER_OFF] = "power off requested",
    [STOP_RESET] = "reset",
    [STOP_FAILURE] = "the guest reported a failure",
    [STOP_CRASH] = "crashed",
    [STOP_KILLED] = "killed",
    [STOP_RESTART] = "restart requested",
    [STOP_WATCHDOG] = "watchdog",
};

/* No hart can load any of them: the capsule is COMMITTING. */
static void clear_vcpus(struct capsule *capsule)
{
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct vcpu *vcpu = capsule_vcpu(capsule, id);
        scheduler_drop(vcpu);
        timer_cancel(&vcpu->timer);
        atomic_store(&vcpu->hsm, SBI_HSM_STOPPED);
        atomic_store(&vcpu->pending, 0);
        atomic_store(&vcpu->external, false);
        atomic_store(&vcpu->fence_waiters, 0);
        atomic_store(&vcpu->fences_outstanding, 0);
    }
    atomic_store(&capsule->started, 0);
    atomic_store(&capsule->console_waiters, 0);
    if (capsule->hooks->silence != NULL) {
        capsule->hooks->silence(capsule);
    }
}

static void look_alive(struct capsule *capsule, void *any)
{
    enum capsule_state state = capsule_state(capsule);
    *(bool *)any |= state != CAPSULE_LOADED && state != CAPSULE_STOPPED && state != CAPSULE_CRASHED;
}

void capsule_look_idle(void)
{
    bool any = false;
    capsules_each(look_alive, &any);
    void (*all_stopped)(void) = atomic_load(&when_all_stopped);
    if (!any && all_stopped != NULL) {
        all_stopped();
    }
}

/* What became of it, for the log and for whoever asks later. */
static void compose_stop(struct capsule *capsule, enum stop_reason reason, const struct life_verdict *verdict)
{
    char next[64] = "";
    if (verdict->loops) {
        format(next, sizeof(next), "; it lived less than %d s %d times in a row: not started again",
               (int)SHORT_LIFE_SECONDS, (int)SHORT_LIVES_MAX);
    } else if (verdict->next == CAPSULE_BACKOFF && verdict->wait_ms != 0) {
        format(next, sizeof(next), "; starts again in %u ms", (unsigned)verdict->wait_ms);
    }
    format(capsule->last_stop, sizeof(capsule->last_stop), "%s%s%s%s", reason_text[reason],
           capsule->why[0] == '\0' ? "" : ": ", capsule->why, next);
    capsule->why[0] = '\0';
}

/* A guest can't fill the log with these: what restarts it is limited. */
static void report_stop(struct capsule *capsule, enum stop_reason reason, const struct life_verdict *verdict)
{
    const bool alert = reason == STOP_CRASH || reason == STOP_WATCHDOG || verdict->loops;
    log_write(alert ? LOG_ALERT : LOG_INFO, "Capsule %u (%s) stopped: %s", (unsigned)capsule->id, capsule->config.name,
              capsule->last_stop);
}

static enum event_kind event_of(enum capsule_state next)
{
    return next == CAPSULE_BACKOFF ? EVENT_RESTARTS : next == CAPSULE_CRASHED ? EVENT_CRASHED : EVENT_STOPPED;
}

/* The last one has left: nobody but us touches the capsule until its state moves on. True if it began anew, and is held
 * once more. */
static bool commit_stop(struct capsule *capsule, enum stop_reason reason)
{
    clear_vcpus(capsule);
    const struct life_verdict verdict = life_judge(capsule, reason);
    compose_stop(capsule, reason, &verdict);
    report_stop(capsule, reason, &verdict);
    const bool moved = capsule_move(capsule, CAPSULE_COMMITTING, verdict.next);
    assert(moved);
    event_report(capsule, event_of(verdict.next), capsule->last_stop);
    if (verdict.next != CAPSULE_BACKOFF) {
        capsule_look_idle();
        return false;
    }
    if (verdict.wait_ms != 0) {
        life_back_off(capsule, verdict.wait_ms);
        return false;
    }
    (void)begin(capsule, CAPSULE_BACKOFF);
    return true;
}

void capsule_left(struct capsule *capsule)
{
    bool held = true;
    while (held) {
        unsigned word = atomic_fetch_sub(&capsule->state, CAPSULE_HOLD) - CAPSULE_HOLD;
        assert(word / CAPSULE_HOLD < UINT16_MAX);
        /* who holds it meanwhile, holds up the commit and comes here later */
        held = word / CAPSULE_HOLD == 0 && (word & CAPSULE_STATE_MASK) == CAPSULE_STOPPING &&
               atomic_compare_exchange_strong(&capsule->state, &word, CAPSULE_COMMITTING) &&
               commit_stop(capsule, (enum stop_reason)(word >> CAPSULE_REASON_SHIFT));
    }
}

void capsule_ring(struct capsule *capsule)
{
    for (uint32_t id = 0; id < capsule->config.vcpus; id++) {
        struct hart *hart = atomic_load(&capsule_vcpu(capsule, id)->hart);
        if (hart != NULL && hart != hart_this()) {
            hart_ring(hart);
        }
    }
}

static bool may_stop(enum capsule_state state)
{
    return state == CAPSULE_RUNNING || state == CAPSULE_FILLING || state == CAPSULE_PAUSED;
}

bool capsule_stop(struct capsule *capsule, enum stop_reason reason, const char *pattern, ...)
{
    bool first = false;
    const unsigned request = CAPSULE_STOPPING | (unsigned)reason << CAPSULE_REASON_SHIFT;
    (void)capsule_hold(capsule); /* nobody commits before we have told everyone */
    unsigned word = atomic_load(&capsule->state);
    while (!first && may_stop((enum capsule_state)(word & CAPSULE_STATE_MASK))) {
        first = atomic_compare_exchange_weak(&capsule->state, &word, word / CAPSULE_HOLD * CAPSULE_HOLD | request);
    }
    if (first) {
        va_list arguments;
        va_start(arguments, pattern);
        format_list(capsule->why, sizeof(capsule->why), pattern, arguments);
        va_end(arguments);
        capsule_ring(capsule);
    }
    capsule_left(capsule);
    return first;
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
