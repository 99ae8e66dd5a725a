/* SPDX-License-Identifier: MIT
 *
 * Messages by which a client is a disk (control/served.h): what it has read follows its message, what it is to write
 * follows the reply, both straight from and to the memory of the capsule that asks.
 */
#include <string.h>

#include "control/served.h"
#include "control/session_parts.h"

enum { TRAILER = 4 /* bytes behind what is to be written */ };

static const struct dx_control_disk *asked(const struct session *session)
{
    return session_payload((uint8_t *)(uintptr_t)session->message);
}

enum dx_error session_serve(struct session *session, struct refusal *refusal)
{
    const struct dx_control_serve *message = session_payload(session->message);
    struct served *served = NULL;
    if (session->served != NULL) {
        return refuse(refusal, DX_WRONG_STATE, "serve: this session serves a disk already: take another");
    }
    enum dx_error error = served_open(session->owner, message, &served, refusal);
    if (error == DX_OK) {
        session->served = served;
        session_reply(session, DX_OK, 0);
    }
    return error;
}

uint32_t session_disk_follows(const struct session *session)
{
    const struct dx_control_header *header = (const struct dx_control_header *)(const void *)session->message;
    const bool is_disk = header->kind == DX_CONTROL_DISK && header->length == sizeof(*header) + sizeof(*asked(session));
    return is_disk && asked(session)->bytes <= DX_CONTROL_DISK_BYTES_MAX ? asked(session)->bytes : 0;
}

void session_disk_take(struct session *session, const uint8_t *bytes, size_t length)
{
    const uint32_t offset = asked(session)->bytes - session->bytes_left;
    if (session->served != NULL) {
        served_put(session->served, asked(session)->token, offset, bytes, length);
    }
}

void session_disk_give(struct session *session, uint32_t offset, uint8_t *bytes, size_t length)
{
    const uint32_t data = session->follow - TRAILER;
    if (offset < data) {
        const size_t part = MIN(length, (size_t)(data - offset));
        session->torn |= !served_get(session->served, session->follow_token, offset, bytes, part);
        bytes += part;
        length -= part;
        offset += (uint32_t)part;
    }
    const uint32_t is_whole = session->torn ? 0 : 1; /* what is behind the data is looked at when the data has gone */
    for (; length > 0; length--, offset++) {
        *bytes++ = (uint8_t)(is_whole >> 8 * (offset - data));
    }
}

void session_unserve(struct session *session)
{
    if (session->served != NULL) {
        served_close(session->served);
        session->served = NULL;
    }
}

static enum dx_error check(struct session *session, struct refusal *refusal)
{
    const struct dx_control_disk *message = asked(session);
    if (message->bytes > DX_CONTROL_DISK_BYTES_MAX) {
        session->lost = true;
        return refuse(refusal, DX_BAD_VALUE,
                      "disk: bytes: no request has more than %d; close the port and open it again",
                      DX_CONTROL_DISK_BYTES_MAX);
    }
    if (session->served == NULL) {
        return refuse(refusal, DX_WRONG_STATE, "disk: say serve (%d) first", DX_CONTROL_SERVE);
    }
    if ((message->how & ~(uint32_t)DX_CONTROL_WAIT) != 0) {
        return refuse(refusal, DX_BAD_VALUE, "disk: how must be 0 or %d", DX_CONTROL_WAIT);
    }
    return DX_OK;
}

enum dx_error session_disk(struct session *session, struct refusal *refusal)
{
    const struct dx_control_disk *message = asked(session);
    struct dx_control_disk_reply reply;
    enum dx_error error = check(session, refusal);
    if (error != DX_OK) {
        return error;
    }
    if (message->token != DX_CONTROL_DISK_NONE) { /* a second time, after a wait, it is not there any more */
        served_answer(session->served, message->token, message->error == 0, message->bytes);
    }
    const bool waits = (message->how & DX_CONTROL_WAIT) != 0 && !atomic_load(&session->hurry);
    if (waits) { /* before looking */
        waiter_wait(&session->news, served_topic(session->served));
    }
    if (!served_next(session->served, &reply) && reply.operation == DX_CONTROL_DISK_NOTHING && waits) {
        session->later = true;
        return DX_OK;
    }
    session->follow = reply.operation == DX_CONTROL_DISK_WRITE ? (uint32_t)reply.bytes + TRAILER : 0;
    session->follow_token = reply.token;
    memcpy(session_payload(session->reply), &reply, sizeof(reply));
    session_reply(session, DX_OK, sizeof(reply) + session->follow);
    return DX_OK;
}
