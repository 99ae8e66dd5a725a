/* SPDX-License-Identifier: MIT
 *
 * vCPUs: timers with and without Sstc, interrupts, the ways to sleep, HSM's transitions.
 */
#include "core/steal.h"
#include "core_world.h"

enum { ALL = 1 << IRQ_S_SOFT | 1 << IRQ_S_TIMER | 1 << IRQ_S_EXTERNAL };

static struct vcpu *running(uint32_t vcpus)
{
    struct vcpu *vcpu = run_capsule(0, vcpus)->vcpus;
    fake_arch.virtual_enabled = ALL;
    return vcpu;
}

static void set_sstc(void)
{
    for (unsigned n = 0; n < HARTS; n++) {
        core.harts[n].features.sstc = true;
    }
}

/* --- the timer without Sstc --- */

static void test_timer_fires_while_running(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_set_timer(vcpu, core.now + 500);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(core.timer[0], core.now + 500);
    assert_int_equal(fake_arch.virtual_pending, 0);
    core.now += 500;
    assert_ptr_equal(interrupt(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_TIMER));
    vcpu_set_timer(vcpu, TIMER_NEVER); /* and the guest takes it back */
    assert_int_equal(fake_arch.virtual_pending, 0);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(core.timer[0], TIMER_NEVER);
}

static void test_timer_in_the_past(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_set_timer(vcpu, 0);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_TIMER));
    vcpu_set_timer(vcpu, core.now + 1); /* later again: no longer pending */
    assert_int_equal(fake_arch.virtual_pending, 0);
    vcpu_set_timer(vcpu, core.now);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_TIMER));
    assert_null(atomic_load(&vcpu->timer.heap));
}

static void test_timer_wakes(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_set_timer(vcpu, core.now + 500);
    vcpu_wait(vcpu);
    assert_null(next(0));
    assert_int_equal(core.timer[0], core.now + 500);
    core.now += 499;
    assert_null(next(0));
    core.now++;
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_TIMER));
}

/* One that it doesn't enable: no hart is woken for it, but it is pending when the vCPU runs. */
static void test_disabled_timer_does_not_wake(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_set_timer(vcpu, core.now + 500);
    vcpu_wait(vcpu);
    assert_null(next(0));
    assert_int_equal(core.timer[0], TIMER_NEVER);
    core.now += 1000;
    assert_null(next(0));
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_TIMER) | BIT(IRQ_S_SOFT));
}

/* A vCPU that moves takes its timer along. */
static void test_timer_moves(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_set_timer(vcpu, core.now + 500);
    vcpu_wait(vcpu);
    assert_null(next(0));
    assert_ptr_equal(atomic_load(&vcpu->timer.heap), &core.harts[0].timers);
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(next(1), vcpu);
    assert_ptr_equal(atomic_load(&vcpu->timer.heap), &core.harts[1].timers);
    assert_int_equal(core.timer[1], core.now + 500);
    core.now += 500;
    assert_null(next(0)); /* wakes once for nothing */
    assert_int_equal(fake_of(1)->virtual_pending, BIT(IRQ_S_SOFT));
    assert_ptr_equal(interrupt(1), vcpu);
    assert_int_equal(fake_of(1)->virtual_pending, BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER));
}

static void test_preempted_vcpu_has_no_timer_armed(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(2);
    world_hart_count(1);
    vcpu_set_timer(vcpu, core.now + 500);
    atomic_store(&core.vcpus[0][1].hsm, SBI_HSM_START_PENDING);
    vcpu_start(&core.vcpus[0][1], RAM_BASE, 0);
    core.harts[0].reschedule = true;
    assert_ptr_equal(next(0), &core.vcpus[0][1]);
    assert_null(atomic_load(&vcpu->timer.heap));
    core.now += 600;
    core.harts[0].reschedule = true;
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_TIMER)); /* it was due meanwhile */
}

/* --- the timer with Sstc --- */

static void test_sstc(void **state)
{
    (void)state;
    set_sstc();
    struct vcpu *vcpu = running(1);
    vcpu_set_timer(vcpu, core.now + 500);
    assert_int_equal(fake_arch.virtual_timer, core.now + 500);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(core.timer[0], TIMER_NEVER); /* the guest's own */
    vcpu_wait(vcpu);
    assert_null(next(0));
    assert_int_equal(fake_arch.virtual_timer, UINT64_MAX);
    assert_int_equal(core.timer[0], core.now + 500); /* while it sleeps, ours */
    core.now += 500;
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.virtual_timer, core.now);
    assert_int_equal(fake_arch.virtual_pending, 0); /* hardware's to raise */
}

/* --- interrupts --- */

static void test_external(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_set_external(vcpu, true);
    vcpu_set_external(vcpu, true);
    assert_int_equal(core.rings[0], 0); /* its own hart acts */
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_EXTERNAL));
    vcpu_set_external(vcpu, false);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, 0);
}

static void test_external_from_another_hart(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    act_as(1);
    vcpu_set_external(vcpu, true);
    act_as(0);
    assert_int_equal(core.rings[0], 1);
    assert_ptr_equal(interrupt(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_EXTERNAL));
    /* Its level outlasts a sleep, and is raised again wherever it wakes. */
    vcpu_wait(vcpu);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_EXTERNAL));
    fake_arch.virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(vcpu);
    assert_null(next(0));
    vcpu_set_external(vcpu, false);
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(next(1), vcpu);
    assert_int_equal(fake_of(1)->virtual_pending, BIT(IRQ_S_SOFT));
}

/* A pulse that is over before the hart looks leaves nothing behind. */
static void test_external_pulse(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_wait(vcpu);
    fake_arch.virtual_enabled = ALL;
    assert_null(next(0));
    vcpu_set_external(vcpu, true);
    vcpu_set_external(vcpu, false);
    assert_ptr_equal(next(0), vcpu); /* woken, for nothing */
    assert_int_equal(fake_arch.virtual_pending, 0);
}

/* --- blocking --- */

static void test_block(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_block(vcpu);
    assert_null(next(0));
    assert_int_equal(atomic_load(&vcpu->run), RUN_BLOCKED);
    vcpu_post(vcpu, EVENT_IPI);
    assert_null(next(0)); /* interrupts don't end it */
    vcpu_unblock(vcpu);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_SOFT));
}

static void test_unblock_comes_first(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_block(vcpu);
    vcpu_unblock(vcpu);
    assert_ptr_equal(next(0), vcpu);
}

/* An unblock meant for something else must not cut a remote fence short; nor one that had looked before. */
static void test_stray_unblock(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    atomic_store(&vcpu->fences_outstanding, 1);
    vcpu_block(vcpu);
    vcpu_unblock(vcpu);
    assert_null(next(0));
    assert_int_equal(atomic_load(&vcpu->run), RUN_BLOCKED);
    atomic_store(&vcpu->fences_outstanding, 0);
    vcpu_unblock(vcpu);
    assert_ptr_equal(next(0), vcpu);
}

/* --- HSM --- */

static void test_start_stop_start(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    struct vcpu *vcpu = run_vcpu(capsule, 1, 1);
    assert_int_equal(atomic_load(&capsule->started), 2);
    assert_int_equal(vcpu->context.x[REG_A0], 1);
    vcpu->deadline = 1;
    vcpu_post(vcpu, EVENT_IPI);
    vcpu_off(vcpu);
    assert_int_equal(atomic_load(&vcpu->hsm), SBI_HSM_STOP_PENDING);
    assert_null(next(1));
    assert_int_equal(atomic_load(&vcpu->hsm), SBI_HSM_STOPPED);
    assert_int_equal(atomic_load(&capsule->started), 1);
    assert_int_equal(capsule_state(capsule), CAPSULE_RUNNING);
    /* Nothing of its former life is left: no interrupt, no deadline, no sleep. */
    run_vcpu(capsule, 1, 2);
    assert_int_equal(fake_of(2)->virtual_pending, 0);
    assert_int_equal(vcpu->deadline, TIMER_NEVER);
}

/* While it is leaving nobody can start it: its registers are still to be saved. */
static unsigned seen_at_save;

static void look_at_hsm(void)
{
    seen_at_save = atomic_load(&core.vcpus[0][1].hsm);
}

static void test_stopped_only_when_it_has_left(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    struct vcpu *vcpu = run_vcpu(capsule, 1, 1);
    fake_of(1)->on_save = look_at_hsm;
    vcpu_off(vcpu);
    assert_null(next(1));
    assert_int_equal(seen_at_save, SBI_HSM_STOP_PENDING);
}

static void test_last_one_stops(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_off(vcpu);
    assert_null(next(0));
    assert_int_equal(capsule_state(vcpu->capsule), CAPSULE_STOPPED);
    assert_int_equal(core.all_stopped, 1);
    assert_non_null(strstr(log_text(), "Capsule 1 (guest0) stopped: power off requested: its last vCPU stopped"));
}

static void test_suspend_retentive(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu->context.pc = RAM_BASE + 0x44;
    vcpu->context.x[5] = 5;
    vcpu_suspend(vcpu, false, 0, 0);
    assert_null(next(0));
    assert_int_equal(atomic_load(&vcpu->hsm), SBI_HSM_SUSPENDED);
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(atomic_load(&vcpu->hsm), SBI_HSM_STARTED);
    assert_int_equal(vcpu->context.pc, RAM_BASE + 0x44);
    assert_int_equal(vcpu->context.x[5], 5);
    assert_true(fake_arch.loaded_resident);
    assert_int_equal(fake_arch.virtual_enabled, ALL);
}

/* It goes on as after a start, in a new context that must really be loaded; but what woke it is pending. */
static void suspend_and_wake(struct vcpu *vcpu)
{
    vcpu->context.stvec = 0x1234;
    vcpu_suspend(vcpu, true, RAM_BASE + 0x88, 99);
    assert_null(next(0));
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(vcpu->context.pc, RAM_BASE + 0x88);
    assert_int_equal(vcpu->context.x[REG_A0], 0);
    assert_int_equal(vcpu->context.x[REG_A1], 99);
    assert_int_equal(vcpu->context.stvec, 0);
    assert_int_equal(fake_arch.virtual_enabled, 0);
    assert_int_equal(fake_arch.virtual_pending & BIT(IRQ_S_SOFT), BIT(IRQ_S_SOFT));
    assert_false(fake_arch.loaded_resident);
    assert_false(vcpu->suspend.resumes);
}

static void test_suspend_non_retentive(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    vcpu_set_timer(vcpu, core.now + 500);
    suspend_and_wake(vcpu);
    core.now += 500; /* its timer goes on */
    assert_ptr_equal(interrupt(0), vcpu);
    assert_int_equal(fake_arch.virtual_pending, BIT(IRQ_S_SOFT) | BIT(IRQ_S_TIMER));
}

static void test_suspend_non_retentive_with_sstc(void **state)
{
    (void)state;
    set_sstc();
    struct vcpu *vcpu = running(1);
    vcpu_set_timer(vcpu, core.now + 500);
    suspend_and_wake(vcpu);
    assert_int_equal(fake_arch.virtual_timer, core.now + 500);
}

/* With its interrupt pending already it doesn't sleep at all. */
static void test_suspend_with_interrupt_pending(void **state)
{
    (void)state;
    struct vcpu *vcpu = running(1);
    fake_arch.virtual_pending = BIT(IRQ_S_TIMER);
    vcpu_suspend(vcpu, false, 0, 0);
    assert_ptr_equal(next(0), vcpu);
    assert_int_equal(atomic_load(&vcpu->hsm), SBI_HSM_STARTED);
}

/* Suspended ones count as started: the last one awake may stop, and the capsule lives on. */
static void test_suspended_keeps_capsule_alive(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    struct vcpu *vcpu = run_vcpu(capsule, 1, 1);
    fake_of(1)->virtual_enabled = ALL;
    vcpu_suspend(vcpu, false, 0, 0);
    assert_null(next(1));
    vcpu_off(capsule->vcpus);
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_RUNNING);
    vcpu_post(vcpu, EVENT_IPI);
    assert_ptr_equal(next(1), vcpu);
    vcpu_off(vcpu);
    assert_null(next(1));
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
}

/* A vCPU that is started anew tells nothing of its steal time in RAM until its guest asks for that again. */
static void test_start_forgets_where_to_tell(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 2);
    struct vcpu *vcpu = run_vcpu(capsule, 1, 1);
    assert_true(steal_tell(vcpu, (gpa_t){RAM_BASE}));
    vcpu->steal_ticks = 5;
    steal_publish(vcpu);
    assert_true(vcpu->sta.on);
    assert_int_equal(core.ram[0][0], 2);
    vcpu_off(vcpu);
    assert_null(next(1));
    run_vcpu(capsule, 1, 1);
    assert_false(vcpu->sta.on);
    vcpu->steal_ticks = 50;
    steal_publish(vcpu);
    assert_int_equal(core.ram[0][0], 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CORE_TEST(test_timer_fires_while_running),
        CORE_TEST(test_timer_in_the_past),
        CORE_TEST(test_timer_wakes),
        CORE_TEST(test_disabled_timer_does_not_wake),
        CORE_TEST(test_timer_moves),
        CORE_TEST(test_preempted_vcpu_has_no_timer_armed),
        CORE_TEST(test_sstc),
        CORE_TEST(test_external),
        CORE_TEST(test_external_from_another_hart),
        CORE_TEST(test_external_pulse),
        CORE_TEST(test_block),
        CORE_TEST(test_unblock_comes_first),
        CORE_TEST(test_stray_unblock),
        CORE_TEST(test_start_stop_start),
        CORE_TEST(test_stopped_only_when_it_has_left),
        CORE_TEST(test_last_one_stops),
        CORE_TEST(test_suspend_retentive),
        CORE_TEST(test_suspend_non_retentive),
        CORE_TEST(test_suspend_non_retentive_with_sstc),
        CORE_TEST(test_suspend_with_interrupt_pending),
        CORE_TEST(test_suspended_keeps_capsule_alive),
        CORE_TEST(test_start_forgets_where_to_tell),
    };
    return cmocka_run_group_tests_name("vcpu", tests, NULL, NULL);
}
