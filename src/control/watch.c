/* SPDX-License-Identifier: MIT
 *
 * Consoles, the log and events through control sessions: see watch.h and session_parts.h.
 */
#include "control/watch.h"

#include <string.h>

#include "control/session_parts.h"
#include "core/capsules.h"
#include "core/events.h"
#include "core/hart.h"
#include "core/stats.h"
#include "lib/format.h"

enum {
    GATHER_HZ = 1000,  /* output waits so long for more, a part of a second, before a client is told */
    LOG_HZ = 10,       /* how often somebody who waits for it looks at the log */
    WATCH_SECONDS = 5, /* how long a guest waits for a client that watches and doesn't read; some KiB take seconds
                        * to reach a slow terminal */
};

static_assert(sizeof(struct dx_control_info_reply) == 288 + 88 + DX_CONTROL_CAUSES_MAX * 24, "no padding");
static_assert(sizeof(struct dx_control_event) == 264 && sizeof(struct dx_control_read) == 16, "likewise");

/* Bytes that a reply has room for behind its header and so many. */
static size_t room_behind(size_t bytes)
{
    return DX_CONTROL_MESSAGE_MAX - sizeof(struct dx_control_header) - bytes;
}

/* --- news -------------------------------------------------------------------------------------------------------- */

static void tell_output(struct console_port *port)
{
    waiters_tell(CONTAINER_OF(port, struct capsule, console)->id, clock_hz / GATHER_HZ + 1);
}

static void tell_event(const struct event *event)
{
    waiters_tell(event->id, 1);
    waiters_tell(TOPIC_EVENTS, 1);
}

void watch_init(void)
{
    console_news = tell_output;
    event_news = tell_event;
}

/* --- info -------------------------------------------------------------------------------------------------------- */

/* Causes of one name are one. */
static void add_exits(struct dx_control_info_reply *reply, const char *name, uint64_t count)
{
    uint32_t n = 0;
    while (n < reply->causes && strcmp(reply->exits[n].name, name) != 0) {
        n++;
    }
    if (count != 0 && n < DX_CONTROL_CAUSES_MAX) {
        session_text(reply->exits[n].name, sizeof(reply->exits[n].name), name);
        reply->exits[n].count += count;
        reply->causes = MAX(reply->causes, n + 1);
    }
}

static void put_stats(const struct capsule *capsule, struct dx_control_info_reply *reply)
{
    struct capsule_stats stats;
    capsule_stats(capsule, &stats);
    reply->steal_us = session_microseconds(stats.steal_ticks);
    reply->interrupts = stats.interrupts;
    reply->console_out = stats.console_out;
    reply->console_in = stats.console_in;
    reply->console_dropped = stats.console_dropped;
    for (unsigned n = 0; n < VCPU_EXITS; n++) {
        add_exits(reply, vcpu_exit_name((enum vcpu_exit)n), stats.exits[n]);
    }
}

static void put_config(const struct capsule *capsule, struct dx_control_info_reply *reply)
{
    const struct capsule_config *config = &capsule->config;
    reply->kernel = config->kernel.length;
    reply->initrd = config->initrd.bytes == NULL ? 0 : config->initrd.length;
    reply->overhead = capsule_overhead(capsule);
    reply->priority = config->priority;
    reply->weight = config->weight;
    reply->restart = (uint32_t)config->restart;
    reply->watchdog_seconds = config->watchdog ? config->watchdog_seconds : 0;
    reply->creator = config->origin.creator;
}

static_assert(RESTART_NEVER == 0 && RESTART_ON_FAILURE == 1 && RESTART_ALWAYS == 2, "as the protocol has them");

enum dx_error session_info(struct session *session, struct refusal *refusal)
{
    const struct dx_control_info *message = session_payload(session->message);
    struct dx_control_info_reply *reply = session_payload(session->reply);
    if (message->reserved != 0) {
        return refuse(refusal, DX_BAD_VALUE, "info: reserved must be 0");
    }
    const struct capsule *capsule = session_find(session, message->id, "info", refusal);
    if (capsule == NULL) {
        return refusal->error;
    }
    memset(reply, 0, sizeof(*reply));
    session_describe(session, capsule, &reply->row);
    put_stats(capsule, reply);
    put_config(capsule, reply);
    const size_t length = strnlen(capsule->config.bootargs, room_behind(sizeof(*reply)));
    memcpy(reply + 1, capsule->config.bootargs, length);
    session_reply(session, DX_OK, sizeof(*reply) + length);
    return DX_OK;
}

/* --- consoles ---------------------------------------------------------------------------------------------------- */

/* Its guest runs, or will without being asked. */
static bool is_up(const struct capsule *capsule)
{
    switch (capsule_state(capsule)) {
    case CAPSULE_LOADED:
    case CAPSULE_STOPPED:
    case CAPSULE_CRASHED:
    case CAPSULE_DESTROYING:
        return false;
    case CAPSULE_FILLING:
    case CAPSULE_RUNNING:
    case CAPSULE_STOPPING:
    case CAPSULE_COMMITTING:
    case CAPSULE_PAUSED:
    case CAPSULE_BACKOFF:
    default:
        return true;
    }
}

/* Held, or while the message is served. */
static void watch_until(struct session *session, uint64_t due)
{
    timer_cancel(&session->watch);
    session->watch_due = due;
    if (due != TIMER_NEVER) {
        (void)timer_arm(&hart_this()->timers, &session->watch, due);
    }
}

void session_unwatch(struct session *session)
{
    if (session->watched != 0) {
        watch_until(session, clock_now() + 1);
    }
}

/* What the guest writes waits for the client, which has taken all before that position: for as long as it waits itself,
 * else for a short time. */
static void watch(struct session *session, struct capsule *capsule, uint64_t taken, bool waits)
{
    char by[CAPSULE_NAME_MAX + 12];
    const uint64_t due = waits ? TIMER_NEVER : clock_now() + WATCH_SECONDS * clock_hz;
    spinlock_take(&session->lock);
    const bool is_new = session->attached != capsule->id;
    session->attached = capsule->id;
    session->watched = capsule->id;
    watch_until(session, due);
    spinlock_release(&session->lock);
    console_port_watch(&capsule->console, taken, due);
    console_port_notify(&capsule->console);
    if (is_new) {
        (void)format(by, sizeof(by), "by capsule %s", session->owner->config.name);
        event_report(capsule, EVENT_ATTACHED, by);
    }
}

/* The guest waits for nobody any more. */
static void let_go(uint32_t id)
{
    struct capsule *capsule = id == 0 ? NULL : capsule_after(id - 1);
    if (capsule != NULL && capsule->id == id) {
        console_port_watch(&capsule->console, 0, 0);
        console_port_notify(&capsule->console);
    }
}

void session_watch_end(struct session *session)
{
    spinlock_take(&session->lock);
    timer_cancel(&session->watch);
    const uint32_t id = session->watched;
    session->watched = 0;
    spinlock_release(&session->lock);
    let_go(id);
}

/* A fire may come early. */
void session_watch_over(struct timer *timer)
{
    struct session *session = CONTAINER_OF(timer, struct session, watch);
    spinlock_take(&session->lock);
    const bool over = session->watched != 0 && session->watch_due <= clock_now();
    const uint32_t id = over ? session->watched : 0;
    session->watched = over ? 0 : session->watched;
    spinlock_release(&session->lock);
    let_go(id);
}

/* Whether a message that would be answered with nothing is to wait. */
static bool may_wait(const struct session *session, uint32_t how)
{
    return (how & DX_CONTROL_WAIT) != 0 && !atomic_load(&session->hurry);
}

static void finish_read(struct session *session, uint64_t first, uint32_t state, size_t length)
{
    struct dx_control_read_reply *reply = session_payload(session->reply);
    *reply = (struct dx_control_read_reply){.first = first, .state = state};
    session_reply(session, DX_OK, sizeof(*reply) + length);
}

static uint8_t *read_bytes(struct session *session)
{
    return (uint8_t *)session_payload(session->reply) + sizeof(struct dx_control_read_reply);
}

static enum dx_error read_log(struct session *session, struct dx_control_read *message, struct refusal *refusal)
{
    if (!session->owner->config.manages_all) {
        return refuse(refusal, DX_DENIED, "read: id: the hypervisor's log is for a manager of all");
    }
    if ((message->how & DX_CONTROL_WATCH) != 0) {
        return refuse(refusal, DX_BAD_VALUE, "read: how: nobody waits for who reads the log");
    }
    message->from = message->from == DX_CONTROL_NEWEST ? log_written() : message->from;
    uint64_t first = message->from;
    const size_t length = log_read(&first, read_bytes(session), room_behind(sizeof(struct dx_control_read_reply)));
    if (length == 0 && may_wait(session, message->how)) {
        session->later = true;
        waiter_sleep(&session->news, clock_hz / LOG_HZ);
        return DX_OK;
    }
    finish_read(session, first, DX_CONTROL_RUNNING, length);
    return DX_OK;
}

static enum dx_error read_console(struct session *session, struct dx_control_read *message, struct capsule *capsule)
{
    const bool waits = may_wait(session, message->how);
    if (waits) { /* before looking */
        waiter_wait(&session->news, capsule->id);
        console_port_await(&capsule->console);
    }
    const bool up = is_up(capsule);
    const uint32_t state = session_state_of(capsule);
    if (message->from == DX_CONTROL_NEWEST) { /* once: it may be served again */
        message->from = console_port_written(&capsule->console);
    }
    uint64_t first = message->from;
    const size_t length = console_port_read(&capsule->console, &first, read_bytes(session),
                                            room_behind(sizeof(struct dx_control_read_reply)));
    session->later = length == 0 && waits && up;
    if ((message->how & DX_CONTROL_WATCH) != 0 && up) {
        watch(session, capsule, first + length, session->later);
    }
    if (!session->later) {
        finish_read(session, first, state, length);
    }
    return DX_OK;
}

enum dx_error session_read(struct session *session, struct refusal *refusal)
{
    struct dx_control_read *message = session_payload(session->message);
    if ((message->how & ~(uint32_t)(DX_CONTROL_WAIT | DX_CONTROL_WATCH)) != 0) {
        return refuse(refusal, DX_BAD_VALUE, "read: how: 0x%x has bits that mean nothing", (unsigned)message->how);
    }
    if (message->id == 0) {
        return read_log(session, message, refusal);
    }
    struct capsule *capsule = session_find(session, message->id, "read", refusal);
    if (capsule == NULL) {
        return refusal->error;
    }
    if (capsule == session->owner && message->how != 0) {
        return refuse(refusal, DX_DENIED, "read: id: a capsule can't wait for its own console");
    }
    return read_console(session, message, capsule);
}

enum dx_error session_write(struct session *session, struct refusal *refusal)
{
    const struct dx_control_header *header = (const struct dx_control_header *)(const void *)session->message;
    const struct dx_control_write *message = session_payload(session->message);
    const uint8_t *bytes = (const uint8_t *)(message + 1);
    const size_t count = header->length - sizeof(*header) - sizeof(*message);
    struct dx_control_write_reply reply = {0};
    if ((message->how & ~(uint32_t)DX_CONTROL_BREAK) != 0 || (count == 0 && message->how == 0)) {
        return refuse(refusal, DX_BAD_VALUE, "write: how: must be 0 or %d, and there must be something to write",
                      DX_CONTROL_BREAK);
    }
    struct capsule *capsule = session_find(session, message->id, "write", refusal);
    if (capsule == NULL) {
        return refusal->error;
    }
    if (capsule == session->owner || !is_up(capsule)) {
        return capsule == session->owner
                   ? refuse(refusal, DX_DENIED, "write: id: a capsule can't type on its own console")
                   : refuse(refusal, DX_WRONG_STATE, "%s: its console: it doesn't run", capsule->config.name);
    }
    const bool fed = (message->how & DX_CONTROL_BREAK) == 0 || console_port_feed_break(&capsule->console);
    while (fed && reply.taken < count && console_port_feed(&capsule->console, bytes[reply.taken])) {
        reply.taken++;
    }
    console_port_notify(&capsule->console);
    if (!fed) {
        return refuse(refusal, DX_TOO_MANY, "write: how: the guest has not taken the last BREAKs");
    }
    memcpy(session_payload(session->reply), &reply, sizeof(reply));
    session_reply(session, DX_OK, sizeof(reply));
    return DX_OK;
}

/* --- events ------------------------------------------------------------------------------------------------------ */

static void put_event(const struct event *event, struct dx_control_event *out)
{
    *out = (struct dx_control_event){.number = event->number,
                                     .time_us = session_microseconds(event->time),
                                     .kind = (uint32_t)event->kind,
                                     .id = event->id};
    session_text(out->name, sizeof(out->name), event->name);
    session_text(out->text, sizeof(out->text), event->text);
}

static_assert((int)EVENT_CREATED == (int)DX_CONTROL_EVENT_CREATED &&
                  (int)EVENT_PAUSED == (int)DX_CONTROL_EVENT_PAUSED &&
                  (int)EVENT_ATTACHED == (int)DX_CONTROL_EVENT_ATTACHED,
              "as the protocol has them");

enum dx_error session_events(struct session *session, struct refusal *refusal)
{
    struct dx_control_events *message = session_payload(session->message);
    struct dx_control_events_reply *reply = session_payload(session->reply);
    struct dx_control_event *rows = (struct dx_control_event *)(void *)(reply + 1);
    const size_t most = room_behind(sizeof(*reply)) / sizeof(*rows);
    const uint32_t creator = session->owner->config.manages_all ? 0 : session->owner->id;
    struct event event;
    if ((message->how & ~(uint32_t)DX_CONTROL_WAIT) != 0 || message->reserved != 0) {
        return refuse(refusal, DX_BAD_VALUE, "events: how must be 0 or %d, and reserved 0", DX_CONTROL_WAIT);
    }
    const bool waits = may_wait(session, message->how);
    if (waits) { /* before looking */
        waiter_wait(&session->news, TOPIC_EVENTS);
    }
    const uint64_t newest = event_last();
    message->after = MIN(message->after, newest);
    *reply = (struct dx_control_events_reply){.last = message->after};
    while (reply->count < most && event_next(reply->last, creator, &event)) {
        put_event(&event, &rows[reply->count++]);
        reply->last = event.number;
    }
    if (reply->count == 0 && waits) {
        session->later = true;
        return DX_OK;
    }
    reply->last = reply->count == 0 ? newest : reply->last;
    session_reply(session, DX_OK, sizeof(*reply) + reply->count * sizeof(*rows));
    return DX_OK;
}
