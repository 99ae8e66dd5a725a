/* SPDX-License-Identifier: MIT
 *
 * A disk of the machine, and who uses it. A user is a capsule's virtio disk: a stretch of the disk's sectors. Its
 * requests go to the driver one by one, as the driver has room for them; those for whom there was none are told when
 * there is, the one that had least so far first. Nothing waits here: what can't be sent yet stays in the guest's ring.
 *
 * Payload is read and written by the device where the capsule has it. So each request pins the capsule
 * (capsule_hold): its memory is nobody else's while a device may still write there.
 *
 * Locks: a virtio device's, then the disk's, then a timer heap's. done and room are called with none held.
 */
#ifndef CORE_DISK_H
#define CORE_DISK_H

#include "core/capsule.h"
#include "core/rate.h"
#include "core/timer.h"

enum {
    DISK_PIECES_MAX = 136,       /* of one request: as many segments as a chain has, and RAM's edges */
    DISK_USER_REQUESTS_MAX = 32, /* of one user, in flight; fewer where many share a disk */
    DISK_SERIAL_MAX = 20,        /* characters */
    DISK_PARTITIONS_MAX = 128,
    DISK_PARTITION_NAME_MAX = 36, /* characters */
    DISK_PATIENCE_SECONDS = 30,   /* a request that takes longer: the device is reset */
};

enum disk_operation { DISK_READ, DISK_WRITE, DISK_FLUSH, DISK_DISCARD, DISK_WRITE_ZEROES };

enum disk_answer { DISK_DONE, DISK_FAILED };

struct disk_user;

/* One request as it is handed to the driver, which copies it. Sectors are the disk's. */
struct disk_order {
    struct disk_user *user;
    uint32_t token; /* the user's own name for it: less than DISK_USER_REQUESTS_MAX */
    enum disk_operation operation;
    uint64_t sector;
    uint32_t sectors; /* to discard, or to fill with zeros; likewise the next */
    bool unmap;
    uint32_t piece_count;
    const struct range *pieces; /* of the host's memory: what is written, or where to read to; in order */
};

/* What the device says of itself. Sizes that aren't in other units are bytes. */
struct disk_limits {
    uint64_t sectors; /* of DISK_SECTOR bytes */
    bool read_only, flush, discard, write_zeroes;
    uint32_t block_size;       /* logical; what the device says, or DISK_SECTOR */
    uint8_t physical_exponent; /* a physical block is so many times doubled a logical one */
    uint8_t alignment_offset;  /* logical blocks before the first that is aligned */
    uint16_t io_least;         /* logical blocks; 0: not said. Likewise the next */
    uint32_t io_best;
    uint32_t pieces_max; /* of one request; at most DISK_PIECES_MAX */
    uint32_t piece_longest;
    uint32_t discard_most; /* sectors; likewise the next two */
    uint32_t discard_alignment;
    uint32_t zeroes_most;
    bool zeroes_unmap;
};

struct disk_partition {
    char name[DISK_PARTITION_NAME_MAX + 1]; /* what of it isn't ASCII is '?' */
    uint64_t first, sectors;
};

struct disk;

/* The driver's part. Any hart. */
struct disk_ops {
    /* Sends a request, for which there is room; sets disk.room anew. The disk's lock is held. */
    void (*send)(struct disk *disk, const struct disk_order *order);
    /* At least once a second while something is in flight; no lock held. If a request is late the device is reset:
     * those that are late are answered as failed, the others sent again. False: it is of no use any more. What is in
     * flight then stays so: it doesn't even reset, and nobody knows what it may still do to memory. */
    bool (*watch)(struct disk *disk, uint64_t now);
    /* A user has been detached; no lock held. NULL, and the next two: the disk is the machine's and stays. */
    void (*left)(struct disk *disk);
    void (*let_go)(struct disk *disk); /* disk_let_go */
    /* After each look; true: its memory has been given back. */
    bool (*gone)(struct disk *disk);
};

struct disk {
    const struct disk_ops *ops;
    struct disk_limits limits;
    char serial[DISK_SERIAL_MAX + 1];  /* "" if it has none */
    const char *path;                  /* of its node in the host's tree */
    struct disk_partition *partitions; /* NULL: it has none */
    uint32_t partition_count;
    uint32_t slots; /* requests that the driver can hold at most */

    struct spinlock lock; /* guards all below, and the driver's queue */
    atomic_bool dead;     /* takes no requests any more; read without the lock too */
    uint32_t room;        /* requests that could be sent now, whatever they are */
    uint32_t reserved;    /* of them, promised */
    uint32_t in_flight;
    uint32_t sent;           /* pieces, ever; wraps */
    uint64_t served;         /* what the user had that was last let go before others that wait */
    struct disk_user *users; /* linked by next */
    uint32_t user_count;
    struct timer watch; /* armed while something is in flight */
    struct disk *next;
};

struct disk_user {
    struct capsule *capsule;
    struct disk *disk;       /* NULL: none; constant while the capsule is in the list */
    uint64_t first, sectors; /* its stretch */
    bool writes;
    /* A request has been answered; the pin is still there. Any hart, no lock held. */
    void (*done)(struct disk_user *user, uint32_t token, enum disk_answer answer);
    /* It was refused, and there is room now: one request, at most a few. Likewise; only while its capsule runs or is
     * paused, which does not stop before this returns. */
    void (*room)(struct disk_user *user);

    /* The disk's lock guards these: */
    uint32_t in_flight;
    uint32_t promised;  /* room, and has not used it yet */
    bool waiting;       /* was refused */
    bool turn;          /* is being told of room: goes before those who wait */
    struct rate rate;   /* rate.limit is set before it is attached */
    struct timer later; /* armed while it waits for its rate */
    uint64_t used;      /* in bytes, where each request counts as some more */
    struct disk_user *next;
};

/* At boot, before capsules are made. disk must stay; it is zero but for ops, limits, serial, path, partitions, slots.
 */
void disk_add(struct disk *disk);
/* "serial:NAME" or "path:/soc/…", cut or exact; NULL if there is none. */
struct disk *disk_find(const char *source);
const struct disk_partition *disk_partition(const struct disk *disk, const char *name);

/* Makes it a user of its disk: disk, first, sectors, writes, done, room and capsule are set. DX_OVERLAP if it would
 * share sectors with another user and either writes: *other is then that one. */
[[nodiscard]] enum dx_error disk_attach(struct disk_user *user, const struct disk_user **other);
/* It is told of nothing any more. Nothing of it is in flight. Does nothing to one that isn't attached. */
void disk_detach(struct disk_user *user);
/* The disk was found for a user whose memory goes now, or that was not attached: one that isn't the machine's may end.
 * For each user once, when no hart can mean the user any more. */
void disk_let_go(struct disk *disk);

/* Promises room for one request: it must be sent, or given back, before the user's device's lock is released. False: it
 * will be told of room. */
[[nodiscard]] bool disk_reserve(struct disk_user *user);
void disk_unreserve(struct disk_user *user);
/* There is more to send, but not now: it is to be told of room once more, even if there is some. From room alone. */
void disk_wait(struct disk_user *user);
/* Sends what room was reserved for. All pieces have been found in the user's RAM, all sectors in its stretch. False:
 * the disk has died since; the room is still reserved. */
[[nodiscard]] bool disk_send(const struct disk_order *order, uint64_t bytes);
/* Its device is being reset: it doesn't wait for room any more. */
void disk_forget(struct disk_user *user);
uint32_t disk_user_in_flight(struct disk_user *user);
/* It takes no requests any more: all are promised room, and what they ask for fails, without disk_send. */
bool disk_is_dead(const struct disk *disk);

/* For the driver, the disk's lock free: watch and gone are called in a moment, and those go on that wait. */
void disk_look_soon(struct disk *disk);
/* For the driver, no lock held: a request of that user was answered; disk.room counts its place already. */
void disk_answered(struct disk_user *user, uint32_t token, enum disk_answer answer);
/* After some were: lets those go on that wait, a bounded number of them. True: somebody else wants this hart now, and
 * it is to be called again a moment later. */
[[nodiscard]] bool disk_go_on(struct disk *disk);

#endif
