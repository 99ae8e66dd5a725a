/* SPDX-License-Identifier: MIT
 *
 * What the hypervisor's most frequent services cost, in instructions: run it under -icount shift=0,sleep=off with one
 * hart. Each figure is of one round of a loop, the guest's own share included. bootargs: count=ROUNDS.
 */
#include "guest.h"

/* Where instret cannot be read, or counts something else (Diosix: ticks), time serves: with icount an instruction takes
 * a nanosecond. */
static bool by_time;

static unsigned long read_instret(unsigned long a, unsigned long b, unsigned long c)
{
    (void)a, (void)b, (void)c;
    return csr_read(instret);
}

static uint64_t meter(void)
{
    return by_time ? now() : csr_read(instret);
}

static void report(const char *name, uint64_t spent, unsigned long rounds)
{
    uint64_t whole = by_time ? spent * (1000000000 / machine.timebase) : spent;
    unsigned long tenths = (unsigned long)(whole * 10) / rounds;
    print("bench: %s %lu.%lu\n", name, tenths / 10, tenths % 10);
}

static void empty(void)
{
    __asm__ volatile("" : : : "memory");
}

static void base_call(void)
{
    sbi(SBI_EXT_BASE, 0, 0, 0, 0);
}

static void unknown_call(void)
{
    sbi(0x0a0a0a0a, 0, 0, 0, 0);
}

static void set_timer(void)
{
    sbi_set_timer(~0ull - 1);
}

/* With the interrupt taken, cleared and returned from. */
static void self_ipi(void)
{
    sbi(SBI_EXT_IPI, 0, BIT(0), this_hart()->id, 0);
}

static void timer_interrupt(void)
{
    unsigned long before = this_hart()->interrupts[TIMER];
    sbi_set_timer(0);
    while (this_hart()->interrupts[TIMER] == before) {
    }
}

static void local_fence(void)
{
    sbi(SBI_EXT_RFENCE, 1, BIT(0), this_hart()->id, 0);
}

static void local_fence_i(void)
{
    sbi(SBI_EXT_RFENCE, 0, BIT(0), this_hart()->id, 0);
}

static void read_time(void)
{
    now();
}

static void illegal(void)
{
    static const uint32_t code[] = {0xffffffff, CODE_RET};
    static bool ready;
    static unsigned long at;
    if (!ready) {
        ready = true;
        run_code(code, COUNT_OF(code), 0, 0);
        at = this_hart()->caught.pc;
    }
    catch_trap((catchable)(uintptr_t)at, 0, 0, 0);
}

static unsigned long plic;

static void plic_read(void)
{
    __asm__ volatile("lw zero, 0(%0)" : : "r"(plic) : "memory");
}

static void wfi_pending(void)
{
    wait_for_interrupt();
}

static void measure(const char *name, void (*operation)(void))
{
    unsigned long rounds = argument("count", 10000);
    operation(); /* once outside, for whatever is made at first use */
    uint64_t begin = meter();
    for (unsigned long i = 0; i < rounds; i++) {
        operation();
    }
    report(name, meter() - begin, rounds);
}

static void bench(void)
{
    csr_set(scounteren, 7);
    by_time = on_diosix || catch_trap(read_instret, 0, 0, 0).trapped || argument("by-time", 0) != 0;
    note("unit: instructions, by %s", by_time ? "time" : "instret");
    measure("loop", empty);
    measure("read-time", read_time);
    measure("base-call", base_call);
    measure("unknown-call", unknown_call);
    measure("set-timer", set_timer);
    measure("remote-fence-self", local_fence);
    measure("remote-fence-i-self", local_fence_i);
    measure("illegal-instruction", illegal);
    const struct machine_device *device = find_device("riscv,plic0");
    device = device != NULL ? device : find_device("sifive,plic-1.0.0");
    if (device != NULL) {
        plic = (unsigned long)device->base + 4;
        measure("plic-read", plic_read);
    }
    csr_set(sip, BIT(SOFT));
    csr_set(sie, BIT(SOFT));
    measure("wfi-pending", wfi_pending);
    csr_clear(sip, BIT(SOFT));
    csr_set(sie, BIT(SOFT) | BIT(TIMER));
    csr_set(sstatus, STATUS_SIE);
    measure("self-ipi", self_ipi);
    measure("timer-interrupt", timer_interrupt);
    csr_clear(sstatus, STATUS_SIE);
    sbi_set_timer(~0ull);
    check(true, "bench");
}

const struct subtest subtests[] = {{"bench", bench, false}};
const size_t subtest_count = COUNT_OF(subtests);
