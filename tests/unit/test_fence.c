/* SPDX-License-Identifier: MIT
 *
 * Remote fences: who fences, who waits, and who may answer for whom at every moment of a target's way off its hart and
 * onto another.
 */
#include "core_world.h"

static struct capsule *capsule;
static struct vcpu *caller, *target;

/* The caller on hart 0, the target on hart 1; harts 2 and 3 asleep. */
static int fence_setup(void **state)
{
    setup(state);
    capsule = run_capsule(0, 4);
    caller = capsule_vcpu(capsule, 0);
    target = run_vcpu(capsule, 1, 1);
    assert_null(next(2));
    assert_null(next(3));
    for (unsigned n = 0; n < HARTS; n++) {
        fake_of(n)->fences_vma = fake_of(n)->fences_i = 0;
    }
    return 0;
}

#define FENCE_TEST(test) cmocka_unit_test_setup_teardown(test, fence_setup, teardown)

static bool blocked(void)
{
    return atomic_load(&caller->run) == RUN_BLOCKED;
}

/* The caller asks for a fence on the target and goes to sleep over it. */
static void ask(unsigned events)
{
    assert_false(fence_remote(caller, 1 << 1, events));
    assert_null(next(0));
    assert_true(blocked());
}

static void test_on_itself(void **state)
{
    (void)state;
    assert_true(fence_remote(caller, 1 << 0, EVENT_FENCE_VMA | EVENT_FENCE_I));
    assert_int_equal(fake_arch.fences_vma, 1);
    assert_int_equal(fake_arch.fences_i, 1);
    assert_int_equal(atomic_load(&caller->fences_outstanding), 0);
}

static void test_on_nobody(void **state)
{
    (void)state;
    assert_true(fence_remote(caller, 0, EVENT_FENCE_VMA));
    assert_int_equal(fake_arch.fences_vma, 0);
}

/* vCPUs 2 and 3 were never started: they start with a fence. */
static void test_on_stopped_ones(void **state)
{
    (void)state;
    assert_true(fence_remote(caller, 1 << 2 | 1 << 3, EVENT_FENCE_VMA));
    assert_int_equal(core.rings[2] + core.rings[3], 0);
    assert_int_equal(atomic_load(&core.vcpus[0][2].pending), 0);
}

static void test_on_a_running_one(void **state)
{
    (void)state;
    ask(EVENT_FENCE_VMA);
    assert_int_equal(core.rings[1], 1);
    assert_int_equal(fake_of(1)->fences_vma, 0);
    assert_ptr_equal(interrupt(1), target);
    assert_int_equal(fake_of(1)->fences_vma, 1);
    assert_int_equal(fake_of(1)->fences_i, 0);
    assert_false(blocked());
    assert_ptr_equal(next(0), caller);
}

static void test_instruction_fence(void **state)
{
    (void)state;
    ask(EVENT_FENCE_I);
    assert_ptr_equal(interrupt(1), target);
    assert_int_equal(fake_of(1)->fences_vma, 0);
    assert_int_equal(fake_of(1)->fences_i, 1);
    assert_ptr_equal(next(0), caller);
}

/* Nobody waits for a vCPU that sleeps; it fences before it runs again, even where it is still resident. */
static void test_on_a_sleeping_one(void **state)
{
    (void)state;
    fake_of(1)->virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(target);
    assert_null(next(1));
    assert_true(fence_remote(caller, 1 << 1, EVENT_FENCE_VMA));
    assert_int_equal(atomic_load(&target->fence_waiters), 0);
    assert_null(next(1)); /* it isn't woken for it */
    vcpu_post(target, EVENT_IPI);
    assert_ptr_equal(next(1), target);
    assert_true(fake_of(1)->loaded_resident);
    assert_int_equal(fake_of(1)->fences_vma, 1);
}

/* One that leaves its hart instead of taking the ring answers on its way, and fences later. */
static void test_target_leaves(void **state)
{
    (void)state;
    ask(EVENT_FENCE_VMA);
    fake_of(1)->virtual_enabled = BIT(IRQ_S_SOFT);
    vcpu_wait(target);
    assert_ptr_equal(next(1), caller); /* which hart 1 takes, being free */
    assert_int_equal(atomic_load(&target->run), RUN_WAITING);
    assert_int_equal(atomic_load(&target->pending) & EVENT_FENCE_VMA, EVENT_FENCE_VMA);
    vcpu_post(target, EVENT_IPI);
    assert_ptr_equal(next(2), target);
    assert_int_equal(fake_of(2)->fences_vma, 1);
}

/* And one that stops, or blocks over a fence of its own. */
static void test_target_stops(void **state)
{
    (void)state;
    ask(EVENT_FENCE_VMA);
    vcpu_off(target);
    assert_ptr_equal(next(1), caller);
}

static void test_mutual(void **state)
{
    (void)state;
    assert_false(fence_remote(caller, 1 << 1, EVENT_FENCE_VMA));
    assert_false(fence_remote(target, 1 << 0, EVENT_FENCE_VMA));
    assert_null(next(0)); /* sleeps until the target answers; it has answered the target itself */
    assert_ptr_equal(next(1), target);
    assert_ptr_equal(next(0), caller);
    assert_int_equal(fake_of(0)->fences_vma, 1); /* what was asked for, before either runs again */
    assert_int_equal(fake_of(1)->fences_vma, 1);
}

static void test_several_targets(void **state)
{
    (void)state;
    run_vcpu(capsule, 2, 2);
    run_vcpu(capsule, 3, 3);
    assert_false(fence_remote(caller, 0xf, EVENT_FENCE_VMA));
    assert_int_equal(fake_arch.fences_vma, 1);
    assert_null(next(0));
    for (unsigned n = 1; n < HARTS; n++) {
        assert_true(blocked());
        assert_int_equal(core.rings[n], n == 1 ? 1 : core.rings[n]);
        assert_ptr_equal(interrupt(n), capsule_vcpu(capsule, n));
        assert_int_equal(fake_of(n)->fences_vma, 1);
    }
    assert_ptr_equal(next(0), caller);
}

/* --- in the gaps --- */

static void ask_in_the_gap(void)
{
    fake_arch.on_save = NULL;
    const unsigned before = core.actor;
    act_as(0);
    assert_false(fence_remote(caller, 1 << 1, EVENT_FENCE_VMA));
    act_as(before);
}

/* The target's registers are saved, but it isn't off its hart yet. */
static void test_asked_while_target_is_saved(void **state)
{
    (void)state;
    fake_of(1)->virtual_enabled = BIT(IRQ_S_SOFT);
    fake_of(1)->on_save = ask_in_the_gap;
    vcpu_wait(target);
    assert_null(next(1));
    assert_int_equal(atomic_load(&target->run), RUN_WAITING);
    assert_int_equal(atomic_load(&caller->fences_outstanding), 0); /* answered, before the caller could even sleep */
    assert_ptr_equal(next(0), caller);
}

/* The target left hart 1 and was given to others; hart 3 has it already and it is asked there. Hart 1, which is still
 * on its way out, must not answer for hart 3. */
static void target_moves_on(void)
{
    const unsigned before = core.actor;
    assert_ptr_equal(next(3), target);
    fake_of(3)->fences_vma = 0;
    act_as(0);
    assert_false(fence_remote(caller, 1 << 1, EVENT_FENCE_VMA));
    act_as(before);
}

static void test_asked_after_target_moved_on(void **state)
{
    (void)state;
    assert_null(next(3));
    hart_set_store(&target->allowed, 1 << 3); /* it must leave hart 1 */
    core.on_ring = target_moves_on;           /* hart 1 has just queued the target and rings hart 3 */
    core.harts[1].reschedule = true;
    assert_null(next(1));
    assert_ptr_equal(core.harts[3].current, target);
    assert_null(next(0));
    assert_true(blocked());
    assert_ptr_equal(interrupt(3), target);
    assert_int_equal(fake_of(3)->fences_vma, 1);
    assert_false(blocked());
}

/* Somebody asks while the target is executing the fence that another asked for: it came too late for that one. */
static unsigned fences_when_asked;

static void ask_again(void)
{
    fake_arch.on_fence_vma = NULL;
    const unsigned before = core.actor;
    act_as(3);
    fences_when_asked = fake_of(1)->fences_vma;
    assert_false(fence_remote(capsule_vcpu(capsule, 3), 1 << 1, EVENT_FENCE_VMA));
    act_as(before);
}

static void test_asked_while_target_fences(void **state)
{
    (void)state;
    struct vcpu *late = run_vcpu(capsule, 3, 3);
    ask(EVENT_FENCE_VMA);
    fake_of(1)->on_fence_vma = ask_again;
    assert_ptr_equal(interrupt(1), target);
    assert_false(blocked());
    assert_int_equal(fences_when_asked, 1);
    assert_int_equal(fake_of(1)->fences_vma, 1);
    assert_int_equal(atomic_load(&late->fences_outstanding), 1);
    assert_ptr_equal(next(0), caller);
    assert_ptr_equal(interrupt(1), target);
    assert_int_equal(fake_of(1)->fences_vma, 2);
    assert_int_equal(atomic_load(&late->fences_outstanding), 0);
    assert_ptr_equal(next(3), late);
}

/* A start forgets events of the vCPU's former life, but not a note that somebody waits over. */
static void test_asked_while_target_is_started(void **state)
{
    (void)state;
    struct vcpu *fresh = capsule_vcpu(capsule, 2);
    atomic_store(&fresh->hsm, SBI_HSM_START_PENDING);
    atomic_fetch_or(&fresh->pending, EVENT_FENCE_VMA | EVENT_IPI);
    atomic_fetch_or(&fresh->fence_waiters, 1);
    atomic_store(&caller->fences_outstanding, 1);
    vcpu_block(caller);
    assert_null(next(0));
    vcpu_start(fresh, RAM_BASE, 0);
    assert_ptr_equal(next(2), fresh);
    assert_int_equal(fake_of(2)->virtual_pending, 0);
    assert_false(blocked());
}

/* The capsule stops with fences under way: nothing of them is left for its next life. */
static void test_capsule_resets_meanwhile(void **state)
{
    (void)state;
    ask(EVENT_FENCE_VMA);
    capsule_stop(capsule, STOP_RESET, "%s", "");
    assert_ptr_equal(interrupt(1), caller);
    assert_int_equal(core.prepares, 2);
    assert_int_equal(atomic_load(&caller->fences_outstanding), 0);
    assert_int_equal(atomic_load(&target->fence_waiters), 0);
    assert_int_equal(atomic_load(&target->hsm), SBI_HSM_STOPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FENCE_TEST(test_on_itself),
        FENCE_TEST(test_on_nobody),
        FENCE_TEST(test_on_stopped_ones),
        FENCE_TEST(test_on_a_running_one),
        FENCE_TEST(test_instruction_fence),
        FENCE_TEST(test_on_a_sleeping_one),
        FENCE_TEST(test_target_leaves),
        FENCE_TEST(test_target_stops),
        FENCE_TEST(test_mutual),
        FENCE_TEST(test_several_targets),
        FENCE_TEST(test_asked_while_target_is_saved),
        FENCE_TEST(test_asked_after_target_moved_on),
        FENCE_TEST(test_asked_while_target_fences),
        FENCE_TEST(test_asked_while_target_is_started),
        FENCE_TEST(test_capsule_resets_meanwhile),
    };
    return cmocka_run_group_tests_name("fence", tests, NULL, NULL);
}
