/* SPDX-License-Identifier: MIT
 *
 * A control session (include/diosix/control.h): takes a client's bytes, does what whole messages ask for, and has their
 * replies. One message at a time: while one is worked on, or its reply hasn't been fetched, no byte of the next is
 * taken. A message may be answered later, when there is news; it is answered as things are when its client sends more.
 * It does not know its transport.
 *
 * A message is worked on by a timer, with no lock held, since what it asks for may reach any capsule's devices, those
 * of the sender too.
 */
#ifndef CONTROL_SESSION_H
#define CONTROL_SESSION_H

#include "diosix/control.h"

#include "core/capsule.h"
#include "control/upload.h"
#include "control/waiters.h"

struct session {
    struct capsule *owner; /* who asks; outlives it */
    uint32_t index;        /* the transport's */
    /* There is a reply, or room again; true: it wants to be called once more. No lock held. */
    bool (*go_on)(struct session *session);

    struct spinlock lock; /* only leaves come under it; guards all below, but the messages while working */
    bool open;
    bool working; /* a whole message is there, and is at work or will be */
    bool serving; /* it is at work */
    bool stale;   /* it was closed meanwhile: the reply is nobody's */
    bool greeted;
    bool lost; /* a length made no sense: where the next message begins nobody knows */
    struct timer timer;
    uint32_t received, replied, fetched; /* bytes of message; of reply; of them */
    struct served *served;               /* the disk that the client serves; NULL: none */
    uint32_t bytes_left;                 /* of what follows a message and is its disk's, and is still to come */
    uint32_t follow;                     /* of the reply: bytes that aren't in reply but the disk's */
    uint32_t follow_token;               /* whose */
    bool torn;                           /* not all of them were there any more */
    struct upload upload;
    bool waiting;       /* the message is at work again when there is news */
    bool woken;         /* there was, since it was at work last */
    bool later;         /* what serves it says: not yet */
    atomic_bool hurry;  /* it has waited long enough */
    struct waiter news; /* what it waits for */
    uint32_t watched;   /* id of the capsule whose console the client reads with DX_CONTROL_WATCH; 0: none */
    uint64_t watch_due; /* when that is over */
    uint32_t attached;  /* the last one that it has watched, which was told as an event */
    struct timer watch; /* then */
    uint8_t message[DX_CONTROL_MESSAGE_MAX] __attribute__((aligned(8)));
    uint8_t reply[DX_CONTROL_MESSAGE_MAX] __attribute__((aligned(8)));
};

void session_init(struct session *session, uint32_t index, struct capsule *owner,
                  bool (*go_on)(struct session *session));
/* The client's end is there, or gone: nothing of what it had begun is left. Any lock held. */
void session_open(struct session *session, bool open);
/* How many of these bytes of the client's are taken; how many bytes there are for it. Any lock held. */
size_t session_take(struct session *session, const uint8_t *bytes, size_t length);
size_t session_give(struct session *session, uint8_t *bytes, size_t room);
/* It is closed, and is not opened any more: its memory may be given back once every hart has passed. */
void session_end(struct session *session);
/* Whether it holds memory for something that was being sent. Closed, it lets go of it by itself. */
bool session_holds(struct session *session);

#endif
