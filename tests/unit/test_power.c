/* SPDX-License-Identifier: MIT
 *
 * Switching the machine off and restarting it: what is written where, and what is said if nothing comes of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "boot/power.c"

#include "fake_arch.h"
#include "support.h"

enum { HZ = 1000, NOTHING = 0x600d };

static struct {
    jmp_buf end;
    char last_words[160];
    void (*power_off)(void);
    unsigned rings;
    uint64_t now;
} machine;

struct machine boot_machine;
static struct hart other = {.index = 1, .online = true};

_Noreturn void halt_machine(const char *pattern, ...)
{
    va_list arguments;
    va_start(arguments, pattern);
    vsnprintf(machine.last_words, sizeof(machine.last_words), pattern, arguments);
    va_end(arguments);
    longjmp(machine.end, 1);
}

void panic_set_output(void (*put)(char byte))
{
    (void)put;
}

void panic_set_power_off(void (*power_off)(void))
{
    machine.power_off = power_off;
}

static uint64_t passing_time(void)
{
    return machine.now += 100;
}

static void ring(struct hart *hart)
{
    (void)hart;
    machine.rings++;
}

static int setup(void **state)
{
    (void)state;
    fake_arch_reset();
    memset(&machine, 0, sizeof(machine));
    boot_machine.poweroff = (struct machine_syscon){0};
    boot_machine.reboot = (struct machine_syscon){0};
    boot_machine.timebase_hz = HZ;
    hart_ops = (struct hart_ops){.time = passing_time, .ring = ring};
    hart_count = 2;
    harts[0] = (struct hart *)(void *)fake_arch.hart;
    harts[1] = &other;
    return 0;
}

/* A register of the machine. */
static uint32_t *some_register(void)
{
    static uint32_t reg;
    reg = NOTHING;
    return &reg;
}

static void test_reboot_writes_the_value(void **state)
{
    (void)state;
    uint32_t *reg = some_register();
    boot_machine.reboot = (struct machine_syscon){(uintptr_t)reg, 0x7777, UINT32_MAX};
    if (setjmp(machine.end) == 0) {
        boot_reboot();
    }
    assert_int_equal(*reg, 0x7777);
    assert_int_equal(machine.rings, 1); /* the other hart is told to halt */
    assert_true(machine.now >= 2 * HZ);
    assert_null(machine.power_off); /* the end must not become another one */
    assert_string_equal(machine.last_words, "The machine did not restart: reset it now");
}

static void test_reboot_under_a_mask(void **state)
{
    (void)state;
    uint32_t *reg = some_register();
    boot_machine.reboot = (struct machine_syscon){(uintptr_t)reg, 0xffff0001, 0xff};
    if (setjmp(machine.end) == 0) {
        boot_reboot();
    }
    assert_int_equal(*reg, (NOTHING & ~0xff) | 1);
}

static void test_power_off(void **state)
{
    (void)state;
    uint32_t *reg = some_register();
    boot_machine.poweroff = (struct machine_syscon){(uintptr_t)reg, 0x5555, UINT32_MAX};
    if (setjmp(machine.end) == 0) {
        boot_power_off();
    }
    assert_int_equal(*reg, 0x5555);
    assert_string_equal(machine.last_words, "This machine cannot be switched off by software: switch it off now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reboot_writes_the_value, setup),
        cmocka_unit_test_setup(test_reboot_under_a_mask, setup),
        cmocka_unit_test_setup(test_power_off, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
