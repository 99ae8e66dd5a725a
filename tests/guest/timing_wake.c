/* SPDX-License-Identifier: MIT
 *
 * Wake-ups from WFI that must never be lost, many thousand times. A lost one is noticed by a timer that is set far
 * ahead, or by the tester's own patience. bootargs: wakes=ROUNDS.
 */
#include "timing.h"

static unsigned long wakes(void)
{
    return argument("wakes", 10000);
}

/* With the interrupt taken. Deadlines are short, some past already when the wait begins. */
void timing_wake_timer(void)
{
    struct hart *hart = this_hart();
    uint64_t random = argument("seed", 3);
    unsigned long late = 0, rounds = wakes();
    csr_write(sie, BIT(TIMER));
    csr_set(sstatus, STATUS_SIE);
    for (unsigned long i = 0; i < rounds; i++) {
        unsigned long before = hart->interrupts[TIMER];
        uint64_t deadline = now() + (random64(&random) & 0xff);
        sbi_set_timer(deadline);
        while (*(volatile unsigned long *)&hart->interrupts[TIMER] == before) {
            /* An interrupt between the test and wfi would be slept over, so it is masked there. */
            csr_clear(sstatus, STATUS_SIE);
            if (hart->interrupts[TIMER] == before) {
                wait_for_interrupt();
            }
            csr_set(sstatus, STATUS_SIE);
        }
        late += now() > deadline + milliseconds(100);
        case_check(now() >= deadline, "round %lu: early", i);
    }
    csr_clear(sstatus, STATUS_SIE);
    csr_write(sie, 0);
    cases_end("wake-timer: every timer interrupt comes");
    check(late <= rounds / 100, "wake-timer: %lu of %lu were later than 100 ms", late, rounds);
}

/* Without taking it: SIE stays off. */
void timing_wake_masked(void)
{
    uint64_t random = argument("seed", 4);
    unsigned long rounds = wakes();
    csr_write(sie, BIT(TIMER));
    for (unsigned long i = 0; i < rounds; i++) {
        sbi_set_timer(now() + (random64(&random) & 0x7f));
        while (!is_pending(TIMER)) {
            wait_for_interrupt();
        }
    }
    csr_write(sie, 0);
    sbi_set_timer(~0ull);
    check(true, "wake-masked: %lu times", rounds);
}

static volatile unsigned long ball; /* even: the boot hart's turn */
static unsigned long last_ball;

/* Sleeps until the ball changes hands; whoever hands it over sends an interrupt afterwards. */
static bool await_ball(unsigned long want)
{
    while (ball < want) {
        csr_clear(sip, BIT(SOFT));
        fence_all();
        if (ball >= want) {
            break;
        }
        wait_for_interrupt();
        if (is_pending(TIMER) && ball < want) {
            return false; /* the watchdog: the wake-up was lost */
        }
    }
    return true;
}

static void pong(void *argument)
{
    unsigned long other = *(unsigned long *)argument;
    csr_write(sie, BIT(SOFT));
    for (unsigned long i = 1; i < last_ball; i += 2) {
        if (!await_ball(i)) {
            return;
        }
        ball = i + 1;
        fence_all();
        sbi(SBI_EXT_IPI, 0, 1, other, 0);
    }
}

void timing_wake_ipi(void)
{
    unsigned long id, self = machine.boot_hart, rounds = wakes();
    if (other_harts(&id, 1) == 0) {
        skip("wake-ipi", "needs two harts");
        return;
    }
    ball = 0;
    last_ball = 2 * rounds;
    csr_write(sie, BIT(SOFT) | BIT(TIMER));
    check(hart_run(id, pong, &self) == SBI_SUCCESS, "wake-ipi: the other hart starts");
    bool good = true;
    for (unsigned long i = 0; i < last_ball && good; i += 2) {
        if (i % 1000 == 0) {
            sbi_set_timer(now() + milliseconds(20000));
        }
        ball = i + 1;
        fence_all();
        sbi(SBI_EXT_IPI, 0, 1, id, 0);
        good = await_ball(i + 2);
        if (!good) {
            note("wake-ipi: lost at %lu of %lu, ball %lu", i, last_ball, ball);
        }
    }
    check(good, "wake-ipi: %lu times there and back", rounds);
    csr_write(sie, 0);
    sbi_set_timer(~0ull);
    csr_clear(sip, BIT(SOFT));
    check(!good || hart_wait(id), "wake-ipi: the other hart stops");
}

/* All harts: timers that have passed already, interrupts to all, calls that do nothing. */
static void storm_member(struct member *member)
{
    uint64_t random = now() + member->id;
    unsigned long enabled = csr_read(sie);
    csr_set(sie, BIT(SOFT) | BIT(TIMER));
    csr_set(sstatus, STATUS_SIE);
    while (!over) {
        unsigned long choice = (unsigned long)(random64(&random) >> 16) % 4;
        if (choice == 0 && member->index != 0) { /* the boot hart's timer ends the test */
            sbi_set_timer(0);
        } else if (choice == 1) {
            sbi(SBI_EXT_IPI, 0, 0, ~0ul, 0);
        } else if (choice == 2 && on_diosix) { /* OpenSBI 1.1 may wait for ever for a hart that is stopping */
            sbi(SBI_EXT_RFENCE, 1, 0, ~0ul, 0);
        } else {
            sbi(0x0badbad, 0, 0, 0, 0);
        }
        member->rounds++;
    }
    csr_clear(sstatus, STATUS_SIE);
    csr_write(sie, enabled);
}

void timing_storm(void)
{
    size_t ran = run_all(storm_member, argument("duration", 1000));
    for (size_t i = 0; i < ran; i++) {
        case_check(members[i].rounds > 0, "hart %lu did nothing", members[i].id);
        note("storm: hart %lu: %lu rounds", members[i].id, members[i].rounds);
    }
    csr_clear(sip, BIT(SOFT));
    cases_end("storm: all harts go on under a storm of interrupts and fences");
}
