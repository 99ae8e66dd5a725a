/* SPDX-License-Identifier: MIT
 *
 * The devices that a capsule sees, as a hostile or merely odd driver uses them. Run on QEMU's own machine (under
 * OpenSBI) the same tests tell where the models differ.
 */
#include "devices.h"

unsigned long plic, uart, rtc, syscon;
unsigned uart_irq = 10, rtc_irq = 11;

static void devices_find(void)
{
    const struct machine_device *device = find_device("sifive,plic-1.0.0");
    plic = device != NULL ? (unsigned long)device->base : 0;
    device = find_device("ns16550a");
    uart = device != NULL ? (unsigned long)device->base : 0;
    device = find_device("google,goldfish-rtc");
    rtc = device != NULL ? (unsigned long)device->base : 0;
    device = find_device("sifive,test1");
    syscon = device != NULL ? (unsigned long)device->base : 0;
    check(plic != 0 && uart != 0, "the tree has a PLIC (0x%lx) and a UART (0x%lx)", plic, uart);
    if (plic == 0 || uart == 0) {
        finish();
    }
    note("RTC 0x%lx, syscon 0x%lx", rtc, syscon);
}

/* Two reads of the clock. */
void devices_rtc(void)
{
    if (rtc == 0) {
        skip("rtc", "no RTC");
        return;
    }
    unsigned long low = must_load(rtc, 4), high = must_load(rtc + 4, 4);
    uint64_t first = (uint64_t)high << 16 << 16 | low;
    check(first != 0, "rtc: time 0x%llx ns", (unsigned long long)first);
    spin(milliseconds(2));
    low = must_load(rtc, 4);
    high = must_load(rtc + 4, 4);
    uint64_t second = (uint64_t)high << 16 << 16 | low;
    check(second > first && second - first < 60000000000ull, "rtc: goes on: %lld ns", (long long)(second - first));
}

void devices_alarm(void)
{
    if (rtc == 0) {
        skip("alarm", "no RTC");
        return;
    }
    unsigned long low = must_load(rtc, 4), high = must_load(rtc + 4, 4);
    uint64_t alarm = ((uint64_t)high << 16 << 16 | low) + 200000000; /* 200 ms ahead */
    must_store(plic + 4 * rtc_irq, 4, 1);
    must_store(plic_enable(own_context()), 4, BIT(rtc_irq));
    must_store(rtc + 0x10, 4, 1);
    must_store(rtc + 0x0c, 4, (unsigned long)(alarm >> 32));
    must_store(rtc + 0x08, 4, (unsigned long)alarm & 0xffffffff);
    same("alarm: alarm is set", must_load(rtc + 0x18, 4), 1);
    uint64_t end = now() + milliseconds(2000);
    while (!is_pending(EXTERNAL) && now() < end) {
    }
    same("alarm: alarm comes as its interrupt", must_load(plic_claim(own_context()), 4), rtc_irq);
    same("alarm: alarm is no longer set", must_load(rtc + 0x18, 4), 0);
    must_store(rtc + 0x1c, 4, 1);
    must_store(plic_claim(own_context()), 4, rtc_irq);
    check(!is_pending(EXTERNAL), "alarm: interrupt is over once cleared and completed");
    must_store(rtc + 0x10, 4, 0);
    must_store(plic_enable(own_context()), 4, 0);
}

void devices_syscon(void)
{
    if (syscon == 0 || !on_diosix) {
        skip("syscon", "not there, or not ours to poke");
        return;
    }
    static const unsigned long values[] = {0, 1, 0xffffffff, 0x5554, 0x5556, 0x7776, 0x55550000, 0x77770000, 0x15555};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        must_store(syscon, 4, values[i]);
        case_check(must_load(syscon, 4) == 0, "after 0x%lx", values[i]);
    }
    must_store(syscon, 2, 0x5555);
    must_store(syscon + 4, 4, 0x5555);
    must_store(syscon + 0xffc, 4, 0x7777);
    must_store(syscon, 1, 0x55);
    if (XLEN == 64) {
        must_store(syscon, 8, 0x5555);
    }
    cases_end("syscon: nothing but its two values, as 32 bits, does anything");
}

static const struct subtest all[] = {
    {"forms", devices_forms, false},
    {"faults", devices_fault_forms, false},
    {"misaligned", devices_misaligned, false},
    {"holes", devices_holes, false},
    {"fetch", devices_fetch, false},
    {"paging", devices_paging, false},
    {"straddle", devices_straddle, false},
    {"tables", devices_tables, false},
    {"swap", devices_swap, false},
    {"plic", devices_plic, false},
    {"plic-sweep", devices_plic_sweep, false},
    {"uart", devices_uart, false},
    {"interrupt", devices_uart_interrupt, false},
    {"race", devices_plic_race, false},
    {"rtc", devices_rtc, false},
    {"syscon", devices_syscon, false},
    {"alarm", devices_alarm, true},
};

/* All tests need to know where the devices are. */
static void devices(void)
{
    const char *only = argument_text("tests");
    devices_find();
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (only == NULL ? !all[i].manual : has_word(only, all[i].name)) {
            note("%s", all[i].name);
            all[i].run();
        }
    }
}

const struct subtest subtests[] = {{"devices", devices, false}};
const size_t subtest_count = COUNT_OF(subtests);
