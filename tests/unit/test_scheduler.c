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
    assert_int_equal(atomic_load(&capsule->loaded), 1);
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

/* --- slices --- */

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

static void test_slices_take_turns(void **state)
{
    (void)state;
    struct capsule *capsule = crowd();
    assert_ptr_equal(next(0), capsule_vcpu(capsule, 0));
    for (uint32_t turn = 1; turn <= 6; turn++) {
        assert_int_equal(core.timer[0], core.now + SLICE_MICROSECONDS);
        core.now = core.timer[0] - 1;
        assert_ptr_equal(interrupt(0), capsule_vcpu(capsule, (turn - 1) % 3));
        core.now++;
        assert_ptr_equal(interrupt(0), capsule_vcpu(capsule, turn % 3));
    }
}

/* A slice that ended while nobody waits is forgotten, and the next one is armed. */
static void test_slice_ends_alone(void **state)
{
    (void)state;
    struct capsule *capsule = crowd();
    fake_arch.virtual_enabled = 0;
    for (uint32_t id = 0; id < 2; id++) {
        vcpu_wait(capsule_vcpu(capsule, id));
        assert_ptr_equal(next(0), capsule_vcpu(capsule, id + 1));
    }
    core.now = core.timer[0];
    unsigned saves = fake_arch.saves;
    assert_ptr_equal(interrupt(0), capsule_vcpu(capsule, 2));
    assert_int_equal(fake_arch.saves, saves);
    assert_false(core.harts[0].reschedule);
    assert_int_equal(core.timer[0], core.now + SLICE_MICROSECONDS);
}

/* Harts that run without a slice learn that others wait now. */
static void test_overcommitting_rings_everyone(void **state)
{
    (void)state;
    world_hart_count(2);
    struct capsule *capsule = run_capsule(0, 3);
    run_vcpu(capsule, 1, 1);
    assert_int_equal(core.timer[1], TIMER_NEVER);
    core.rings[1] = 0;
    atomic_store(&core.vcpus[0][2].hsm, SBI_HSM_START_PENDING);
    vcpu_start(&core.vcpus[0][2], RAM_BASE, 0);
    assert_int_equal(core.rings[1], 1);
    assert_ptr_equal(interrupt(1), capsule_vcpu(capsule, 1));
    assert_int_equal(core.timer[1], core.now + SLICE_MICROSECONDS);
    assert_ptr_equal(next(0), capsule_vcpu(capsule, 0));
    assert_int_equal(core.timer[0], core.now + SLICE_MICROSECONDS);
}

static void test_request_to_reschedule(void **state)
{
    (void)state;
    struct capsule *capsule = crowd();
    atomic_fetch_or(&core.harts[0].requests, HART_RESCHEDULE);
    hart_ring(&core.harts[0]);
    assert_ptr_equal(interrupt(0), capsule_vcpu(capsule, 1));
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

static void start_vcpu(struct vcpu *vcpu)
{
    atomic_store(&vcpu->hsm, SBI_HSM_START_PENDING);
    vcpu_start(vcpu, RAM_BASE, 0);
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
    assert_int_equal(core.timer[2], TIMER_NEVER); /* three vCPUs on four harts; two on two of each kind at most */
    memset(core.rings, 0, sizeof(core.rings));
    start_vcpu(capsule_vcpu(pair[HART_HYP], 2));
    assert_int_equal(core.rings[0] + core.rings[1], 0);
    assert_true(core.rings[2] > 0 && core.rings[3] > 0);
    assert_ptr_equal(interrupt(3), capsule_vcpu(pair[HART_HYP], 1));
    assert_ptr_equal(interrupt(2), capsule_vcpu(pair[HART_HYP], 0));
    assert_int_equal(core.timer[2], core.now + SLICE_MICROSECONDS);
    assert_int_equal(core.timer[3], core.now + SLICE_MICROSECONDS);
    assert_ptr_equal(next(0), pair[HART_PMP]->vcpus);
    assert_int_equal(core.timer[0], TIMER_NEVER);
    core.now = core.timer[3];
    assert_ptr_equal(interrupt(3), capsule_vcpu(pair[HART_HYP], 2)); /* taken turns */
    vcpu_off(capsule_vcpu(pair[HART_HYP], 2));
    assert_ptr_equal(next(3), capsule_vcpu(pair[HART_HYP], 1));
    assert_null(atomic_load(&core.harts[3].slice.heap)); /* two on two again */
    run_vcpu(pair[HART_PMP], 1, 1);
    start_vcpu(capsule_vcpu(pair[HART_PMP], 2)); /* and now the other way round */
    assert_ptr_equal(next(0), pair[HART_PMP]->vcpus);
    assert_int_equal(core.timer[0], core.now + SLICE_MICROSECONDS);
    assert_ptr_equal(next(3), capsule_vcpu(pair[HART_HYP], 1));
    assert_null(atomic_load(&core.harts[3].slice.heap));
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
    atomic_fetch_add(&capsule->loaded, 1); /* another hart has just taken one */
    stop_now();
    assert_null(next(0)); /* drops vCPU 0, which it finds in the queue */
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPING);
    capsule_left(capsule); /* the other hart has seen it */
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
}

/* The last hart to leave looked before another vCPU of the capsule was loaded and the stop was asked for there: it must
 * not commit under that one's feet. */
static void test_late_leaver_does_not_commit(void **state)
{
    (void)state;
    unsigned was;
    struct capsule *capsule = run_capsule(0, 1);
    atomic_store(&capsule->state, CAPSULE_STOPPING | STOP_RESET << 8);
    assert_false(scheduler_sweep(capsule, &was));
    assert_int_equal(atomic_load(&capsule->vcpus->run), RUN_LOADED);
    assert_ptr_equal(next(0), capsule->vcpus); /* left, committed, filled and started again */
    assert_int_equal(core.prepares, 2);
    assert_false(scheduler_sweep(capsule, &was)); /* running */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(test_nothing_to_run),
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
        CORE_TEST(test_slices_take_turns),
        CORE_TEST(test_slice_ends_alone),
        CORE_TEST(test_overcommitting_rings_everyone),
        CORE_TEST(test_request_to_reschedule),
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
        CORE_TEST(test_late_leaver_does_not_commit),
        CORE_TEST(test_halt_others),
        CORE_TEST(test_external_interrupts),
        CORE_TEST(test_clock),
        CORE_TEST(test_timer_is_programmed_once),
    };
    return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
