/* SPDX-License-Identifier: MIT
 *
 * A control session with the hypervisor, from inside a manager capsule's Linux.
 */
#ifndef CAPSULECTL_LINK_H
#define CAPSULECTL_LINK_H

#include <stddef.h>

#include <diosix/control.h>
#include <diosix/errors.h>

struct link {
    int file;
    uint32_t next_tag;
    struct dx_control_hello_reply hello; /* what the hypervisor has said of itself */
    uint8_t message[DX_CONTROL_MESSAGE_MAX] __attribute__((aligned(8)));
    uint8_t reply[DX_CONTROL_MESSAGE_MAX] __attribute__((aligned(8)));
};

/* Opens the first port that nobody else has open, and says hello. Exits, with the cause and the cure, if there is none.
 */
void link_open(struct link *link);
void link_close(struct link *link);
/* Sends a message of that kind with so many bytes behind its header, and waits for the reply: its error (enum
 * dx_error), and *bytes behind its header. Exits if the session breaks. */
unsigned link_ask(struct link *link, enum dx_control_kind kind, const void *payload, size_t length, size_t *bytes);
/* The two halves of that: the reply of any kind, the next that comes. */
void link_send(struct link *link, enum dx_control_kind kind, const void *payload, size_t length);
unsigned link_hear(struct link *link, unsigned *kind, size_t *bytes);
/* Exits: with the reason that the reply has, of so many bytes; and since it makes no sense. */
_Noreturn void link_refused(const struct link *link, size_t bytes);
_Noreturn void link_nonsense(void);
/* As link_ask, for a reply with size bytes or more, which are copied to *reply; exits if it is refused. */
void link_get(struct link *link, enum dx_control_kind kind, const void *payload, size_t length, void *reply,
              size_t size);
/* What an upload has, without a header; and the further reply that follows it, as link_get. */
void link_write(struct link *link, const uint8_t *bytes, size_t length);
void link_read(struct link *link, void *to, size_t length);
void link_get_reply(struct link *link, enum dx_control_kind kind, void *reply, size_t size);
static inline const void *link_payload(const struct link *link)
{
    return link->reply + sizeof(struct dx_control_header);
}

#endif
