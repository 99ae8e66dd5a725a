/* SPDX-License-Identifier: MIT
 *
 * format(): against the C library where both agree, and where ours is narrower.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/format.h"

/* The same text and length as from snprintf, at full size and cut to every shorter one. */
#define check(...)                                                                                                     \
    do {                                                                                                               \
        char ours[400], theirs[400];                                                                                   \
        size_t expected = (size_t)snprintf(theirs, sizeof(theirs), __VA_ARGS__);                                       \
        for (size_t size = 0; size <= expected + 2; size++) {                                                          \
            memset(ours, 'Z', sizeof(ours));                                                                           \
            snprintf(theirs, size, __VA_ARGS__);                                                                       \
            assert_int_equal(format(ours, size, __VA_ARGS__), expected);                                               \
            if (size > 0) {                                                                                            \
                assert_string_equal(ours, theirs);                                                                     \
            }                                                                                                          \
            assert_int_equal(ours[size], 'Z');                                                                         \
        }                                                                                                              \
    } while (0)

static void test_plain(void **state)
{
    (void)state;
    check("plain text, nothing else");
    check("100%%");
    check("%c%c", 'o', 'k');
    check("%3c|%-3c|", 'a', 'b');
    assert_int_equal(format(NULL, 0, "%s", "abc"), 3);
}

static void test_numbers(void **state)
{
    static const int values[] = {0, 1, -1, 9, 10, 255, -256, INT_MAX, INT_MIN};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        int n = values[i];
        check("%d %i %u %x %X", n, n, (unsigned)n, (unsigned)n, (unsigned)n);
        check("%hd %hu %hx %hhd %hhu %hhx", (short)n, (unsigned short)n, (unsigned short)n, (signed char)n,
              (unsigned char)n, (unsigned char)n);
        check("%ld %lu %lx", (long)n, (unsigned long)n, (unsigned long)n);
        check("%lld %llu %llx", (long long)n, (unsigned long long)n, (unsigned long long)n);
        check("%zu %zx", (size_t)n, (size_t)n);
    }
    check("%lld %lld %llu %llx", LLONG_MIN, LLONG_MAX, ULLONG_MAX, ULLONG_MAX);
    check("%ld %ld %lu", LONG_MIN, LONG_MAX, ULONG_MAX);
}

static void test_narrow_lengths_cut_the_value(void **state)
{
    char text[40];
    volatile int wide = 0x12345;

    (void)state;
    format(text, sizeof(text), "%hhx %hx", (unsigned char)wide, (unsigned short)wide);
    assert_string_equal(text, "45 2345");
}

static void test_fields(void **state)
{
    (void)state;
    check("|%5d|%-5d|%05d|%5d|%05d|", 42, 42, 42, -42, -42);
    check("|%08x|%8X|%-8x|%1x|", 0xbeefu, 0xbeefu, 0xbeefu, 0xbeefu);
    check("|%016llx|", 0x80200000ull);
    check("|%*d|%*d|%0*d|", 6, 7, -6, 7, 6, 7);
    check("|%10s|%-10s|%3s|", "debian", "debian", "debian");
    check("|%.3s|%.0s|%10.2s|%-10.2s|%.9s|", "debian", "debian", "debian", "debian", "debian");
    check("|%.*s|%.*s|%.*s|", 2, "debian", 0, "debian", -1, "debian");
}

static void test_precision_bounds_the_read(void **state)
{
    const char unended[2] = {'h', 'i'}; /* the address sanitizer watches its end */
    char text[8];

    (void)state;
    assert_int_equal(format(text, sizeof(text), "%.2s", unended), 2);
    assert_string_equal(text, "hi");
}

static void test_pointer(void **state)
{
    char text[40];

    (void)state;
    assert_int_equal(format(text, sizeof(text), "%p", (void *)(uintptr_t)0x80200000u), 10);
    assert_string_equal(text, "0x80200000");
    format(text, sizeof(text), "%p", NULL);
    assert_string_equal(text, "0x0");
}

/* What the compiler would warn about reaches the formatter through these. */
static size_t unchecked(char *out, size_t size, const char *pattern, ...)
{
    va_list arguments;

    va_start(arguments, pattern);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t length = format_list(out, size, pattern, arguments);
#pragma GCC diagnostic pop
    va_end(arguments);
    return length;
}

static void test_null_text(void **state)
{
    char text[40];

    (void)state;
    unchecked(text, sizeof(text), "<%s>", (const char *)NULL);
    assert_string_equal(text, "<(null)>");
}

static void test_unknown_conversions_stand(void **state)
{
    char text[40];

    (void)state;
    unchecked(text, sizeof(text), "%n %5q %d", 7);
    assert_string_equal(text, "%n %5q 7");
    assert_int_equal(unchecked(text, sizeof(text), "end %"), 5);
    assert_string_equal(text, "end %");
    unchecked(text, sizeof(text), "end %-0l");
    assert_string_equal(text, "end %-0l");
}

static void test_left_wins_over_zeros(void **state)
{
    char text[40];

    (void)state;
    unchecked(text, sizeof(text), "|%-05d|%0-5x|%0*d|%05s|", 42, 0xa, -5, 42, "a");
    assert_string_equal(text, "|42   |a    |42   |    a|");
}

static void test_widths_are_bounded(void **state)
{
    char text[400];

    (void)state;
    assert_int_equal(unchecked(text, sizeof(text), "%*d", INT_MAX, 1), 256);
    assert_int_equal(unchecked(text, sizeof(text), "%*d", INT_MIN, 1), 256);
    assert_int_equal(text[0], '1');
    assert_int_equal(unchecked(text, sizeof(text), "%99999999999999999999d", 1), 256);
    assert_int_equal(unchecked(text, sizeof(text), "%.99999999999999999999s", "a"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_narrow_lengths_cut_the_value),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_precision_bounds_the_read),
        cmocka_unit_test(test_pointer),
        cmocka_unit_test(test_null_text),
        cmocka_unit_test(test_unknown_conversions_stand),
        cmocka_unit_test(test_left_wins_over_zeros),
        cmocka_unit_test(test_widths_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
