/* SPDX-License-Identifier: MIT
 *
 * The log: prefixes, cutting, forged lines, the ring's edges, the sink, and the errors' texts.
 */
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "fake_arch.h"
#include "support.h"

static char ring_text[LOG_RING_SIZE + 1];

static char sunk[LOG_LINE_MAX + 1];
static size_t sunk_length, sunk_count;
static enum log_level sunk_level;

static void keep_last(enum log_level level, const char *line, size_t length)
{
    assert_true(length <= LOG_LINE_MAX);
    memcpy(sunk, line, length);
    sunk[length] = '\0';
    sunk_length = length;
    sunk_level = level;
    sunk_count++;
}

/* The ring can't be emptied from outside: it is filled with lines of no interest. */
static int set_up(void **state)
{
    (void)state;
    fake_arch_reset();
    log_set_sink(NULL);
    log_set_level(LOG_INFO);
    for (unsigned i = 0; i < LOG_RING_SIZE / 16; i++) {
        log_info("%s", "old");
    }
    log_set_sink(keep_last);
    sunk_count = sunk_length = 0;
    return 0;
}

/* The newest line in the ring, without its end. */
static const char *newest(void)
{
    size_t length = log_copy(ring_text, sizeof(ring_text));

    assert_true(length > 0 && ring_text[length - 1] == '\n');
    ring_text[length - 1] = '\0';
    const char *before = strrchr(ring_text, '\n');
    return before != NULL ? before + 1 : ring_text;
}

static void test_prefixes(void **state)
{
    (void)state;
    log_set_level(LOG_DEBUG);
    log_info("Welcome to diosix %s", "0.1.0");
    assert_string_equal(newest(), "[-] CPU 0: Welcome to diosix 0.1.0");
    assert_string_equal(sunk, "[-] CPU 0: Welcome to diosix 0.1.0\r\n");
    assert_int_equal(sunk_level, LOG_INFO);
    fake_arch.hart->id = 3;
    log_alert("no %d", 7);
    assert_string_equal(newest(), "[!] CPU 3: no 7");
    assert_int_equal(sunk_level, LOG_ALERT);
    fake_arch.hart->id = ~0UL;
    log_debug("why");
    assert_string_equal(newest(), XLEN == 32 ? "[?] CPU 4294967295: why" : "[?] CPU 18446744073709551615: why");
    assert_int_equal(sunk_level, LOG_DEBUG);
    assert_int_equal(sunk_count, 3);
}

static void test_levels(void **state)
{
    (void)state;
    log_debug("hidden");
    assert_int_equal(sunk_count, 0);
    log_set_level(LOG_ALERT);
    assert_int_equal(log_level_current(), LOG_ALERT);
    log_info("hidden");
    assert_int_equal(sunk_count, 0);
    log_alert("shown");
    assert_int_equal(sunk_count, 1);
    assert_string_equal(newest(), "[!] CPU 0: shown");
}

static void test_long_lines_are_cut(void **state)
{
    char text[2 * LOG_LINE_MAX];
    const size_t prefix = strlen("[-] CPU 0: ");

    (void)state;
    for (size_t length = LOG_LINE_MAX - prefix - 10; length < sizeof(text); length++) {
        memset(text, 'x', length);
        text[length] = '\0';
        log_info("%s", text);
        assert_int_equal(sunk_length, MIN(prefix + length + 2, LOG_LINE_MAX));
        assert_memory_equal(sunk + sunk_length - 2, "\r\n", 2);
        bool cut = prefix + length + 2 > LOG_LINE_MAX;
        assert_memory_equal(sunk + sunk_length - 6, cut ? "x...\r\n" : "xxxx\r\n", 6);
        assert_int_equal(strlen(newest()), sunk_length - 2);
    }
}

/* A capsule's name, or a guest's text, can neither begin a line nor steer the terminal. */
static void test_forged_lines(void **state)
{
    char every[256], expected[300] = "[-] CPU 0: ";

    (void)state;
    log_info("name %s", "x\r\n[!] CPU 0: forged \033[2J \x9b\x7f\t");
    assert_string_equal(newest(), "[-] CPU 0: name x??[!] CPU 0: forged ?[2J ???");

    size_t at = strlen(expected);
    for (unsigned byte = 1; byte < 256; byte += 2) { /* half of them, so that they fit */
        every[byte / 2] = (char)byte;
        expected[at++] = (char)(byte >= 0x20 && byte < 0x7f ? byte : '?');
    }
    every[128] = '\0';
    log_info("%s", every);
    assert_string_equal(newest(), expected);
}

static void test_ring_keeps_the_newest_whole_lines(void **state)
{
    char line[64];

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        log_info("line %u %.*s", i, (int)(i % 23), "abcdefghijklmnopqrstuvwxyz");
    }
    size_t length = log_copy(ring_text, sizeof(ring_text));
    assert_in_range(length, LOG_RING_SIZE - LOG_LINE_MAX, LOG_RING_SIZE);
    assert_int_equal(strlen(ring_text), length);

    /* from the end backwards: no line is missing, none is cut */
    unsigned lines = 0;
    for (char *end = ring_text + length; end != ring_text; lines++) {
        unsigned i = 4999 - lines;
        int size =
            snprintf(line, sizeof(line), "[-] CPU 0: line %u %.*s\n", i, (int)(i % 23), "abcdefghijklmnopqrstuvwxyz");
        assert_true(end - ring_text >= size);
        end -= size;
        assert_memory_equal(end, line, (size_t)size);
    }
    assert_in_range(lines, 700, 1500);
}

static void test_copy_into_little_room(void **state)
{
    char small[64];

    (void)state;
    log_info("first"); /* 17 bytes with its end */
    log_info("second");
    assert_int_equal(log_copy(small, 0), 0);
    memset(small, 'Z', sizeof(small));
    assert_int_equal(log_copy(small, 1), 0);
    assert_string_equal(small, "");
    assert_int_equal(log_copy(small, 18), 0); /* one byte too few for the last line and its NUL */
    assert_string_equal(small, "");
    assert_int_equal(log_copy(small, 19), 18);
    assert_string_equal(small, "[-] CPU 0: second\n");
    assert_int_equal(log_copy(small, 35), 18);
    assert_int_equal(log_copy(small, 36), 35);
    assert_string_equal(small, "[-] CPU 0: first\n[-] CPU 0: second\n");
    assert_int_equal(small[36], 'Z');
}

/* Room for all lines but not for the NUL: the oldest line is left out. */
static void test_copy_into_one_byte_too_few(void **state)
{
    static char exact[LOG_RING_SIZE + 1];
    size_t all = log_copy(ring_text, sizeof(ring_text));

    (void)state;
    memset(exact, 'Z', sizeof(exact));
    assert_int_equal(log_copy(exact, all), all - strlen("[-] CPU 0: old\n"));
    assert_int_equal(exact[all], 'Z');
    assert_int_equal(log_copy(exact, all + 1), all);
    assert_string_equal(exact, ring_text);
}

/* --- line by line --- */

static void test_reading_lines(void **state)
{
    struct log_reader reader;
    char line[LOG_LINE_MAX];
    unsigned lines = 0;

    (void)state;
    log_info("first");
    log_info("second");
    log_copy(ring_text, sizeof(ring_text));
    log_read_begin(&reader);
    const char *at = ring_text;
    for (; log_read_line(&reader, line, sizeof(line)); lines++) {
        size_t length = strcspn(at, "\n");
        assert_int_equal(strlen(line), length);
        assert_memory_equal(line, at, length);
        at += length + 1;
        if (lines == 10) {
            log_info("not to be read: it came after the beginning");
        }
    }
    assert_string_equal(at, "");
    assert_true(lines > 1000);
    assert_false(log_read_line(&reader, line, sizeof(line)));
    assert_string_equal(line, "");
}

static void test_reading_into_little_room(void **state)
{
    struct log_reader reader;
    char line[8];

    (void)state;
    memset(line, 'Z', sizeof(line));
    log_read_begin(&reader);
    assert_true(log_read_line(&reader, line, 7));
    assert_string_equal(line, "[-] CP");
    assert_int_equal(line[7], 'Z');
    assert_true(log_read_line(&reader, line, 1)); /* the next one all the same */
    assert_string_equal(line, "");
}

/* A reader that newer lines overtake goes on with the oldest that is left, and ends where the log ended. */
static void test_reading_what_is_displaced(void **state)
{
    struct log_reader reader, late;
    char line[LOG_LINE_MAX];

    (void)state;
    for (unsigned i = 0; i < LOG_RING_SIZE / 20; i++) {
        log_info("line %u", i);
    }
    log_read_begin(&reader);
    late = reader;
    for (unsigned i = 0; i < 100; i++) {
        log_info("newer, and longer");
    }
    assert_true(log_read_line(&reader, line, sizeof(line)));
    assert_memory_equal(line, "[-] CPU 0: line ", 16);
    unsigned number = (unsigned)strtoul(line + 16, NULL, 10);
    for (; log_read_line(&reader, line, sizeof(line)); number++) {
        assert_int_equal(strtoul(line + 16, NULL, 10), number + 1);
    }
    assert_int_equal(number, LOG_RING_SIZE / 20 - 1);
    for (unsigned i = 0; i < LOG_RING_SIZE / 16; i++) {
        log_info("%s", "old");
    }
    assert_false(log_read_line(&late, line, sizeof(line)));
}

static void test_no_sink(void **state)
{
    (void)state;
    log_set_sink(NULL);
    log_info("quiet");
    assert_int_equal(sunk_count, 0);
    assert_string_equal(newest(), "[-] CPU 0: quiet");
}

/* Other harts wait their turn: no sink call begins before the last one ended, and the ring has the same order. */
static atomic_uint inside;
static atomic_uint overlaps;
static char order[32 * 1024];
static size_t order_length;

static void slow_sink(enum log_level level, const char *line, size_t length)
{
    (void)level;
    if (atomic_fetch_add(&inside, 1) != 0) {
        atomic_fetch_add(&overlaps, 1);
    }
    log_copy(sunk, sizeof(sunk)); /* the ring may be read from here */
    memcpy(order + order_length, line, length - 2);
    order_length += length - 2;
    order[order_length++] = '\n';
    atomic_fetch_sub(&inside, 1);
}

static void *chatter(void *who)
{
    for (unsigned i = 0; i < 400; i++) {
        log_info("%s %u", (const char *)who, i);
    }
    return NULL;
}

static void test_lines_do_not_interleave(void **state)
{
    pthread_t thread;
    char other[] = "other", self[] = "self";

    (void)state;
    log_set_sink(slow_sink);
    order_length = 0;
    assert_int_equal(pthread_create(&thread, NULL, chatter, other), 0);
    chatter(self);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&overlaps), 0);
    size_t length = log_copy(ring_text, sizeof(ring_text));
    assert_true(length > order_length);
    assert_memory_equal(ring_text + length - order_length, order, order_length);
}

static void test_every_error_has_cause_and_cure(void **state)
{
#define ROW(name, code, cause, cure) {(code), (cause), (cure)},
    static const struct {
        int code;
        const char *cause, *cure;
    } rows[] = {DX_ERRORS(ROW)};
#undef ROW

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        assert_string_equal(error_cause((enum dx_error)rows[i].code), rows[i].cause);
        assert_string_equal(error_cure((enum dx_error)rows[i].code), rows[i].cure);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(rows[i].code, rows[j].code);
        }
    }
    assert_string_equal(error_cause(DX_OK), "no error");
    volatile int unknown[] = {9999, -1};
    for (size_t i = 0; i < ARRAY_LENGTH(unknown); i++) {
        assert_string_equal(error_cause((enum dx_error)unknown[i]), "an error that is not in the list");
        assert_string_equal(error_cure((enum dx_error)unknown[i]), "report it");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_prefixes, set_up),
        cmocka_unit_test_setup(test_levels, set_up),
        cmocka_unit_test_setup(test_long_lines_are_cut, set_up),
        cmocka_unit_test_setup(test_forged_lines, set_up),
        cmocka_unit_test_setup(test_ring_keeps_the_newest_whole_lines, set_up),
        cmocka_unit_test_setup(test_copy_into_little_room, set_up),
        cmocka_unit_test_setup(test_copy_into_one_byte_too_few, set_up),
        cmocka_unit_test_setup(test_reading_lines, set_up),
        cmocka_unit_test_setup(test_reading_into_little_room, set_up),
        cmocka_unit_test_setup(test_reading_what_is_displaced, set_up),
        cmocka_unit_test_setup(test_no_sink, set_up),
        cmocka_unit_test_setup(test_lines_do_not_interleave, set_up),
        cmocka_unit_test(test_every_error_has_cause_and_cure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
