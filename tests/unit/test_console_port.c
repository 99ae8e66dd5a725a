/* SPDX-License-Identifier: MIT
 *
 * Console ports: bytes keep their order, what is shown is never lost or doubled, what isn't is kept as far as there is
 * room and counted else; refusals are remembered and told once; BREAKs stay in their place; and no callback runs under
 * the port's lock.
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
    assert_int_equal(console_port_show(&port, true), 0);
    notified = 0;
    pumped_output = 0;
    pumped_input = 0;
    return 0;
}

static void fill_output(void)
{
    static uint8_t bytes[CONSOLE_OUTPUT_SIZE];

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
        for (unsigned i = 0; i < CONSOLE_INPUT_SIZE; i++) {
            assert_int_equal(byte_ring_used(&ring), i);
            assert_true(byte_ring_put(&ring, (uint8_t)(i * 7 + round)));
        }
        assert_int_equal(byte_ring_room(&ring), 0);
        assert_false(byte_ring_put(&ring, 1));
        for (unsigned i = 0; i < CONSOLE_INPUT_SIZE; i++) {
            assert_true(byte_ring_take(&ring, &byte));
            assert_int_equal(byte, (uint8_t)(i * 7 + round));
        }
    }
}

static void test_output_in_order(void **state)
{
    static uint8_t out[CONSOLE_OUTPUT_SIZE + 1];

    (void)state;
    fill_output();
    assert_int_equal(pumped_output, 1); /* once a write, not once a byte */
    assert_int_equal(console_port_drain(&port, out, 10), 10);
    assert_int_equal(console_port_drain(&port, out + 10, sizeof(out) - 10), CONSOLE_OUTPUT_SIZE - 10);
    for (size_t i = 0; i < CONSOLE_OUTPUT_SIZE; i++) {
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
    assert_false(console_port_refused(&port));
    assert_int_equal(console_port_write(&port, (const uint8_t *)"xyz", 3), 1);
    assert_true(console_port_refused(&port));
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
    for (unsigned i = 0; i < CONSOLE_INPUT_SIZE; i++) {
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

/* --- shown or not ----------------------------------------------------------------------------------------------- */

static size_t say(const char *text)
{
    return console_port_write(&port, (const uint8_t *)text, strlen(text));
}

static const char *scrollback(void)
{
    static char text[CONSOLE_OUTPUT_SIZE + 1];
    uint64_t cursor = 0;

    text[console_port_scrollback(&port, &cursor, (uint8_t *)text, CONSOLE_OUTPUT_SIZE)] = '\0';
    assert_int_equal(console_port_scrollback(&port, &cursor, (uint8_t *)text, 0), 0);
    return text;
}

/* Hidden, it takes everything, forgets whole lines from the oldest on, and knows how much nobody has seen. */
static void test_hidden(void **state)
{
    struct console_counts counts;
    uint8_t bytes[8];

    (void)state;
    assert_int_equal(console_port_show(&port, false), 0);
    for (unsigned n = 0; n < 1000; n++) {
        char line[12] = "line 0000\r\n";
        line[5] = (char)('0' + n / 100 % 10);
        line[6] = (char)('0' + n / 10 % 10);
        line[7] = (char)('0' + n % 10);
        line[8] = '.';
        assert_int_equal(console_port_write(&port, (const uint8_t *)line, 11), 11);
        assert_true(console_port_has_room(&port));
    }
    assert_int_equal(pumped_output, 0); /* the terminal isn't troubled */
    const char *text = scrollback();
    const unsigned kept = CONSOLE_OUTPUT_SIZE / 11;
    assert_int_equal(strlen(text), kept * 11);
    assert_memory_equal(text, "line 256.\r\n", 11); /* a whole line */
    assert_memory_equal(text + (kept - 1) * 11, "line 999.\r\n", 11);
    console_port_counts(&port, &counts);
    assert_int_equal(counts.out, 11000);
    assert_int_equal(counts.dropped, 11000 - kept * 11);
    assert_int_equal(console_port_show(&port, true), 11000 - kept * 11);
    assert_int_equal(console_port_show(&port, true), 0); /* told once */
    assert_int_equal(console_port_drain(&port, bytes, 8), 8);
    assert_memory_equal(bytes, "line 256", 8);
}

/* What was seen may go without being counted. */
static void test_hidden_forgets_what_was_seen(void **state)
{
    static uint8_t bytes[CONSOLE_OUTPUT_SIZE];
    struct console_counts counts;

    (void)state;
    fill_output();
    assert_int_equal(console_port_drain(&port, bytes, 100), 100);
    console_port_show(&port, false);
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(console_port_write(&port, bytes, 100), 100);
    console_port_counts(&port, &counts);
    assert_int_equal(counts.dropped, 256 + '\n' + 1 - 100); /* the rest of a line that was seen in part */
    assert_int_equal(console_port_write(&port, bytes, sizeof(bytes)), sizeof(bytes));
    console_port_counts(&port, &counts);
    assert_int_equal(counts.dropped, CONSOLE_OUTPUT_SIZE);
}

/* Shown, the bytes that were not taken stay, whatever is written; those that were are scroll-back. */
static void test_shown_scrollback(void **state)
{
    static uint8_t bytes[CONSOLE_OUTPUT_SIZE];

    (void)state;
    assert_int_equal(say("seen\n"), 5);
    assert_int_equal(console_port_drain(&port, bytes, 5), 5);
    memset(bytes, 'x', sizeof(bytes));
    assert_int_equal(console_port_write(&port, bytes, sizeof(bytes) - 5), sizeof(bytes) - 5);
    assert_memory_equal(scrollback(), "seen\nxxx", 8);
    assert_int_equal(say("01234567"), 5); /* in the place of what was seen */
    assert_memory_equal(scrollback(), "xxx", 3);
    assert_int_equal(strlen(scrollback()), CONSOLE_OUTPUT_SIZE);
    assert_int_equal(console_port_drain(&port, bytes, sizeof(bytes)), CONSOLE_OUTPUT_SIZE);
    assert_memory_equal(bytes + CONSOLE_OUTPUT_SIZE - 6, "x01234", 6);
}

/* Scroll-back is read in pieces; what is forgotten meanwhile is skipped. */
static void test_scrollback_cursor(void **state)
{
    static uint8_t bytes[CONSOLE_OUTPUT_SIZE];
    uint64_t cursor = 0;

    (void)state;
    console_port_show(&port, false);
    say("0123456789\n");
    assert_int_equal(console_port_scrollback(&port, &cursor, bytes, 4), 4);
    assert_memory_equal(bytes, "0123", 4);
    assert_int_equal(console_port_scrollback(&port, &cursor, bytes, 100), 7);
    assert_memory_equal(bytes, "456789\n", 7);
    assert_int_equal(console_port_scrollback(&port, &cursor, bytes, 100), 0);
    cursor = 4;
    memset(bytes, 'x', sizeof(bytes));
    console_port_write(&port, bytes, sizeof(bytes));
    assert_int_equal(console_port_scrollback(&port, &cursor, bytes, 100), 100);
    assert_int_equal(cursor, 111);
    cursor = UINT64_MAX;
    assert_int_equal(console_port_scrollback(&port, &cursor, bytes, 100), 0);
}

static void test_hiding_frees_the_writer(void **state)
{
    (void)state;
    fill_output();
    assert_false(console_port_put(&port, 'x'));
    console_port_show(&port, false);
    console_port_notify(&port);
    assert_int_equal(notified, 1);
    assert_true(console_port_put(&port, 'x'));
}

static void test_lines(void **state)
{
    uint8_t bytes[16];

    (void)state;
    say("ab");
    assert_int_equal(console_port_drain_line(&port, bytes, 16, false), 0);
    say("c\nd");
    assert_int_equal(console_port_drain_line(&port, bytes, 16, false), 4);
    assert_memory_equal(bytes, "abc\n", 4);
    assert_int_equal(console_port_drain_line(&port, bytes, 16, false), 0);
    assert_true(console_port_has_output(&port));
    assert_int_equal(console_port_drain_line(&port, bytes, 16, true), 1);
    assert_int_equal(bytes[0], 'd');
    assert_false(console_port_has_output(&port));
    assert_int_equal(console_port_drain_line(&port, bytes, 16, true), 0);
    say("0123456789abcdef"); /* as long as a piece may be */
    assert_int_equal(console_port_drain_line(&port, bytes, 16, false), 16);
    say("0123456789abcdefgh\n");
    assert_int_equal(console_port_drain_line(&port, bytes, 16, false), 16);
    assert_int_equal(console_port_drain_line(&port, bytes, 16, false), 3);
}

/* --- BREAK ---------------------------------------------------------------------------------------------------------
 */

static void test_breaks_keep_their_place(void **state)
{
    (void)state;
    assert_true(console_port_feed_break(&port));
    assert_true(console_port_has_input(&port));
    console_port_notify(&port);
    assert_int_equal(notified, 1);
    assert_true(console_port_feed(&port, 's'));
    assert_true(console_port_feed_break(&port));
    assert_true(console_port_feed_break(&port));
    assert_true(console_port_feed(&port, 'u'));
    assert_int_equal(console_port_next(&port), CONSOLE_NEXT_BREAK);
    console_port_tell_break(&port);
    assert_int_equal(console_port_next(&port), CONSOLE_NEXT_BREAK_TOLD);
    assert_int_equal(console_port_receive(&port), CONSOLE_BREAK);
    assert_int_equal(console_port_next(&port), CONSOLE_NEXT_BYTE);
    console_port_tell_break(&port); /* not its turn: nothing is told */
    assert_int_equal(console_port_receive(&port), 's');
    assert_int_equal(console_port_next(&port), CONSOLE_NEXT_BREAK);
    assert_int_equal(console_port_receive(&port), CONSOLE_BREAK);
    assert_int_equal(console_port_receive(&port), CONSOLE_BREAK);
    assert_int_equal(console_port_receive(&port), 'u');
    assert_int_equal(console_port_receive(&port), -1);
    assert_int_equal(console_port_next(&port), CONSOLE_NEXT_NOTHING);
}

static void test_breaks_are_bounded(void **state)
{
    (void)state;
    fill_input();
    for (unsigned n = 0; n < CONSOLE_BREAKS_MAX; n++) {
        assert_true(console_port_feed_break(&port)); /* even if no byte fits */
    }
    assert_false(console_port_feed_break(&port));
    console_port_reset(&port);
    assert_false(console_port_has_input(&port));
    assert_true(console_port_feed_break(&port));
}

/* Readers that know of no BREAKs don't see them. */
static void test_get_skips_breaks(void **state)
{
    (void)state;
    console_port_feed_break(&port);
    console_port_feed(&port, 'a');
    console_port_feed_break(&port);
    assert_int_equal(console_port_get(&port), 'a');
    assert_int_equal(console_port_get(&port), -1);
    assert_false(console_port_has_input(&port));
}

static void test_counts(void **state)
{
    struct console_counts counts;

    (void)state;
    say("four");
    console_port_feed(&port, 'x');
    console_port_feed_break(&port);
    console_port_counts(&port, &counts);
    assert_int_equal(counts.out, 4);
    assert_int_equal(counts.in, 1);
    assert_int_equal(counts.dropped, 0);
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
        cmocka_unit_test_setup(test_hidden, setup),
        cmocka_unit_test_setup(test_hidden_forgets_what_was_seen, setup),
        cmocka_unit_test_setup(test_shown_scrollback, setup),
        cmocka_unit_test_setup(test_scrollback_cursor, setup),
        cmocka_unit_test_setup(test_hiding_frees_the_writer, setup),
        cmocka_unit_test_setup(test_lines, setup),
        cmocka_unit_test_setup(test_breaks_keep_their_place, setup),
        cmocka_unit_test_setup(test_breaks_are_bounded, setup),
        cmocka_unit_test_setup(test_get_skips_breaks, setup),
        cmocka_unit_test_setup(test_counts, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
