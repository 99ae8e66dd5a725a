/* SPDX-License-Identifier: MIT
 *
 * The console device's ports with names: how a driver learns of them, and what is sent through them.
 */
#include "console_driver.h"

enum { QUEUES_SET = 10 }; /* of the console, the control queues, and ports 1 to 3 */

static struct virtio_port named[VIRTIO_PORTS_MAX];
static struct {
    char got[2000];
    size_t got_length, takes_most, takes_more;
    const char *gives;
    unsigned opened, closed;
} ends[VIRTIO_PORTS_MAX];

static size_t take(struct virtio_port *port, const uint8_t *bytes, size_t length)
{
    const size_t n = (size_t)(port - named);
    const size_t taken = MIN(length, ends[n].takes_most - ends[n].got_length);
    assert_int_equal(port->index, n);
    memcpy(ends[n].got + ends[n].got_length, bytes, taken);
    ends[n].got_length += taken;
    return taken;
}

/* takes_more: when all of it has been fetched. */
static size_t give(struct virtio_port *port, uint8_t *bytes, size_t room)
{
    const char **text = &ends[port->index].gives;
    const size_t given = MIN(room, strlen(*text));
    memcpy(bytes, *text, given);
    *text += given;
    ends[port->index].takes_most += given != 0 && **text == '\0' ? ends[port->index].takes_more : 0;
    return given;
}

static void opened(struct virtio_port *port, bool open)
{
    ends[port->index].opened += open ? 1 : 0;
    ends[port->index].closed += open ? 0 : 1;
}

static const struct virtio_port_ops ops = {.take = take, .give = give, .opened = opened};

static void make(struct console_port *port)
{
    static const char *const names[VIRTIO_PORTS_MAX] = {"org.diosix.control.0", "b", "c", "d", "e", "f", "g", "h"};
    memset(ends, 0, sizeof(ends));
    for (unsigned n = 0; n < VIRTIO_PORTS_MAX; n++) {
        named[n] = (struct virtio_port){.name = names[n], .ops = &ops};
        ends[n].takes_most = sizeof(ends[n].got);
        ends[n].gives = "";
    }
    driven = &console.virtio;
    static uint8_t step[VIRTIO_PORT_STEP];
    virtio_console_init(&console, (gpa_t){DEVICE_BASE}, &world, line(), port, named, step);
}

static int setup(void **state)
{
    (void)state;
    world_make();
    make(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_free();
    return 0;
}

/* Gives so many buffers for messages. */
static void give_rooms(unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        give_buffer(TO_DRIVER, n % SIZE, ROOM + 0x100 + 64 * (uint64_t)(n % SIZE), 64, WRITE);
    }
}

static void assert_message(unsigned index, unsigned port, unsigned event, const char *name)
{
    const uint64_t place = ROOM + 0x100 + 64 * (uint64_t)(index % SIZE);
    assert_int_equal(given_length(TO_DRIVER, index), 8 + strlen(name));
    assert_int_equal(get(place, 4), port);
    assert_int_equal(get(place + 4, 2), event);
    assert_int_equal(get(place + 6, 2), 1);
    for (unsigned n = 0; name[n] != '\0'; n++) {
        assert_int_equal(get(place + 8 + n, 1), name[n]);
    }
}

static void open_ports(void)
{
    begin_with(MULTIPORT, QUEUES_SET);
    give_rooms(SIZE);
    say(0, DEVICE_READY, 1);
    say(1, PORT_READY, 1);
    say(1, PORT_OPEN, 1);
}

static void test_conversation(void **state)
{
    (void)state;
    assert_int_equal(read_register(CONFIG + 4), 1 + VIRTIO_PORTS_MAX);
    begin_with(MULTIPORT, QUEUES_SET);
    give_rooms(SIZE);
    say(0, DEVICE_READY, 1);
    assert_int_equal(given(TO_DRIVER), VIRTIO_PORTS_MAX); /* there is no port 0 */
    for (unsigned n = 0; n < VIRTIO_PORTS_MAX; n++) {
        assert_message(n, n + 1, PORT_ADD, "");
    }
    say(2, PORT_READY, 1);
    say(1, PORT_READY, 1);
    assert_int_equal(given(TO_DRIVER), VIRTIO_PORTS_MAX + 4);
    assert_message(8, 2, PORT_NAME, "b");
    assert_message(9, 2, PORT_OPEN, "");
    assert_message(10, 1, PORT_NAME, "org.diosix.control.0");
    assert_message(11, 1, PORT_OPEN, "");
    say(2, PORT_OPEN, 1);
    say(2, PORT_OPEN, 1);
    assert_int_equal(ends[1].opened, 1);
    say(2, PORT_OPEN, 0);
    say(2, PORT_OPEN, 0);
    assert_int_equal(ends[1].closed, 1);
    say(0, PORT_OPEN, 1); /* none of these is there */
    say(9, PORT_OPEN, 1);
    say(UINT32_MAX, PORT_READY, 1);
    say(3, PORT_READY, 0);
    assert_int_equal(given(TO_DRIVER), VIRTIO_PORTS_MAX + 4);
    say(3, PORT_OPEN, 1);
    write_register(STATUS, 0);
    assert_int_equal(ends[2].closed, 1);
    assert_int_equal(ends[1].closed, 1);
}

/* Beside a console, whose messages come first. */
static void test_beside_console(void **state)
{
    static struct console_port port;
    (void)state;
    console_port_init(&port, "guest");
    make(&port);
    begin_with(MULTIPORT, QUEUES_SET);
    give_rooms(SIZE);
    say(0, DEVICE_READY, 1);
    assert_int_equal(given(TO_DRIVER), 1 + VIRTIO_PORTS_MAX);
    assert_message(0, 0, PORT_ADD, "");
    assert_message(1, 1, PORT_ADD, "");
    say(0, PORT_OPEN, 1);
    assert_true(atomic_load(&port.claimed));
    assert_int_equal(ends[0].opened, 0);
}

/* Messages that found no buffer wait; a buffer that is too small for a name breaks a rule. */
static void test_messages_wait(void **state)
{
    (void)state;
    begin_with(MULTIPORT, QUEUES_SET);
    say(0, DEVICE_READY, 1);
    say(1, PORT_READY, 1);
    for (unsigned n = 0; n < 3; n++) {
        give_buffer(TO_DRIVER, n, ROOM + 0x100 + 64 * (uint64_t)n, 64, WRITE);
        assert_int_equal(given(TO_DRIVER), n + 1);
    }
    assert_message(0, 1, PORT_ADD, "");
    assert_message(1, 1, PORT_NAME, "org.diosix.control.0");
    assert_message(2, 1, PORT_OPEN, "");
    say(2, PORT_READY, 1);
    for (unsigned n = 3; n < 5; n++) {
        give_buffer(TO_DRIVER, n, ROOM + 0x100 + 64 * (uint64_t)n, 8, WRITE);
    }
    assert_true(needs_reset());
}

static void test_output(void **state)
{
    (void)state;
    open_ports();
    for (unsigned n = 0; n < 600; n++) {
        put(DATA + n, 'a' + n % 26, 1);
    }
    ends[0].takes_most = 300; /* then it has no room */
    give_buffer(5, 0, DATA, 600, 0);
    assert_int_equal(ends[0].got_length, 300);
    assert_int_equal(given(5), 0);
    give_buffer(5, 1, DATA, 26, 0);
    assert_int_equal(given(5), 0);
    ends[0].takes_most = 400;
    (void)virtio_ports_go_on(&console, &named[0]);
    assert_int_equal(ends[0].got_length, 400);
    ends[0].takes_most = sizeof(ends[0].got);
    (void)virtio_ports_go_on(&console, &named[0]);
    assert_int_equal(given(5), 2);
    assert_int_equal(ends[0].got_length, 626);
    for (unsigned n = 0; n < 600; n++) {
        assert_int_equal(ends[0].got[n], 'a' + n % 26);
    }
    assert_int_equal(ends[0].got[600], 'a');
    give_buffer(7, 0, DATA, 600, 0); /* nobody has port 2 open: nobody hears it */
    assert_int_equal(given(7), 1);
    assert_int_equal(ends[1].got_length, 0);
}

/* The driver shortens a chain of which some was taken, or reset the device meanwhile. */
static void test_output_changes(void **state)
{
    (void)state;
    open_ports();
    ends[0].takes_most = 300;
    give_buffer(5, 0, DATA, 600, 0);
    describe_at(RINGS(5), 0, DATA, 10, 0, 0);
    ends[0].takes_most = sizeof(ends[0].got);
    (void)virtio_ports_go_on(&console, &named[0]);
    assert_int_equal(given(5), 1);
    assert_int_equal(ends[0].got_length, 300);
    ends[0].takes_most = 310;
    give_buffer(5, 1, DATA, 600, 0);
    assert_int_equal(ends[0].got_length, 310);
    open_ports();
    ends[0].takes_most = sizeof(ends[0].got);
    give_buffer(5, 0, DATA, 600, 0); /* from its first byte on */
    assert_int_equal(ends[0].got_length, 910);
    assert_int_equal(ends[0].closed, 1);
}

static void test_input(void **state)
{
    (void)state;
    open_ports();
    give_buffer(4, 0, DATA + 0x1e, 3, WRITE); /* across the edge */
    assert_int_equal(given(4), 0);
    ends[0].gives = "reply";
    (void)virtio_ports_go_on(&console, &named[0]);
    assert_int_equal(given_length(4, 0), 3);
    assert_int_equal(get(DATA + 0x1e, 3), 'r' | 'e' << 8 | 'p' << 16);
    assert_true(level);
    give_buffer(4, 1, DATA, 10, WRITE);
    assert_int_equal(given_length(4, 1), 2);
    ends[1].gives = "for nobody";
    give_buffer(6, 0, DATA, 10, WRITE);
    (void)virtio_ports_go_on(&console, &named[1]);
    assert_int_equal(given(6), 0);
}

/* What somebody had sent, or sent in part, when he closed the port, is not heard as the next one's. */
static void test_closed(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        open_ports();
        ends[0].got_length = 0;
        ends[0].takes_most = 10 * first;
        for (unsigned n = 0; n < SIZE; n++) {
            give_buffer(5, n, DATA, 20, 0);
        }
        assert_int_equal(given(5), 0);
        say(1, PORT_OPEN, 0);
        assert_int_equal(given(5), SIZE); /* so that there is room for the next one */
        assert_int_equal(ends[0].got_length, 10 * first);
        ends[0].takes_most = sizeof(ends[0].got);
        say(1, PORT_OPEN, 1);
        (void)virtio_ports_go_on(&console, &named[0]);
        assert_int_equal(ends[0].got_length, 10 * first);
        give_buffer(5, 0, DATA, 20, 0);
        assert_int_equal(ends[0].got_length, 10 * first + 20);
    }
}

/* The driver is asked to notify of the next chain, though none was found missing. */
static void test_closed_with_event_index(void **state)
{
    (void)state;
    begin_with(MULTIPORT | VIRTIO_F_EVENT_IDX, QUEUES_SET);
    give_rooms(SIZE);
    say(0, DEVICE_READY, 1);
    say(1, PORT_OPEN, 1);
    ends[0].takes_most = 0;
    for (unsigned n = 0; n < SIZE; n++) {
        give_buffer(5, n, DATA, 20, 0);
    }
    say(1, PORT_OPEN, 0);
    assert_int_equal(get(GIVEN(5) + 4 + 8 * SIZE, 2), SIZE);
}

/* Chains of many segments: a part at a time, and none is forgotten. */
static void test_closed_with_long_chains(void **state)
{
    (void)state;
    open_ports();
    ends[0].takes_most = 0;
    for (unsigned n = 0; n < SIZE; n++) {
        describe_at(RINGS(5), n, DATA, 1, n + 1 < SIZE ? NEXT : 0, (uint16_t)(n + 1));
    }
    for (unsigned n = 0; n < SIZE; n++) {
        put(AVAIL(5) + 4 + 2 * n, 0, 2);
    }
    put(AVAIL(5) + 2, SIZE, 2);
    write_register(QUEUE_NOTIFY, 5);
    put(ROOM, 1, 4);
    put(ROOM + 4, PORT_OPEN, 2);
    put(ROOM + 6, 0, 2);
    assert_true(give_buffer(FROM_DRIVER, 0, ROOM, 8, 0) > 3);
    assert_int_equal(given(5), SIZE);
    assert_false(needs_reset());
}

/* What is sent before the last reply has been fetched is heard when it is, though nobody notifies of it again. */
static void test_next_waits_for_reply(void **state)
{
    (void)state;
    open_ports();
    ends[0].takes_most = 20;
    ends[0].takes_more = 20;
    give_buffer(5, 0, DATA, 20, 0);
    give_buffer(5, 1, DATA, 20, 0);
    ends[0].gives = "reply";
    assert_false(virtio_ports_go_on(&console, &named[0])); /* there is no buffer for it */
    assert_int_equal(given(5), 1);
    give_buffer(4, 0, DATA + 0x20, 10, WRITE);
    assert_int_equal(given(4), 1);
    assert_int_equal(given(5), 2);
    assert_int_equal(ends[0].got_length, 40);
}

/* A driver that doesn't know of ports: the other queues aren't there. */
static void test_without_multiport(void **state)
{
    (void)state;
    begin_with(0, 2);
    give_buffer(INPUT, 0, DATA, 10, WRITE);
    give_buffer(OUTPUT, 0, DATA, 10, 0);
    write_register(QUEUE_NOTIFY, 4);
    write_register(QUEUE_NOTIFY, 5);
    (void)virtio_ports_go_on(&console, &named[0]);
    assert_int_equal(given(OUTPUT), 0);
    assert_false(needs_reset());
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_conversation),
        TEST(test_beside_console),
        TEST(test_messages_wait),
        TEST(test_output),
        TEST(test_output_changes),
        TEST(test_input),
        TEST(test_without_multiport),
        TEST(test_next_waits_for_reply),
        TEST(test_closed),
        TEST(test_closed_with_event_index),
        TEST(test_closed_with_long_chains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
