/* SPDX-License-Identifier: MIT
 *
 * Sharing a disk: see disk.h. Whoever waits is told in the order of what each has had, so that bytes are shared equally
 * among those who always want more; one that was away for a while starts where the others are.
 */
#include "core/disk.h"

#include <string.h>

#include "core/hart.h"
#include "core/log.h"

enum {
    REQUEST_COST = 16 * KIB, /* what a request is worth beyond its bytes */
    GO_ON_PIECES = 64,       /* sent in one go by those that are told of room; each request counts as some more */
    REQUEST_PIECES = 8,
};

static struct disk *disks;

void disk_add(struct disk *disk)
{
    struct disk **last = &disks;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = disk;
}

static bool is_named(const struct disk *disk, const char *source)
{
    static const char serial[] = "serial:", path[] = "path:";
    if (strncmp(source, serial, sizeof(serial) - 1) == 0) {
        const char *name = source + sizeof(serial) - 1;
        return name[0] != '\0' && strcmp(disk->serial, name) == 0;
    }
    return strncmp(source, path, sizeof(path) - 1) == 0 && strcmp(disk->path, source + sizeof(path) - 1) == 0;
}

struct disk *disk_find(const char *source)
{
    struct disk *disk = disks;
    while (disk != NULL && !is_named(disk, source)) {
        disk = disk->next;
    }
    return disk;
}

const struct disk_partition *disk_partition(const struct disk *disk, const char *name)
{
    for (uint32_t n = 0; n < disk->partition_count; n++) {
        if (strcmp(disk->partitions[n].name, name) == 0) {
            return &disk->partitions[n];
        }
    }
    return NULL;
}

/* --- users -------------------------------------------------------------------------------------------------------- */

static bool clash(const struct disk_user *a, const struct disk_user *b)
{
    const struct range first = {a->first, a->sectors}, second = {b->first, b->sectors};
    return (a->writes || b->writes) && range_overlaps(first, second);
}

enum dx_error disk_attach(struct disk_user *user, const struct disk_user **other)
{
    struct disk *disk = user->disk;
    spinlock_take(&disk->lock);
    const struct disk_user *rival = disk->users;
    while (rival != NULL && !clash(user, rival)) {
        rival = rival->next;
    }
    *other = rival;
    if (rival == NULL) {
        user->used = disk->served;
        user->next = disk->users;
        disk->users = user;
        disk->user_count++;
    }
    spinlock_release(&disk->lock);
    return rival == NULL ? DX_OK : DX_OVERLAP;
}

void disk_detach(struct disk_user *user)
{
    struct disk *disk = user->disk;
    spinlock_take(&disk->lock);
    assert(user->in_flight == 0 && user->promised == 0);
    timer_cancel(&user->later);
    struct disk_user **link = &disk->users;
    while (*link != NULL && *link != user) {
        link = &(*link)->next;
    }
    const bool was_attached = *link == user;
    if (was_attached) {
        *link = user->next;
        disk->user_count--;
    }
    spinlock_release(&disk->lock);
    if (was_attached && disk->ops->left != NULL) {
        disk->ops->left(disk);
    }
}

void disk_let_go(struct disk *disk)
{
    if (disk->ops->let_go != NULL) {
        disk->ops->let_go(disk);
    }
}

void disk_forget(struct disk_user *user)
{
    spinlock_take(&user->disk->lock);
    user->waiting = false;
    user->turn = false;
    timer_cancel(&user->later);
    spinlock_release(&user->disk->lock);
}

uint32_t disk_user_in_flight(struct disk_user *user)
{
    spinlock_take(&user->disk->lock);
    const uint32_t in_flight = user->in_flight;
    spinlock_release(&user->disk->lock);
    return in_flight;
}

bool disk_is_dead(const struct disk *disk)
{
    return atomic_load(&disk->dead);
}

/* --- requests; held: the disk's lock is ----------------------------------------------------------------------- */

/* Held. So that none fills the device's queue alone, where it would be served before the others. What is asked of a
 * dead disk is not sent. */
static bool may_have_more(const struct disk_user *user)
{
    if (disk_is_dead(user->disk)) {
        return true;
    }
    const uint32_t fair = MAX(user->disk->slots / MAX(user->disk->user_count, 1U), 1U);
    return user->in_flight + user->promised < MIN(fair, (uint32_t)DISK_USER_REQUESTS_MAX);
}

/* Held. */
static bool has_room(const struct disk *disk)
{
    return disk->room > disk->reserved || disk_is_dead(disk);
}

/* Held. Of those who wait and may have more, the one that had least; NULL: none. */
static struct disk_user *next_in_turn(const struct disk *disk)
{
    struct disk_user *next = NULL;
    for (struct disk_user *user = disk->users; user != NULL; user = user->next) {
        if (user->waiting && may_have_more(user) && (next == NULL || user->used < next->used)) {
            next = user;
        }
    }
    return next;
}

static void go_on_later(struct timer *timer);

/* Held. Whether it must wait for its rate: then it is told when it may go on. */
static bool is_paced(struct disk_user *user)
{
    const uint64_t now = clock_now();
    const uint64_t wait = rate_wait(&user->rate, now, clock_hz);
    if (wait != 0 && !timer_is_armed(&user->later)) {
        user->later.fire = go_on_later;
        timer_arm(&hart_this()->timers, &user->later, now + wait);
    }
    return wait != 0;
}

bool disk_reserve(struct disk_user *user)
{
    struct disk *disk = user->disk;
    spinlock_take(&disk->lock);
    if (rate_is_limited(&user->rate) && is_paced(user)) {
        user->waiting = false;
        user->turn = false;
        spinlock_release(&disk->lock);
        return false;
    }
    if (user->in_flight == 0 && !user->waiting) {
        user->used = MAX(user->used, disk->served);
    }
    const bool granted = has_room(disk) && may_have_more(user) && (user->turn || next_in_turn(disk) == NULL);
    user->turn = false;
    user->waiting = !granted;
    disk->reserved += granted ? 1 : 0;
    user->promised += granted ? 1 : 0;
    spinlock_release(&disk->lock);
    return granted;
}

void disk_wait(struct disk_user *user)
{
    spinlock_take(&user->disk->lock);
    user->waiting = true;
    spinlock_release(&user->disk->lock);
}

static void look(struct timer *timer);

/* Held. By the hart that serves devices: this one may be dedicated to a capsule, and others wait too. */
static void watch_after(struct disk *disk, uint64_t ticks)
{
    if (!timer_is_armed(&disk->watch)) {
        disk->watch.fire = look;
        hart_arm(hart_server != NULL ? hart_server : hart_this(), &disk->watch, clock_now() + ticks);
    }
}

/* Held. Who waits is told a moment from now. */
static void go_on_soon(struct disk *disk)
{
    timer_cancel(&disk->watch);
    watch_after(disk, clock_rest());
}

/* Meanwhile another may have been refused this room; if nothing is in flight, no answer would ever tell him. */
void disk_unreserve(struct disk_user *user)
{
    struct disk *disk = user->disk;
    spinlock_take(&disk->lock);
    assert(user->promised > 0);
    user->promised--;
    disk->reserved--;
    if (disk->in_flight == 0 && next_in_turn(disk) != NULL) {
        go_on_soon(disk);
    }
    spinlock_release(&disk->lock);
}

bool disk_send(const struct disk_order *order, uint64_t bytes)
{
    struct disk_user *user = order->user;
    struct disk *disk = user->disk;
    spinlock_take(&disk->lock);
    assert(user->promised > 0);
    if (disk_is_dead(disk) || disk->room == 0) { /* no room: it was promised while it was dead, and it isn't any more */
        spinlock_release(&disk->lock);
        return false;
    }
    (void)capsule_hold(user->capsule);
    user->promised--;
    disk->reserved--;
    user->in_flight++;
    disk->in_flight++;
    user->used += bytes + REQUEST_COST;
    if (rate_is_limited(&user->rate)) {
        rate_use(&user->rate, bytes, clock_now(), clock_hz);
    }
    disk->sent += order->piece_count + REQUEST_PIECES;
    disk->ops->send(disk, order);
    watch_after(disk, clock_hz);
    spinlock_release(&disk->lock);
    return true;
}

void disk_answered(struct disk_user *user, uint32_t token, enum disk_answer answer)
{
    struct disk *disk = user->disk;
    user->done(user, token, answer);
    spinlock_take(&disk->lock);
    assert(user->in_flight > 0);
    user->in_flight--;
    disk->in_flight--;
    spinlock_release(&disk->lock);
    capsule_left(user->capsule); /* it may be gone from here on */
}

/* The next to be told of room; NULL: nobody, or enough was sent since, and its answers will bring us here again. */
static struct disk_user *let_go(struct disk *disk, uint32_t since)
{
    spinlock_take(&disk->lock);
    const bool enough = disk->sent - since >= GO_ON_PIECES && disk->in_flight != 0;
    struct disk_user *user = has_room(disk) && (!enough || disk_is_dead(disk)) ? next_in_turn(disk) : NULL;
    if (user != NULL) {
        user->waiting = false;
        user->turn = true;
        disk->served = MAX(disk->served, user->used);
    }
    spinlock_release(&disk->lock);
    return user;
}

/* Tells it of room if its capsule runs, or is paused. What is in the rings of one that is being stopped is not waited
 * for; and once the stop is being committed, devices are silenced, which must find nothing in flight: that moment does
 * not come while we hold the capsule. */
static void tell(struct disk_user *user)
{
    struct capsule *capsule = user->capsule;
    const enum capsule_state state = capsule_hold(capsule);
    if (state == CAPSULE_RUNNING || state == CAPSULE_PAUSED) {
        user->room(user);
    }
    capsule_left(capsule);
}

bool disk_go_on(struct disk *disk)
{
    spinlock_take(&disk->lock);
    const uint32_t since = disk->sent;
    spinlock_release(&disk->lock);
    while (!hart_is_wanted()) {
        struct disk_user *user = let_go(disk, since);
        if (user == NULL) {
            return false;
        }
        tell(user);
    }
    return true;
}

/* It may go on, on a hart of its own; others, and the rest if that takes more than a step, in their turn. */
static void go_on_later(struct timer *timer)
{
    struct disk_user *user = CONTAINER_OF(timer, struct disk_user, later);
    struct disk *disk = user->disk;
    const bool elsewhere = hart_server != NULL && hart_this() != hart_server;
    tell(user);
    if (elsewhere || disk_go_on(disk)) {
        spinlock_take(&disk->lock);
        go_on_soon(disk);
        spinlock_release(&disk->lock);
    }
}

static void die(struct disk *disk)
{
    spinlock_take(&disk->lock);
    atomic_store(&disk->dead, true);
    const bool is_pinned = disk->in_flight != 0;
    spinlock_release(&disk->lock);
    log_alert("Disk %s: it does not answer, and no reset helps: it is not used any more%s", disk->path,
              is_pinned ? ". Capsules with requests there cannot be stopped, since it may still write to their memory"
                        : "");
}

/* Once a second while something is in flight, and when somebody is to be told. */
static void look(struct timer *timer)
{
    struct disk *disk = CONTAINER_OF(timer, struct disk, watch);
    if (!disk->ops->watch(disk, clock_now())) {
        die(disk);
    }
    const bool again = disk_go_on(disk);
    spinlock_take(&disk->lock);
    if (again) {
        go_on_soon(disk);
    } else if (disk->in_flight != 0 && !disk->dead) {
        watch_after(disk, clock_hz);
    }
    spinlock_release(&disk->lock);
    if (disk->ops->gone != NULL) {
        (void)disk->ops->gone(disk); /* nobody else fires this timer: it was never used again if it is */
    }
}

void disk_look_soon(struct disk *disk)
{
    spinlock_take(&disk->lock);
    go_on_soon(disk);
    spinlock_release(&disk->lock);
}
