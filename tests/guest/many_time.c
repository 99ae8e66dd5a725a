/* SPDX-License-Identifier: MIT
 *
 * Guests that look at the clock: how late a sleeper wakes, whether time is the same everywhere, what was stolen, and
 * one that needs no hypervisor at all.
 */
#include "many.h"

enum { SAMPLES_MAX = 1024 };

static unsigned samples[SAMPLES_MAX];

/* --- waker: sleeps, and says how late it woke --- */

/* Shell's: there is little room, and no hurry. */
static void sort(unsigned *values, size_t count)
{
    for (size_t gap = count / 2; gap > 0; gap /= 2) {
        for (size_t i = gap; i < count; i++) {
            unsigned value = values[i];
            size_t j = i;
            for (; j >= gap && values[j - gap] > value; j -= gap) {
                values[j] = values[j - gap];
            }
            values[j] = value;
        }
    }
}

/* Ticks from the deadline to the instruction after WFI. */
static unsigned sleep_until(uint64_t deadline)
{
    sbi_set_timer(deadline);
    uint64_t t = 0;
    while ((t = now()) < deadline) {
        wait_for_interrupt();
    }
    sbi_set_timer(~0ull);
    return t - deadline > ~0u ? ~0u : (unsigned)(t - deadline);
}

/* bootargs count=N sleeps of period=MICROSECONDS, after=MILLISECONDS of computing; work=N units of work between two.
 * All figures in ticks. */
void many_waker(void)
{
    size_t count = argument("count", 1000) < SAMPLES_MAX ? argument("count", 1000) : SAMPLES_MAX;
    uint64_t period = (uint64_t)(machine.timebase / 1000000) * argument("period", 1000);
    size_t latest = 0;
    csr_set(sie, BIT(TIMER)); /* with SIE off: WFI ends, no trap is taken */
    say("waker", "begins");
    spin(milliseconds(argument("after", 0)));
    for (size_t i = 0; i < count; i++) {
        samples[i] = sleep_until(now() + period);
        latest = samples[i] > samples[latest] ? i : latest;
        for (unsigned long n = argument("work", 0); n > 0; n--) {
            (void)work_unit();
        }
    }
    csr_write(sie, 0);
    sort(samples, count);
    say("waker", "late by min=%u median=%u p99=%u max=%u ticks of %lu; the latest was number %lu", samples[0],
        samples[count / 2], samples[count - 1 - count / 100], samples[count - 1], machine.timebase,
        (unsigned long)latest);
}

/* --- quiet: on a hart of its own with Sstc, nothing that it does needs the hypervisor --- */

static uint64_t quiet_period, quiet_next;

static void set_stimecmp(uint64_t deadline)
{
    if (XLEN == 32) {
        csr_write(0x15d, ~0ul); /* none in between */
        csr_write(0x14d, (unsigned long)deadline);
        csr_write(0x15d, (unsigned long)(deadline >> 32));
    } else {
        csr_write(0x14d, (unsigned long)deadline);
    }
}

static bool quiet_tick(struct hart *hart, unsigned long number)
{
    (void)hart;
    if (number == TIMER) {
        quiet_next += quiet_period;
        set_stimecmp(quiet_next);
    }
    return true;
}

/* bootargs for=MILLISECONDS, hz=TICKS a second. Makes no call between the lines "begins" and "ended". */
void many_quiet(void)
{
    struct hart *hart = this_hart();
    if (!isa_names("sstc")) {
        skip("quiet", "no Sstc");
        return;
    }
    unsigned long ticks = hart->interrupts[TIMER], waits = 0, wrong = 0;
    uint64_t end = now() + milliseconds(argument("for", 10000));
    quiet_period = machine.timebase / argument("hz", 250);
    say("quiet", "begins");
    hart->on_interrupt = quiet_tick;
    quiet_next = now() + quiet_period;
    set_stimecmp(quiet_next);
    csr_set(sie, BIT(TIMER));
    csr_set(sstatus, STATUS_SIE);
    while (now() < end) {
        wrong += work_unit() ? 0 : 1;
        if (hart->interrupts[TIMER] % 4 == 3) {
            wait_for_interrupt();
            waits++;
        }
    }
    csr_clear(sstatus, STATUS_SIE);
    csr_write(sie, 0);
    set_stimecmp(~0ull);
    say("quiet", "ended: ticks=%lu waits=%lu wrong=%lu", hart->interrupts[TIMER] - ticks, waits, wrong);
}

/* --- turns: how long it is on a hart, and how long it is not --- */

/* Sums of ticks, of turns that it has seen from end to end. */
struct turns {
    unsigned long runs, holes;
    uint64_t run_ticks, hole_ticks;
};

static void watch_turns(struct turns *turns, uint64_t end)
{
    uint64_t last = now(), begin = 0, hole = machine.timebase / 10000;
    for (uint64_t t; (t = now()) < end; last = t) {
        if (t - last > hole) {
            turns->holes++;
            turns->hole_ticks += t - last;
            turns->runs += begin != 0 ? 1 : 0;
            turns->run_ticks += begin != 0 ? last - begin : 0;
            begin = t;
        }
    }
}

/* bootargs for=MILLISECONDS. Beside one that does the same, what a hole is longer than the other's run is what changing
 * takes, twice. */
void many_turns(void)
{
    struct turns turns = {0};
    watch_turns(&turns, end_after("for"));
    say("turns", "runs=%lu ticks=%llu holes=%lu ticks=%llu", turns.runs, (unsigned long long)turns.run_ticks,
        turns.holes, (unsigned long long)turns.hole_ticks);
}

/* --- clocks: a token goes round, and each vCPU writes the time into it --- */

static volatile unsigned long turn;
static volatile uint64_t stamp;
static volatile unsigned long backwards, passes;
static volatile bool clocks_over;

static void pass_token(void *next)
{
    unsigned long me = this_hart()->id, then = *(unsigned long *)next;
    while (!clocks_over) {
        if (turn == me) {
            fence_all();
            uint64_t t = now();
            backwards += t < stamp ? 1 : 0;
            stamp = t;
            passes++;
            fence_all();
            turn = then;
        }
    }
}

static bool end_clocks(struct hart *hart, unsigned long number)
{
    (void)hart;
    clocks_over = clocks_over || number == TIMER;
    return false;
}

/* bootargs for=MILLISECONDS. All vCPUs take part. */
void many_clocks(void)
{
    static unsigned long next[HARTS_MAX];
    unsigned long ids[HARTS_MAX];
    size_t others = other_harts(ids, HARTS_MAX);
    turn = machine.boot_hart;
    for (size_t i = 0; i < others; i++) {
        next[i] = i + 1 < others ? ids[i + 1] : machine.boot_hart;
        check(hart_run(ids[i], pass_token, &next[i]) == SBI_SUCCESS, "clocks: hart %lu", ids[i]);
    }
    next[HARTS_MAX - 1] = others != 0 ? ids[0] : machine.boot_hart;
    this_hart()->on_interrupt = end_clocks;
    sbi_set_timer(now() + milliseconds(argument("for", 2000)));
    csr_set(sie, BIT(TIMER));
    csr_set(sstatus, STATUS_SIE);
    pass_token(&next[HARTS_MAX - 1]);
    csr_clear(sstatus, STATUS_SIE);
    csr_write(sie, 0);
    for (size_t i = 0; i < others; i++) {
        check(hart_wait(ids[i]), "clocks: hart %lu ends", ids[i]);
    }
    check(backwards == 0 && passes > others, "clocks: %lu passes, %lu times back", passes, backwards);
}

/* --- steal: what SBI STA says was stolen is what this vCPU missed --- */

enum { EXT_STA = 0x535441 };

struct steal_area {
    uint32_t sequence, flags;
    uint64_t steal; /* nanoseconds */
    uint8_t preempted, rest[47];
} __attribute__((packed));

static volatile struct steal_area area __attribute__((aligned(64)));

static uint64_t stolen(void)
{
    uint32_t before;
    uint64_t value;
    do {
        before = area.sequence;
        fence_all();
        value = area.steal;
        fence_all();
    } while (before % 2 != 0 || before != area.sequence);
    return value;
}

/* Holes in its own time longer than 50 microseconds, in ticks. */
static uint64_t holes_until(uint64_t end)
{
    uint64_t sum = 0, last = now(), least = machine.timebase / 20000;
    while (last < end) {
        for (volatile unsigned i = 0; i < 50; i++) { /* emulators are slow at looking at clocks */
        }
        uint64_t t = now();
        sum += t - last > least ? t - last : 0;
        last = t;
    }
    return sum;
}

/* bootargs for=MILLISECONDS. Beside others that spin; alone, nothing should be stolen. */
void many_steal(void)
{
    unsigned long where = (unsigned long)(uintptr_t)&area, for_ms = argument("for", 2000);
    if (sbi(SBI_EXT_BASE, SBI_BASE_PROBE, EXT_STA, 0, 0).value == 0) {
        skip("steal", "no STA");
        return;
    }
    same("steal: set_shmem", (unsigned long)sbi(EXT_STA, 0, where, 0, 0).error, 0);
    uint64_t before = stolen(), holes = holes_until(now() + milliseconds(for_ms));
    unsigned long missed = (unsigned long)holes / (machine.timebase / 1000000);
    unsigned long told = (unsigned long)(stolen() - before) / 1000; /* RV32: for less than four seconds */
    say("steal", "missed=%lu us stolen=%lu us of %lu us", missed, told, for_ms * 1000);
    same("steal: off again", (unsigned long)sbi(EXT_STA, 0, ~0ul, ~0ul, 0).error, 0);
    uint64_t still = stolen();
    spin(milliseconds(200));
    check(stolen() == still, "steal: nothing is written any more");
}
