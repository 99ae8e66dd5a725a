/* SPDX-License-Identifier: MIT
 *
 * A capsule's life: see life.h.
 */
#include "core/life.h"

#include <string.h>

#include "core/events.h"
#include "core/hart.h"
#include "core/scheduler.h"

enum { MS_PER_SECOND = 1000, ASK_STEP_SECONDS = 1 };

static uint64_t ticks_of_ms(uint64_t ms)
{
    return ms * clock_hz / MS_PER_SECOND;
}

/* --- the timer: one for the steps of a stop and for back-off, which never happen at once ---------------------- */

static void fire(struct timer *timer);

/* With life.lock held. */
static void set_timer(struct capsule *capsule, uint64_t due)
{
    struct life *life = &capsule->life;
    timer_cancel(&life->timer);
    life->due = due;
    life->timer.fire = fire;
    timer_arm(&hart_this()->timers, &life->timer, due);
}

/* --- asking the guest to power off ---------------------------------------------------------------------------- */

/* What Linux's console takes after a BREAK (its Documentation/admin-guide/sysrq.rst): sync, remount read-only, off. */
static const char ask_keys[] = {'s', 'u', 'o'};

static void send_key(struct capsule *capsule, char key)
{
    if (console_port_feed_break(&capsule->console)) {
        console_port_feed(&capsule->console, (uint8_t)key);
    }
    console_port_notify(&capsule->console);
}

/* With life.lock held. The key to send now, or 0 if the guest has had its time. */
static char next_step(struct capsule *capsule)
{
    struct life *life = &capsule->life;
    const unsigned step = life->asked;
    const unsigned last = ARRAY_LENGTH(ask_keys) - 1;
    if (step > last) {
        return '\0';
    }
    const uint64_t wait = step < last ? ASK_STEP_SECONDS : STOP_GRACE_SECONDS - last * ASK_STEP_SECONDS;
    life->asked = step + 1;
    set_timer(capsule, clock_now() + wait * clock_hz);
    return ask_keys[step];
}

/* Once it has stopped there is nobody to ask, and this is false: what commits the stop takes the lock after us, and
 * forgets the asking. */
static bool ask(struct capsule *capsule)
{
    spinlock_take(&capsule->life.lock);
    const bool runs = capsule_state(capsule) == CAPSULE_RUNNING;
    const char key = runs && capsule->life.asked == 0 ? next_step(capsule) : '\0';
    spinlock_release(&capsule->life.lock);
    if (key != '\0') {
        send_key(capsule, key);
    }
    return runs;
}

/* With life.lock held. It is paused and can't do what it is asked: it has the rest of its steps, and all of the last
 * one's time, when it runs again. */
static void put_off(struct capsule *capsule)
{
    const unsigned last = ARRAY_LENGTH(ask_keys) - 1;
    capsule->life.asked = MIN(capsule->life.asked, last);
    set_timer(capsule, clock_now() + ASK_STEP_SECONDS * clock_hz);
}

/* A fire that had begun before the timer was set anew, or taken back, comes too early. */
static void fire(struct timer *timer)
{
    struct capsule *capsule = CONTAINER_OF(timer, struct capsule, life.timer);
    spinlock_take(&capsule->life.lock);
    const bool due = capsule->life.due <= clock_now();
    const enum capsule_state state = capsule_state(capsule);
    const bool asked = due && capsule->life.asked != 0 && state == CAPSULE_RUNNING;
    const char key = asked ? next_step(capsule) : '\0';
    if (due && capsule->life.asked != 0 && state == CAPSULE_PAUSED) {
        put_off(capsule);
    }
    spinlock_release(&capsule->life.lock);
    if (due && state == CAPSULE_BACKOFF) {
        (void)capsule_begin(capsule, CAPSULE_BACKOFF);
    } else if (key != '\0') {
        send_key(capsule, key);
    } else if (asked) {
        capsule_stop(capsule, STOP_KILLED, "it did not power off within %d s", (int)STOP_GRACE_SECONDS);
    }
}

/* --- what follows a stop -------------------------------------------------------------------------------------- */

static bool restarts(const struct capsule *capsule, enum stop_reason reason)
{
    const enum restart_policy policy = capsule->config.restart;
    switch (reason) {
    case STOP_RESET: /* the guest's own wish */
    case STOP_RESTART:
        return true;
    case STOP_POWER_OFF:
        return policy == RESTART_ALWAYS && capsule->life.asked == 0;
    case STOP_FAILURE:
    case STOP_CRASH:
    case STOP_WATCHDOG:
        return policy != RESTART_NEVER && capsule->life.asked == 0;
    case STOP_KILLED:
        break;
    }
    return false;
}

static uint64_t backoff_ms(unsigned short_lives)
{
    uint64_t ms = short_lives < 2 ? 0 : BACKOFF_FIRST_MS;
    for (unsigned n = 2; n < short_lives && ms < BACKOFF_LONGEST_MS; n++) {
        ms *= 2;
    }
    return MIN(ms, (uint64_t)BACKOFF_LONGEST_MS);
}

struct life_verdict life_judge(struct capsule *capsule, enum stop_reason reason)
{
    const bool failed = reason == STOP_CRASH || reason == STOP_WATCHDOG;
    struct life_verdict verdict = {.next = failed ? CAPSULE_CRASHED : CAPSULE_STOPPED};
    spinlock_take(&capsule->life.lock);
    struct life *life = &capsule->life;
    timer_cancel(&life->timer);
    life->due = TIMER_NEVER;
    if (!life->killed && restarts(capsule, reason)) {
        const bool brief = clock_now() - life->started < SHORT_LIFE_SECONDS * clock_hz;
        life->short_lives = brief && reason != STOP_RESTART ? life->short_lives + 1 : 0;
        verdict.loops = life->short_lives >= SHORT_LIVES_MAX;
        verdict.wait_ms = backoff_ms(life->short_lives);
        verdict.next = verdict.loops ? CAPSULE_CRASHED : CAPSULE_BACKOFF;
    }
    life->asked = 0;
    life->killed = false;
    spinlock_release(&capsule->life.lock);
    return verdict;
}

void life_begins(struct capsule *capsule)
{
    spinlock_take(&capsule->life.lock);
    capsule->life.started = clock_now();
    capsule->life.starts++;
    spinlock_release(&capsule->life.lock);
}

void life_runs(struct capsule *capsule)
{
    spinlock_take(&capsule->life.lock);
    capsule->life.started = clock_now();
    spinlock_release(&capsule->life.lock);
}

void life_back_off(struct capsule *capsule, uint64_t ms)
{
    spinlock_take(&capsule->life.lock);
    if (capsule_state(capsule) == CAPSULE_BACKOFF) { /* else somebody has started or stopped it already */
        set_timer(capsule, clock_now() + ticks_of_ms(ms));
    }
    spinlock_release(&capsule->life.lock);
}

/* --- requests ------------------------------------------------------------------------------------------------- */

/* An act is false, and has done nothing, if the capsule has left the state that it is for. */
typedef bool act(struct capsule *capsule, const char *by);

/* The operator knows what he does: lives before this one don't count. */
static bool start(struct capsule *capsule, const char *by)
{
    (void)by;
    spinlock_take(&capsule->life.lock);
    capsule->life.short_lives = 0;
    spinlock_release(&capsule->life.lock);
    return capsule_begin(capsule, CAPSULE_BACKOFF) || capsule_start(capsule);
}

static bool kill_it(struct capsule *capsule, const char *by)
{
    return capsule_stop(capsule, STOP_KILLED, "by %s", by);
}

static bool give_up(struct capsule *capsule, const char *by)
{
    (void)by;
    const bool moved = capsule_move(capsule, CAPSULE_BACKOFF, CAPSULE_STOPPED);
    if (moved) {
        capsule_look_idle();
    }
    return moved;
}

/* It is stopping of something else. Who judges what follows takes the lock after us. */
static bool stay_stopped(struct capsule *capsule, const char *by)
{
    (void)by;
    spinlock_take(&capsule->life.lock);
    const bool stopping = capsule_state(capsule) == CAPSULE_STOPPING;
    capsule->life.killed |= stopping;
    spinlock_release(&capsule->life.lock);
    return stopping;
}

static bool restart(struct capsule *capsule, const char *by)
{
    return capsule_stop(capsule, STOP_RESTART, "by %s", by);
}

static bool pause_it(struct capsule *capsule, const char *by)
{
    (void)by;
    const bool moved = capsule_move(capsule, CAPSULE_RUNNING, CAPSULE_PAUSED);
    if (moved) {
        capsule_ring(capsule);
        event_report(capsule, EVENT_PAUSED, "");
    }
    return moved;
}

static bool resume(struct capsule *capsule, const char *by)
{
    (void)by;
    if (capsule_state(capsule) == CAPSULE_PAUSED && capsule->hooks->resume != NULL) {
        capsule->hooks->resume(capsule); /* while time doesn't count yet */
    }
    const bool moved = capsule_move(capsule, CAPSULE_PAUSED, CAPSULE_RUNNING);
    for (uint32_t id = 0; moved && id < capsule->config.vcpus; id++) {
        scheduler_wake(capsule_vcpu(capsule, id), RUN_PARKED, NULL);
    }
    if (moved) {
        event_report(capsule, EVENT_RESUMED, "");
    }
    return moved;
}

static bool stop(struct capsule *capsule, const char *by)
{
    (void)resume(capsule, by);
    return ask(capsule);
}

/* vCPU 0 stands for the work of scrubbing. */
static bool destroy(struct capsule *capsule, const char *by)
{
    (void)by;
    const enum capsule_state from = capsule_state(capsule);
    return (from == CAPSULE_LOADED || from == CAPSULE_STOPPED || from == CAPSULE_CRASHED) &&
           capsule_scrub_begin(capsule, from);
}

/* What each request does in each state; NULL: it is refused. */
static act *const acts[][CAPSULE_REQUESTS] = {
    [CAPSULE_LOADED] = {[REQUEST_START] = start, [REQUEST_RESTART] = start, [REQUEST_DESTROY] = destroy},
    [CAPSULE_FILLING] = {[REQUEST_STOP] = kill_it, [REQUEST_KILL] = kill_it, [REQUEST_RESTART] = restart},
    [CAPSULE_RUNNING] =
        {[REQUEST_STOP] = stop, [REQUEST_KILL] = kill_it, [REQUEST_RESTART] = restart, [REQUEST_PAUSE] = pause_it},
    [CAPSULE_STOPPING] = {[REQUEST_KILL] = stay_stopped},
    [CAPSULE_COMMITTING] = {NULL},
    [CAPSULE_STOPPED] = {[REQUEST_START] = start, [REQUEST_RESTART] = start, [REQUEST_DESTROY] = destroy},
    [CAPSULE_CRASHED] = {[REQUEST_START] = start, [REQUEST_RESTART] = start, [REQUEST_DESTROY] = destroy},
    [CAPSULE_PAUSED] =
        {[REQUEST_STOP] = stop, [REQUEST_KILL] = kill_it, [REQUEST_RESTART] = restart, [REQUEST_RESUME] = resume},
    [CAPSULE_BACKOFF] =
        {[REQUEST_START] = start, [REQUEST_STOP] = give_up, [REQUEST_KILL] = give_up, [REQUEST_RESTART] = start},
    [CAPSULE_DESTROYING] = {NULL},
};

enum dx_error capsule_request(struct capsule *capsule, enum capsule_request request, const char *by,
                              struct refusal *refusal)
{
    static const char *const names[CAPSULE_REQUESTS] = {
        [REQUEST_START] = "start",     [REQUEST_STOP] = "stop",   [REQUEST_KILL] = "kill",
        [REQUEST_RESTART] = "restart", [REQUEST_PAUSE] = "pause", [REQUEST_RESUME] = "resume",
        [REQUEST_DESTROY] = "destroy",
    };
    bool done = false;
    while (!done) { /* again only if somebody else has moved it on */
        const enum capsule_state state = capsule_state(capsule);
        act *const function = acts[state][request];
        if (function == NULL) {
            return refuse(refusal, DX_WRONG_STATE, "%s: %s: it is %s", capsule->config.name, names[request],
                          capsule_state_name(state));
        }
        done = function(capsule, by);
    }
    return DX_OK;
}

/* --- words ---------------------------------------------------------------------------------------------------- */

const char *capsule_state_name(enum capsule_state state)
{
    static const char *const names[] = {
        [CAPSULE_LOADED] = "loaded",         [CAPSULE_FILLING] = "starting",    [CAPSULE_RUNNING] = "running",
        [CAPSULE_STOPPING] = "stopping",     [CAPSULE_COMMITTING] = "stopping", [CAPSULE_STOPPED] = "stopped",
        [CAPSULE_CRASHED] = "crashed",       [CAPSULE_PAUSED] = "paused",       [CAPSULE_BACKOFF] = "restarting",
        [CAPSULE_DESTROYING] = "destroying",
    };
    return names[state];
}

const char *capsule_last_stop(const struct capsule *capsule)
{
    return capsule->last_stop;
}
