/* SPDX-License-Identifier: MIT
 *
 * The hypervisor's command line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "boot/boot.h"
#include "core/log.h"
#include "fake_arch.h"

static unsigned alerts;
static char last[LOG_LINE_MAX];

static void sink(enum log_level level, const char *line, size_t length)
{
    alerts += level == LOG_ALERT ? 1 : 0;
    memcpy(last, line, length);
    last[length] = '\0';
}

static int setup(void **state)
{
    (void)state;
    fake_arch_reset();
    log_set_level(LOG_INFO);
    log_set_sink(sink);
    alerts = 0;
    return 0;
}

static void test_defaults(void **state)
{
    (void)state;
    static const char *const nothing[] = {"", " ", "      "};
    for (size_t n = 0; n < ARRAY_LENGTH(nothing); n++) {
        struct boot_options options = boot_parse_options(nothing[n]);
        assert_int_equal(options.isolation, ISOLATION_AUTO);
        assert_false(options.halt_when_idle);
    }
    assert_int_equal(log_level_current(), LOG_INFO);
    assert_int_equal(alerts, 0);
}

static void test_isolation(void **state)
{
    (void)state;
    assert_int_equal(boot_parse_options("isolation=pmp").isolation, ISOLATION_PMP);
    assert_int_equal(boot_parse_options("isolation=hyp").isolation, ISOLATION_HYP);
    assert_int_equal(boot_parse_options("isolation=auto").isolation, ISOLATION_AUTO);
    assert_int_equal(boot_parse_options("isolation=hyp isolation=pmp").isolation, ISOLATION_PMP);
    assert_int_equal(alerts, 0);
    static const char *const wrong[] = {"isolation=", "isolation=PMP", "isolation=pmpx", "isolation=pm"};
    for (size_t n = 0; n < ARRAY_LENGTH(wrong); n++) {
        assert_int_equal(boot_parse_options(wrong[n]).isolation, ISOLATION_AUTO);
        assert_int_equal(alerts, n + 1);
    }
    /* What the log says is what happens. */
    assert_int_equal(boot_parse_options("isolation=pmp isolation=none").isolation, ISOLATION_AUTO);
}

static void test_loglevel(void **state)
{
    (void)state;
    boot_parse_options("loglevel=debug");
    assert_int_equal(log_level_current(), LOG_DEBUG);
    boot_parse_options("loglevel=alert");
    assert_int_equal(log_level_current(), LOG_ALERT);
    boot_parse_options("loglevel=info");
    assert_int_equal(log_level_current(), LOG_INFO);
    assert_int_equal(alerts, 0);
    boot_parse_options("loglevel=debug loglevel=loud");
    assert_int_equal(alerts, 1);
    assert_int_equal(log_level_current(), LOG_INFO);
}

static void test_on_idle(void **state)
{
    (void)state;
    assert_true(boot_parse_options("on-idle=halt").halt_when_idle);
    assert_false(boot_parse_options("on-idle=halt on-idle=poweroff").halt_when_idle);
    assert_int_equal(alerts, 0);
    assert_false(boot_parse_options("on-idle=halt on-idle=sleep").halt_when_idle);
    assert_int_equal(alerts, 1);
}

static void test_fault(void **state)
{
    (void)state;
    assert_int_equal(boot_parse_options("fault=nonsense").fault, boot_parse_options("").fault);
    assert_int_equal(alerts, 1);
    if (!DIOSIX_DEBUG) {
        assert_int_equal(boot_parse_options("fault=panic").fault, boot_parse_options("").fault);
        assert_int_equal(alerts, 2);
    } else {
        assert_int_equal(boot_parse_options("fault=panic").fault, FAULT_PANIC);
    }
}

static void test_several_words(void **state)
{
    (void)state;
    struct boot_options options = boot_parse_options("  isolation=pmp   on-idle=halt loglevel=debug  ");
    assert_int_equal(options.isolation, ISOLATION_PMP);
    assert_true(options.halt_when_idle);
    assert_int_equal(log_level_current(), LOG_DEBUG);
    assert_int_equal(alerts, 0);
}

/* Unknown words are named and ignored; known ones beside them count. Formats in them are only text. */
static void test_unknown_words(void **state)
{
    (void)state;
    struct boot_options options = boot_parse_options("quiet isolation=pmp %s%n isolation on-idle");
    assert_int_equal(options.isolation, ISOLATION_PMP);
    assert_int_equal(alerts, 4);
    boot_parse_options("%n%s");
    assert_non_null(strstr(last, "command line: %n%s\r\n"));
}

/* However long a word is, the next one is read as it should be. */
static void test_long_words(void **state)
{
    (void)state;
    char line[5000];
    memset(line, 'x', sizeof(line));
    strcpy(line + 4000, " isolation=pmp ");
    memset(line + 4015, 'y', sizeof(line) - 4016);
    line[sizeof(line) - 1] = '\0';
    assert_int_equal(boot_parse_options(line).isolation, ISOLATION_PMP);
    assert_int_equal(alerts, 2);
    memcpy(line, "isolation=pmp", 13);
    memset(line + 13, 'z', 3987);
    line[4000] = '\0';
    assert_int_equal(boot_parse_options(line).isolation, ISOLATION_AUTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, setup),      cmocka_unit_test_setup(test_isolation, setup),
        cmocka_unit_test_setup(test_loglevel, setup),      cmocka_unit_test_setup(test_on_idle, setup),
        cmocka_unit_test_setup(test_fault, setup),         cmocka_unit_test_setup(test_several_words, setup),
        cmocka_unit_test_setup(test_unknown_words, setup), cmocka_unit_test_setup(test_long_words, setup),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
