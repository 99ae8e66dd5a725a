/* SPDX-License-Identifier: MIT
 *
 * Serving the machine's interrupt controller.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "driver/host_plic.h"
#include "fake_arch.h"

enum { BASE = 0x0c000000, CONTEXT = BASE + 0x200000 + 0x1000, SOURCE = 5 };

static struct machine machine;
static struct hart hart;
static struct timer timer;
static unsigned pending, handled, completed;
static uint64_t now;

static uint32_t on_read(uint64_t address, unsigned bytes)
{
    assert_int_equal(bytes, 4);
    return address == CONTEXT + 4 && pending > 0 ? SOURCE : 0;
}

static void on_write(uint64_t address, unsigned bytes, uint32_t value)
{
    assert_int_equal(bytes, 4);
    if (address == CONTEXT + 4) {
        assert_int_equal(value, SOURCE);
        completed++;
    }
}

static uint64_t time_of_test(void)
{
    return now;
}

/* Each takes a while. */
static void handle(uint32_t source)
{
    assert_int_equal(source, SOURCE);
    assert_int_equal(completed, handled);
    handled++;
    pending--;
    now += 100;
}

static void serve(unsigned sources)
{
    pending = sources;
    handled = 0;
    completed = 0;
    host_plic_serve(handle);
    assert_int_equal(completed, handled);
}

static int setup(void **state)
{
    (void)state;
    memset(&machine, 0, sizeof(machine));
    memset(&hart, 0, sizeof(hart));
    memset(&timer, 0, sizeof(timer));
    now = 0;
    machine.plic.base = BASE;
    machine.plic.sources = 31;
    machine.plic.contexts = 2;
    machine.plic.m_context[0] = 1;
    machine.hart_count = 1;
    hart_ops = (struct hart_ops){.time = time_of_test};
    fake_arch.hart = &hart.arch;
    fake_arch.machine_pending = 0;
    fake_arch.on_mmio_read = on_read;
    fake_arch.on_mmio_write = on_write;
    assert_true(host_plic_init(&machine, &hart));
    return 0;
}

static void test_all(void **state)
{
    (void)state;
    serve(0);
    assert_int_equal(handled, 0);
    serve(7);
    assert_int_equal(handled, 7);
    serve(1000); /* a device that interrupts without end */
    assert_in_range(handled, 1, 100);
}

/* At least one each time, and then what is due. */
static void test_wanted(void **state)
{
    (void)state;
    timer_arm(&hart.timers, &timer, 250);
    serve(7);
    assert_int_equal(handled, 3);
    serve(4);
    assert_int_equal(handled, 1);
    timer_cancel(&timer);
    fake_arch.machine_pending = BIT(IRQ_M_SOFT);
    serve(3);
    assert_int_equal(handled, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all, setup),
        cmocka_unit_test_setup(test_wanted, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
