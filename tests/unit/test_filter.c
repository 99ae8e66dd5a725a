/* SPDX-License-Identifier: MIT
 *
 * The filter: what is shown of a guest's bytes among others' lines.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/filter.h"
#include "support.h"

static struct filter filter;

static int setup(void **state)
{
    (void)state;
    filter = (struct filter){0};
    return 0;
}

static const char *pass(const char *bytes, size_t length)
{
    static char out[4096];
    size_t kept = 0;
    for (size_t n = 0; n < length; n++) {
        size_t more = filter_byte(&filter, (uint8_t)bytes[n], out + kept);
        assert_true(more <= FILTER_OUT_MAX);
        kept += more;
    }
    out[kept] = '\0';
    return out;
}

#define PASS(bytes) pass(bytes, sizeof(bytes) - 1)

static void test_text(void **state)
{
    (void)state;
    assert_string_equal(PASS("plain ~ text\tand\b\n"), "plain ~ text\tand\b\n");
    assert_string_equal(PASS("a\r\nb\a\0c\x0e\x0f"), "a\r\nbc");
    assert_string_equal(PASS("\x01\x7f\v\f"), "????");
}

static void test_escape_sequences_vanish(void **state)
{
    (void)state;
    assert_string_equal(PASS("\x1b[01;34mdir\x1b[0m \x1b[2J\x1b[10;20H."), "dir .");
    assert_string_equal(PASS("\x1b]0;title\a.\x1b]8;;http://x\x1b\\link"), ".link");
    assert_string_equal(PASS("\x1bP1$r\x1b\\.\x1b_x\x1b\\.\x1b^x\x1b\\.\x1bXx\x1b\\."), "....");
    assert_string_equal(PASS("\x1b(B\x1b)0\x1b#8\x1b"
                             "7\x1b"
                             "8\x1b=\x1b"
                             "c."),
                        ".");
    assert_string_equal(PASS("\x1b[?25l\x1b[>0;1c\x1b[ q\x1b[6n."), ".");
    assert_string_equal(PASS("\x1b\x1b[1m."), ".");
    assert_string_equal(PASS("\x1b]0;broken off\x1b[1m."), ".");
}

/* No sequence swallows more than its line. */
static void test_newline_ends_a_sequence(void **state)
{
    (void)state;
    assert_string_equal(PASS("\x1b]0;for ever\ntext"), "\ntext");
    assert_string_equal(PASS("\x1b[12\ntext"), "\ntext");
    assert_string_equal(PASS("\x1b\ntext"), "\ntext");
    assert_string_equal(PASS("\x1b[1\x18text\x1bP\x1atext"), "texttext");
}

static void test_utf8(void **state)
{
    (void)state;
    assert_string_equal(PASS("\xc3\xa4 \xe2\x97\x8f \xf0\x9f\x90\xa7"), "\xc3\xa4 \xe2\x97\x8f \xf0\x9f\x90\xa7");
    assert_string_equal(PASS("\xc3"
                             "a\xe2\x97"
                             "b\xf0\x9f\x90"
                             "c"),
                        "?a?b?c"); /* cut short */
    assert_string_equal(PASS("\xe2\x97\n"), "?\n");
    assert_string_equal(PASS("\x80\xbf\xc0\xaf\xc1\xf5\xff"), "???????"); /* begin nothing */
    assert_string_equal(PASS("\xe0\x80\xaf"), "?");                       /* overlong */
    assert_string_equal(PASS("\xf0\x80\x80\x80"), "?");
    assert_string_equal(PASS("\xed\xa0\x80"), "?");     /* a surrogate */
    assert_string_equal(PASS("\xf4\x90\x80\x80"), "?"); /* behind the last */
    assert_string_equal(PASS("\xc3\xc3\xa4"), "?\xc3\xa4");
}

/* Control characters and changes of direction in another form. */
static void test_utf8_controls(void **state)
{
    (void)state;
    assert_string_equal(PASS("\xc2\x9b"
                             "2J\xc2\x85"),
                        "?2J?");
    assert_string_equal(PASS("\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa8\xd8\x9c"), "????");
    assert_string_equal(PASS("\x9b"
                             "2J"),
                        "?2J");
}

/* Whatever comes, only what is promised goes out. */
static void test_anything(void **state)
{
    (void)state;
    uint64_t random = 0x66696c74;
    static const char likely[] = "\x1b[]P\\;1m\n\r\b\a\xc2\xe2\x80\x9b\xf0\x9f";
    for (unsigned n = 0; n < 300000; n++) {
        uint64_t dice = test_random(&random);
        uint8_t byte = dice % 2 == 0 ? (uint8_t)likely[(dice >> 8) % (sizeof(likely) - 1)] : (uint8_t)(dice >> 8);
        char out[FILTER_OUT_MAX];
        size_t length = filter_byte(&filter, byte, out);
        assert_true(length <= FILTER_OUT_MAX);
        for (size_t i = 0; i < length; i++) {
            uint8_t c = (uint8_t)out[i];
            assert_true((c >= ' ' && c != 0x7f) || c == '\t' ||
                        ((c == '\b' || c == '\r' || c == '\n') && i == length - 1));
        }
    }
    assert_string_equal(PASS("\n\n"), "\n\n"); /* and never sticks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text, setup),
        cmocka_unit_test_setup(test_escape_sequences_vanish, setup),
        cmocka_unit_test_setup(test_newline_ends_a_sequence, setup),
        cmocka_unit_test_setup(test_utf8, setup),
        cmocka_unit_test_setup(test_utf8_controls, setup),
        cmocka_unit_test_setup(test_anything, setup),
    };
    return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
