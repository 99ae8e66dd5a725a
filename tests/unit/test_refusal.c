/* SPDX-License-Identifier: MIT
 *
 * Refusals: the error comes back, the text is formatted and never longer than its room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/refusal.h"

static void test_fills_in(void **state)
{
    struct refusal refusal = {0};

    (void)state;
    assert_int_equal(refuse(&refusal, DX_MISSING, "capsule %s: no %s", "debian", "kernel"), DX_MISSING);
    assert_int_equal(refusal.error, DX_MISSING);
    assert_string_equal(refusal.text, "capsule debian: no kernel");
}

static void test_replaces(void **state)
{
    struct refusal refusal;

    (void)state;
    assert_int_equal(refuse(&refusal, DX_OVERLAP, "a much longer text than the next one"), DX_OVERLAP);
    assert_int_equal(refuse(&refusal, DX_TOO_MANY, "%d", 5), DX_TOO_MANY);
    assert_int_equal(refusal.error, DX_TOO_MANY);
    assert_string_equal(refusal.text, "5");
}

static void test_cuts_long_text(void **state)
{
    struct {
        struct refusal refusal;
        char guard[16];
    } boxed;
    char text[3 * REFUSAL_TEXT_MAX];

    (void)state;
    memset(&boxed, 'Z', sizeof(boxed));
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(refuse(&boxed.refusal, DX_BAD_VALUE, "%s", text), DX_BAD_VALUE);
    assert_int_equal(strlen(boxed.refusal.text), REFUSAL_TEXT_MAX - 1);
    assert_int_equal(boxed.guard[0], 'Z');
}

/* A hostile name is an argument, never the format. */
static void test_percent_in_a_name(void **state)
{
    struct refusal refusal;

    (void)state;
    assert_int_equal(refuse(&refusal, DX_UNKNOWN, "property %s", "%s%n%p"), DX_UNKNOWN);
    assert_string_equal(refusal.text, "property %s%n%p");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fills_in),
        cmocka_unit_test(test_replaces),
        cmocka_unit_test(test_cuts_long_text),
        cmocka_unit_test(test_percent_in_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
