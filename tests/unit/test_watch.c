/* SPDX-License-Identifier: MIT
 *
 * What a manager's client looks at for longer: a console that it reads and types on, the log, events. A message that
 * waits is answered when there is news, when the client sends more, and never twice.
 */
#include "control/watch.h"
#include "core/events.h"
#include "session_world.h"

static struct capsule *guest(void)
{
    return &core.capsules[1];
}

static void begin_watch(bool manages_all)
{
    begin(manages_all);
    watch_init();
    say_hello();
}

static void passes(uint64_t ticks)
{
    core.now += ticks;
    (void)timer_heap_run(&hart_this()->timers, core.now);
}

/* Sends a message, and lets it be looked at. */
static void sends(unsigned kind, const void *payload, size_t bytes)
{
    uint8_t message[DX_CONTROL_MESSAGE_MAX];
    const struct dx_control_header head = {
        .length = (uint32_t)(sizeof(head) + bytes), .kind = (uint16_t)kind, .tag = 77};
    memcpy(message, &head, sizeof(head));
    memcpy(message + sizeof(head), payload, bytes);
    assert_int_equal(session_take(&session, message, sizeof(head) + bytes), sizeof(head) + bytes);
    works();
}

/* The bytes behind the read's reply, as text; NULL: it has not been answered. */
static const char *reads(struct dx_control_read_reply *out)
{
    static char text[DX_CONTROL_MESSAGE_MAX];
    if (fetch(sizeof(reply)) == 0) {
        return NULL;
    }
    assert_int_equal(header()->error, DX_OK);
    memcpy(out, behind(), sizeof(*out));
    const size_t length = header()->length - sizeof(*header()) - sizeof(*out);
    memcpy(text, (const uint8_t *)behind() + sizeof(*out), length);
    text[length] = '\0';
    return text;
}

static void asks_to_read(uint64_t from, uint32_t how)
{
    const struct dx_control_read message = {.from = from, .id = guest()->id, .how = how};
    sends(DX_CONTROL_READ, &message, sizeof(message));
}

static size_t writes(const char *text)
{
    return console_port_write(&guest()->console, (const uint8_t *)text, strlen(text));
}

static void runs(void)
{
    atomic_store(&guest()->state, CAPSULE_RUNNING);
}

static void test_read(void **state)
{
    struct dx_control_read_reply got;
    (void)state;
    begin_watch(true);
    writes("one\ntwo\n");
    asks_to_read(0, 0);
    assert_string_equal(reads(&got), "one\ntwo\n");
    assert_int_equal(got.first, 0);
    assert_int_equal(got.state, DX_CONTROL_LOADED);
    asks_to_read(4, 0);
    assert_string_equal(reads(&got), "two\n");
    assert_int_equal(got.first, 4);
    asks_to_read(DX_CONTROL_NEWEST, 0);
    assert_string_equal(reads(&got), "");
    assert_int_equal(got.first, 8);
    asks_to_read(1000, 0);
    assert_string_equal(reads(&got), "");
    assert_int_equal(got.first, 8);
}

/* What isn't kept any more is skipped, and that can be seen. */
static void test_read_gap(void **state)
{
    struct dx_control_read_reply got;
    (void)state;
    begin_watch(true);
    for (unsigned n = 0; n < 3 * CONSOLE_OUTPUT_SIZE / 16; n++) {
        writes("fifteen letters\n");
    }
    asks_to_read(16, 0);
    const char *text = reads(&got);
    assert_in_range(got.first, 2 * CONSOLE_OUTPUT_SIZE, 2 * CONSOLE_OUTPUT_SIZE + 16);
    assert_int_equal(strlen(text), DX_CONTROL_MESSAGE_MAX - sizeof(*header()) - sizeof(got));
}

static void test_read_waits(void **state)
{
    struct dx_control_read_reply got;
    (void)state;
    begin_watch(true);
    runs();
    asks_to_read(DX_CONTROL_NEWEST, DX_CONTROL_WAIT);
    assert_null(reads(&got));
    passes(10 * HZ);
    assert_null(reads(&got));
    writes("a");
    writes("b"); /* what comes at once is told at once */
    passes(HZ / 1000 + 1);
    works();
    assert_string_equal(reads(&got), "ab");
    /* Another capsule's news is none. */
    asks_to_read(2, DX_CONTROL_WAIT);
    event_report(&core.capsules[2], EVENT_PAUSED, "");
    works();
    assert_null(reads(&got));
    /* Its own end is. */
    atomic_store(&guest()->state, CAPSULE_STOPPED);
    event_report(guest(), EVENT_STOPPED, "");
    passes(2);
    works();
    assert_string_equal(reads(&got), "");
    assert_int_equal(got.state, DX_CONTROL_STOPPED);
    asks_to_read(2, DX_CONTROL_WAIT); /* nothing will come */
    assert_string_equal(reads(&got), "");
}

/* The client sends more: what waits is answered, and then that. */
static void test_read_hurries(void **state)
{
    struct {
        struct dx_control_header head;
        struct dx_control_write write;
        char bytes[2];
    } typed = {{.length = 26, .kind = DX_CONTROL_WRITE, .tag = 5}, {.id = guest()->id}, {'x', 'y'}};
    struct dx_control_read_reply got;
    (void)state;
    begin_watch(true);
    typed.write.id = guest()->id;
    runs();
    asks_to_read(0, DX_CONTROL_WAIT | DX_CONTROL_WATCH);
    assert_int_equal(session_take(&session, (const uint8_t *)&typed, 26), 0);
    works();
    assert_string_equal(reads(&got), "");
    assert_int_equal(session_take(&session, (const uint8_t *)&typed, 26), 26);
    works();
    assert_true(fetch(100) > 0);
    assert_int_equal(header()->kind, DX_CONTROL_WRITE | DX_CONTROL_REPLY);
    assert_int_equal(header()->error, DX_OK);
    assert_int_equal(console_port_get(&guest()->console), 'x');
    assert_int_equal(console_port_get(&guest()->console), 'y');
    asks_to_read(0, DX_CONTROL_WAIT); /* the next one waits again */
    assert_null(reads(&got));
    session_open(&session, false);
    session_open(&session, true);
    works();
    assert_int_equal(fetch(100), 0);
    assert_int_equal(say_hello(), DX_OK);
}

static unsigned notified;

static void on_notify(void *receiver)
{
    (void)receiver;
    notified++;
}

/* Nothing is lost to a client that watches; one that doesn't read holds the guest up for five seconds, or until it
 * goes. */
static void test_watch(void **state)
{
    struct dx_control_read_reply got;
    static const char block[256 + 1] = {[0 ... 255] = 'x'};
    (void)state;
    for (unsigned closes = 0; closes < 2; closes++) {
        begin_watch(true);
        guest()->console.notify = on_notify;
        runs();
        asks_to_read(0, DX_CONTROL_WATCH);
        assert_string_equal(reads(&got), "");
        notified = 0;
        for (unsigned n = 0; n < CONSOLE_OUTPUT_SIZE / 256; n++) {
            assert_int_equal(writes(block), 256);
        }
        assert_int_equal(writes("more"), 0);
        asks_to_read(0, DX_CONTROL_WATCH);
        assert_int_equal(strlen(reads(&got)), DX_CONTROL_MESSAGE_MAX - sizeof(*header()) - sizeof(got));
        assert_int_equal(notified, 1); /* there is room again */
        while (writes(block) == 256) {
        }
        if (closes) {
            session_open(&session, false);
            works();
        } else {
            passes(9 * HZ / 2);
            assert_int_equal(notified, 1);
            passes(HZ / 2 + 2);
        }
        assert_int_equal(notified, 2);
        assert_int_equal(writes(block), 256);
        const uint64_t told = event_last();
        if (!closes) { /* it goes on reading: that is no news */
            asks_to_read(0, DX_CONTROL_WATCH);
            (void)reads(&got);
            assert_int_equal(event_last(), told);
        }
        session_end(&session);
        world_end();
        world_make(HARTS);
    }
}

/* Its memory is given back before any timer has fired: the guest waits for nobody. */
static void test_end(void **state)
{
    static const char block[256 + 1] = {[0 ... 255] = 'x'};
    (void)state;
    begin_watch(true);
    runs();
    asks_to_read(DX_CONTROL_NEWEST, DX_CONTROL_WATCH | DX_CONTROL_WAIT);
    while (writes(block) == 256) {
    }
    session_open(&session, false);
    session_end(&session);
    assert_int_equal(writes(block), 256);
    assert_int_equal(guest()->console.watched_until, 0);
}

static unsigned type(const char *text, uint32_t how)
{
    struct {
        struct dx_control_write write;
        char bytes[DX_CONTROL_BYTES_MAX];
    } message = {{.id = guest()->id, .how = how}, ""};
    memcpy(message.bytes, text, strlen(text));
    return ask(DX_CONTROL_WRITE, &message, sizeof(message.write) + strlen(text));
}

static uint32_t taken(void)
{
    struct dx_control_write_reply answer;
    memcpy(&answer, behind(), sizeof(answer));
    return answer.taken;
}

static void test_write(void **state)
{
    char much[DX_CONTROL_BYTES_MAX + 1] = "";
    (void)state;
    begin_watch(true);
    assert_int_equal(type("x", 0), DX_WRONG_STATE);
    runs();
    assert_int_equal(type("", 0), DX_BAD_VALUE);
    assert_int_equal(type("x", 2), DX_BAD_VALUE);
    assert_int_equal(type("ab", DX_CONTROL_BREAK), DX_OK);
    assert_int_equal(console_port_receive(&guest()->console), CONSOLE_BREAK);
    assert_int_equal(console_port_receive(&guest()->console), 'a');
    memset(much, 'y', DX_CONTROL_BYTES_MAX);
    assert_int_equal(type(much, 0), DX_OK);
    assert_int_equal(taken(), CONSOLE_INPUT_SIZE - 1); /* the b is there still */
    assert_int_equal(type("z", 0), DX_OK);
    assert_int_equal(taken(), 0);
    for (unsigned n = 0; n < CONSOLE_BREAKS_MAX; n++) {
        assert_int_equal(type("", DX_CONTROL_BREAK), DX_OK);
    }
    assert_int_equal(type("", DX_CONTROL_BREAK), DX_TOO_MANY);
}

static void test_log(void **state)
{
    struct dx_control_read message = {.from = DX_CONTROL_NEWEST, .how = DX_CONTROL_WAIT};
    struct dx_control_read_reply got;
    (void)state;
    begin_watch(true);
    sends(DX_CONTROL_READ, &message, sizeof(message));
    assert_null(reads(&got));
    passes(HZ / 10 + 2);
    works();
    assert_null(reads(&got));
    log_info("%s", "seen");
    passes(HZ / 10 + 2);
    works();
    assert_string_equal(reads(&got), "[-] CPU 0: seen\n");
    message.how = DX_CONTROL_WATCH;
    assert_int_equal(ask(DX_CONTROL_READ, &message, sizeof(message)), DX_BAD_VALUE);
}

/* A manager of none but its own finds neither others' consoles, nor the log, nor their events. */
static void test_rights(void **state)
{
    struct dx_control_read read = {.id = 0};
    const struct dx_control_info info = {.id = guest()->id};
    struct dx_control_events_reply events = {0};
    const struct dx_control_events all = {.after = event_last()};
    (void)state;
    begin_watch(false);
    runs();
    assert_int_equal(ask(DX_CONTROL_READ, &read, sizeof(read)), DX_DENIED);
    read.id = guest()->id;
    assert_int_equal(ask(DX_CONTROL_READ, &read, sizeof(read)), DX_NOT_FOUND);
    assert_int_equal(ask(DX_CONTROL_INFO, &info, sizeof(info)), DX_NOT_FOUND);
    assert_int_equal(type("x", 0), DX_NOT_FOUND);
    read = (struct dx_control_read){.id = core.capsules[0].id};
    assert_int_equal(ask(DX_CONTROL_READ, &read, sizeof(read)), DX_OK);
    read.how = DX_CONTROL_WAIT; /* it would write what it reads */
    assert_int_equal(ask(DX_CONTROL_READ, &read, sizeof(read)), DX_DENIED);
    event_report(guest(), EVENT_STOPPED, "");
    core.capsules[2].config.origin.creator = core.capsules[0].id;
    event_report(&core.capsules[2], EVENT_CRASHED, "its own");
    assert_int_equal(ask(DX_CONTROL_EVENTS, &all, sizeof(all)), DX_OK);
    memcpy(&events, behind(), sizeof(events));
    assert_int_equal(events.count, 1);
    assert_int_equal(events.last, event_last());
}

static void test_info(void **state)
{
    struct dx_control_info message = {.id = guest()->id};
    struct dx_control_info_reply got;
    (void)state;
    begin_watch(true);
    message.id = guest()->id;
    guest()->config.bootargs = "console=ttyS0";
    guest()->config.weight = 7;
    capsule_vcpu(guest(), 0)->exits[EXIT_TIMER] = 3;
    capsule_vcpu(guest(), 0)->exits[CAUSE_LOAD_ACCESS] = 4;
    capsule_vcpu(guest(), 0)->exits[CAUSE_LOAD_GUEST_PAGE] = 5;
    writes("hello");
    assert_int_equal(ask(DX_CONTROL_INFO, &message, sizeof(message)), DX_OK);
    memcpy(&got, behind(), sizeof(got));
    assert_string_equal(got.row.name, "guest1");
    assert_int_equal(got.weight, 7);
    assert_int_equal(got.console_out, 5);
    assert_int_equal(got.causes, 2);
    assert_string_equal(got.exits[0].name, "device read");
    assert_int_equal(got.exits[0].count, 9);
    assert_string_equal(got.exits[1].name, "timer");
    assert_int_equal(header()->length, sizeof(*header()) + sizeof(got) + strlen("console=ttyS0"));
    assert_memory_equal((const uint8_t *)behind() + sizeof(got), "console=ttyS0", strlen("console=ttyS0"));
    message.reserved = 1;
    assert_int_equal(ask(DX_CONTROL_INFO, &message, sizeof(message)), DX_BAD_VALUE);
}

static struct dx_control_events_reply events_of(struct dx_control_event *first)
{
    struct dx_control_events_reply got;
    memcpy(&got, behind(), sizeof(got));
    memcpy(first, (const uint8_t *)behind() + sizeof(got), sizeof(*first));
    assert_int_equal(header()->length, sizeof(*header()) + sizeof(got) + got.count * sizeof(*first));
    return got;
}

static void test_events(void **state)
{
    struct dx_control_events message = {.after = DX_CONTROL_NEWEST, .how = DX_CONTROL_WAIT};
    struct dx_control_event event;
    (void)state;
    begin_watch(true);
    sends(DX_CONTROL_EVENTS, &message, sizeof(message));
    passes(HZ);
    assert_int_equal(fetch(sizeof(reply)), 0);
    event_report(guest(), EVENT_CRASHED, "why");
    passes(2);
    works();
    assert_true(fetch(sizeof(reply)) > 0);
    struct dx_control_events_reply got = events_of(&event);
    assert_int_equal(got.count, 1);
    assert_int_equal(event.kind, DX_CONTROL_EVENT_CRASHED);
    assert_int_equal(event.id, guest()->id);
    assert_string_equal(event.name, "guest1");
    assert_string_equal(event.text, "why");
    assert_int_equal(event.number, event_last());
    for (unsigned n = 0; n < EVENTS_KEPT + 5; n++) { /* the oldest are gone; in as many replies as it takes */
        event_report(guest(), EVENT_PAUSED, "");
    }
    unsigned seen = 0;
    message = (struct dx_control_events){.after = got.last};
    do {
        assert_int_equal(ask(DX_CONTROL_EVENTS, &message, sizeof(message)), DX_OK);
        got = events_of(&event);
        assert_true(got.count == 0 || event.number > message.after);
        seen += got.count;
        message.after = got.last;
    } while (got.count != 0);
    assert_int_equal(seen, EVENTS_KEPT);
    message.reserved = 1;
    assert_int_equal(ask(DX_CONTROL_EVENTS, &message, sizeof(message)), DX_BAD_VALUE);
}

/* News that comes while the message is served is not missed: an end that comes before the wait begins. */
static void test_news_meanwhile(void **state)
{
    struct dx_control_read_reply got;
    (void)state;
    begin_watch(true);
    runs();
    session.woken = false;
    asks_to_read(0, DX_CONTROL_WAIT);
    assert_true(session.waiting);
    session.news.timer.fire(&session.news.timer); /* nothing new: it waits again */
    works();
    assert_null(reads(&got));
    assert_true(session.waiting);
    session_open(&session, false); /* it is nobody's any more */
    works();
    assert_false(session.working);
    session_end(&session);
}

static int ends(void **state)
{
    session_open(&session, false);
    works();
    session_end(&session);
    return teardown(state);
}

#define WATCH_TEST(test) cmocka_unit_test_setup_teardown(test, setup, ends)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WATCH_TEST(test_read),         WATCH_TEST(test_read_gap),       WATCH_TEST(test_read_waits),
        WATCH_TEST(test_read_hurries), WATCH_TEST(test_watch),          WATCH_TEST(test_write),
        WATCH_TEST(test_log),          WATCH_TEST(test_rights),         WATCH_TEST(test_info),
        WATCH_TEST(test_events),       WATCH_TEST(test_news_meanwhile), WATCH_TEST(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
