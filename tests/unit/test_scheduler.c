/* SPDX-License-Identifier: MIT
 *
 * The scheduler and the harts: who runs where, who is woken and rung, slices, and what other harts do between two
 * steps of one.
 */
#include "core_world.h"

/* --- starting and filling --- */

static void test_nothing_to_run(void **state)
{
    (void)state;
    assert_null(next(0));
    assert_true(atomic_load(&core.harts[0].idle));
    assert_int_equal(fake_of(0)->waits, 1);
}

static void test_start_fills_then_runs(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    const struct vcpu *vcpu = &core.vcpus[0][0];
    assert_int_equal(core.prepares, 1);
    assert_int_equal(vcpu->context.pc, RAM_BASE + 0x1000);
    assert_int_equal(vcpu->context.x[REG_A0], 0);
    assert_int_equal(vcpu->context.x[REG_A1], RAM_BASE + 0x8000);
    assert_ptr_equal(vcpu->context.hart, &core.harts[0]);
    assert_ptr_equal(atomic_load(&vcpu->hart), &core.harts[0]);
    assert_int_equal(atomic_load(&vcpu->run), RUN_LOADED);
    assert_int_equal(capsule_holds(capsule), 1);
    assert_int_equal(core.enters, 1);
    assert_int_equal(fake_arch.fences_i, 1); /* its code is new */
    assert_false(fake_arch.loaded_resident);
    assert_null(next(1)); /* its second vCPU wasn't started */
}

/* Filling takes turns with what else there is to run. */
static void test_filling_takes_turns(void **state)
{
    (void)state;
    world_hart_count(1);
    struct capsule *first = make_capsule(0, 1);
    struct capsule *second = make_capsule(1, 1);
    capsule_start(first);
    capsule_start(second);
    assert_ptr_equal(next(0), &core.vcpus[0][0]);
    assert_int_equal(capsule_state(second), CAPSULE_RUNNING); /* each had its last step before either ran */
    assert_int_equal(core.rings[1] + core.rings[2] + core.rings[3], 0);
    world_hart_count(HARTS);
}

/* --- going to sleep, being woken --- */

static struct vcpu *sleeper(unsigned hart)
{
    struct vcpu *vcpu = run_capsule(0, 1)->vcpus;
    fake_of(hart)->virtual_enabled = BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER) | BIT(IRQ_S_EXTERNAL);
    vcpu_wait(vcpu);
    assert_null(next(hart));
    assert_int_equal(atomic_load(&vcpu->run), RUN_WAITING);
    assert_null(atomic_load(&vcpu->hart));
    return vcpu;
}

static void test_wake_on_its_last_hart(void **state)
{
    (void)state;
    struct vcpu *vcpu = sleeper(0);
    assert_null(next(1));
    assert_null(next(2));
    act_as(2);
    core.asleep[2] = false;
    core.harts[2].current = vcpu; /* hart 2 is busy with something: it must ring the vCPU's last hart, not hart 1 */
    vcpu_post(vcpu, EVENT_IPI);
    core.harts[2].current = NULL;
    act_as(0);
    assert_int_equal(core.rings[0], 1);
    assert_int_equal(core.rings[1] + core.rings[2], 0);
    assert_ptr_equal(next(0), vcpu);
    assert_true(fake_arch.loaded_resident);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_SOFT));
    assert_int_equal(fake_arch.machine_pending, 0); /* the ring was cleared */
}

static void test_wake_elsewhere_when_its_hart_is_busy(void **state)
{
    (void)state;
    struct vcpu *vcpu = sleeper(0);
    struct capsule *other = make_capsule(1, 1);
    capsule_start(other);
    assert_ptr_equal(next(0), other->vcpus);
    assert_null(next(3));
    vcpu_post(vcpu, EVENT_IPI); /* by hart 0, which has a vCPU */
    assert_int_equal(core.rings[3], 1);
    assert_ptr_equal(next(3), vcpu);
    assert_false(fake_of(3)->loaded_resident);
    assert_int_equal(fake_of(3)->fences_i, 1); /* it moved */
}

/* A hart that has nothing to run takes what it wakes itself: no other is roused for it. */
static void test_idle_hart_keeps_what_it_wakes(void **state)
{
    (void)state;
    struct vcpu *vcpu = sleeper(0);
    assert_null(next(1));
    vcpu_post(vcpu, EVENT_IPI); /* hart 0 acts, and runs nothing */
    assert_int_equal(core.rings[0] + core.rings[1], 0);
    assert_ptr_equal(next(0), vcpu);
}

/* But a second one needs another hart. */
static void test_idle_hart_rouses_for_the_second(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    run_vcpu(capsule, 1, 1);
    for (unsigned id = 0; id < 2; id++) {
        fake_of(id)->virtual_enabled = BIT(IRQ_S_SOFT);
        vcpu_wait(&core.vcpus[0][id]);
        assert_null(next(id));
    }
    core.asleep[0] = false;
    atomic_store(&core.harts[0].idle, false); /* hart 0 is awake */
    vcpu_post(&core.vcpus[0][0], EVENT_IPI);
    vcpu_post(&core.vcpus[0][1], EVENT_IPI);
    assert_int_equal(core.rings[1], 1);
}

static void post_ipi(void)
{
    vcpu_post(&core.vcpus[0][0], EVENT_IPI);
}

/* An event that comes after the registers were saved, before the vCPU is published as asleep. */
static void test_event_while_going_to_sleep(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
    fake_arch.on_save = post_ipi;
    vcpu_wait(capsule->vcpus);
    assert_ptr_equal(next(0), capsule->vcpus);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_SOFT));
    assert_true(fake_arch.loaded_resident);
    fake_arch.on_save = NULL;
}

/* An event that its sie doesn't enable stays pending and wakes nobody. */
static void test_disabled_event_does_not_wake(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    fake_arch.virtual_enabled = BIT(IRQ_S_TIMER);
    vcpu_wait(capsule->vcpus);
    assert_null(next(0));
    vcpu_post(capsule->vcpus, EVENT_IPI);
    assert_null(next(0));
    assert_int_equal(atomic_load(&capsule->vcpus->run), RUN_WAITING);
}

/* The hart that is about to sleep looks at the queue once more after it said so. */
static void post_late(void)
{
    fake_arch.on_pending = world_pending;
    vcpu_post(&core.vcpus[0][0], EVENT_IPI);
}

static unsigned long pending_late(void)
{
    post_late();
    return BIT(IRQ_M_SOFT); /* as the ring would have it; the wait is not entered */
}

static void test_work_while_falling_asleep(void **state)
{
    (void)state;
    struct vcpu *vcpu = sleeper(0);
    fake_arch.on_pending = pending_late;
    unsigned waits = fake_arch.waits;
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.waits, waits);
}

/* --- residency --- */

static void test_residency_is_lost_to_another_vcpu(void **state)
{
    (void)state;
    struct vcpu *vcpu = sleeper(0);
    struct capsule *other = make_capsule(1, 1);
    capsule_start(other);
    assert_ptr_equal(next(0), other->vcpus);
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(other->vcpus);
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(next(0), vcpu);
    assert_false(fake_arch.loaded_resident);
    assert_int_equal(core.enters, 3); /* first, other, first */
}

static void test_residency_is_lost_to_another_hart(void **state)
{
    (void)state;
    struct vcpu *vcpu = sleeper(0);
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(next(1), vcpu);
    fake_of(1)->virtual_pending = 0;
    vcpu_wait(vcpu);
    assert_null(next(1));
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(core.harts[0].resident, vcpu); /* but it ran on hart 1 since */
    assert_ptr_equal(next(0), vcpu);
    assert_false(fake_arch.loaded_resident);
}

/* A start makes a new context: nothing of the old one may be taken for current. */
static void test_restarted_vcpu_is_not_resident(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    struct vcpu *vcpu = run_vcpu(capsule, 1, 1);
    vcpu_off(vcpu);
    assert_null(next(1));
    assert_int_equal(atomic_load(&vcpu->hsm), SBI_HSM_STOPPED);
    assert_ptr_equal(core.harts[1].resident, vcpu);
    run_vcpu(capsule, 1, 1);
    assert_false(fake_of(1)->loaded_resident);
    assert_int_equal(fake_of(1)->fences_i, 2);
}

/* --- slices and shares --- */

static void start_vcpu(struct vcpu *vcpu)
{
    atomic_store(&vcpu->hsm, SBI_HSM_START_PENDING);
    vcpu_start(vcpu, RAM_BASE, 0);
}

static void test_no_slice_without_need(void **state)
{
    (void)state;
    run_capsule(0, 1);
    assert_null(atomic_load(&core.harts[0].slice.heap));
    assert_int_equal(core.timer[0], TIMER_NEVER);
}

static struct capsule *crowd(void)
{
    world_hart_count(1);
    struct capsule *capsule = run_capsule(0, 3);
    for (uint32_t id = 1; id < 3; id++) {
        atomic_store(&core.vcpus[0][id].hsm, SBI_HSM_START_PENDING);
        vcpu_start(&core.vcpus[0][id], RAM_BASE, 0);
    }
    return capsule;
}

/* Time passes until the end: whoever has something to do does it. ran says how long each vCPU was on a hart. */
static uint64_t ran[CAPSULES][VCPUS];

static bool has_work(unsigned hart)
{
    const struct fake_arch *fake = fake_of(hart);
    return (fake->machine_pending & BIT(IRQ_M_SOFT)) != 0 || core.timer[hart] <= core.now;
}

static void settle(void)
{
    for (bool again = true; again;) {
        again = false;
        for (unsigned n = 0; n < hart_count; n++) {
            if (has_work(n)) {
                (void)(core.asleep[n] ? next(n) : interrupt(n));
                again = true;
            }
        }
    }
}

static void pass(uint64_t time)
{
    const uint64_t end = core.now + time;
    settle();
    while (core.now < end) {
        uint64_t moment = end;
        for (unsigned n = 0; n < hart_count; n++) {
            moment = MIN(moment, core.timer[n]);
        }
        for (unsigned n = 0; n < hart_count; n++) {
            const struct vcpu *vcpu = core.harts[n].current;
            if (vcpu != NULL) {
                ran[vcpu->capsule->id - 1][vcpu->id] += moment - core.now;
            }
        }
        core.now = moment;
        settle();
    }
}

/* The end of hart 0's trap, in which it did something to others. */
static void trap_ends(void)
{
    if (!core.asleep[0]) {
        (void)next(0);
    }
}

/* How long each ran in the next second; from then on. */
static void measure_second(void)
{
    memset(ran, 0, sizeof(ran));
    pass(HZ);
}

static void assert_near(uint64_t part, double of_second, double tolerance)
{
    const double found = (double)part / HZ;
    if (found < of_second * (1 - tolerance) || found > of_second * (1 + tolerance)) {
        print_message("a share of %f, not %f\n", found, of_second);
        fail();
    }
}

static void assert_share(uint64_t part, double of_second)
{
    assert_near(part, of_second, 0.025); /* so no two are more than 5 % apart */
}

/* A capsule whose vCPUs never sleep. Hart 0 acts. */
static struct capsule *busy(unsigned n, uint32_t vcpus, uint32_t weight, uint32_t priority)
{
    struct capsule *capsule = make_capsule(n, vcpus);
    capsule->config.weight = weight;
    capsule->config.priority = priority;
    capsule_start(capsule);
    for (unsigned hart = 0; hart < hart_count; hart++) {
        (void)next(hart);
    }
    pass(10000);
    for (uint32_t id = 1; id < vcpus; id++) {
        start_vcpu(capsule_vcpu(capsule, id));
        trap_ends();
        pass(100);
    }
    return capsule;
}

/* Any number of equals on any number of harts: in every second their shares are the same. */
static void test_equals_get_equal_shares(void **state)
{
    (void)state;
    for (unsigned hart_number = 1; hart_number <= HARTS; hart_number++) {
        for (unsigned vcpus = 1; vcpus <= VCPUS * CAPSULES; vcpus++) {
            world_make(hart_number);
            for (unsigned n = 0, left = vcpus; left > 0; n++) {
                const unsigned some = MIN(left, (unsigned)VCPUS);
                busy(n, some, 100, 0);
                left -= some;
            }
            const double share = MIN(1.0, (double)hart_number / vcpus);
            pass(HZ / 2); /* those that came first had more until now */
            for (unsigned second = 0; second < 3; second++) {
                measure_second();
                for (unsigned n = 0; n < vcpus; n++) {
                    assert_share(ran[n / VCPUS][n % VCPUS], share);
                }
            }
            world_end();
        }
    }
    world_make(HARTS);
}

static void test_weights(void **state)
{
    (void)state;
    world_hart_count(1);
    busy(0, 1, 100, 0);
    busy(1, 1, 300, 0);
    busy(2, 1, 50, 0);
    pass(HZ);
    for (unsigned second = 0; second < 3; second++) {
        measure_second();
        assert_near(ran[0][0], 100.0 / 450, 0.05);
        assert_near(ran[1][0], 300.0 / 450, 0.05);
        assert_near(ran[2][0], 50.0 / 450, 0.05);
    }
}

/* What one of higher priority has used here lately doesn't level the others' shares. */
static void test_weights_after_a_higher_priority(void **state)
{
    (void)state;
    world_hart_count(1);
    struct capsule *high = busy(2, 1, 100, 5);
    busy(0, 1, 100, 0);
    busy(1, 1, 300, 0);
    pass(HZ);
    assert_ptr_equal(core.harts[0].current, high->vcpus);
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(high->vcpus);
    (void)next(0);
    measure_second();
    assert_near(ran[0][0], 0.25, 0.1);
    assert_near(ran[1][0], 0.75, 0.1);
}

/* One whose weight asks for more than a hart gets a hart; the others share the rest. */
static void test_weight_of_more_than_a_hart(void **state)
{
    (void)state;
    world_hart_count(2);
    busy(0, 1, 10000, 0);
    busy(1, 3, 100, 0);
    pass(HZ);
    measure_second();
    assert_share(ran[0][0], 1.0);
    for (unsigned id = 0; id < 3; id++) {
        assert_share(ran[1][id], 1.0 / 3);
    }
}

static void test_priorities_are_strict(void **state)
{
    (void)state;
    world_hart_count(2);
    busy(0, 2, 100, 0);
    busy(1, 1, 1, 3);
    pass(HZ / 10);
    measure_second();
    assert_share(ran[1][0], 1.0);
    assert_share(ran[0][0], 0.5);
    assert_share(ran[0][1], 0.5);
    busy(2, 2, 100, 15);
    pass(HZ / 10);
    measure_second();
    assert_share(ran[2][0], 1.0);
    assert_share(ran[2][1], 1.0);
    assert_int_equal(ran[1][0] + ran[0][0] + ran[0][1], 0);
}

/* One of higher priority that wakes runs at once, on the hart that runs the lowest. */
static void test_priority_preempts(void **state)
{
    (void)state;
    world_hart_count(2);
    struct capsule *high = busy(1, 1, 100, 5);
    struct hart *its = atomic_load(&high->vcpus->hart);
    fake_of(its->index)->virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(high->vcpus);
    assert_null(next(its->index));
    struct capsule *low = busy(0, 2, 100, 0);
    (void)low;
    pass(HZ / 10);
    vcpu_post(high->vcpus, EVENT_IPI);
    trap_ends();
    settle();
    assert_non_null(atomic_load(&high->vcpus->hart));
    measure_second();
    assert_share(ran[1][0], 1.0);
}

/* Whoever slept for long doesn't make the others wait until it has caught up. */
static void test_sleepers_have_no_claim(void **state)
{
    (void)state;
    world_hart_count(1);
    struct capsule *first = busy(0, 1, 100, 0);
    struct capsule *second = busy(1, 1, 100, 0);
    struct capsule *third = busy(2, 1, 100, 0);
    while (core.harts[0].current != second->vcpus) {
        pass(SLICE_MICROSECONDS);
    }
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(second->vcpus);
    (void)next(0);
    while (core.harts[0].current != third->vcpus) {
        pass(SLICE_MICROSECONDS);
    }
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(third->vcpus);
    (void)next(0);
    pass(5 * HZ);
    assert_ptr_equal(core.harts[0].current, first->vcpus);
    assert_int_equal(core.timer[0], TIMER_NEVER); /* alone: no tick */
    vcpu_post(second->vcpus, EVENT_IPI);
    vcpu_post(third->vcpus, EVENT_IPI);
    trap_ends();
    measure_second();
    for (unsigned n = 0; n < 3; n++) {
        assert_share(ran[n][0], 1.0 / 3);
    }
}

/* Sleeps most of the time, and is never kept waiting for longer than a slice when it wakes. */
static void test_short_sleepers_go_first(void **state)
{
    (void)state;
    world_hart_count(1);
    struct capsule *sleepy = busy(0, 1, 100, 0);
    busy(1, 3, 100, 0);
    unsigned rounds = 0;
    for (unsigned n = 0; n < 2000 && rounds < 200; n++) {
        if (core.harts[0].current == sleepy->vcpus) {
            core.now += 50;
            fake_arch.virtual_pending = 0;
            fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
            vcpu_wait(sleepy->vcpus);
            (void)next(0);
            pass(3000);
            vcpu_post(sleepy->vcpus, EVENT_IPI);
            trap_ends();
            pass(SLICE_MICROSECONDS + 1);
            assert_ptr_equal(core.harts[0].current, sleepy->vcpus);
            rounds++;
        } else {
            pass(SLICE_MICROSECONDS);
        }
    }
    assert_int_equal(rounds, 200);
}

/* Those that may run on one hart only leave the others to those that may run anywhere. */
static void test_pinned_ones(void **state)
{
    (void)state;
    world_hart_count(2);
    static const uint8_t second_hart[] = {0, 0, 0, 1};
    struct capsule *pinned = make_capsule(0, 2);
    pinned->config.harts = (struct blob){second_hart, sizeof(second_hart)};
    capsule_start(pinned);
    (void)next(0);
    (void)next(1);
    pass(10000);
    start_vcpu(capsule_vcpu(pinned, 1));
    trap_ends();
    assert_null(core.harts[0].current);
    busy(1, 1, 100, 0);
    pass(HZ);
    measure_second();
    assert_share(ran[0][0], 0.5);
    assert_share(ran[0][1], 0.5);
    assert_share(ran[1][0], 1.0);
    busy(2, 1, 100, 0);
    pass(HZ);
    measure_second();
    assert_share(ran[0][0] + ran[0][1] + ran[1][0] + ran[2][0], 2.0);
    for (unsigned n = 0; n < 4; n++) {
        assert_share(n < 2 ? ran[0][n] : ran[n - 1][0], 0.5);
    }
}

/* A dedicated capsule has its harts for itself, and no tick and no ring there, whatever the others do. */
static void test_dedicated_harts_are_quiet(void **state)
{
    (void)state;
    static const uint8_t its_harts[] = {0, 0, 0, 1, 0, 0, 0, 3};
    struct capsule *dedicated = make_capsule(0, 2);
    dedicated->config.harts = (struct blob){its_harts, sizeof(its_harts)};
    dedicated->config.dedicated = true;
    capsule_start(dedicated);
    for (unsigned n = 0; n < HARTS; n++) {
        (void)next(n);
    }
    pass(10000);
    start_vcpu(capsule_vcpu(dedicated, 1));
    busy(1, 4, 100, 15);
    busy(2, 4, 100, 0);
    memset(core.rings, 0, sizeof(core.rings));
    measure_second();
    assert_ptr_equal(core.harts[1].current, capsule_vcpu(dedicated, 0));
    assert_ptr_equal(core.harts[3].current, capsule_vcpu(dedicated, 1));
    assert_int_equal(ran[0][0], HZ);
    assert_int_equal(ran[0][1], HZ);
    assert_int_equal(core.rings[1] + core.rings[3], 0);
    assert_int_equal(core.timer[1], TIMER_NEVER);
    assert_int_equal(core.timer[3], TIMER_NEVER);
    for (unsigned id = 0; id < 4; id++) {
        assert_share(ran[1][id], 0.5);
    }
}

/* A slice that ended while nobody waits is forgotten, and no other is armed. */
static void test_slice_ends_alone(void **state)
{
    (void)state;
    struct capsule *capsule = crowd();
    fake_arch.virtual_enabled = 0;
    for (uint32_t id = 0; id < 2; id++) {
        vcpu_wait(capsule_vcpu(capsule, id));
        assert_ptr_equal(next(0), capsule_vcpu(capsule, id + 1));
    }
    core.now += SLICE_MICROSECONDS;
    unsigned saves = fake_arch.saves;
    assert_ptr_equal(interrupt(0), capsule_vcpu(capsule, 2));
    assert_int_equal(fake_arch.saves, saves);
    assert_false(core.harts[0].reschedule);
    assert_int_equal(core.timer[0], TIMER_NEVER);
}

/* A hart that runs its vCPU without a slice learns that another waits for it. */
static void test_a_hart_that_has_to_share_is_rung(void **state)
{
    (void)state;
    world_hart_count(2);
    struct capsule *capsule = run_capsule(0, 3);
    run_vcpu(capsule, 1, 1);
    assert_int_equal(core.timer[1], TIMER_NEVER);
    core.rings[1] = 0;
    struct vcpu *third = capsule_vcpu(capsule, 2);
    hart_set_store(&third->allowed, 1 << 1);
    start_vcpu(third);
    assert_int_equal(core.rings[1], 1);
    assert_ptr_equal(interrupt(1), capsule_vcpu(capsule, 1));
    assert_int_equal(core.timer[1], core.now + SLICE_MICROSECONDS);
    assert_ptr_equal(next(0), capsule_vcpu(capsule, 0));
    assert_int_equal(core.timer[0], TIMER_NEVER);
}

static void test_request_to_reschedule(void **state)
{
    (void)state;
    struct capsule *capsule = crowd();
    atomic_fetch_or(&core.harts[0].requests, HART_RESCHEDULE);
    hart_ring(&core.harts[0]);
    assert_ptr_equal(interrupt(0), capsule_vcpu(capsule, 1));
}

/* Hart 0 fetches another's vCPU, which hart 1 keeps waiting. Its own must not wait here while hart 2 sleeps. */
static void test_who_makes_room_for_a_fetched_one_goes_elsewhere(void **state)
{
    (void)state;
    struct vcpu *own = run_capsule(0, 1)->vcpus;
    struct capsule *others = make_capsule(1, 2);
    struct vcpu *waits = capsule_vcpu(others, 1);
    capsule_start(others);
    assert_ptr_equal(next(1), others->vcpus);
    hart_set_store(&waits->allowed, 1 << 1);
    start_vcpu(waits);
    hart_set_store(&waits->allowed, 1 << 1 | 1 << 0);
    assert_null(next(2));
    core.now += HZ / 10; /* hart 0's has had much more by now */
    atomic_fetch_or(&core.harts[0].requests, HART_RESCHEDULE);
    hart_ring(&core.harts[0]);
    core.rings[2] = 0;
    assert_ptr_equal(interrupt(0), waits);
    assert_int_equal(atomic_load(&own->run), RUN_QUEUED);
    assert_int_equal(core.rings[2], 1);
    assert_ptr_equal(next(2), own);
}

/* --- two kinds of harts --- */

/* Harts 0 and 1 serve pmp, 2 and 3 hyp; a capsule of each kind, started. */
static struct capsule *pair[HART_KINDS];

static void make_pair(uint32_t vcpus)
{
    world_kinds(2);
    for (unsigned kind = 0; kind < HART_KINDS; kind++) {
        pair[kind] = make_capsule(kind, vcpus);
        pair[kind]->hart_kind = (enum hart_kind)kind;
        capsule_start(pair[kind]);
    }
}

/* Each hart finds work of its own kind only, filling included. */
static void test_kinds_run_their_own(void **state)
{
    (void)state;
    make_pair(2);
    assert_ptr_equal(next(3), pair[HART_HYP]->vcpus);
    assert_int_equal(capsule_state(pair[HART_PMP]), CAPSULE_FILLING);
    assert_int_equal(pair[HART_PMP]->fill_cursor, 0);
    assert_null(next(2));
    assert_ptr_equal(next(1), pair[HART_PMP]->vcpus);
    assert_null(next(0));
    start_vcpu(capsule_vcpu(pair[HART_PMP], 1));
    assert_null(next(2));
    assert_ptr_equal(next(0), capsule_vcpu(pair[HART_PMP], 1));
}

/* Of the harts that sleep, one of the right kind is rung, though others come first. */
static void test_kinds_rouse_their_own(void **state)
{
    (void)state;
    make_pair(2);
    assert_ptr_equal(next(3), pair[HART_HYP]->vcpus);
    assert_ptr_equal(next(0), pair[HART_PMP]->vcpus);
    assert_null(next(1));
    assert_null(next(2));
    memset(core.rings, 0, sizeof(core.rings));
    start_vcpu(capsule_vcpu(pair[HART_HYP], 1)); /* by hart 0, which is busy */
    assert_int_equal(core.rings[2], 1);
    assert_int_equal(core.rings[0] + core.rings[1] + core.rings[3], 0);
    assert_true(atomic_load(&core.harts[1].idle));
    start_vcpu(capsule_vcpu(pair[HART_PMP], 1));
    assert_int_equal(core.rings[1], 1);
    assert_int_equal(core.rings[0] + core.rings[2] + core.rings[3], 1);
}

/* A hart that runs nothing takes next what it wakes: but not of the other kind. Else nobody would be told. */
static void test_idle_hart_of_the_other_kind_rouses(void **state)
{
    (void)state;
    make_pair(1);
    struct vcpu *vcpu = pair[HART_HYP]->vcpus;
    assert_ptr_equal(next(2), vcpu);
    fake_of(2)->virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(vcpu);
    assert_null(next(2));
    core.asleep[1] = false;
    atomic_store(&core.harts[1].idle, false);
    act_as(1); /* as for an interrupt of a device that leads to the vCPU */
    assert_null(core.harts[1].current);
    vcpu_post(vcpu, EVENT_IPI);
    act_as(0);
    assert_int_equal(core.rings[2], 1);
    assert_ptr_equal(next(2), vcpu);
}

/* The vCPU's last hart sleeps: that one is rung. */
static void test_kinds_keep_their_last_hart(void **state)
{
    (void)state;
    make_pair(1);
    struct vcpu *vcpu = pair[HART_HYP]->vcpus;
    assert_ptr_equal(next(3), vcpu);
    fake_of(3)->virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(vcpu);
    assert_null(next(3));
    assert_null(next(2));
    vcpu_post(vcpu, EVENT_IPI); /* by hart 0 */
    assert_int_equal(core.rings[3], 1);
    assert_int_equal(core.rings[2], 0);
}

/* More vCPUs than harts of their kind: slices there, none on the other kind, which nobody rings. */
static void test_kinds_overcommit_apart(void **state)
{
    (void)state;
    make_pair(3);
    assert_ptr_equal(next(2), pair[HART_HYP]->vcpus);
    assert_ptr_equal(next(0), pair[HART_PMP]->vcpus);
    run_vcpu(pair[HART_HYP], 1, 3);
    (void)next(1);
    memset(core.rings, 0, sizeof(core.rings));
    start_vcpu(capsule_vcpu(pair[HART_HYP], 2));
    trap_ends();
    measure_second();
    assert_int_equal(core.rings[0] + core.rings[1], 0);
    assert_int_equal(core.timer[0], TIMER_NEVER);
    assert_int_equal(ran[HART_PMP][0], HZ);
    for (unsigned id = 0; id < 3; id++) {
        assert_share(ran[HART_HYP][id], 2.0 / 3);
    }
    while (core.harts[3].current != capsule_vcpu(pair[HART_HYP], 2)) {
        pass(SLICE_MICROSECONDS);
    }
    vcpu_off(capsule_vcpu(pair[HART_HYP], 2));
    (void)next(3);
    pass(HZ / 10);
    assert_int_equal(core.timer[2], TIMER_NEVER); /* two on two again */
    assert_int_equal(core.timer[3], TIMER_NEVER);
}

/* A slice ends, but only the other kind has somebody waiting. */
static void test_kinds_do_not_wait_for_each_other(void **state)
{
    (void)state;
    make_pair(3);
    assert_ptr_equal(next(2), pair[HART_HYP]->vcpus);
    assert_ptr_equal(next(0), pair[HART_PMP]->vcpus);
    run_vcpu(pair[HART_PMP], 1, 1);
    start_vcpu(capsule_vcpu(pair[HART_PMP], 2));
    const unsigned saves = fake_of(2)->saves;
    atomic_fetch_or(&core.harts[2].requests, HART_RESCHEDULE);
    hart_ring(&core.harts[2]);
    assert_ptr_equal(interrupt(2), pair[HART_HYP]->vcpus);
    assert_int_equal(fake_of(2)->saves, saves);
    atomic_fetch_or(&core.harts[0].requests, HART_RESCHEDULE);
    hart_ring(&core.harts[0]);
    assert_ptr_equal(interrupt(0), capsule_vcpu(pair[HART_PMP], 2));
}

/* Stopping one kind's capsule, queued vCPUs and all, leaves the other's alone. */
static void test_kinds_stop_apart(void **state)
{
    (void)state;
    make_pair(3);
    assert_ptr_equal(next(2), pair[HART_HYP]->vcpus);
    assert_ptr_equal(next(0), pair[HART_PMP]->vcpus);
    for (uint32_t id = 1; id < 3; id++) {
        start_vcpu(capsule_vcpu(pair[HART_HYP], id));
        start_vcpu(capsule_vcpu(pair[HART_PMP], id));
    }
    capsule_stop(pair[HART_PMP], STOP_KILLED, "by hart 2's console");
    assert_null(next(0));
    assert_int_equal(capsule_state(pair[HART_PMP]), CAPSULE_STOPPED);
    assert_int_equal(core.all_stopped, 0);
    assert_null(next(1));
    assert_ptr_equal(next(3), capsule_vcpu(pair[HART_HYP], 1));
    assert_ptr_equal(next(2), pair[HART_HYP]->vcpus);
}

/* Nothing but chance decides what happens, and never does a vCPU run on a hart of the other kind, nor is one that can
 * run left lying while a hart of its kind has nothing to do. */
static void test_kinds_at_random(void **state)
{
    (void)state;
    uint64_t seed = 0x5ced;
    make_pair(VCPUS);
    struct vcpu *running[HARTS];
    for (unsigned n = 0; n < HARTS; n++) {
        running[n] = next(n);
    }
    for (unsigned step = 0; step < 20000; step++) {
        const unsigned hart = test_below(&seed, HARTS);
        struct vcpu *other = &core.vcpus[test_below(&seed, HART_KINDS)][test_below(&seed, VCPUS)];
        act_as(hart);
        fake_arch.virtual_pending = 0;
        fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
        struct vcpu *own = core.harts[hart].current;
        switch (test_below(&seed, 6)) {
        case 0:
            if (own != NULL) {
                vcpu_wait(own);
            }
            break;
        case 1 ... 2:
            vcpu_post(other, EVENT_IPI);
            break;
        case 3:
            if (atomic_load(&other->hsm) == SBI_HSM_STOPPED && capsule_state(other->capsule) == CAPSULE_RUNNING) {
                start_vcpu(other);
            }
            break;
        case 4:
            if (own != NULL && own->id != 0) {
                vcpu_off(own);
            }
            break;
        default:
            core.harts[hart].reschedule = true;
            break;
        }
        act_as(0);
        bool acts = true;
        for (unsigned n = 0; n < 3 * HARTS; n++) { /* who was rung wakes up, and may ring others; who acted goes on */
            const unsigned self = n % HARTS;
            if ((acts && self == hart) || (fake_of(self)->machine_pending & BIT(IRQ_M_SOFT)) != 0) {
                acts = acts && self != hart;
                running[self] = core.asleep[self] ? next(self) : interrupt(self);
            }
            assert_true(running[self] == NULL || running[self]->capsule->hart_kind == core.harts[self].kind);
        }
        for (unsigned n = 0; n < HART_KINDS * VCPUS; n++) {
            const struct vcpu *vcpu = &core.vcpus[n / VCPUS][n % VCPUS];
            const unsigned first = vcpu->capsule->hart_kind == HART_HYP ? 2 : 0;
            const bool queued = atomic_load(&vcpu->run) == RUN_QUEUED;
            assert_false(queued && (running[first] == NULL || running[first + 1] == NULL));
        }
    }
}

/* --- stopping, in the gaps --- */

static void stop_now(void)
{
    capsule_stop(&core.capsules[0], STOP_KILLED, "in the gap");
}

/* A stop that comes between the last look at the capsule's state and the guest: nobody is rung for it, since the vCPU
 * was on no hart when the stop looked. Here: the ring is lost. */
static void test_stop_while_loading(void **state)
{
    (void)state;
    make_capsule(0, 1);
    capsule_start(&core.capsules[0]);
    core.on_enter = stop_now;
    assert_null(next(0));
    assert_int_equal(core.rings[0], 0);
    assert_int_equal(capsule_state(&core.capsules[0]), CAPSULE_STOPPED);
    assert_int_equal(core.all_stopped, 1);
}

static void test_stop_while_saving(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    fake_arch.on_save = stop_now;
    vcpu_wait(capsule->vcpus);
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_int_equal(atomic_load(&capsule->vcpus->run), RUN_OFF);
}

static void test_stop_while_queued(void **state)
{
    (void)state;
    struct capsule *capsule = crowd();
    assert_int_equal(atomic_load(&core.vcpus[0][1].run), RUN_QUEUED);
    stop_now();
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPING); /* vCPU 0 is loaded still */
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_int_equal(core.all_stopped, 1);
}

/* A vCPU that was taken from the queue before the stop, by a hart that looks at the state after it. */
static void test_stop_while_taken(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 1);
    capsule_start(capsule);
    (void)capsule_hold(capsule); /* another hart has just taken one */
    stop_now();
    assert_null(next(0)); /* drops vCPU 0, which it finds in the queue */
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPING);
    capsule_left(capsule); /* the other hart has seen it */
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
}

/* --- harts --- */

static void test_halt_others(void **state)
{
    (void)state;
    jmp_buf halted;
    atomic_store(&core.harts[3].online, false);
    hart_halt_others();
    assert_int_equal(core.rings[0] + core.rings[3], 0);
    assert_int_equal(core.rings[1] + core.rings[2], 2);
    act_as(1);
    fake_arch.halted = &halted;
    if (setjmp(halted) == 0) {
        hart_serve(&core.harts[1]);
        fail();
    }
    assert_int_equal(fake_arch.machine_pending, 0);
    atomic_store(&core.harts[2].requests, 0); /* this one lives on: the world's end needs it */
    act_as(0);
}

static unsigned externals;

static void external(void)
{
    externals++;
}

static void test_external_interrupts(void **state)
{
    (void)state;
    fake_arch.machine_pending = BIT(IRQ_M_EXTERNAL);
    hart_serve(&core.harts[0]);
    hart_ops.external = external;
    hart_serve(&core.harts[0]);
    assert_int_equal(externals, 1);
    hart_ops.external = NULL;
    fake_arch.machine_pending = 0;
}

static void test_clock(void **state)
{
    (void)state;
    assert_int_equal(clock_now(), core.now);
    hart_ops.time = NULL;
    fake_arch.time = 77;
    assert_int_equal(clock_now(), 77);
    assert_int_equal(clock_hz, HZ);
    hart_ops.time = world_time;
}

/* The hardware timer is written when its deadline changes and not otherwise. */
static void count_fire(struct timer *timer)
{
    (void)timer;
}

static void test_timer_is_programmed_once(void **state)
{
    (void)state;
    struct timer timer = {.fire = count_fire};
    struct hart *hart = &core.harts[0];
    timer_arm(&hart->timers, &timer, 5000);
    hart_program_timer(hart);
    assert_int_equal(core.timer[0], 5000);
    assert_int_equal(fake_arch.machine_enabled & BIT(IRQ_M_TIMER), BIT(IRQ_M_TIMER));
    core.timer[0] = 1;
    hart_program_timer(hart);
    assert_int_equal(core.timer[0], 1); /* not written again */
    core.now = 5000;
    hart_serve(hart);
    assert_int_equal(core.timer[0], TIMER_NEVER);
    assert_int_equal(fake_arch.machine_enabled & BIT(IRQ_M_TIMER), 0);
}

static void look_at_timer(struct capsule *capsule)
{
    (void)capsule;
    assert_int_equal(core.timer[0], 5000);
}

/* Filling is long: a deadline from before it is kept between its steps. */
static void test_timer_is_programmed_before_filling(void **state)
{
    (void)state;
    struct timer timer = {.fire = count_fire};
    timer_arm(&core.harts[0].timers, &timer, 5000);
    core.on_prepare = look_at_timer;
    (void)run_capsule(0, 1);
    assert_int_equal(core.prepares, 1);
    timer_cancel(&timer);
}

static unsigned nudge_due(void)
{
    return (unsigned)(timer_heap_next(&core.harts[0].timers) - core.now);
}

/* A hart that loses timers has a trap now and then while a guest runs there, and none while it is idle. */
static void test_nudges(void **state)
{
    (void)state;
    core.harts[0].features.loses_timers = true;
    struct vcpu *vcpu = run_capsule(0, 1)->vcpus;
    assert_int_equal(nudge_due(), HZ / 20);
    for (unsigned n = 0; n < 3; n++) {
        core.now += HZ / 20;
        hart_serve(&core.harts[0]);
        assert_int_equal(nudge_due(), HZ / 20);
    }
    vcpu_wait(vcpu);
    assert_null(next(0));
    core.now += HZ / 20;
    hart_serve(&core.harts[0]);
    assert_int_equal(timer_heap_next(&core.harts[0].timers), TIMER_NEVER);
    core.harts[0].features.loses_timers = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(test_nothing_to_run),
        CORE_TEST(test_timer_is_programmed_before_filling),
        CORE_TEST(test_nudges),
        CORE_TEST(test_start_fills_then_runs),
        CORE_TEST(test_filling_takes_turns),
        CORE_TEST(test_wake_on_its_last_hart),
        CORE_TEST(test_wake_elsewhere_when_its_hart_is_busy),
        CORE_TEST(test_idle_hart_keeps_what_it_wakes),
        CORE_TEST(test_idle_hart_rouses_for_the_second),
        CORE_TEST(test_event_while_going_to_sleep),
        CORE_TEST(test_disabled_event_does_not_wake),
        CORE_TEST(test_work_while_falling_asleep),
        CORE_TEST(test_residency_is_lost_to_another_vcpu),
        CORE_TEST(test_residency_is_lost_to_another_hart),
        CORE_TEST(test_restarted_vcpu_is_not_resident),
        CORE_TEST(test_no_slice_without_need),
        CORE_TEST(test_equals_get_equal_shares),
        CORE_TEST(test_weights),
        CORE_TEST(test_weights_after_a_higher_priority),
        CORE_TEST(test_weight_of_more_than_a_hart),
        CORE_TEST(test_priorities_are_strict),
        CORE_TEST(test_priority_preempts),
        CORE_TEST(test_sleepers_have_no_claim),
        CORE_TEST(test_short_sleepers_go_first),
        CORE_TEST(test_pinned_ones),
        CORE_TEST(test_dedicated_harts_are_quiet),
        CORE_TEST(test_slice_ends_alone),
        CORE_TEST(test_a_hart_that_has_to_share_is_rung),
        CORE_TEST(test_request_to_reschedule),
        CORE_TEST(test_who_makes_room_for_a_fetched_one_goes_elsewhere),
        CORE_TEST(test_kinds_run_their_own),
        CORE_TEST(test_kinds_rouse_their_own),
        CORE_TEST(test_idle_hart_of_the_other_kind_rouses),
        CORE_TEST(test_kinds_keep_their_last_hart),
        CORE_TEST(test_kinds_overcommit_apart),
        CORE_TEST(test_kinds_do_not_wait_for_each_other),
        CORE_TEST(test_kinds_stop_apart),
        CORE_TEST(test_kinds_at_random),
        CORE_TEST(test_stop_while_loading),
        CORE_TEST(test_stop_while_saving),
        CORE_TEST(test_stop_while_queued),
        CORE_TEST(test_stop_while_taken),
        CORE_TEST(test_halt_others),
        CORE_TEST(test_external_interrupts),
        CORE_TEST(test_clock),
        CORE_TEST(test_timer_is_programmed_once),
    };
    return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
