/* SPDX-License-Identifier: MIT
 *
 * Guests that live beside others, all in one program that runs in 64 KiB: bootargs only=KIND chooses. Here are those
 * that do honest work; the other files have those that give trouble, look at the clock, end, and talk.
 */
#include "many.h"

enum { UNIT_BYTES = 1024 };
#define UNIT_RESULT 0xd38fa5c5u /* FNV-1a of the bytes that unit_bytes holds, computed elsewhere */

static unsigned char unit_bytes[UNIT_BYTES];
static bool prepared;
static struct work work[HARTS_MAX];

uint64_t end_after(const char *name)
{
    unsigned long length = argument(name, 0);
    return length == 0 ? ~0ull : now() + milliseconds(length);
}

void rest(unsigned long length)
{
    uint64_t end = now() + milliseconds(length);
    csr_set(sie, BIT(TIMER));
    sbi_set_timer(end);
    while (now() < end) {
        wait_for_interrupt();
    }
    csr_clear(sie, BIT(TIMER));
    sbi_set_timer(~0ull);
}

/* Once, before other harts work: what changes these bytes later is found out. */
static void prepare_work(void)
{
    for (size_t i = 0; i < UNIT_BYTES; i++) {
        unit_bytes[i] = (unsigned char)(i * 167 + 13);
    }
    prepared = true;
}

bool work_unit(void)
{
    if (!prepared) {
        prepare_work();
    }
    uint32_t sum = 0x811c9dc5u;
    for (size_t i = 0; i < UNIT_BYTES; i++) {
        sum = (sum ^ *(volatile unsigned char *)&unit_bytes[i]) * 0x01000193u;
    }
    return sum == UNIT_RESULT;
}

/* --- worker: counts units of work, and says at regular times of its own clock how far it is --- */

static void work_line(const struct hart *hart, uint64_t t)
{
    const struct work *done = &work[hart->id];
    say("worker", "%lu t=%llu units=%llu ran=%llu", hart->id, (unsigned long long)t, (unsigned long long)done->units,
        (unsigned long long)done->ran);
}

/* bootargs every=MILLISECONDS, 0: only at the end; for=MILLISECONDS, 0: for ever. */
static void work_on(void *unused)
{
    struct hart *hart = this_hart();
    struct work *done = &work[hart->id];
    uint64_t every = milliseconds(argument("every", 1000)), end = end_after("for"), t = now();
    uint64_t next = every == 0 ? ~0ull : t + every, last, hole = machine.timebase / 4000;
    (void)unused;
    work_line(hart, t);
    while (t < end) {
        if (!work_unit()) {
            done->wrong++;
            say("worker", "%lu WRONG after %llu units", hart->id, (unsigned long long)done->units);
        }
        done->units++;
        last = t;
        t = now();
        done->ran += t - last < hole ? t - last : 0;
        if (t >= next) {
            work_line(hart, t);
            while (next <= t) {
                next += every;
            }
        }
    }
    work_line(hart, t);
}

/* bootargs harts=N: so many other vCPUs work too, each for itself. */
void many_worker(void)
{
    unsigned long ids[HARTS_MAX], more = argument("harts", 0);
    size_t others = other_harts(ids, more < HARTS_MAX ? more : HARTS_MAX);
    prepare_work();
    fence_all();
    for (size_t i = 0; i < others; i++) {
        check(hart_run(ids[i], work_on, NULL) == SBI_SUCCESS, "worker: hart %lu", ids[i]);
    }
    work_on(NULL);
    for (size_t i = 0; i < others; i++) {
        check(hart_wait(ids[i]), "worker: hart %lu ends", ids[i]);
    }
    for (size_t i = 0; i < HARTS_MAX; i++) {
        case_check(work[i].wrong == 0, "hart %lu: %llu wrong", (unsigned long)i, (unsigned long long)work[i].wrong);
    }
    cases_end("worker: every result was right");
}

/* --- density: as little as a guest can be --- */

/* One short line, then sleep, of which it wakes now and then. bootargs period=MILLISECONDS; work=1: works instead. */
void many_density(void)
{
    unsigned long period = argument("period", 1000);
    say("up", "%lu KiB", (unsigned long)(machine.ram_size >> 10));
    for (unsigned long waking = 1;; waking++) {
        if (argument("work", 0) != 0 && !work_unit()) {
            say("up", "WRONG");
        } else if (argument("work", 0) == 0) {
            csr_set(sie, BIT(TIMER));
            sbi_set_timer(now() + milliseconds(period));
            wait_for_interrupt();
            if (waking == argument("wakings", 0)) { /* tells that it does wake */
                say("woke", "%lu times", waking);
            }
        }
    }
}

const struct subtest subtests[] = {
    {"worker", many_worker, true}, {"density", many_density, true}, {"storm", many_storm, true},
    {"waker", many_waker, true},   {"quiet", many_quiet, true},     {"turns", many_turns, true},
    {"clocks", many_clocks, true}, {"steal", many_steal, true},     {"hang", many_hang, true},
    {"fail", many_fail, true},     {"talker", many_talker, true},   {"echo", many_echo, true},
    {"forge", many_forge, true},
};
const size_t subtest_count = COUNT_OF(subtests);
