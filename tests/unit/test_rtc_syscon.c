/* SPDX-License-Identifier: MIT
 *
 * The clock of the day and the power switch.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "described.h"
#include "device/goldfish_rtc.h"
#include "device/syscon.h"
#include "support.h"

#define RTC_BASE    UINT64_C(0x101000)
#define SYSCON_BASE UINT64_C(0x100000)
#define START       UINT64_C(1700000000123456789)

enum {
    TIME_LOW = 0x00,
    TIME_HIGH = 0x04,
    ALARM_LOW = 0x08,
    ALARM_HIGH = 0x0c,
    IRQ_ENABLED = 0x10,
    CLEAR_ALARM = 0x14,
    ALARM_STATUS = 0x18,
    CLEAR_INTERRUPT = 0x1c,
};

static struct goldfish_rtc rtc;
static uint64_t host_now;
static uint64_t armed; /* what was last asked for */
static bool level;

static uint64_t now_ns(void)
{
    return host_now;
}

static void on_line(void *controller, uint32_t source, bool to)
{
    assert_ptr_equal(controller, &level);
    assert_int_equal(source, 11);
    level = to;
}

static void on_arm(struct goldfish_rtc *armed_rtc, uint64_t when_ns)
{
    assert_ptr_equal(armed_rtc, &rtc);
    assert_true(rtc.device.lock.next != rtc.device.lock.serving);
    armed = when_ns;
}

static int setup(void **state)
{
    (void)state;
    host_now = START;
    armed = 1;
    level = false;
    memset(&rtc, 0xa5, sizeof(rtc));
    goldfish_rtc_init(&rtc, (gpa_t){RTC_BASE}, (struct irq_line){on_line, &level, 11}, now_ns);
    rtc.arm = on_arm;
    return 0;
}

static uint32_t get(uint32_t offset)
{
    return (uint32_t)device_read(&rtc.device, (gpa_t){RTC_BASE + offset}, 4);
}

static void set(uint32_t offset, uint32_t value)
{
    device_write(&rtc.device, (gpa_t){RTC_BASE + offset}, 4, value);
}

static uint64_t guest_time(void)
{
    uint64_t low = get(TIME_LOW);

    return low | (uint64_t)get(TIME_HIGH) << 32;
}

/* In the order of Linux's driver. */
static void set_time(uint64_t time)
{
    set(TIME_HIGH, (uint32_t)(time >> 32));
    set(TIME_LOW, (uint32_t)time);
}

static void set_alarm(uint64_t time)
{
    set(ALARM_HIGH, (uint32_t)(time >> 32));
    set(ALARM_LOW, (uint32_t)time);
    set(IRQ_ENABLED, 1);
}

static void test_time(void **state)
{
    (void)state;
    assert_int_equal(guest_time(), START);
    host_now += 5;
    assert_int_equal(guest_time(), START + 5);
}

static void test_high_half_is_latched(void **state)
{
    (void)state;
    host_now = UINT64_C(0x5ffffffff);
    assert_int_equal(get(TIME_LOW), 0xffffffff);
    host_now++;
    assert_int_equal(get(TIME_HIGH), 5);
    assert_int_equal(guest_time(), UINT64_C(0x600000000));
}

static void test_set_time(void **state)
{
    static const uint64_t times[] = {0, 1, START - 1000, START + 1000, UINT64_C(0xffffffff00000000), UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(times); i++) {
        set_time(times[i]);
        assert_int_equal(guest_time(), times[i]);
        host_now += 3;
        assert_int_equal(guest_time(), times[i] + 3);
    }
    set(TIME_LOW, 7); /* the other order works too */
    set(TIME_HIGH, 8);
    assert_int_equal(guest_time(), UINT64_C(0x800000007));
}

static void test_alarm_rings(void **state)
{
    (void)state;
    set_alarm(START + 1000);
    assert_int_equal(armed, START + 1000);
    assert_int_equal(get(ALARM_STATUS), 1);
    assert_int_equal(get(ALARM_LOW), (uint32_t)(START + 1000));
    assert_int_equal(get(ALARM_HIGH), (START + 1000) >> 32);
    host_now += 999;
    goldfish_rtc_fire(&rtc); /* too early: asked for again */
    assert_false(level);
    assert_int_equal(armed, START + 1000);
    host_now += 1;
    goldfish_rtc_fire(&rtc);
    assert_true(level);
    assert_int_equal(get(ALARM_STATUS), 0);
    assert_int_equal(armed, GOLDFISH_RTC_NEVER);
    set(CLEAR_INTERRUPT, 1);
    assert_false(level);
    goldfish_rtc_fire(&rtc); /* nothing is set any more */
    assert_false(level);
}

static void test_alarm_in_the_past_rings_at_once(void **state)
{
    (void)state;
    set(IRQ_ENABLED, 1);
    set_alarm(START - 1);
    assert_true(level);
    set(IRQ_ENABLED, 0);
    assert_false(level);
    set(IRQ_ENABLED, 0xffffffff);
    assert_int_equal(get(IRQ_ENABLED), 1);
    assert_true(level); /* pending until it is cleared */
}

static void test_clear_alarm(void **state)
{
    (void)state;
    set_alarm(START + 1000);
    set(CLEAR_ALARM, 1);
    assert_int_equal(armed, GOLDFISH_RTC_NEVER);
    assert_int_equal(get(ALARM_STATUS), 0);
    host_now += 5000;
    goldfish_rtc_fire(&rtc);
    assert_false(level);
}

/* The capsule has stopped. */
static void test_silence(void **state)
{
    (void)state;
    set_alarm(START + 1000);
    goldfish_rtc_silence(&rtc);
    assert_int_equal(armed, GOLDFISH_RTC_NEVER);
    host_now += 5000;
    goldfish_rtc_fire(&rtc); /* it had already begun */
    assert_int_equal(armed, GOLDFISH_RTC_NEVER);
    assert_false(level);
}

static void test_alarm_is_in_guest_time(void **state)
{
    (void)state;
    set_time(1000);
    set_alarm(1500);
    assert_int_equal(armed, START + 500);
    set_time(1400); /* moving the clock moves the moment */
    assert_int_equal(armed, START + 100);
    set_time(1500);
    assert_true(level);
    set_alarm(UINT64_MAX);
    assert_int_equal(armed, GOLDFISH_RTC_NEVER); /* beyond the host's time: not wrapped */
    host_now = UINT64_MAX - 10;
    set_time(0);
    set_alarm(9);
    assert_int_equal(armed, UINT64_MAX - 1);
    set_alarm(1000);
    assert_int_equal(armed, GOLDFISH_RTC_NEVER);
}

static void test_without_hook(void **state)
{
    (void)state;
    rtc.arm = NULL;
    set_alarm(START + 10);
    set(CLEAR_ALARM, 0);
    set_alarm(START);
    assert_true(level);
    assert_int_equal(armed, 1);
}

static void test_reset_keeps_the_clock(void **state)
{
    struct device_bus bus = {.count = 0};

    (void)state;
    assert_int_equal(device_bus_add(&bus, &rtc.device), DX_OK);
    set_time(5000);
    set_alarm(5000);
    assert_true(level);
    set_alarm(6000);
    device_bus_reset(&bus);
    assert_false(level);
    assert_int_equal(armed, GOLDFISH_RTC_NEVER);
    assert_int_equal(guest_time(), 5000);
    assert_int_equal(get(ALARM_STATUS), 0);
    assert_int_equal(get(ALARM_LOW), 0);
    assert_int_equal(get(IRQ_ENABLED), 0);
}

static void test_rtc_other_accesses(void **state)
{
    (void)state;
    set(IRQ_ENABLED, 1);
    for (uint32_t offset = 0; offset + 8 <= GOLDFISH_RTC_WINDOW_SIZE; offset++) {
        for (unsigned width = 1; width <= 8; width *= 2) {
            if (width != 4 || offset % 4 != 0 || offset > CLEAR_INTERRUPT) {
                device_write(&rtc.device, (gpa_t){RTC_BASE + offset}, width, 0);
                assert_int_equal(device_read(&rtc.device, (gpa_t){RTC_BASE + offset}, width), 0);
            }
        }
    }
    assert_int_equal(get(IRQ_ENABLED), 1);
    assert_int_equal(get(CLEAR_ALARM), 0);
    set(ALARM_STATUS, 1);
    assert_int_equal(get(ALARM_STATUS), 0);
    assert_int_equal(guest_time(), START);
}

static void test_rtc_describe(void **state)
{
    static _Alignas(8) uint8_t tree[DESCRIBED_SIZE];
    static const char path[] = "/soc/rtc@101000";
    struct tree_context context = {.plic_phandle = 9, .vcpu_phandle_base = 1, .vcpus = 1, .next_phandle = 10};

    (void)state;
    assert_int_equal(described(&rtc.device, tree, sizeof(tree), &context), 0);
    assert_true(described_has_string(tree, path, "compatible", "google,goldfish-rtc"));
    assert_int_equal(described_cell(tree, path, "interrupts", 0), 11);
    assert_int_equal(described_cell(tree, path, "interrupt-parent", 0), 9);
    assert_int_equal(described_cell(tree, path, "reg", 1), 0x101000);
    assert_int_equal(described_cell(tree, path, "reg", 3), 0x1000);
    described_needs_room(&rtc.device, &context);

    rtc.irq.set = NULL;
    assert_int_equal(described(&rtc.device, tree, sizeof(tree), &context), 0);
    assert_int_equal(described_length(tree, path, "interrupts"), -1);
}

/* --- the power switch --- */

static struct syscon syscon;
static unsigned power_offs;
static unsigned reboots;

static void on_request(void *arg, bool reboot)
{
    assert_ptr_equal(arg, &power_offs);
    if (reboot) {
        reboots++;
    } else {
        power_offs++;
    }
}

static int setup_syscon(void **state)
{
    (void)state;
    power_offs = 0;
    reboots = 0;
    memset(&syscon, 0xa5, sizeof(syscon));
    syscon_init(&syscon, (gpa_t){SYSCON_BASE}, on_request, &power_offs);
    return 0;
}

static void test_power_off_and_reboot(void **state)
{
    (void)state;
    device_write(&syscon.device, (gpa_t){SYSCON_BASE}, 4, 0x5555);
    assert_int_equal(power_offs, 1);
    assert_int_equal(reboots, 0);
    device_write(&syscon.device, (gpa_t){SYSCON_BASE}, 4, 0x7777);
    assert_int_equal(power_offs, 1);
    assert_int_equal(reboots, 1);
    assert_int_equal(device_read(&syscon.device, (gpa_t){SYSCON_BASE}, 4), 0);
}

static void test_other_writes_do_nothing(void **state)
{
    static const uint64_t values[] = {0, 1, 0x3333, 0x5554, 0x15555, 0x17777, 0xffffffff};
    struct device_bus bus = {.count = 0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
        device_write(&syscon.device, (gpa_t){SYSCON_BASE}, 4, values[i]);
    }
    for (uint32_t offset = 0; offset + 8 <= SYSCON_WINDOW_SIZE; offset++) {
        for (unsigned width = 1; width <= 8; width *= 2) {
            if (width != 4 || offset != 0) {
                device_write(&syscon.device, (gpa_t){SYSCON_BASE + offset}, width, 0x5555);
            }
        }
    }
    assert_int_equal(device_bus_add(&bus, &syscon.device), DX_OK);
    device_bus_reset(&bus);
    assert_int_equal(power_offs + reboots, 0);
}

static void test_syscon_describe(void **state)
{
    static _Alignas(8) uint8_t tree[DESCRIBED_SIZE];
    static const char path[] = "/soc/test@100000";
    struct tree_context context = {.plic_phandle = 9, .vcpu_phandle_base = 1, .vcpus = 1, .next_phandle = 10};

    (void)state;
    assert_int_equal(described(&syscon.device, tree, sizeof(tree), &context), 0);
    assert_int_equal(context.next_phandle, 11);
    assert_true(described_has_string(tree, path, "compatible", "sifive,test1"));
    assert_true(described_has_string(tree, path, "compatible", "sifive,test0"));
    assert_true(described_has_string(tree, path, "compatible", "syscon"));
    assert_int_equal(described_cell(tree, path, "phandle", 0), 10);
    assert_int_equal(described_cell(tree, path, "reg", 1), 0x100000);
    assert_true(described_has_string(tree, "/soc/poweroff", "compatible", "syscon-poweroff"));
    assert_int_equal(described_cell(tree, "/soc/poweroff", "regmap", 0), 10);
    assert_int_equal(described_cell(tree, "/soc/poweroff", "offset", 0), 0);
    assert_int_equal(described_cell(tree, "/soc/poweroff", "value", 0), 0x5555);
    assert_true(described_has_string(tree, "/soc/reboot", "compatible", "syscon-reboot"));
    assert_int_equal(described_cell(tree, "/soc/reboot", "regmap", 0), 10);
    assert_int_equal(described_cell(tree, "/soc/reboot", "value", 0), 0x7777);
    described_needs_room(&syscon.device, &context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_time, setup),
        cmocka_unit_test_setup(test_high_half_is_latched, setup),
        cmocka_unit_test_setup(test_set_time, setup),
        cmocka_unit_test_setup(test_alarm_rings, setup),
        cmocka_unit_test_setup(test_alarm_in_the_past_rings_at_once, setup),
        cmocka_unit_test_setup(test_clear_alarm, setup),
        cmocka_unit_test_setup(test_silence, setup),
        cmocka_unit_test_setup(test_alarm_is_in_guest_time, setup),
        cmocka_unit_test_setup(test_without_hook, setup),
        cmocka_unit_test_setup(test_reset_keeps_the_clock, setup),
        cmocka_unit_test_setup(test_rtc_other_accesses, setup),
        cmocka_unit_test_setup(test_rtc_describe, setup),
        cmocka_unit_test_setup(test_power_off_and_reboot, setup_syscon),
        cmocka_unit_test_setup(test_other_writes_do_nothing, setup_syscon),
        cmocka_unit_test_setup(test_syscon_describe, setup_syscon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
