/* SPDX-License-Identifier: MIT
 *
 * A disk that a manager's client serves: the session's side and the user's side, which is what a virtio disk does.
 */
#include "control/served.h"

#include "core/memory.h"
#include "session_world.h"

enum { POOL = 32 * KIB, SECTORS = 64 };

static uint8_t pool[POOL + PAGE_SIZE];
static uint8_t page[2][4096];
static struct disk_user user;
static struct {
    unsigned count, rooms;
    uint32_t token;
    enum disk_answer answer;
} answers;

static void on_done(struct disk_user *of, uint32_t token, enum disk_answer answer)
{
    assert_ptr_equal(of, &user);
    answers.count++;
    answers.token = token;
    answers.answer = answer;
}

static void on_room(struct disk_user *of)
{
    assert_ptr_equal(of, &user);
    answers.rooms++;
}

static int served_setup(void **state)
{
    static struct memory map;
    (void)setup(state);
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){align_up((uintptr_t)pool, PAGE_SIZE), POOL});
    memory_init(&map);
    begin(false);
    core.capsules[0].config.quota = (struct charge){100, 0};
    memset(&answers, 0, sizeof(answers));
    assert_int_equal(say_hello(), DX_OK);
    return 0;
}

static void pass_seconds(unsigned seconds)
{
    for (unsigned n = 0; n < seconds * 10; n++) {
        core.now += HZ / 10;
        (void)timer_heap_run(&hart_this()->timers, core.now);
    }
}

static unsigned serve(const char *name, uint64_t sectors, uint32_t flags)
{
    struct dx_control_serve message = {.sectors = sectors, .flags = flags};
    memcpy(message.name, name, strlen(name));
    return ask(DX_CONTROL_SERVE, &message, sizeof(message));
}

static void attach(void)
{
    const struct disk_user *other;
    user = (struct disk_user){.capsule = &core.capsules[1],
                              .disk = served_find(core.capsules[0].id, "data"),
                              .sectors = SECTORS,
                              .writes = true,
                              .done = on_done,
                              .room = on_room};
    assert_non_null(user.disk);
    assert_int_equal(disk_attach(&user, &other), DX_OK);
}

static void detach(void)
{
    disk_detach(&user);
    disk_let_go(user.disk);
}

static bool order(enum disk_operation operation, uint32_t token, uint64_t sector)
{
    const struct range pieces[] = {{(uintptr_t)page[0], 512}, {(uintptr_t)page[1], 1024}};
    const bool moves = operation == DISK_READ || operation == DISK_WRITE;
    const struct disk_order asked = {.user = &user,
                                     .token = token,
                                     .operation = operation,
                                     .sector = sector,
                                     .sectors = 8,
                                     .piece_count = moves ? 2 : 0,
                                     .pieces = pieces};
    if (!disk_reserve(&user)) {
        return false;
    }
    if (!disk_send(&asked, 1536)) {
        disk_unreserve(&user);
        return false;
    }
    return true;
}

static void send_disk(struct dx_control_disk message)
{
    const struct dx_control_header head = {.length = sizeof(head) + sizeof(message), .kind = DX_CONTROL_DISK};
    uint8_t all[sizeof(head) + sizeof(message)];
    memcpy(all, &head, sizeof(head));
    memcpy(all + sizeof(head), &message, sizeof(message));
    assert_int_equal(session_take(&session, all, sizeof(all)), sizeof(all));
}

/* The next request, after an answer to this token. */
static struct dx_control_disk_reply next_order(uint32_t token, uint32_t error, const uint8_t *data, uint32_t bytes)
{
    struct dx_control_disk_reply request;
    send_disk((struct dx_control_disk){.token = token, .error = error, .bytes = bytes});
    for (uint32_t n = 0; n < bytes; n += 100) { /* in pieces */
        const uint32_t part = MIN(bytes - n, 100U);
        assert_int_equal(session_take(&session, data + n, part), part);
    }
    works();
    memset(reply, 0, sizeof(reply));
    const size_t length = fetch(333);
    assert_int_equal(header()->error, DX_OK);
    assert_int_equal(length, header()->length);
    memcpy(&request, behind(), sizeof(request));
    return request;
}

static const uint8_t *data_of(void)
{
    return (const uint8_t *)behind() + sizeof(struct dx_control_disk_reply);
}

static uint32_t trailer(size_t bytes)
{
    uint32_t value;
    memcpy(&value, data_of() + bytes, sizeof(value));
    return value;
}

static void ends(void)
{
    session_open(&session, false);
    pass_seconds(2);
    assert_int_equal(memory_free_bytes(), memory_total_bytes());
    assert_int_equal(atomic_load(&core.capsules[0].used.pages), 0);
}

static void test_read_and_write(void **state)
{
    (void)state;
    uint8_t data[1536];
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    attach();
    assert_true(user.disk->limits.flush && !user.disk->limits.read_only);
    assert_string_equal(user.disk->serial, "data");
    assert_int_equal(next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0).operation, DX_CONTROL_DISK_NOTHING);

    assert_true(order(DISK_READ, 3, 5));
    struct dx_control_disk_reply request = next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    assert_int_equal(request.operation, DX_CONTROL_DISK_READ);
    assert_int_equal(request.sector, 5);
    assert_int_equal(request.bytes, 1536);
    assert_int_equal(request.users, 1);
    for (size_t n = 0; n < sizeof(data); n++) {
        data[n] = (uint8_t)(n * 7);
    }
    assert_int_equal(next_order(request.token, 0, data, sizeof(data)).operation, DX_CONTROL_DISK_NOTHING);
    assert_int_equal(answers.count, 1);
    assert_int_equal(answers.token, 3);
    assert_int_equal(answers.answer, DISK_DONE);
    assert_memory_equal(page[0], data, 512);
    assert_memory_equal(page[1], data + 512, 1024);

    memset(page[0], 0x55, sizeof(page[0]));
    assert_true(order(DISK_WRITE, 4, 6));
    assert_true(order(DISK_FLUSH, 5, 0));
    assert_true(order(DISK_DISCARD, 6, 8));
    request = next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    assert_int_equal(request.operation, DX_CONTROL_DISK_WRITE);
    assert_memory_equal(data_of(), page[0], 512);
    assert_memory_equal(data_of() + 512, page[1], 1024);
    assert_int_equal(trailer(1536), 1);
    request = next_order(request.token, 1, NULL, 0); /* it fails */
    assert_int_equal(answers.answer, DISK_FAILED);
    assert_int_equal(answers.token, 4);
    assert_int_equal(request.operation, DX_CONTROL_DISK_FLUSH);
    request = next_order(request.token, 0, NULL, 0);
    assert_int_equal(answers.answer, DISK_DONE);
    assert_int_equal(request.operation, DX_CONTROL_DISK_DISCARD);
    assert_int_equal(request.bytes, 8 * DISK_SECTOR);
    (void)next_order(request.token, 0, NULL, 0);
    assert_int_equal(answers.count, 4);
    detach();
    assert_int_equal(next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0).operation, DX_CONTROL_DISK_UNUSED);
    assert_int_equal(next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0).operation, DX_CONTROL_DISK_NOTHING);
    ends();
}

/* Answers that aren't whole, to what isn't there, or twice; data for what wants none, or that says where to put it. */
static void test_wrong_answers(void **state)
{
    (void)state;
    uint8_t data[3000];
    memset(data, 0xee, sizeof(data));
    memset(page, 0, sizeof(page));
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    attach();
    assert_true(order(DISK_READ, 0, 0));
    struct dx_control_disk_reply request = next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    (void)next_order(request.token + 1, 0, data, 1536);
    (void)next_order(request.token + SERVED_SLOTS, 0, data, 1536);
    assert_int_equal(answers.count, 0);
    assert_int_equal(page[0][0], 0);
    (void)next_order(request.token, 0, data, 3000); /* too much: nothing beyond its pieces */
    assert_int_equal(answers.answer, DISK_FAILED);
    assert_int_equal(page[0][512], 0);
    assert_int_equal(page[1][1024], 0);
    (void)next_order(request.token, 0, data, 1536);
    assert_int_equal(answers.count, 1);

    memset(page, 0, sizeof(page));
    assert_true(order(DISK_WRITE, 1, 0));
    request = next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    (void)next_order(request.token, 0, data, 1536); /* it was to be written, not read */
    assert_int_equal(answers.answer, DISK_FAILED);
    assert_int_equal(page[0][0], 0);
    assert_true(order(DISK_READ, 2, 0));
    request = next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    (void)next_order(request.token, 0, data, 100);
    assert_int_equal(answers.answer, DISK_FAILED);
    detach();
    ends();
}

static void test_refusals(void **state)
{
    (void)state;
    const struct dx_control_disk message = {.token = DX_CONTROL_DISK_NONE};
    const struct dx_control_disk large = {.token = 0, .bytes = DX_CONTROL_DISK_BYTES_MAX + 1};
    assert_int_equal(ask(DX_CONTROL_DISK, &message, sizeof(message)), DX_WRONG_STATE);
    assert_int_equal(serve("Data", SECTORS, 0), DX_BAD_VALUE);
    assert_int_equal(serve("", SECTORS, 0), DX_BAD_VALUE);
    assert_int_equal(serve("data", 0, 0), DX_BAD_VALUE);
    assert_int_equal(serve("data", UINT64_MAX, 0), DX_BAD_VALUE);
    assert_int_equal(serve("data", SECTORS, 2), DX_BAD_VALUE);
    core.capsules[0].config.quota.pages = 1;
    assert_int_equal(serve("data", SECTORS, 0), DX_NO_MEMORY);
    core.capsules[0].config.quota.pages = 0;
    assert_int_equal(serve("data", SECTORS, 0), DX_DENIED);
    core.capsules[0].config.quota.pages = 100;
    assert_int_equal(serve("data", SECTORS, DX_CONTROL_SERVE_READ_ONLY), DX_OK);
    assert_int_equal(serve("more", SECTORS, 0), DX_WRONG_STATE);
    assert_null(served_find(core.capsules[1].id, "data"));
    assert_null(served_find(0, "data"));
    assert_null(served_find(core.capsules[0].id, "dat"));
    struct disk *found = served_find(core.capsules[0].id, "data");
    assert_true(found->limits.read_only);
    disk_let_go(found);
    assert_int_equal(ask(DX_CONTROL_DISK, &large, sizeof(large)), DX_BAD_VALUE);
    assert_true(says("close the port"));
    ends();
}

/* The server goes while it has requests: they fail, and so does what comes; the next one goes on. */
static void test_server_goes(void **state)
{
    (void)state;
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    attach();
    assert_true(order(DISK_READ, 0, 0));
    assert_true(order(DISK_WRITE, 1, 0));
    (void)next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    session_open(&session, false);
    pass_seconds(1);
    assert_int_equal(answers.count, 2);
    assert_int_equal(answers.answer, DISK_FAILED);
    assert_true(disk_is_dead(user.disk));
    assert_false(order(DISK_READ, 2, 0));
    assert_null(served_find(core.capsules[0].id, "data"));
    session_open(&session, true);
    assert_int_equal(say_hello(), DX_OK);
    assert_int_equal(serve("data", SECTORS + 8, 0), DX_WRONG_STATE);
    core.capsules[0].config.quota.pages = atomic_load(&core.capsules[0].used.pages); /* it costs nothing more */
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    assert_true(order(DISK_READ, 2, 9));
    assert_int_equal(next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0).sector, 9);
    /* Gone and come back before anybody has noticed: the request is asked for once more. */
    session_open(&session, false);
    session_open(&session, true);
    assert_int_equal(say_hello(), DX_OK);
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    const struct dx_control_disk_reply request = next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    assert_int_equal(request.sector, 9);
    (void)next_order(request.token, 1, NULL, 0);
    assert_int_equal(answers.count, 3);
    detach();
    ends();
}

/* The last user goes after the server: then the disk does. */
static void test_user_goes_last(void **state)
{
    (void)state;
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    attach();
    session_open(&session, false);
    pass_seconds(2);
    assert_true(memory_free_bytes() < memory_total_bytes());
    detach();
    pass_seconds(2);
    assert_int_equal(memory_free_bytes(), memory_total_bytes());
}

/* One that stands still: its capsule gets an error in the end, or at once if it is being stopped; what the server
 * writes to or reads of it after that is nobody's. */
static void test_server_stands_still(void **state)
{
    (void)state;
    uint8_t data[1536];
    memset(data, 0xee, sizeof(data));
    memset(page, 0, sizeof(page));
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    attach();
    assert_true(order(DISK_READ, 0, 0));
    struct dx_control_disk_reply request = next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    pass_seconds(DISK_PATIENCE_SECONDS - 2);
    assert_int_equal(answers.count, 0);
    pass_seconds(5);
    assert_int_equal(answers.count, 1);
    assert_int_equal(answers.answer, DISK_FAILED);
    (void)next_order(request.token, 0, data, sizeof(data));
    assert_int_equal(page[0][0], 0);
    assert_int_equal(answers.count, 1);

    assert_true(order(DISK_WRITE, 1, 0));
    memset(page, 0x77, sizeof(page));
    send_disk((struct dx_control_disk){.token = DX_CONTROL_DISK_NONE});
    works();
    size_t length = session_give(&session, reply, 500); /* the beginning; then the capsule is killed */
    length += session_give(&session, reply + length, 500 - length);
    atomic_fetch_add(&core.capsules[1].state, CAPSULE_STOPPING - CAPSULE_LOADED); /* beside its pins */
    pass_seconds(2);
    assert_int_equal(answers.count, 2);
    for (size_t got; (got = session_give(&session, reply + length, sizeof(reply) - length)) != 0;) {
        length += got;
    }
    assert_int_equal(length, header()->length);
    assert_int_equal(data_of()[0], 0x77);
    assert_int_equal(data_of()[1535], 0);
    assert_int_equal(trailer(1536), 0);
    atomic_fetch_sub(&core.capsules[1].state, CAPSULE_STOPPING - CAPSULE_LOADED);
    detach();
    ends();
}

/* A client that waits is answered when a request comes. */
static void test_waiting(void **state)
{
    (void)state;
    struct dx_control_disk_reply request;
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    attach();
    send_disk((struct dx_control_disk){.token = DX_CONTROL_DISK_NONE, .how = DX_CONTROL_WAIT});
    pass_seconds(1);
    assert_int_equal(fetch(sizeof(reply)), 0);
    assert_true(order(DISK_FLUSH, 0, 0));
    works();
    works();
    works();
    assert_int_equal(fetch(sizeof(reply)), sizeof(struct dx_control_header) + sizeof(request));
    memcpy(&request, behind(), sizeof(request));
    assert_int_equal(request.operation, DX_CONTROL_DISK_FLUSH);
    (void)next_order(request.token, 0, NULL, 0);
    assert_int_equal(answers.answer, DISK_DONE);
    detach();
    ends();
}

/* No more requests than there are slots, and the next when one is answered. */
static void test_full(void **state)
{
    (void)state;
    assert_int_equal(serve("data", SECTORS, 0), DX_OK);
    attach();
    atomic_fetch_add(&core.capsules[1].state, CAPSULE_RUNNING - CAPSULE_LOADED); /* others are told of no room */
    for (uint32_t n = 0; n < SERVED_SLOTS; n++) {
        assert_true(order(DISK_FLUSH, n, 0));
    }
    assert_false(order(DISK_FLUSH, SERVED_SLOTS, 0));
    struct dx_control_disk_reply request = next_order(DX_CONTROL_DISK_NONE, 0, NULL, 0);
    for (uint32_t n = 0; n < SERVED_SLOTS; n++) {
        request = next_order(request.token, 0, NULL, 0);
        assert_int_equal(answers.token, n); /* in their order */
    }
    assert_int_equal(answers.rooms, 1);
    atomic_fetch_sub(&core.capsules[1].state, CAPSULE_RUNNING - CAPSULE_LOADED);
    detach();
    ends();
}

#define SERVED_TEST(function) cmocka_unit_test_setup_teardown(function, served_setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        SERVED_TEST(test_read_and_write), SERVED_TEST(test_wrong_answers),  SERVED_TEST(test_refusals),
        SERVED_TEST(test_server_goes),    SERVED_TEST(test_user_goes_last), SERVED_TEST(test_server_stands_still),
        SERVED_TEST(test_waiting),        SERVED_TEST(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
