/* SPDX-License-Identifier: MIT
 *
 * Between session.c and watch.c: how a message is answered. What serves one is called with no lock held; nobody else
 * touches the session's message and reply meanwhile.
 */
#ifndef CONTROL_SESSION_PARTS_H
#define CONTROL_SESSION_PARTS_H

#include "control/session.h"

/* What is behind the header of session->message or session->reply. */
static inline void *session_payload(uint8_t *message)
{
    return message + sizeof(struct dx_control_header);
}
/* So many bytes behind the reply's header are there already. */
void session_reply(struct session *session, enum dx_error error, size_t bytes);
/* A capsule that the session's owner manages; NULL, with *refusal, if there is none of this id. what asks for it. */
struct capsule *session_find(const struct session *session, uint32_t id, const char *what, struct refusal *refusal);

/* A capsule in the protocol's words. */
void session_describe(const struct session *session, const struct capsule *capsule, struct dx_control_row *row);
uint32_t session_state_of(const struct capsule *capsule);
uint64_t session_microseconds(uint64_t ticks);
void session_text(char *to, size_t size, const char *text); /* into zeroed bytes; the last one stays zero */

/* Messages of watch.c. */
enum dx_error session_info(struct session *session, struct refusal *refusal);
enum dx_error session_read(struct session *session, struct refusal *refusal);
enum dx_error session_write(struct session *session, struct refusal *refusal);
enum dx_error session_events(struct session *session, struct refusal *refusal);
/* Messages of serve.c. */
enum dx_error session_serve(struct session *session, struct refusal *refusal);
enum dx_error session_disk(struct session *session, struct refusal *refusal);
/* The session's lock is held. A whole message is there: how many bytes follow it. */
uint32_t session_disk_follows(const struct session *session);
/* So many of those: they are all taken. */
void session_disk_take(struct session *session, const uint8_t *bytes, size_t length);
/* The next bytes of what follows the reply, which begins at offset. */
void session_disk_give(struct session *session, uint32_t offset, uint8_t *bytes, size_t length);
/* The client is gone. */
void session_unserve(struct session *session);

/* The session's lock is held: its client is gone. */
void session_unwatch(struct session *session);
/* The session ends; no lock is held. */
void session_watch_end(struct session *session);
/* session->watch has fired. */
void session_watch_over(struct timer *timer);

#endif
