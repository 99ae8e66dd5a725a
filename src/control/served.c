/* SPDX-License-Identifier: MIT
 *
 * Served disks: see served.h.
 *
 * Locks: a session's, then that of the list, then a disk's. A disk's memory is given back by its own timer alone
 * (disk_look_soon), which nobody can set off any more when no server and no user is left.
 */
#include "control/served.h"

#include <string.h>

#include "control/waiters.h"
#include "core/capsules.h"
#include "core/hart.h"
#include "core/memory.h"
#include "core/quota.h"
#include "manifest/manifest.h"

enum { TOPICS = 0x10000, GENERATIONS = 0x1000000 };

struct slot {
    enum { SLOT_FREE, SLOT_WAITS, SLOT_AT_SERVER } state;
    uint32_t generation; /* which use of the slot it is: part of its token */
    uint32_t number;     /* in order of arrival */
    uint64_t since;
    struct disk_user *user;
    uint32_t user_token;
    enum disk_operation operation;
    uint64_t sector, bytes;
    uint32_t piece_count;
    struct range pieces[SERVED_PIECES];
};

struct served {
    struct disk disk;
    char name[DX_CONTROL_NAME];
    uint32_t manager; /* whose it is */
    uint32_t topic;
    struct charge charged;
    /* The list's lock guards these: */
    unsigned refs; /* the server, and users or who will be one */
    bool has_server;
    struct served *next;
    /* The disk's: */
    bool was_used; /* and that it isn't any more has not been told */
    uint32_t arrivals;
    struct slot slots[SERVED_SLOTS];
};

static struct spinlock list_lock;
static struct served *list;
static uint32_t last_topic;

static struct served *served_of(struct disk *disk)
{
    return CONTAINER_OF(disk, struct served, disk);
}

uint32_t served_topic(const struct served *served)
{
    return served->topic;
}

/* --- as a disk's driver -------------------------------------------------------------------------------------------
 */

static void send(struct disk *disk, const struct disk_order *order)
{
    struct served *served = served_of(disk);
    struct slot *slot = served->slots;
    while (slot->state != SLOT_FREE) {
        slot++;
        assert(slot < served->slots + SERVED_SLOTS);
    }
    const bool moves = order->operation == DISK_READ || order->operation == DISK_WRITE;
    assert(order->piece_count <= SERVED_PIECES);
    slot->state = SLOT_WAITS;
    slot->generation = (slot->generation + 1) % GENERATIONS;
    slot->number = served->arrivals++;
    slot->since = clock_now();
    slot->user = order->user;
    slot->user_token = order->token;
    slot->operation = order->operation;
    slot->sector = order->sector;
    slot->piece_count = moves ? order->piece_count : 0;
    slot->bytes = moves ? 0 : (uint64_t)order->sectors * DISK_SECTOR;
    for (uint32_t n = 0; n < slot->piece_count; n++) {
        slot->pieces[n] = order->pieces[n];
        slot->bytes += order->pieces[n].size;
    }
    disk->room--;
    waiters_tell(served->topic, 1);
}

/* The slot's request is answered, if the slot is still in use by it. No lock held. */
static void answer(struct served *served, struct slot *slot, uint32_t generation, enum disk_answer answer)
{
    spinlock_take(&served->disk.lock);
    const bool is_there = slot->state != SLOT_FREE && slot->generation == generation;
    struct disk_user *user = slot->user;
    const uint32_t token = slot->user_token;
    if (is_there) {
        slot->state = SLOT_FREE;
        served->disk.room++;
    }
    spinlock_release(&served->disk.lock);
    if (is_there) {
        disk_answered(user, token, answer);
    }
}

/* What is in flight keeps a capsule from having stopped: nothing that a STOPPING one asked for matters any more. */
static bool watch(struct disk *disk, uint64_t now)
{
    struct served *served = served_of(disk);
    for (uint32_t n = 0; n < SERVED_SLOTS; n++) {
        struct slot *slot = &served->slots[n];
        spinlock_take(&disk->lock);
        const bool is_over =
            slot->state != SLOT_FREE && (disk_is_dead(disk) || now - slot->since > DISK_PATIENCE_SECONDS * clock_hz ||
                                         capsule_state(slot->user->capsule) == CAPSULE_STOPPING);
        const uint32_t generation = slot->generation;
        spinlock_release(&disk->lock);
        if (is_over) {
            answer(served, slot, generation, DISK_FAILED);
        }
    }
    return true;
}

/* --- coming and going --------------------------------------------------------------------------------------------
 */

/* Held: the list's. */
static void drop(struct served *served)
{
    served->refs--;
    disk_look_soon(&served->disk);
}

static void left(struct disk *disk)
{
    struct served *served = served_of(disk);
    spinlock_take(&disk->lock);
    served->was_used = disk->users == NULL;
    spinlock_release(&disk->lock);
    waiters_tell(served->topic, 1);
}

static void let_go(struct disk *disk)
{
    spinlock_take(&list_lock);
    drop(served_of(disk));
    spinlock_release(&list_lock);
}

static bool gone(struct disk *disk)
{
    struct served *served = served_of(disk);
    spinlock_take(&list_lock);
    const bool is_last = served->refs == 0;
    for (struct served **link = &list; is_last && *link != NULL; link = &(*link)->next) {
        if (*link == served) {
            *link = served->next;
            break;
        }
    }
    spinlock_release(&list_lock);
    if (is_last) {
        timer_cancel(&disk->watch);
        quota_give_back(served->manager, served->charged);
        memory_free(served, sizeof(*served));
    }
    return is_last;
}

static const struct disk_ops ops = {.send = send, .watch = watch, .left = left, .let_go = let_go, .gone = gone};

/* Held: the list's. */
static struct served *find(uint32_t manager, const char *name)
{
    struct served *served = list;
    while (served != NULL && (served->manager != manager || strcmp(served->name, name) != 0)) {
        served = served->next;
    }
    return served;
}

struct disk *served_find(uint32_t manager, const char *name)
{
    spinlock_take(&list_lock);
    struct served *served = manager == 0 ? NULL : find(manager, name);
    if (served != NULL && served->has_server) {
        served->refs++;
    } else {
        served = NULL;
    }
    spinlock_release(&list_lock);
    return served == NULL ? NULL : &served->disk;
}

/* Serial numbers are shorter than names. */
static void describe(struct served *served, const struct dx_control_serve *wanted)
{
    struct disk *disk = &served->disk;
    memcpy(served->name, wanted->name, sizeof(served->name));
    memcpy(disk->serial, wanted->name, DISK_SERIAL_MAX);
    disk->ops = &ops;
    disk->path = served->name;
    disk->slots = SERVED_SLOTS;
    disk->room = SERVED_SLOTS;
    disk->limits = (struct disk_limits){
        .sectors = wanted->sectors,
        .read_only = (wanted->flags & DX_CONTROL_SERVE_READ_ONLY) != 0,
        .flush = true,
        .discard = true,
        .write_zeroes = true,
        .block_size = DISK_SECTOR,
        .physical_exponent = 3, /* files have blocks of 4 KiB */
        .pieces_max = SERVED_PIECES,
        .piece_longest = SERVED_PIECE_LONGEST,
        .discard_most = UINT32_MAX / DISK_SECTOR,
        .discard_alignment = 8,
        .zeroes_most = UINT32_MAX / DISK_SECTOR,
        .zeroes_unmap = true,
    };
}

static enum dx_error check(const struct capsule *manager, const struct dx_control_serve *wanted,
                           struct refusal *refusal)
{
    bool good = name_allowed(wanted->name); /* so it has a NUL */
    for (size_t n = strnlen(wanted->name, sizeof(wanted->name)); n < sizeof(wanted->name); n++) {
        good = good && wanted->name[n] == '\0';
    }
    if (!good) {
        return refuse(refusal, DX_BAD_VALUE, "serve: name: must be 1 to %d of a-z, 0-9 and -", DX_CONTROL_NAME - 1);
    }
    if (wanted->sectors == 0 || wanted->sectors > UINT64_MAX / DISK_SECTOR) {
        return refuse(refusal, DX_BAD_VALUE, "serve: sectors: a disk can't have %llu",
                      (unsigned long long)wanted->sectors);
    }
    if ((wanted->flags & ~(uint32_t)DX_CONTROL_SERVE_READ_ONLY) != 0 || wanted->reserved != 0) {
        return refuse(refusal, DX_BAD_VALUE, "serve: flags must be 0 or %d, and reserved 0",
                      DX_CONTROL_SERVE_READ_ONLY);
    }
    if (manager->config.quota.pages == 0) {
        return refuse(refusal, DX_DENIED,
                      "serve: this manager has no quota-memory in the manifest, so it has no "
                      "capsules that could use a disk");
    }
    return DX_OK;
}

/* Held: the list's. One of that name is there: it goes on with this server, or *refusal says why not. */
static enum dx_error take_over(struct served *served, const struct dx_control_serve *wanted, struct refusal *refusal)
{
    const bool read_only = (wanted->flags & DX_CONTROL_SERVE_READ_ONLY) != 0;
    if (served->has_server) {
        return refuse(refusal, DX_DUPLICATE, "serve: name: another session serves %s already", served->name);
    }
    if (served->disk.limits.sectors != wanted->sectors || served->disk.limits.read_only != read_only) {
        return refuse(refusal, DX_WRONG_STATE,
                      "serve: sectors, flags: capsules still use %s, and it had %llu sectors and was %s", served->name,
                      (unsigned long long)served->disk.limits.sectors,
                      served->disk.limits.read_only ? "read-only" : "writable");
    }
    spinlock_take(&served->disk.lock);
    atomic_store(&served->disk.dead, false);
    for (struct slot *slot = served->slots; slot < served->slots + SERVED_SLOTS; slot++) {
        if (slot->state == SLOT_AT_SERVER) { /* the one before didn't answer it */
            slot->state = SLOT_WAITS;
            slot->generation = (slot->generation + 1) % GENERATIONS;
        }
    }
    spinlock_release(&served->disk.lock);
    served->has_server = true;
    served->refs++;
    return DX_OK;
}

/* Held: the list's. */
static enum dx_error make(struct capsule *manager, const struct dx_control_serve *wanted, struct served **made,
                          struct refusal *refusal)
{
    const struct charge charge = {(uint32_t)(align_up(sizeof(**made), PAGE_SIZE) / PAGE_SIZE), 0};
    enum dx_error error = quota_charge(manager, charge, refusal);
    if (error != DX_OK) {
        return refuse(refusal, error, "serve: it takes %u KiB, more than is left of this manager's quota-memory",
                      (unsigned)(charge.pages * (PAGE_SIZE / KIB)));
    }
    struct served *served = memory_alloc(sizeof(*served));
    if (served == NULL) {
        quota_give_back(manager->id, charge);
        return refuse(refusal, DX_NO_MEMORY, "serve: the machine has no memory left");
    }
    describe(served, wanted);
    served->manager = manager->id;
    served->charged = charge;
    served->has_server = true;
    served->refs = 1;
    served->topic = TOPIC_SERVED - last_topic++ % TOPICS;
    served->next = list;
    list = served;
    *made = served;
    return DX_OK;
}

enum dx_error served_open(struct capsule *manager, const struct dx_control_serve *wanted, struct served **opened,
                          struct refusal *refusal)
{
    enum dx_error error = check(manager, wanted, refusal);
    if (error != DX_OK) {
        return error;
    }
    spinlock_take(&list_lock);
    struct served *there = find(manager->id, wanted->name);
    *opened = there;
    error = there != NULL ? take_over(there, wanted, refusal) : make(manager, wanted, opened, refusal);
    spinlock_release(&list_lock);
    return error;
}

void served_close(struct served *served)
{
    spinlock_take(&list_lock);
    spinlock_take(&served->disk.lock);
    atomic_store(&served->disk.dead, true);
    spinlock_release(&served->disk.lock);
    served->has_server = false;
    drop(served);
    spinlock_release(&list_lock);
}

/* --- the server's ------------------------------------------------------------------------------------------------ */

static uint32_t token_of(const struct served *served, const struct slot *slot)
{
    return slot->generation * SERVED_SLOTS + (uint32_t)(slot - served->slots);
}

/* Held: the disk's. What the server has under this token; NULL: nothing. */
static struct slot *at_server(struct served *served, uint32_t token)
{
    struct slot *slot = &served->slots[token % SERVED_SLOTS];
    return slot->state == SLOT_AT_SERVER && token == token_of(served, slot) ? slot : NULL;
}

/* Held: the disk's. */
static struct slot *oldest(struct served *served)
{
    struct slot *oldest = NULL;
    for (struct slot *slot = served->slots; slot < served->slots + SERVED_SLOTS; slot++) {
        if (slot->state == SLOT_WAITS && (oldest == NULL || (int32_t)(slot->number - oldest->number) < 0)) {
            oldest = slot;
        }
    }
    return oldest;
}

bool served_next(struct served *served, struct dx_control_disk_reply *request)
{
    static const uint8_t operations[] = {
        [DISK_READ] = DX_CONTROL_DISK_READ,         [DISK_WRITE] = DX_CONTROL_DISK_WRITE,
        [DISK_FLUSH] = DX_CONTROL_DISK_FLUSH,       [DISK_DISCARD] = DX_CONTROL_DISK_DISCARD,
        [DISK_WRITE_ZEROES] = DX_CONTROL_DISK_ZERO,
    };
    spinlock_take(&served->disk.lock);
    struct slot *slot = oldest(served);
    const bool unused = slot == NULL && served->was_used;
    *request = (struct dx_control_disk_reply){
        .token = DX_CONTROL_DISK_NONE,
        .operation = unused ? DX_CONTROL_DISK_UNUSED : DX_CONTROL_DISK_NOTHING,
        .users = served->disk.user_count,
    };
    served->was_used &= !unused;
    if (slot != NULL) {
        slot->state = SLOT_AT_SERVER;
        request->token = token_of(served, slot);
        request->operation = operations[slot->operation];
        request->sector = slot->sector;
        request->bytes = slot->bytes;
    }
    spinlock_release(&served->disk.lock);
    return slot != NULL;
}

/* Calls move for each part of the slot's bytes from offset on. Held: the disk's. */
static void move(const struct slot *slot, uint64_t offset, uint8_t *bytes, size_t length, bool to_server)
{
    for (uint32_t n = 0; n < slot->piece_count && length > 0; n++) {
        const struct range *piece = &slot->pieces[n];
        if (offset >= piece->size) {
            offset -= piece->size;
            continue;
        }
        const size_t part = (size_t)MIN((uint64_t)length, piece->size - offset);
        uint8_t *there = (uint8_t *)hpa_pointer((hpa_t){piece->base + offset});
        if (to_server) {
            memcpy(bytes, there, part);
        } else {
            memcpy(there, bytes, part);
        }
        bytes += part;
        length -= part;
        offset = 0;
    }
}

bool served_get(struct served *served, uint32_t token, uint64_t offset, uint8_t *bytes, size_t length)
{
    memset(bytes, 0, length);
    spinlock_take(&served->disk.lock);
    const struct slot *slot = at_server(served, token);
    const bool is_there = slot != NULL && slot->operation == DISK_WRITE;
    if (is_there) {
        move(slot, offset, bytes, length, true);
    }
    spinlock_release(&served->disk.lock);
    return is_there;
}

void served_put(struct served *served, uint32_t token, uint64_t offset, const uint8_t *bytes, size_t length)
{
    spinlock_take(&served->disk.lock);
    const struct slot *slot = at_server(served, token);
    if (slot != NULL && slot->operation == DISK_READ) {
        move(slot, offset, (uint8_t *)(uintptr_t)bytes, length, false);
    }
    spinlock_release(&served->disk.lock);
}

void served_answer(struct served *served, uint32_t token, bool good, uint64_t bytes)
{
    spinlock_take(&served->disk.lock);
    struct slot *slot = at_server(served, token);
    const uint32_t generation = slot == NULL ? 0 : slot->generation;
    const bool is_whole = slot != NULL && (slot->operation == DISK_READ ? bytes == slot->bytes : bytes == 0);
    spinlock_release(&served->disk.lock);
    if (slot != NULL) {
        answer(served, slot, generation, good && is_whole ? DISK_DONE : DISK_FAILED);
        if (disk_go_on(&served->disk)) {
            disk_look_soon(&served->disk);
        }
    }
}
