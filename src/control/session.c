/* SPDX-License-Identifier: MIT
 *
 * Control sessions: see session.h. What a client sends is hostile: each message is copied before it is looked at, its
 * length is checked against its kind, and reserved fields must be zero.
 */
#include "control/session.h"

#include <string.h>

#include "control/session_parts.h"

#include "core/capsules.h"
#include "core/hart.h"
#include "core/life.h"
#include "core/stats.h"
#include "lib/format.h"

typedef struct dx_control_header header_t;

static_assert(sizeof(header_t) == 16 && sizeof(struct dx_control_row) == 288, "as the protocol has them");
static_assert(sizeof(header_t) + sizeof(struct dx_control_list_reply) +
                      DX_CONTROL_ROWS_MAX * sizeof(struct dx_control_row) <=
                  DX_CONTROL_MESSAGE_MAX,
              "a reply's rows");

/* --- replies ----------------------------------------------------------------------------------------------------- */

static header_t *asked(struct session *session)
{
    return (header_t *)(void *)session->message;
}

void session_reply(struct session *session, enum dx_error error, size_t bytes)
{
    const header_t header = {
        .length = (uint32_t)(sizeof(header_t) + bytes),
        .kind = asked(session)->kind | DX_CONTROL_REPLY,
        .error = (uint16_t)error,
        .tag = asked(session)->tag,
    };
    memcpy(session->reply, &header, sizeof(header));
}

static void reply_refusal(struct session *session, const struct refusal *refusal)
{
    const size_t length = strlen(refusal->text);
    memcpy(session_payload(session->reply), refusal->text, length);
    session_reply(session, refusal->error, length);
}

/* --- what is asked for ------------------------------------------------------------------------------------------- */

static enum dx_error hello(struct session *session, struct refusal *refusal)
{
    const struct dx_control_hello *message = session_payload(session->message);
    struct dx_control_hello_reply reply = {
        .version = DX_CONTROL_VERSION,
        .id = session->owner->id,
        .rights = session->owner->config.manages_all ? DX_CONTROL_MANAGES_ALL : 0,
        .message_max = DX_CONTROL_MESSAGE_MAX,
        .hypervisor = DIOSIX_VERSION,
    };
    if (message->version != DX_CONTROL_VERSION) {
        return refuse(refusal, DX_NOT_SUPPORTED, "hello: version: this hypervisor speaks %d, not %u",
                      DX_CONTROL_VERSION, (unsigned)message->version);
    }
    session->greeted = true;
    memcpy(session_payload(session->reply), &reply, sizeof(reply));
    session_reply(session, DX_OK, sizeof(reply));
    return DX_OK;
}

uint32_t session_state_of(const struct capsule *capsule)
{
    static const uint8_t states[] = {
        [CAPSULE_LOADED] = DX_CONTROL_LOADED,       [CAPSULE_FILLING] = DX_CONTROL_STARTING,
        [CAPSULE_RUNNING] = DX_CONTROL_RUNNING,     [CAPSULE_STOPPING] = DX_CONTROL_STOPPING,
        [CAPSULE_COMMITTING] = DX_CONTROL_STOPPING, [CAPSULE_STOPPED] = DX_CONTROL_STOPPED,
        [CAPSULE_CRASHED] = DX_CONTROL_CRASHED,     [CAPSULE_PAUSED] = DX_CONTROL_PAUSED,
        [CAPSULE_BACKOFF] = DX_CONTROL_RESTARTING,  [CAPSULE_DESTROYING] = DX_CONTROL_DESTROYING,
    };
    return states[capsule_state(capsule)];
}

uint64_t session_microseconds(uint64_t ticks)
{
    return clock_hz == 0 ? 0 : ticks / clock_hz * 1000000 + ticks % clock_hz * 1000000 / clock_hz;
}

void session_text(char *to, size_t size, const char *text)
{
    memcpy(to, text, MIN(strnlen(text, size - 1), size - 1));
}

void session_describe(const struct session *session, const struct capsule *capsule, struct dx_control_row *row)
{
    struct capsule_stats stats;
    capsule_stats(capsule, &stats);
    *row = (struct dx_control_row){
        .id = capsule->id,
        .state = session_state_of(capsule),
        .isolation = strcmp(capsule->isolation->name, "hyp") == 0 ? DX_CONTROL_HYP : DX_CONTROL_PMP,
        .vcpus = capsule->config.vcpus,
        .memory = capsule->ram.size,
        .cpu_us = session_microseconds(stats.cpu_ticks),
        .starts = stats.starts,
        .flags =
            (capsule == session->owner ? DX_CONTROL_ITSELF : 0) | (capsule->config.manager ? DX_CONTROL_MANAGER : 0),
    };
    session_text(row->name, sizeof(row->name), capsule->config.name);
    session_text(row->last_stop, sizeof(row->last_stop), capsule_last_stop(capsule));
}

/* The next that it may see, by the id. */
static struct capsule *next_seen(const struct session *session, uint32_t after)
{
    return session->owner->config.manages_all ? capsule_after(after) : capsule_after_of(after, session->owner->id);
}

struct capsule *session_find(const struct session *session, uint32_t id, const char *what, struct refusal *refusal)
{
    struct capsule *capsule = id == 0 ? NULL : next_seen(session, id - 1);
    if (capsule == NULL || capsule->id != id) {
        (void)refuse(refusal, DX_NOT_FOUND, "%s: id: there is no capsule %u for this manager", what, (unsigned)id);
        return NULL;
    }
    return capsule;
}

static enum dx_error list(struct session *session, struct refusal *refusal)
{
    const struct dx_control_list *message = session_payload(session->message);
    struct dx_control_list_reply *reply = session_payload(session->reply);
    struct dx_control_row *rows = (struct dx_control_row *)(void *)(reply + 1);
    uint32_t count = 0;
    const struct capsule *capsule = next_seen(session, message->after);
    (void)refusal;
    for (; capsule != NULL && count < DX_CONTROL_ROWS_MAX; capsule = next_seen(session, capsule->id)) {
        session_describe(session, capsule, &rows[count++]);
    }
    *reply = (struct dx_control_list_reply){.count = count};
    session_reply(session, DX_OK, sizeof(*reply) + count * sizeof(*rows));
    return DX_OK;
}

static enum dx_error request(struct session *session, struct refusal *refusal)
{
    static const uint8_t requests[] = {
        [DX_CONTROL_START] = REQUEST_START,     [DX_CONTROL_STOP_IT] = REQUEST_STOP,
        [DX_CONTROL_KILL] = REQUEST_KILL,       [DX_CONTROL_RESTART] = REQUEST_RESTART,
        [DX_CONTROL_PAUSE] = REQUEST_PAUSE,     [DX_CONTROL_RESUME] = REQUEST_RESUME,
        [DX_CONTROL_DESTROY] = REQUEST_DESTROY,
    };
    const struct dx_control_request *message = session_payload(session->message);
    char by[CAPSULE_NAME_MAX + 12];
    if (message->what < DX_CONTROL_START || message->what > DX_CONTROL_DESTROY) {
        return refuse(refusal, DX_BAD_VALUE, "request: what: %u is none", (unsigned)message->what);
    }
    struct capsule *capsule = session_find(session, message->id, "request", refusal);
    if (capsule == NULL) {
        return refusal->error;
    }
    if (capsule == session->owner) {
        return refuse(refusal, DX_DENIED, "request: id: a manager can't ask this of itself; power it off from inside");
    }
    (void)format(by, sizeof(by), "capsule %s", session->owner->config.name);
    enum dx_error error = capsule_request(capsule, (enum capsule_request)requests[message->what], by, refusal);
    if (error == DX_OK) {
        session_reply(session, DX_OK, 0);
    }
    return error;
}

static enum dx_error create(struct session *session, struct refusal *refusal)
{
    const struct dx_control_create *message = session_payload(session->message);
    enum dx_error error = upload_begin(&session->upload, session->owner, message, refusal);
    if (error == DX_OK) {
        session_reply(session, DX_OK, 0); /* it may come */
    }
    return error;
}

/* It has come. */
static enum dx_error created(struct session *session, struct refusal *refusal)
{
    struct dx_control_create_reply reply = {0};
    enum dx_error error = upload_finish(&session->upload, session->owner, &reply.id, refusal);
    if (error == DX_OK) {
        memcpy(session_payload(session->reply), &reply, sizeof(reply));
        session_reply(session, DX_OK, sizeof(reply));
    }
    return error;
}

static enum dx_error quota(struct session *session, struct refusal *refusal)
{
    const struct capsule *owner = session->owner;
    const struct dx_control_quota_reply reply = {
        .memory = (uint64_t)owner->config.quota.pages * PAGE_SIZE,
        .memory_used = (uint64_t)atomic_load(&owner->used.pages) * PAGE_SIZE,
        .vcpus = owner->config.quota.vcpus,
        .vcpus_used = atomic_load(&owner->used.vcpus),
    };
    (void)refusal;
    memcpy(session_payload(session->reply), &reply, sizeof(reply));
    session_reply(session, DX_OK, sizeof(reply));
    return DX_OK;
}

static const struct {
    enum dx_error (*serve)(struct session *session, struct refusal *refusal);
    size_t bytes; /* of what follows the header */
    size_t more;  /* that may follow those */
} kinds[] = {
    [DX_CONTROL_HELLO] = {hello, sizeof(struct dx_control_hello), 0},
    [DX_CONTROL_LIST] = {list, sizeof(struct dx_control_list), 0},
    [DX_CONTROL_REQUEST] = {request, sizeof(struct dx_control_request), 0},
    [DX_CONTROL_CREATE] = {create, sizeof(struct dx_control_create), 0},
    [DX_CONTROL_QUOTA] = {quota, 0, 0},
    [DX_CONTROL_INFO] = {session_info, sizeof(struct dx_control_info), 0},
    [DX_CONTROL_READ] = {session_read, sizeof(struct dx_control_read), 0},
    [DX_CONTROL_WRITE] = {session_write, sizeof(struct dx_control_write), DX_CONTROL_BYTES_MAX},
    [DX_CONTROL_EVENTS] = {session_events, sizeof(struct dx_control_events), 0},
    [DX_CONTROL_SERVE] = {session_serve, sizeof(struct dx_control_serve), 0},
    [DX_CONTROL_DISK] = {session_disk, sizeof(struct dx_control_disk), 0},
};

/* Whether a message of this kind may be so long. */
static enum dx_error check_length(const header_t *header, struct refusal *refusal)
{
    const size_t least = sizeof(header_t) + kinds[header->kind].bytes;
    const size_t most = least + kinds[header->kind].more;
    if (header->length >= least && header->length <= most) {
        return DX_OK;
    }
    if (least == most) {
        return refuse(refusal, DX_BAD_VALUE, "header: length: must be %u for kind %u, is %u", (unsigned)least,
                      (unsigned)header->kind, (unsigned)header->length);
    }
    return refuse(refusal, DX_BAD_VALUE, "header: length: must be %u to %u for kind %u, is %u", (unsigned)least,
                  (unsigned)most, (unsigned)header->kind, (unsigned)header->length);
}

/* A whole message is there, of as many bytes as it says. */
static enum dx_error serve(struct session *session, struct refusal *refusal)
{
    const header_t *header = asked(session);
    if (header->length < sizeof(header_t) || header->length > DX_CONTROL_MESSAGE_MAX) {
        session->lost = true;
        return refuse(refusal, DX_BAD_VALUE,
                      "header: length: must be %u to %d, is %u; close the port and open it again",
                      (unsigned)sizeof(header_t), DX_CONTROL_MESSAGE_MAX, (unsigned)header->length);
    }
    if (header->error != 0 || header->reserved != 0) {
        return refuse(refusal, DX_BAD_VALUE, "header: error and reserved must be 0");
    }
    if (header->kind >= ARRAY_LENGTH(kinds) || kinds[header->kind].serve == NULL) {
        return refuse(refusal, DX_UNKNOWN, "header: kind: %u is none", (unsigned)header->kind);
    }
    enum dx_error error = check_length(header, refusal);
    if (error != DX_OK) {
        return error;
    }
    if (!session->greeted && header->kind != DX_CONTROL_HELLO) {
        return refuse(refusal, DX_WRONG_STATE, "header: kind: say hello (%d) first", DX_CONTROL_HELLO);
    }
    return kinds[header->kind].serve(session, refusal);
}

/* --- the stream -------------------------------------------------------------------------------------------------- */

/* Held. */
static void work_soon(struct session *session, uint64_t ticks)
{
    if (!timer_is_armed(&session->timer)) {
        timer_arm(&hart_this()->timers, &session->timer, clock_now() + ticks);
    }
}

/* Held. What is being sent has no end any more, or did no good. A step now and then: others have the hart too. */
static void drop_upload(struct session *session)
{
    if (session->upload.state != UPLOAD_NONE) {
        session->upload.state = UPLOAD_DROPS;
        work_soon(session, clock_rest());
    }
}

/* Held. */
static void forget(struct session *session)
{
    drop_upload(session);
    session_unwatch(session);
    session_unserve(session);
    session->stale = false;
    session->attached = 0;
    atomic_store(&session->hurry, false);
    session->greeted = false;
    session->lost = false;
    session->received = 0;
    session->replied = 0;
    session->fetched = 0;
    session->follow = 0;
    session->bytes_left = 0;
}

/* Held. It is at work again when there is news, which may have come already. */
static void wait(struct session *session)
{
    session->waiting = !session->woken && !atomic_load(&session->hurry);
    if (!session->waiting) {
        work_soon(session, 1);
    }
}

/* Held. What waits is answered. */
static void hurry(struct session *session)
{
    atomic_store(&session->hurry, true);
    if (session->waiting) {
        session->waiting = false;
        work_soon(session, 1);
    }
}

static void wake(struct timer *timer)
{
    struct session *session = CONTAINER_OF(timer, struct session, news.timer);
    spinlock_take(&session->lock);
    session->woken = true;
    if (session->waiting) {
        session->waiting = false;
        work_soon(session, 1);
    }
    spinlock_release(&session->lock);
}

/* Nobody else touches the message and the reply meanwhile. */
static void answer(struct session *session)
{
    struct refusal refusal;
    const bool is_sent = session->upload.state == UPLOAD_COMPLETE;
    session->later = false;
    if ((is_sent ? created(session, &refusal) : serve(session, &refusal)) != DX_OK) {
        reply_refusal(session, &refusal);
        session->later = false;
    }
    spinlock_take(&session->lock);
    session->serving = false;
    if (session->later && !session->stale) {
        wait(session);
        spinlock_release(&session->lock);
        return;
    }
    session->working = false;
    atomic_store(&session->hurry, false);
    session->received = 0;
    memcpy(&session->replied, session->reply, sizeof(session->replied));
    session->fetched = 0;
    session->torn = false;
    if (session->stale) {
        forget(session);
    } else if (is_sent) {
        drop_upload(session);
    }
    spinlock_release(&session->lock);
}

/* Held. */
static void drop_step(struct session *session)
{
    if (session->upload.state == UPLOAD_DROPS && !session->working) {
        upload_drop(&session->upload, session->owner);
        drop_upload(session);
    }
}

/* For a message, or since go_on wants it. */
static void work(struct timer *timer)
{
    struct session *session = CONTAINER_OF(timer, struct session, timer);
    spinlock_take(&session->lock);
    const bool serves = session->working && !session->serving && !session->waiting;
    session->serving |= serves;
    session->woken &= !serves;
    drop_step(session);
    spinlock_release(&session->lock);
    if (serves) {
        answer(session);
    }
    if (session->go_on(session)) {
        spinlock_take(&session->lock);
        work_soon(session, clock_rest());
        spinlock_release(&session->lock);
    }
}

void session_init(struct session *session, uint32_t index, struct capsule *owner,
                  bool (*go_on)(struct session *session))
{
    memset(session, 0, sizeof(*session));
    session->owner = owner;
    session->index = index;
    session->go_on = go_on;
    session->timer.fire = work;
    session->news.timer.fire = wake;
    session->watch.fire = session_watch_over;
}

void session_open(struct session *session, bool open)
{
    spinlock_take(&session->lock);
    session->open = open;
    if (session->working) {
        session->stale = true;
        hurry(session);
    } else {
        forget(session);
    }
    spinlock_release(&session->lock);
}

/* Held. Bytes of the message that are still to come, as far as its header tells. */
static uint32_t missing(const struct session *session)
{
    const header_t *header = (const header_t *)(const void *)session->message;
    if (session->received < sizeof(header_t)) {
        return (uint32_t)sizeof(header_t) - session->received;
    }
    const bool sane = header->length >= sizeof(header_t) && header->length <= DX_CONTROL_MESSAGE_MAX;
    return sane ? header->length - session->received : 0;
}

/* Held. How many of these belong to the message, and to what follows it. */
static size_t take_message(struct session *session, const uint8_t *bytes, size_t length)
{
    size_t part;
    if (session->bytes_left != 0) {
        part = MIN(length, (size_t)session->bytes_left);
        session_disk_take(session, bytes, part);
        session->bytes_left -= (uint32_t)part;
    } else {
        part = MIN(length, (size_t)missing(session));
        memcpy(session->message + session->received, bytes, part);
        session->received += (uint32_t)part;
        if (session->received < sizeof(header_t) || missing(session) != 0) {
            return part;
        }
        session->bytes_left = session_disk_follows(session);
    }
    if (session->bytes_left == 0) {
        session->working = true;
        work_soon(session, 1);
    }
    return part;
}

size_t session_take(struct session *session, const uint8_t *bytes, size_t length)
{
    size_t taken = 0;
    spinlock_take(&session->lock);
    if (session->lost) { /* to the end of the session */
        spinlock_release(&session->lock);
        return length;
    }
    if (session->working && length != 0) {
        hurry(session);
    }
    while (session->open && !session->working && session->replied == 0 && taken < length &&
           session->upload.state != UPLOAD_DROPS) {
        if (session->upload.state == UPLOAD_RECEIVES) {
            taken += upload_take(&session->upload, bytes + taken, length - taken);
            if (session->upload.state == UPLOAD_COMPLETE) {
                session->working = true;
                work_soon(session, 1);
            }
            continue;
        }
        taken += take_message(session, bytes + taken, length - taken);
    }
    spinlock_release(&session->lock);
    return taken;
}

size_t session_give(struct session *session, uint8_t *bytes, size_t room)
{
    spinlock_take(&session->lock);
    const uint32_t own = session->replied - MIN(session->follow, session->replied);
    size_t part = session->working ? 0 : MIN(room, (size_t)(session->replied - session->fetched));
    if (session->fetched < own) {
        part = MIN(part, (size_t)(own - session->fetched));
        memcpy(bytes, session->reply + session->fetched, part);
    } else if (part != 0) {
        session_disk_give(session, session->fetched - own, bytes, part);
    }
    session->fetched += (uint32_t)part;
    if (!session->working && session->fetched == session->replied) {
        session->replied = 0;
        session->fetched = 0;
        session->follow = 0;
    }
    spinlock_release(&session->lock);
    return part;
}

bool session_holds(struct session *session)
{
    spinlock_take(&session->lock);
    const bool holds = session->upload.state != UPLOAD_NONE;
    spinlock_release(&session->lock);
    return holds;
}

void session_end(struct session *session)
{
    waiter_cancel(&session->news);
    session_watch_end(session);
    timer_cancel(&session->timer);
    spinlock_take(&session->lock);
    if (!session->serving) { /* else it is forgotten when that is done */
        session_unserve(session);
    }
    spinlock_release(&session->lock);
}
