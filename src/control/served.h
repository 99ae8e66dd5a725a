/* SPDX-License-Identifier: MIT
 *
 * Disks that a manager's Linux has: a program there answers the requests of other capsules through a control session.
 * To those capsules it is a disk like the machine's (core/disk.h), but payload is copied by the hypervisor, so that the
 * manager never has another capsule's memory.
 *
 * A server that goes, or takes too long, costs its users an I/O error each time, and nobody else anything. A capsule
 * that is being killed doesn't wait for it. The disk stays while a server or a user does.
 */
#ifndef CONTROL_SERVED_H
#define CONTROL_SERVED_H

#include "core/disk.h"
#include "core/refusal.h"
#include "diosix/control.h"

enum {
    SERVED_SLOTS = 8,             /* requests at once */
    SERVED_PIECES = 32,           /* of one */
    SERVED_PIECE_LONGEST = 65536, /* bytes */
};
static_assert(SERVED_PIECES * SERVED_PIECE_LONGEST == DX_CONTROL_DISK_BYTES_MAX, "a request");

struct served;

/* Memory for it is charged to the manager. No lock held. */
[[nodiscard]] enum dx_error served_open(struct capsule *manager, const struct dx_control_serve *wanted,
                                        struct served **opened, struct refusal *refusal);
/* The server is gone: it is not used any more after this. A device's lock may be held. */
void served_close(struct served *served);
/* What the server waits for when served_next has nothing (control/waiters.h). */
uint32_t served_topic(const struct served *served);
/* The next request, oldest first, which the server has from now on; false: there is none, operation says NOTHING or
 * UNUSED. */
bool served_next(struct served *served, struct dx_control_disk_reply *request);
/* Bytes of a request that the server has, from offset on: to it, and from it. If it isn't there any more zeros come,
 * which false says, and what is put is dropped. A device's lock may be held. */
bool served_get(struct served *served, uint32_t token, uint64_t offset, uint8_t *bytes, size_t length);
void served_put(struct served *served, uint32_t token, uint64_t offset, const uint8_t *bytes, size_t length);
/* The server's answer, to a request that is still there; bytes were put. No lock held. */
void served_answer(struct served *served, uint32_t token, bool good, uint64_t bytes);

/* For a capsule that the manager with this id has made; NULL: there is none. It stays until disk_let_go. */
struct disk *served_find(uint32_t manager, const char *name);

#endif
