/* SPDX-License-Identifier: MIT
 *
 * Control sessions: what a client sends, in whatever pieces, and what it gets for it.
 */
#include "session_world.h"

static void test_hello(void **state)
{
    const struct dx_control_hello other = {DX_CONTROL_VERSION + 1};
    const struct dx_control_list any = {0};
    struct dx_control_hello_reply answer;
    (void)state;
    begin(true);
    assert_int_equal(ask(DX_CONTROL_LIST, &any, sizeof(any)), DX_WRONG_STATE);
    assert_true(says("hello"));
    assert_int_equal(ask(DX_CONTROL_HELLO, &other, sizeof(other)), DX_NOT_SUPPORTED);
    assert_int_equal(ask(DX_CONTROL_LIST, &any, sizeof(any)), DX_WRONG_STATE);
    assert_int_equal(say_hello(), DX_OK);
    memcpy(&answer, behind(), sizeof(answer));
    assert_int_equal(answer.version, DX_CONTROL_VERSION);
    assert_int_equal(answer.id, core.capsules[0].id);
    assert_int_equal(answer.rights, DX_CONTROL_MANAGES_ALL);
    assert_string_equal(answer.hypervisor, DIOSIX_VERSION);
    assert_int_equal(ask(DX_CONTROL_LIST, &any, sizeof(any)), DX_OK);
    session_open(&session, false); /* the next client must say it again */
    session_open(&session, true);
    assert_int_equal(ask(DX_CONTROL_LIST, &any, sizeof(any)), DX_WRONG_STATE);
}

static void test_list(void **state)
{
    (void)state;
    begin(true);
    core.capsules[1].ram.size = UINT64_C(5) << 30;
    say_hello();
    assert_int_equal(list(0), CAPSULES);
    for (uint32_t n = 0; n < CAPSULES; n++) {
        const struct dx_control_row one = row(n);
        assert_int_equal(one.id, core.capsules[n].id);
        assert_string_equal(one.name, core.capsules[n].config.name);
        assert_int_equal(one.state, DX_CONTROL_LOADED);
        assert_int_equal(one.vcpus, 1);
        assert_int_equal(one.memory, core.capsules[n].ram.size);
        assert_int_equal(one.flags, n == 0 ? DX_CONTROL_ITSELF | DX_CONTROL_MANAGER : 0);
    }
    assert_int_equal(list(core.capsules[0].id), CAPSULES - 1);
    assert_int_equal(row(0).id, core.capsules[1].id);
    assert_int_equal(list(UINT32_MAX), 0);
}

static void test_requests(void **state)
{
    (void)state;
    begin(true);
    say_hello();
    const uint32_t id = core.capsules[1].id;
    assert_int_equal(request(DX_CONTROL_PAUSE, id), DX_WRONG_STATE);
    assert_true(says("guest1: pause: it is loaded"));
    assert_int_equal(request(DX_CONTROL_START, id), DX_OK);
    assert_int_equal(header()->length, sizeof(*header()));
    assert_int_equal(capsule_state(&core.capsules[1]), CAPSULE_FILLING);
    assert_int_equal(request(DX_CONTROL_KILL, id), DX_OK);
    assert_int_equal(capsule_state(&core.capsules[1]), CAPSULE_STOPPED);
    assert_string_equal(capsule_last_stop(&core.capsules[1]), "killed: by capsule guest0");
    assert_int_equal(request(0, id), DX_BAD_VALUE);
    assert_int_equal(request(DX_CONTROL_DESTROY + 1, id), DX_BAD_VALUE);
    assert_int_equal(request(UINT32_MAX, id), DX_BAD_VALUE);
    static const uint32_t absent[] = {0, 99, UINT32_MAX};
    for (unsigned n = 0; n < ARRAY_LENGTH(absent); n++) {
        assert_int_equal(request(DX_CONTROL_START, absent[n]), DX_NOT_FOUND);
    }
    for (uint32_t what = DX_CONTROL_START; what <= DX_CONTROL_DESTROY; what++) {
        assert_int_equal(request(what, core.capsules[0].id), DX_DENIED);
    }
}

/* A manager of none but its own finds itself, and can't tell whether there are others. */
static void test_rights(void **state)
{
    (void)state;
    begin(false);
    say_hello();
    assert_int_equal(list(0), 1);
    assert_int_equal(row(0).id, core.capsules[0].id);
    for (uint32_t what = DX_CONTROL_START; what <= DX_CONTROL_DESTROY; what++) {
        assert_int_equal(request(what, core.capsules[1].id), DX_NOT_FOUND);
        assert_int_equal(request(what, 99), DX_NOT_FOUND);
    }
    assert_int_equal(capsule_state(&core.capsules[1]), CAPSULE_LOADED);
}

static void test_malformed(void **state)
{
    static const struct {
        struct dx_control_header head;
        size_t bytes;
        enum dx_error error;
        const char *says;
    } rows[] = {
        {{.length = 20, .kind = 0}, 4, DX_UNKNOWN, "kind"},
        {{.length = 20, .kind = DX_CONTROL_DISK + 1}, 4, DX_UNKNOWN, "kind"},
        {{.length = 20, .kind = 0xffff}, 4, DX_UNKNOWN, "kind"},
        {{.length = 20, .kind = DX_CONTROL_LIST | DX_CONTROL_REPLY}, 4, DX_UNKNOWN, "kind"},
        {{.length = 20, .kind = DX_CONTROL_LIST, .error = 1}, 4, DX_BAD_VALUE, "error and reserved"},
        {{.length = 20, .kind = DX_CONTROL_LIST, .reserved = 1}, 4, DX_BAD_VALUE, "error and reserved"},
        {{.length = 16, .kind = DX_CONTROL_LIST}, 0, DX_BAD_VALUE, "length"},
        {{.length = 19, .kind = DX_CONTROL_LIST}, 3, DX_BAD_VALUE, "length"},
        {{.length = 24, .kind = DX_CONTROL_LIST}, 8, DX_BAD_VALUE, "length"},
        {{.length = 23, .kind = DX_CONTROL_WRITE}, 7, DX_BAD_VALUE, "24 to 1048"},
        {{.length = 1049, .kind = DX_CONTROL_WRITE}, 1033, DX_BAD_VALUE, "24 to 1048"},
        {{.length = DX_CONTROL_MESSAGE_MAX, .kind = DX_CONTROL_LIST},
         DX_CONTROL_MESSAGE_MAX - 16,
         DX_BAD_VALUE,
         "length"},
    };
    static const uint8_t zeros[DX_CONTROL_MESSAGE_MAX];
    (void)state;
    begin(true);
    say_hello();
    for (unsigned n = 0; n < ARRAY_LENGTH(rows); n++) {
        assert_int_equal(ask_with(rows[n].head, zeros, rows[n].bytes), rows[n].error);
        assert_true(says(rows[n].says));
        assert_int_equal(list(0), CAPSULES); /* the next one is understood */
    }
}

/* Where the next message begins isn't known: nothing more is listened to until it is closed. */
static void test_lost(void **state)
{
    static const uint32_t lengths[] = {0, 15, DX_CONTROL_MESSAGE_MAX + 1, UINT32_MAX};
    static const uint8_t noise[5000];
    (void)state;
    begin(true);
    for (unsigned n = 0; n < ARRAY_LENGTH(lengths); n++) {
        say_hello();
        assert_int_equal(ask_with((struct dx_control_header){.length = lengths[n], .kind = DX_CONTROL_LIST}, noise, 0),
                         DX_BAD_VALUE);
        assert_true(says("close the port"));
        assert_int_equal(session_take(&session, noise, sizeof(noise)), sizeof(noise));
        works();
        assert_int_equal(fetch(100), 0);
        session_open(&session, false);
        session_open(&session, true);
    }
    assert_int_equal(say_hello(), DX_OK);
}

/* Byte by byte in both directions; and nothing of a second message is taken before the first one's reply is gone. */
static void test_pieces(void **state)
{
    struct {
        struct dx_control_header head;
        struct dx_control_hello hello;
    } message = {{.length = 20, .kind = DX_CONTROL_HELLO, .tag = 7}, {DX_CONTROL_VERSION}};
    const uint8_t *bytes = (const uint8_t *)&message;
    uint8_t two[2 * sizeof(message)];
    (void)state;
    begin(true);
    for (size_t n = 0; n < sizeof(message); n++) {
        works();
        assert_int_equal(gone_on, 0);
        assert_int_equal(session_take(&session, bytes + n, 1), 1);
    }
    assert_int_equal(session_take(&session, bytes, 1), 0);
    assert_int_equal(fetch(1), 0);
    works();
    assert_int_equal(gone_on, 1);
    assert_int_equal(session_take(&session, bytes, 1), 0);
    assert_int_equal(session_give(&session, reply, 5), 5);
    assert_int_equal(session_take(&session, bytes, 1), 0);
    assert_int_equal(fetch(1), sizeof(struct dx_control_header) + sizeof(struct dx_control_hello_reply) - 5);
    memcpy(two, bytes, sizeof(message));
    memcpy(two + sizeof(message), bytes, sizeof(message));
    assert_int_equal(session_take(&session, two, sizeof(two)), sizeof(message));
    works();
    assert_true(fetch(100) > 0);
}

/* Whoever opens the port next gets nothing of what the last one had asked for, whenever that went away. */
static void test_closed(void **state)
{
    struct {
        struct dx_control_header head;
        struct dx_control_hello hello;
    } message = {{.length = 20, .kind = DX_CONTROL_HELLO, .tag = 7}, {DX_CONTROL_VERSION}};
    const struct dx_control_list any = {0};
    (void)state;
    for (unsigned when = 0; when < 4; when++) {
        begin(true);
        assert_int_equal(session_take(&session, (const uint8_t *)&message, when == 0 ? 9 : 20), when == 0 ? 9 : 20);
        if (when >= 2) {
            works();
        }
        if (when == 3) {
            assert_int_equal(session_give(&session, reply, 5), 5);
        }
        session_open(&session, false);
        assert_int_equal(session_take(&session, (const uint8_t *)&message, 20), 0);
        session_open(&session, true);
        works();
        assert_int_equal(fetch(100), 0);
        assert_int_equal(ask(DX_CONTROL_LIST, &any, sizeof(any)), DX_WRONG_STATE);
        world_end();
        world_make(HARTS);
    }
}

static void test_end(void **state)
{
    const struct dx_control_header message = {.length = 3};
    (void)state;
    begin(true);
    assert_int_equal(session_take(&session, (const uint8_t *)&message, sizeof(message)), sizeof(message));
    assert_non_null(atomic_load(&session.timer.heap));
    session_open(&session, false);
    session_end(&session);
    assert_null(atomic_load(&session.timer.heap));
    works();
    assert_int_equal(gone_on, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(test_hello),  CORE_TEST(test_list),      CORE_TEST(test_requests),
        CORE_TEST(test_rights), CORE_TEST(test_malformed), CORE_TEST(test_lost),
        CORE_TEST(test_pieces), CORE_TEST(test_closed),    CORE_TEST(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
