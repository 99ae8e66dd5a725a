/* SPDX-License-Identifier: MIT
 *
 * The console device: bytes in order and none lost, whatever the sizes of buffers; what waits goes on when the port has
 * news; the control queue's conversation; and input that goes to the UART until the port is open.
 */
#include "console_driver.h"

static struct console_port port;
static unsigned pumped;

static void count_pump(struct console_port *any, bool output)
{
    (void)any;
    pumped += output ? 1 : 0;
}

static void on_news(void *receiver)
{
    (void)receiver;
    virtio_console_notify(&console);
}

static void begin(uint64_t features)
{
    begin_with(features, (features & MULTIPORT) != 0 ? 4 : 2);
}

static void assert_message(unsigned index, unsigned event)
{
    const uint64_t place = ROOM + 0x100 + 16 * (uint64_t)index;
    assert_int_equal(given_length(TO_DRIVER, index), 8);
    assert_int_equal(get(place, 4), 0);
    assert_int_equal(get(place + 4, 2), event);
    assert_int_equal(get(place + 6, 2), 1);
}

static void open_port(void)
{
    begin(MULTIPORT);
    for (unsigned n = 0; n < 4; n++) {
        give_buffer(TO_DRIVER, n, ROOM + 0x100 + 16 * (uint64_t)n, 16, WRITE);
    }
    say(0, DEVICE_READY, 1);
    say(0, PORT_READY, 1);
    say(0, PORT_OPEN, 1);
}

/* Output in buffers of a page. */
static void send_pages(unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        give_buffer(OUTPUT, n, ROOM + 0x1000, 0x1000, 0);
    }
}

static int setup(void **state)
{
    (void)state;
    world_make();
    console_port_init(&port, "guest");
    port.notify = on_news;
    port.pump = count_pump;
    pumped = 0;
    driven = &console.virtio;
    virtio_console_init(&console, (gpa_t){DEVICE_BASE}, &world, line(), &port, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_free();
    return 0;
}

static void type(const char *text)
{
    for (; *text != '\0'; text++) {
        assert_true(console_port_feed(&port, (uint8_t)*text));
    }
    console_port_notify(&port);
}

static void test_conversation(void **state)
{
    (void)state;
    assert_int_equal(read_register(DEVICE_ID), 3);
    assert_int_equal(read_register(CONFIG + 4), 1);
    assert_int_equal(read_register(CONFIG), 0);
    open_port();
    assert_int_equal(given(TO_DRIVER), 3);
    assert_message(0, PORT_ADD);
    assert_message(1, CONSOLE_PORT);
    assert_message(2, PORT_OPEN);
    assert_int_equal(given(FROM_DRIVER), 3);
    assert_true(level);
    assert_true(atomic_load(&port.claimed));
    say(0, PORT_OPEN, 0);
    assert_false(atomic_load(&port.claimed));
    say(7, PORT_OPEN, 1); /* no such port, no such event, a port that says it is not ready */
    say(0, 99, 1);
    say(0, PORT_READY, 0);
    assert_false(atomic_load(&port.claimed));
    assert_int_equal(given(TO_DRIVER), 3);
    assert_false(needs_reset());
}

/* Messages that found no buffer are there when one is. */
static void test_messages_wait(void **state)
{
    (void)state;
    begin(MULTIPORT);
    say(0, DEVICE_READY, 1);
    say(0, PORT_READY, 1);
    assert_int_equal(given(TO_DRIVER), 0);
    for (unsigned n = 0; n < 3; n++) {
        give_buffer(TO_DRIVER, n, ROOM + 0x100 + 16 * (uint64_t)n, 16, WRITE);
        assert_int_equal(given(TO_DRIVER), n + 1);
    }
    assert_message(0, PORT_ADD);
    assert_message(2, PORT_OPEN);
}

static void test_input(void **state)
{
    (void)state;
    open_port();
    type("early"); /* no buffer yet */
    give_buffer(INPUT, 0, DATA, 3, WRITE);
    assert_int_equal(given(INPUT), 1);
    assert_int_equal(given_length(INPUT, 0), 3);
    assert_int_equal(get(DATA, 3), 'e' | 'a' << 8 | 'r' << 16);
    give_buffer(INPUT, 1, DATA + 0x1e, 10, WRITE); /* across the edge */
    assert_int_equal(given_length(INPUT, 1), 2);
    assert_int_equal(get(DATA + 0x1e, 2), 'l' | 'y' << 8);
    give_buffer(INPUT, 2, DATA + 0x1e, 10, WRITE);
    assert_int_equal(given(INPUT), 2); /* nothing came: it waits */
    write_register(INTERRUPT_ACK, 3);
    type("xyz");
    assert_int_equal(given_length(INPUT, 2), 3);
    assert_int_equal(get(DATA + 0x1e, 3), 'x' | 'y' << 8 | 'z' << 16);
    assert_true(level);
    assert_true(console_port_feed_break(&port));
    type("s");
    give_buffer(INPUT, 3, DATA, 10, WRITE);
    assert_int_equal(get(DATA, 2), VIRTIO_CONSOLE_SYSRQ | 's' << 8);
}

/* Until the port is open its input is the UART's; so it is when the device was reset. */
static void test_input_goes_to_the_uart_until_then(void **state)
{
    (void)state;
    begin(MULTIPORT);
    give_buffer(INPUT, 0, DATA, 10, WRITE);
    type("a");
    assert_int_equal(given(INPUT), 0);
    assert_false(atomic_load(&port.claimed));
    assert_int_equal(console_port_get(&port), 'a');
    type("b");
    for (unsigned n = 0; n < 2; n++) {
        give_buffer(TO_DRIVER, n, ROOM + 0x100 + 16 * (uint64_t)n, 16, WRITE);
    }
    say(0, PORT_OPEN, 1);
    assert_int_equal(given_length(INPUT, 0), 1); /* what waited comes at once */
    write_register(STATUS, 0);
    assert_false(atomic_load(&port.claimed));
    type("c");
    assert_int_equal(console_port_get(&port), 'c');
}

/* Without the feature a driver can't say that it listens: it does, once it gives a buffer. */
static void test_one_port_only(void **state)
{
    (void)state;
    begin(0);
    assert_false(atomic_load(&port.claimed));
    give_buffer(INPUT, 0, DATA, 10, WRITE);
    assert_true(atomic_load(&port.claimed));
    type("a");
    assert_int_equal(given_length(INPUT, 0), 1);
    write_register(QUEUE_NOTIFY, FROM_DRIVER);
    write_register(QUEUE_NOTIFY, 99);
    assert_false(needs_reset());
}

static void test_output(void **state)
{
    (void)state;
    uint8_t bytes[1000], out[1000];
    open_port();
    for (unsigned n = 0; n < sizeof(bytes); n++) {
        bytes[n] = (uint8_t)(n * 7);
    }
    put_bytes(DATA, bytes, sizeof(bytes));
    assert_int_equal(give_buffer(OUTPUT, 0, DATA, sizeof(bytes), 0), 5); /* in steps; the last finds none */
    assert_int_equal(given(OUTPUT), 1);
    assert_int_equal(given_length(OUTPUT, 0), 0);
    assert_int_equal(console_port_drain(&port, out, sizeof(out)), sizeof(bytes));
    assert_memory_equal(out, bytes, sizeof(bytes));
}

/* A shown port that is full: the chain waits, the vCPU doesn't, and each drain moves it on, to the last byte. */
static void test_full(void **state)
{
    (void)state;
    static uint8_t all[CONSOLE_OUTPUT_SIZE + 0x1000];
    size_t drained = 0;
    open_port();
    console_port_show(&port, true);
    for (unsigned n = 0; n < 0x1000; n++) {
        put(ROOM + 0x1000 + n, (uint8_t)(n ^ n >> 8), 1);
    }
    send_pages(3);
    assert_int_equal(given(OUTPUT), 2);
    assert_true(console_port_refused(&port));
    for (unsigned turns = 0; given(OUTPUT) < 3; turns++) {
        assert_true(turns < 1000);
        drained += console_port_drain(&port, all + drained, 64);
        if (console_port_refused(&port)) {
            console_port_notify(&port);
        }
    }
    drained += console_port_drain(&port, all + drained, sizeof(all) - drained);
    assert_int_equal(drained, 3 * 0x1000);
    for (unsigned n = 0; n < drained; n++) {
        assert_int_equal(all[n], (uint8_t)(n % 0x1000 ^ n % 0x1000 >> 8));
    }
    assert_true(pumped > 0);
}

/* What waited for room goes on when nobody looks any more. */
static void test_hidden_while_it_waits(void **state)
{
    (void)state;
    open_port();
    console_port_show(&port, true);
    send_pages(5);
    assert_int_equal(given(OUTPUT), 2);
    console_port_show(&port, false);
    console_port_notify(&port);
    assert_int_equal(given(OUTPUT), 3); /* 4 KiB at once */
    for (unsigned turns = 0; atomic_exchange(&port.again, false); turns++) {
        assert_true(turns < 3);
        console_port_notify(&port);
    }
    assert_int_equal(given(OUTPUT), 5);
}

static void test_reset_while_it_waits(void **state)
{
    (void)state;
    open_port();
    console_port_show(&port, true);
    send_pages(3);
    write_register(STATUS, 0);
    uint8_t out[64];
    console_port_drain(&port, out, sizeof(out));
    console_port_notify(&port); /* nothing is ready */
    assert_int_equal(given(OUTPUT), 2);
    open_port();
    assert_int_equal(given(OUTPUT), 0);
    assert_false(console.sending);
}

/* A rule that is broken on one queue ends the work on another one too. */
static void test_broken_on_the_way(void **state)
{
    (void)state;
    begin(MULTIPORT);
    give_buffer(TO_DRIVER, 0, ROOM + 0x100, 4, WRITE); /* too short for a message: found when there is one */
    give_buffer(TO_DRIVER, 1, ROOM + 0x110, 16, WRITE);
    give_buffer(INPUT, 0, DATA, 10, WRITE);
    type("x");
    put(ROOM, 0, 4);
    put(ROOM + 4, PORT_OPEN | 1 << 16, 4);
    put(ROOM + 8, 0, 4);
    put(ROOM + 12, DEVICE_READY | 1 << 16, 4);
    describe_at(RINGS(FROM_DRIVER), 1, ROOM, 8, 0, 0);
    put(AVAIL(FROM_DRIVER) + 4, 1, 2);
    put(AVAIL(FROM_DRIVER) + 2, 1, 2); /* waits for the notification of the next */
    describe_at(RINGS(FROM_DRIVER), 0, ROOM + 8, 8, 0, 0);
    put(AVAIL(FROM_DRIVER) + 6, 0, 2);
    put(AVAIL(FROM_DRIVER) + 2, 2, 2);
    write_register(QUEUE_NOTIFY, FROM_DRIVER);
    assert_true(needs_reset());
    assert_int_equal(given(TO_DRIVER), 0);
    assert_int_equal(given(INPUT), 0);
    assert_int_equal(get(DATA, 1), 0);
}

/* A driver with buffers of a byte gets all of it too, in several goes. */
static void test_small_buffers(void **state)
{
    (void)state;
    open_port();
    for (unsigned n = 0; n < SIZE; n++) {
        give_buffer(INPUT, n, DATA + n, 1, WRITE);
    }
    type("0123456789abc");
    assert_int_equal(given(INPUT), 8);
    assert_true(atomic_exchange(&port.again, false));
    console_port_notify(&port);
    assert_int_equal(given(INPUT), 13);
    assert_false(atomic_load(&port.again));
    assert_int_equal(get(DATA + 11, 2), 'b' | 'c' << 8);
}

/* The capsule has stopped: whoever types then reaches no byte of its RAM. */
static void test_stopped(void **state)
{
    (void)state;
    open_port();
    give_buffer(INPUT, 0, DATA, 10, WRITE);
    virtio_device_reset(&console.virtio);
    type("x");
    assert_int_equal(given(INPUT), 0);
    assert_int_equal(get(DATA, 1), 0);
    assert_false(atomic_load(&port.claimed));
}

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        unsigned queue;
        uint32_t length;
        unsigned flags;
    } rows[] = {
        {INPUT, 10, 0},        {OUTPUT, 10, WRITE},     {TO_DRIVER, 8, 0},
        {TO_DRIVER, 7, WRITE}, {FROM_DRIVER, 8, WRITE}, {FROM_DRIVER, 7, 0},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        begin(MULTIPORT);
        say(0, DEVICE_READY, 1); /* so that there is something to tell */
        say(0, PORT_OPEN, 1);
        type("x");
        give_buffer(rows[n].queue, 1, DATA, rows[n].length, rows[n].flags);
        assert_true(needs_reset());
        type("y"); /* until then nothing happens */
        assert_int_equal(given(INPUT), 0);
        console_port_reset(&port);
    }
    open_port();
    assert_false(needs_reset());
}

#define CONSOLE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSOLE_TEST(test_conversation),
        CONSOLE_TEST(test_messages_wait),
        CONSOLE_TEST(test_input),
        CONSOLE_TEST(test_input_goes_to_the_uart_until_then),
        CONSOLE_TEST(test_one_port_only),
        CONSOLE_TEST(test_output),
        CONSOLE_TEST(test_full),
        CONSOLE_TEST(test_hidden_while_it_waits),
        CONSOLE_TEST(test_reset_while_it_waits),
        CONSOLE_TEST(test_broken_on_the_way),
        CONSOLE_TEST(test_small_buffers),
        CONSOLE_TEST(test_stopped),
        CONSOLE_TEST(test_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
