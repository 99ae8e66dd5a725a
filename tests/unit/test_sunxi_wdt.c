/* SPDX-License-Identifier: MIT
 *
 * The watchdog: what Linux's driver does with it, its periods, and fires that come too early or too late.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "core/config.h"
#include "core/hart.h"
#include "described.h"
#include "device/sunxi_wdt.h"
#include "support.h"

#define BASE UINT64_C(0x102000)
enum { CTRL = 0x10, CONFIG = 0x14, MODE = 0x18, FEED = 0x14af, ENABLE = 1, HZ = 10000000, SECOND = HZ };

static struct sunxi_wdt wdt;
static uint64_t now;
static uint64_t armed; /* what was last asked for */
static unsigned arms;
static bool held;
static uint32_t expired_after;
static unsigned expiries;

static uint64_t time_now(void)
{
    return now;
}

static bool is_locked(void)
{
    return wdt.device.lock.next != wdt.device.lock.serving;
}

static void on_arm(struct sunxi_wdt *of, uint64_t deadline)
{
    assert_ptr_equal(of, &wdt);
    assert_true(is_locked());
    assert_true(deadline > now); /* or the hart's heap would fire it again and again */
    armed = deadline;
    arms++;
}

static bool on_held(struct sunxi_wdt *of)
{
    assert_ptr_equal(of, &wdt);
    assert_true(is_locked());
    return held;
}

static void on_expired(struct sunxi_wdt *of, uint32_t milliseconds)
{
    assert_ptr_equal(of, &wdt);
    assert_false(is_locked());
    expired_after = milliseconds;
    expiries++;
}

static void reset(void)
{
    struct device_bus bus = {.count = 0};
    assert_int_equal(device_bus_add(&bus, &wdt.device), DX_OK);
    device_bus_reset(&bus);
}

static void make(uint32_t seconds)
{
    now = 5 * (uint64_t)SECOND;
    armed = 1;
    arms = expiries = 0;
    held = false;
    memset(&wdt, 0xa5, sizeof(wdt));
    sunxi_wdt_init(&wdt, (gpa_t){BASE}, seconds);
    wdt.arm = on_arm;
    wdt.held = on_held;
    wdt.expired = on_expired;
    reset();
}

static int setup(void **state)
{
    (void)state;
    hart_ops = (struct hart_ops){.time = time_now};
    clock_hz = HZ;
    make(0);
    return 0;
}

static uint32_t get(uint32_t offset)
{
    return (uint32_t)device_read(&wdt.device, (gpa_t){BASE + offset}, 4);
}

static void set(uint32_t offset, uint32_t value)
{
    device_write(&wdt.device, (gpa_t){BASE + offset}, 4, value);
}

/* It waits from now on for this long: not a tick less, and hardly one more. */
static void expect_period(uint64_t ticks)
{
    assert_in_range(armed, now + ticks, now + ticks + 1);
}

static void fire_at(uint64_t when)
{
    now = when;
    sunxi_wdt_fire(&wdt);
}

/* --- the steps of Linux's driver --- */

static void linux_set_timeout(uint32_t interval)
{
    set(MODE, (get(MODE) & ~0xf0u) | interval << 4);
    set(CTRL, FEED);
}

static void linux_start(uint32_t interval)
{
    linux_set_timeout(interval);
    set(CONFIG, (get(CONFIG) & ~3u) | 1);
    set(MODE, get(MODE) | ENABLE);
}

static void test_off_at_first(void **state)
{
    (void)state;
    assert_int_equal(armed, TIMER_NEVER);
    assert_int_equal(get(MODE), 0);
    assert_int_equal(get(CONFIG), 1);
    set(CTRL, FEED);
    assert_int_equal(armed, TIMER_NEVER);
    fire_at(1000 * (uint64_t)SECOND);
    assert_int_equal(expiries, 0);
}

static void test_linux_feeds_then_hangs(void **state)
{
    (void)state;
    linux_start(0xb);
    assert_int_equal(get(MODE), 0xb1);
    expect_period(16 * (uint64_t)SECOND);
    for (unsigned n = 0; n < 10; n++) {
        now += 8 * (uint64_t)SECOND;
        set(CTRL, FEED);
        expect_period(16 * (uint64_t)SECOND);
    }
    fire_at(armed);
    assert_int_equal(expiries, 1);
    assert_int_equal(expired_after, 16000);
}

static void test_linux_stops_it(void **state)
{
    (void)state;
    linux_start(5);
    set(MODE, 0);
    assert_int_equal(armed, TIMER_NEVER);
    set(CTRL, FEED);
    assert_int_equal(armed, TIMER_NEVER);
    fire_at(now + 100 * (uint64_t)SECOND);
    assert_int_equal(expiries, 0);
}

/* The driver's way to reset the machine: the least interval, then the same value for ever. */
static void test_linux_restarts_by_it(void **state)
{
    (void)state;
    linux_start(0xb);
    now += SECOND;
    set(CONFIG, (get(CONFIG) & ~3u) | 1);
    set(MODE, (get(MODE) & ~0xf0u) | ENABLE);
    set(CTRL, FEED);
    expect_period(SECOND / 2);
    const uint64_t due = armed;
    while (now < due) {
        set(MODE, get(MODE) | ENABLE);
        assert_int_equal(armed, due);
        now += SECOND / 200;
    }
    sunxi_wdt_fire(&wdt);
    assert_int_equal(expiries, 1);
    assert_int_equal(expired_after, 500);
}

/* --- periods --- */

static void test_every_interval(void **state)
{
    static const unsigned milliseconds[16] = {500,   1000,  2000,  3000,  4000,  5000,  6000,  8000,
                                              10000, 12000, 14000, 16000, 16000, 16000, 16000, 16000};
    (void)state;
    for (uint32_t interval = 0; interval < 16; interval++) {
        make(0);
        set(MODE, interval << 4 | ENABLE);
        expect_period(milliseconds[interval] * (uint64_t)HZ / 1000);
        assert_int_equal(get(MODE), interval << 4 | ENABLE);
        fire_at(armed);
        assert_int_equal(expired_after, milliseconds[interval]);
    }
}

/* A change begins a period; the same value again does not. */
static void test_writes_to_mode(void **state)
{
    (void)state;
    set(MODE, 0xb1);
    const uint64_t due = armed;
    now += SECOND;
    set(MODE, 0xffffffb1);
    assert_int_equal(get(MODE), 0xb1); /* only what means something stays */
    assert_int_equal(armed, due);
    set(MODE, 0x31);
    expect_period(3 * (uint64_t)SECOND);
    set(MODE, 0x30);
    assert_int_equal(armed, TIMER_NEVER);
    set(MODE, 0x31);
    expect_period(3 * (uint64_t)SECOND);
}

static void test_what_feeds(void **state)
{
    static const uint32_t others[] = {0, 1, FEED & ~1u, FEED ^ 2, FEED ^ 0x1000, ~(uint32_t)FEED};

    (void)state;
    set(MODE, 0xb1);
    const uint64_t due = armed;
    now += SECOND;
    for (size_t n = 0; n < ARRAY_LENGTH(others); n++) {
        set(CTRL, others[n]);
        assert_int_equal(armed, due);
    }
    set(CTRL, FEED);
    assert_true(armed > due);
    assert_int_equal(get(CTRL), 0);
}

/* --- fires --- */

static void test_fires_too_early_and_too_late(void **state)
{
    (void)state;
    set(MODE, 0x11);
    const uint64_t first = armed;
    now += SECOND / 2;
    set(CTRL, FEED); /* while the first fire was on its way */
    const uint64_t second = armed;
    fire_at(first);
    assert_int_equal(expiries, 0);
    assert_int_equal(armed, second);
    fire_at(second - 1);
    assert_int_equal(expiries, 0);
    fire_at(second + 3 * (uint64_t)SECOND);
    assert_int_equal(expiries, 1);
    set(MODE, 0);
    sunxi_wdt_fire(&wdt);
    assert_int_equal(expiries, 1);
}

/* A capsule that is paused can't feed it. */
static void test_held(void **state)
{
    (void)state;
    set(MODE, 0x51);
    held = true;
    for (unsigned n = 0; n < 5; n++) {
        fire_at(armed);
        assert_int_equal(expiries, 0);
        expect_period(5 * (uint64_t)SECOND);
    }
    now += 4 * (uint64_t)SECOND;
    held = false;
    sunxi_wdt_feed(&wdt);
    expect_period(5 * (uint64_t)SECOND);
    fire_at(armed);
    assert_int_equal(expiries, 1);
    set(MODE, 0);
    sunxi_wdt_feed(&wdt); /* what doesn't run is not started by that */
    assert_int_equal(armed, TIMER_NEVER);
}

/* Without "reset the system" there is nothing that it could do. */
static void test_config(void **state)
{
    (void)state;
    set(MODE, 0x21);
    for (uint32_t config = 0; config < 4; config++) {
        set(CONFIG, 0xfffffffc | config);
        assert_int_equal(get(CONFIG), config);
        fire_at(armed);
        assert_int_equal(expiries, config >= 1 ? 1 : 0);
        if (config != 1) {
            expect_period(2 * (uint64_t)SECOND);
        }
        sunxi_wdt_feed(&wdt);
    }
    reset();
    assert_int_equal(get(CONFIG), 1);
}

static void test_silence(void **state)
{
    (void)state;
    set(MODE, 0x21);
    const uint64_t due = armed;
    sunxi_wdt_silence(&wdt);
    assert_int_equal(armed, TIMER_NEVER);
    const unsigned before = arms;
    fire_at(due); /* it had already begun */
    sunxi_wdt_feed(&wdt);
    assert_int_equal(armed, TIMER_NEVER);
    assert_int_equal(expiries, 0);
    assert_true(arms <= before + 1);
    reset();
    assert_int_equal(get(MODE), 0);
    assert_int_equal(armed, TIMER_NEVER);
}

/* --- from the start on --- */

static void test_initial_period(void **state)
{
    static const struct {
        uint32_t seconds, mode;
    } rows[] = {{1, 0x11},  {6, 0x61},  {7, 0x61},
                {8, 0x71},  {9, 0x71},  {15, 0xa1},
                {16, 0xb1}, {17, 0xb1}, {CAPSULE_WATCHDOG_MAX, 0xb1}};

    (void)state;
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        make(rows[n].seconds);
        assert_int_equal(get(MODE), rows[n].mode);
        expect_period(rows[n].seconds * (uint64_t)SECOND);
        now += SECOND / 2;
        set(CTRL, FEED); /* which leaves the period as it is */
        expect_period(rows[n].seconds * (uint64_t)SECOND);
        fire_at(armed);
        assert_int_equal(expired_after, rows[n].seconds * 1000);
        sunxi_wdt_silence(&wdt);
        reset(); /* each life begins like this */
        assert_int_equal(get(MODE), rows[n].mode);
        expect_period(rows[n].seconds * (uint64_t)SECOND);
    }
}

/* Linux 6.12's driver finds it running, and goes on with the interval that it reads. */
static void test_linux_takes_over(void **state)
{
    (void)state;
    make(300);
    now += 100 * (uint64_t)SECOND;
    linux_start(get(MODE) >> 4 & 0xf);
    assert_int_equal(get(MODE), 0xb1);
    expect_period(16 * (uint64_t)SECOND);
    fire_at(armed);
    assert_int_equal(expired_after, 16000);
    /* One that doesn't look may also stop it. */
    make(300);
    set(MODE, 0);
    assert_int_equal(armed, TIMER_NEVER);
}

/* --- the rest --- */

static void test_other_accesses(void **state)
{
    (void)state;
    set(MODE, 0xb1);
    const uint64_t due = armed;
    now += SECOND;
    for (uint32_t offset = 0; offset + 8 <= SUNXI_WDT_WINDOW_SIZE; offset++) {
        for (unsigned width = 1; width <= 8; width *= 2) {
            if (width != 4 || (offset != CTRL && offset != CONFIG && offset != MODE)) {
                device_write(&wdt.device, (gpa_t){BASE + offset}, width, FEED);
                assert_int_equal(device_read(&wdt.device, (gpa_t){BASE + offset}, width), 0);
            }
        }
    }
    assert_int_equal(get(MODE), 0xb1);
    assert_int_equal(get(CONFIG), 1);
    assert_int_equal(armed, due);
}

static void test_describe(void **state)
{
    static _Alignas(8) uint8_t tree[DESCRIBED_SIZE];
    static const char path[] = "/soc/watchdog@102000";
    struct tree_context context = {.plic_phandle = 9, .vcpu_phandle_base = 1, .vcpus = 1, .next_phandle = 10};

    (void)state;
    assert_int_equal(described(&wdt.device, tree, sizeof(tree), &context), 0);
    assert_true(described_has_string(tree, path, "compatible", "allwinner,sun6i-a31-wdt"));
    assert_int_equal(described_cell(tree, path, "reg", 1), 0x102000);
    assert_int_equal(described_cell(tree, path, "reg", 3), 0x1000);
    assert_int_equal(described_length(tree, path, "interrupts"), -1);
    described_needs_room(&wdt.device, &context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_off_at_first, setup),
        cmocka_unit_test_setup(test_linux_feeds_then_hangs, setup),
        cmocka_unit_test_setup(test_linux_stops_it, setup),
        cmocka_unit_test_setup(test_linux_restarts_by_it, setup),
        cmocka_unit_test_setup(test_every_interval, setup),
        cmocka_unit_test_setup(test_writes_to_mode, setup),
        cmocka_unit_test_setup(test_what_feeds, setup),
        cmocka_unit_test_setup(test_fires_too_early_and_too_late, setup),
        cmocka_unit_test_setup(test_held, setup),
        cmocka_unit_test_setup(test_config, setup),
        cmocka_unit_test_setup(test_silence, setup),
        cmocka_unit_test_setup(test_initial_period, setup),
        cmocka_unit_test_setup(test_linux_takes_over, setup),
        cmocka_unit_test_setup(test_other_accesses, setup),
        cmocka_unit_test_setup(test_describe, setup),
    };

    return cmocka_run_group_tests_name("sunxi_wdt", tests, NULL, NULL);
}
