/* SPDX-License-Identifier: MIT
 *
 * Console ports: bytes keep their order and none is lost or doubled, refusals are remembered and told once, and no
 * callback runs under the port's lock.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "core/console.h"
#include "support.h"

static struct console_port port;
static unsigned notified;
static unsigned pumped_output;
static unsigned pumped_input;

static bool lock_held(void)
{
    return port.lock.next != port.lock.serving;
}

static void on_notify(void *receiver)
{
    assert_ptr_equal(receiver, &notified);
    assert_false(lock_held());
    notified++;
}

static void on_pump(struct console_port *pumped, bool output)
{
    assert_ptr_equal(pumped, &port);
    assert_false(lock_held());
    if (output) {
        pumped_output++;
    } else {
        pumped_input++;
    }
}

static int setup(void **state)
{
    (void)state;
    memset(&port, 0xa5, sizeof(port));
    console_port_init(&port, "debian");
    port.notify = on_notify;
    port.receiver = &notified;
    port.pump = on_pump;
    notified = 0;
    pumped_output = 0;
    pumped_input = 0;
    return 0;
}

static void fill_output(void)
{
    uint8_t bytes[CONSOLE_RING_SIZE];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_int_equal(console_port_write(&port, bytes, sizeof(bytes)), sizeof(bytes));
}

static void test_init(void **state)
{
    (void)state;
    assert_string_equal(port.label, "debian");
    assert_false(console_port_has_input(&port));
    assert_true(console_port_has_room(&port));
    console_port_init(&port, "a label that is longer than the thirty-one bytes it may have");
    assert_int_equal(strlen(port.label), sizeof(port.label) - 1);
    assert_null(port.notify);
}

static void test_ring_wraps(void **state)
{
    static struct byte_ring ring;
    uint8_t byte = 0;

    (void)state;
    /* the counters wrap at 2^32, the positions at the ring's size */
    ring.head = ring.tail = UINT32_MAX - 5;
    for (unsigned round = 0; round < 3; round++) {
        assert_false(byte_ring_take(&ring, &byte));
        for (unsigned i = 0; i < CONSOLE_RING_SIZE; i++) {
            assert_int_equal(byte_ring_used(&ring), i);
            assert_true(byte_ring_put(&ring, (uint8_t)(i * 7 + round)));
        }
        assert_int_equal(byte_ring_room(&ring), 0);
        assert_false(byte_ring_put(&ring, 1));
        for (unsigned i = 0; i < CONSOLE_RING_SIZE; i++) {
            assert_true(byte_ring_take(&ring, &byte));
            assert_int_equal(byte, (uint8_t)(i * 7 + round));
        }
    }
}

static void test_output_in_order(void **state)
{
    static uint8_t out[CONSOLE_RING_SIZE + 1];

    (void)state;
    fill_output();
    assert_int_equal(pumped_output, 1); /* once a write, not once a byte */
    assert_int_equal(console_port_drain(&port, out, 10), 10);
    assert_int_equal(console_port_drain(&port, out + 10, sizeof(out) - 10), CONSOLE_RING_SIZE - 10);
    for (size_t i = 0; i < CONSOLE_RING_SIZE; i++) {
        assert_int_equal(out[i], (uint8_t)i);
    }
    assert_int_equal(console_port_drain(&port, out, sizeof(out)), 0);
}

static void test_partial_write(void **state)
{
    uint8_t byte;

    (void)state;
    fill_output();
    assert_int_equal(console_port_drain(&port, &byte, 1), 1);
    assert_false(port.output_was_full);
    assert_int_equal(console_port_write(&port, (const uint8_t *)"xyz", 3), 1);
    assert_true(port.output_was_full);
    assert_int_equal(console_port_write(&port, (const uint8_t *)"yz", 2), 0);
    assert_int_equal(pumped_output, 2); /* not for a write that moved nothing */
    assert_int_equal(console_port_write(&port, (const uint8_t *)"", 0), 0);
}

static void test_refused_writer_is_told_once(void **state)
{
    uint8_t byte;

    (void)state;
    fill_output();
    assert_false(console_port_put(&port, 'x'));
    console_port_notify(&port);
    assert_int_equal(notified, 0); /* no room yet: nothing to tell, and the refusal isn't forgotten */
    assert_int_equal(console_port_drain(&port, &byte, 1), 1);
    console_port_notify(&port);
    assert_int_equal(notified, 1);
    console_port_notify(&port);
    assert_int_equal(notified, 1);
}

static void test_has_room_remembers(void **state)
{
    uint8_t byte;

    (void)state;
    fill_output();
    assert_false(console_port_has_room(&port));
    assert_int_equal(console_port_drain(&port, &byte, 1), 1);
    assert_true(console_port_has_room(&port));
    console_port_notify(&port);
    assert_int_equal(notified, 1);
}

static void test_nobody_refused_nobody_told(void **state)
{
    uint8_t byte;

    (void)state;
    assert_true(console_port_put(&port, 'x'));
    assert_int_equal(console_port_drain(&port, &byte, 1), 1);
    assert_int_equal(byte, 'x');
    console_port_notify(&port);
    assert_int_equal(notified, 0);
}

static void test_input(void **state)
{
    (void)state;
    assert_int_equal(console_port_get(&port), -1);
    assert_true(console_port_feed(&port, 0xff));
    assert_true(console_port_feed(&port, 0));
    console_port_notify(&port);
    assert_int_equal(notified, 1);
    assert_true(console_port_has_input(&port));
    assert_int_equal(console_port_get(&port), 0xff); /* not to be mistaken for -1 */
    assert_int_equal(console_port_get(&port), 0);
    assert_int_equal(console_port_get(&port), -1);
    assert_int_equal(pumped_input, 0); /* the terminal was never refused */
}

static void fill_input(void)
{
    for (unsigned i = 0; i < CONSOLE_RING_SIZE; i++) {
        assert_true(console_port_can_feed(&port));
        assert_true(console_port_feed(&port, (uint8_t)i));
    }
}

static void test_refused_terminal_is_pumped_once(void **state)
{
    (void)state;
    fill_input();
    assert_false(port.input_was_full);
    assert_false(console_port_feed(&port, 'x'));
    assert_int_equal(console_port_get(&port), 0);
    assert_int_equal(pumped_input, 1);
    assert_int_equal(console_port_get(&port), 1);
    assert_int_equal(pumped_input, 1);

    assert_true(console_port_feed(&port, 'y'));
    assert_true(console_port_feed(&port, 'z'));
    assert_false(console_port_can_feed(&port));
    assert_int_equal(console_port_get(&port), 2);
    assert_int_equal(pumped_input, 2);
}

static void test_reset_keeps_last_words(void **state)
{
    uint8_t byte;

    (void)state;
    assert_true(console_port_put(&port, '!'));
    fill_input();
    assert_false(console_port_can_feed(&port));
    console_port_reset(&port);
    assert_false(console_port_has_input(&port));
    assert_int_equal(pumped_input, 1);
    assert_int_equal(console_port_drain(&port, &byte, 1), 1);
    assert_int_equal(byte, '!');
    console_port_reset(&port);
    assert_int_equal(pumped_input, 1);
}

static void test_without_callbacks(void **state)
{
    (void)state;
    port.notify = NULL;
    port.pump = NULL;
    fill_input();
    assert_false(console_port_feed(&port, 0));
    console_port_notify(&port);
    assert_int_equal(console_port_get(&port), 0);
    assert_true(console_port_put(&port, 'x'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_init, setup),
        cmocka_unit_test_setup(test_ring_wraps, setup),
        cmocka_unit_test_setup(test_output_in_order, setup),
        cmocka_unit_test_setup(test_partial_write, setup),
        cmocka_unit_test_setup(test_refused_writer_is_told_once, setup),
        cmocka_unit_test_setup(test_has_room_remembers, setup),
        cmocka_unit_test_setup(test_nobody_refused_nobody_told, setup),
        cmocka_unit_test_setup(test_input, setup),
        cmocka_unit_test_setup(test_refused_terminal_is_pumped_once, setup),
        cmocka_unit_test_setup(test_reset_keeps_last_words, setup),
        cmocka_unit_test_setup(test_without_callbacks, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
