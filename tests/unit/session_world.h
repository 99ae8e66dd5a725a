/* SPDX-License-Identifier: MIT
 *
 * What the tests of control sessions share: a client of one, whose owner is the first capsule of core_world.h.
 */
#ifndef UNIT_SESSION_WORLD_H
#define UNIT_SESSION_WORLD_H

#include "control/session.h"
#include "core_world.h"

static struct session session;
static unsigned gone_on;
static uint8_t reply[DX_CONTROL_MESSAGE_MAX] __attribute__((aligned(8)));

static inline bool go_on(struct session *which)
{
    assert_ptr_equal(which, &session);
    gone_on++;
    return false;
}

static inline void begin(bool manages_all)
{
    for (unsigned n = 0; n < CAPSULES; n++) {
        make_capsule(n, 1);
    }
    core.capsules[0].config.manager = true;
    core.capsules[0].config.manages_all = manages_all;
    session_init(&session, 3, &core.capsules[0], go_on);
    session_open(&session, true);
    gone_on = 0;
}

/* What was asked for is done by a timer. */
static inline void works(void)
{
    core.now += 2;
    (void)timer_heap_run(&hart_this()->timers, core.now);
}

/* The reply, fetched in pieces of so many bytes; its length, 0 if there is none. */
static inline size_t fetch(size_t piece)
{
    size_t length = 0;
    for (size_t got; (got = session_give(&session, reply + length, MIN(piece, sizeof(reply) - length))) != 0;) {
        length += got;
    }
    return length;
}

static inline const struct dx_control_header *header(void)
{
    return (const struct dx_control_header *)(const void *)reply;
}

static inline const void *behind(void)
{
    return reply + sizeof(struct dx_control_header);
}

/* A message, its reply's error. */
static inline unsigned ask_with(struct dx_control_header head, const void *payload, size_t bytes)
{
    uint8_t message[DX_CONTROL_MESSAGE_MAX];
    memcpy(message, &head, sizeof(head));
    memcpy(message + sizeof(head), payload, bytes);
    assert_int_equal(session_take(&session, message, sizeof(head) + bytes), sizeof(head) + bytes);
    works();
    memset(reply, 0, sizeof(reply));
    const size_t length = fetch(sizeof(reply));
    assert_int_equal(length, header()->length);
    assert_int_equal(header()->tag, head.tag);
    assert_int_equal(header()->kind, (uint16_t)(head.kind | DX_CONTROL_REPLY));
    assert_int_equal(header()->reserved, 0);
    return header()->error;
}

static inline unsigned ask(unsigned kind, const void *payload, size_t bytes)
{
    static uint32_t tag;
    return ask_with((struct dx_control_header){.length = (uint32_t)(sizeof(struct dx_control_header) + bytes),
                                               .kind = (uint16_t)kind,
                                               .tag = ++tag},
                    payload, bytes);
}

static inline unsigned say_hello(void)
{
    const struct dx_control_hello hello = {DX_CONTROL_VERSION};
    return ask(DX_CONTROL_HELLO, &hello, sizeof(hello));
}

static inline unsigned request(uint32_t what, uint32_t id)
{
    const struct dx_control_request message = {what, id};
    return ask(DX_CONTROL_REQUEST, &message, sizeof(message));
}

static inline uint32_t list(uint32_t after)
{
    const struct dx_control_list message = {after};
    struct dx_control_list_reply answer;
    assert_int_equal(ask(DX_CONTROL_LIST, &message, sizeof(message)), DX_OK);
    memcpy(&answer, behind(), sizeof(answer));
    assert_int_equal(header()->length,
                     sizeof(*header()) + sizeof(answer) + answer.count * sizeof(struct dx_control_row));
    return answer.count;
}

static inline struct dx_control_row row(uint32_t n)
{
    struct dx_control_row result;
    memcpy(&result, (const uint8_t *)behind() + sizeof(struct dx_control_list_reply) + n * sizeof(result),
           sizeof(result));
    return result;
}

/* The reply's text. */
static inline bool says(const char *words)
{
    char text[DX_CONTROL_MESSAGE_MAX] = "";
    memcpy(text, behind(), header()->length - sizeof(*header()));
    return strstr(text, words) != NULL;
}

#endif
