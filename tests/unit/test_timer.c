/* SPDX-License-Identifier: MIT
 *
 * The deadline heap against a plain array, with a fixed seed, and the races that timer.h names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <string.h>

#include <cmocka.h>

#include "core/timer.h"
#include "support.h"

enum { TIMERS = 200, ROUNDS = 60000 };

/* What fired, in order. */
static struct timer *fired[TIMERS * 4];
static size_t fired_count;

static void record(struct timer *timer)
{
    assert_null(atomic_load(&timer->heap)); /* it has left the heap before it fires */
    assert_true(fired_count < ARRAY_LENGTH(fired));
    fired[fired_count++] = timer;
}

static const struct timer *timer_at(const struct heap_node *node)
{
    return CONTAINER_OF_CONST(node, struct timer, node);
}

/* Checks the heap below node; returns how many timers it has. Without recursion: along back, as the heap does. */
static size_t check_heap(const struct timer_heap *heap)
{
    const struct heap_node *node = heap->root;
    size_t count = 0;

    if (node != NULL) {
        assert_null(node->back);
        assert_null(node->sibling);
    }
    while (node != NULL) {
        count++;
        assert_ptr_equal(atomic_load(&timer_at(node)->heap), heap);
        if (node->child != NULL) {
            assert_ptr_equal(node->child->back, node);
        }
        if (node->sibling != NULL) {
            assert_ptr_equal(node->sibling->back, node);
        }
        for (const struct heap_node *child = node->child; child != NULL; child = child->sibling) {
            assert_true(timer_at(child)->deadline >= timer_at(node)->deadline);
        }
        if (node->child != NULL) {
            node = node->child;
            continue;
        }
        while (node != NULL && node->sibling == NULL) { /* up to the first one with a sibling left */
            while (node->back != NULL && node->back->child != node) {
                node = node->back;
            }
            node = node->back;
        }
        node = node != NULL ? node->sibling : NULL;
    }
    return count;
}

static void test_empty(void **state)
{
    struct timer_heap heap = {0};

    (void)state;
    fired_count = 0;
    assert_true(timer_heap_next(&heap) == TIMER_NEVER);
    assert_true(timer_heap_run(&heap, UINT64_MAX) == TIMER_NEVER);
    assert_int_equal(fired_count, 0);
}

static void test_earliest(void **state)
{
    struct timer_heap heap = {0};
    struct timer a = {.fire = record}, b = {.fire = record}, c = {.fire = record};

    (void)state;
    fired_count = 0;
    assert_true(timer_arm(&heap, &a, 100));
    assert_false(timer_arm(&heap, &b, 200));
    assert_true(timer_arm(&heap, &c, 50));
    assert_true(timer_heap_next(&heap) == 50);
    assert_true(timer_heap_run(&heap, 49) == 50);
    assert_int_equal(fired_count, 0);
    assert_true(timer_heap_run(&heap, 100) == 200);
    assert_int_equal(fired_count, 2);
    assert_ptr_equal(fired[0], &c);
    assert_ptr_equal(fired[1], &a);
    assert_ptr_equal(atomic_load(&b.heap), &heap);
    timer_cancel(&b);
    assert_null(atomic_load(&b.heap));
    assert_true(timer_heap_next(&heap) == TIMER_NEVER);
}

static void test_rearm_moves(void **state)
{
    struct timer_heap heap = {0};
    struct timer a = {.fire = record}, b = {.fire = record};

    (void)state;
    fired_count = 0;
    timer_arm(&heap, &a, 100);
    timer_arm(&heap, &b, 200);
    assert_false(timer_arm(&heap, &a, 300));
    assert_true(timer_heap_next(&heap) == 200);
    assert_true(timer_arm(&heap, &a, 10));
    assert_true(timer_heap_next(&heap) == 10);
    assert_int_equal(check_heap(&heap), 2);
    timer_heap_run(&heap, 1000);
    assert_int_equal(fired_count, 2); /* once each */
}

static void test_never_disarms(void **state)
{
    struct timer_heap heap = {0};
    struct timer a = {.fire = record};

    (void)state;
    fired_count = 0;
    assert_false(timer_arm(&heap, &a, TIMER_NEVER));
    assert_null(atomic_load(&a.heap));
    timer_arm(&heap, &a, 5);
    assert_false(timer_arm(&heap, &a, TIMER_NEVER));
    assert_null(atomic_load(&a.heap));
    timer_heap_run(&heap, UINT64_MAX);
    assert_int_equal(fired_count, 0);
}

static void test_cancel_unarmed(void **state)
{
    struct timer a = {.fire = record};

    (void)state;
    timer_cancel(&a);
    assert_null(atomic_load(&a.heap));
}

static void test_two_heaps(void **state)
{
    struct timer_heap first = {0}, second = {0}, third = {0};
    struct timer a = {.fire = record};

    (void)state;
    timer_arm(&first, &a, 5);
    timer_cancel(&a);
    timer_arm(&second, &a, 6);
    assert_true(timer_heap_next(&first) == TIMER_NEVER);
    assert_true(timer_heap_next(&second) == 6);
    assert_true(PANICS(timer_arm(&third, &a, 7)));
    assert_true(timer_heap_next(&second) == 6);
}

static struct timer_heap *rearm_heap;
static unsigned rearms;

static void rearm(struct timer *timer)
{
    if (++rearms < 5) {
        timer_arm(rearm_heap, timer, timer->deadline + 10);
    }
}

static void test_fire_may_arm(void **state)
{
    struct timer_heap heap = {0};
    struct timer a = {.fire = rearm};

    (void)state;
    rearm_heap = &heap;
    rearms = 0;
    timer_arm(&heap, &a, 10);
    assert_true(timer_heap_run(&heap, 25) == 30); /* at 10 and 20 */
    assert_int_equal(rearms, 2);
    assert_true(timer_heap_run(&heap, 1000) == TIMER_NEVER);
    assert_int_equal(rearms, 5);
}

static struct timer *victim;

static void cancel_victim(struct timer *timer)
{
    (void)timer;
    timer_cancel(victim);
}

static void test_fire_may_cancel_another_due_one(void **state)
{
    struct timer_heap heap = {0};
    struct timer a = {.fire = cancel_victim}, b = {.fire = record};

    (void)state;
    fired_count = 0;
    victim = &b;
    timer_arm(&heap, &a, 10);
    timer_arm(&heap, &b, 11);
    assert_true(timer_heap_run(&heap, 20) == TIMER_NEVER);
    assert_int_equal(fired_count, 0);
}

/* Tens of thousands of children under one root, and a chain as long: any recursion would show as a deep stack. */
static void test_many(void **state)
{
    static struct timer timers[50000];
    struct timer_heap heap = {0};
    uint64_t last = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(timers); i++) {
        timers[i] = (struct timer){.fire = record};
        timer_arm(&heap, &timers[i], i % 2 == 0 ? i : 200000 - i);
    }
    assert_int_equal(check_heap(&heap), ARRAY_LENGTH(timers));
    for (size_t i = 0; i < ARRAY_LENGTH(timers); i++) {
        uint64_t next = timer_heap_next(&heap);
        assert_true(next >= last && next != TIMER_NEVER);
        last = next;
        timer_cancel(CONTAINER_OF(heap.root, struct timer, node));
    }
    assert_null(heap.root);
}

/* --- the reference: an array of deadlines, TIMER_NEVER where not armed --- */

static struct timer timers[TIMERS];
static uint64_t reference[TIMERS];

static uint64_t reference_next(void)
{
    uint64_t next = TIMER_NEVER;

    for (size_t i = 0; i < TIMERS; i++) {
        next = MIN(next, reference[i]);
    }
    return next;
}

/* Runs the heap and checks that exactly the due ones fired, in order of their deadlines. */
static void run_and_compare(struct timer_heap *heap, uint64_t now)
{
    size_t due = 0;
    uint64_t last = 0;

    fired_count = 0;
    timer_heap_run(heap, now);
    for (size_t i = 0; i < TIMERS; i++) {
        due += reference[i] <= now;
    }
    assert_int_equal(fired_count, due);
    for (size_t i = 0; i < fired_count; i++) {
        size_t which = (size_t)(fired[i] - timers);
        assert_true(reference[which] >= last && reference[which] <= now);
        last = reference[which];
        reference[which] = TIMER_NEVER; /* a second fire of it would fail above */
    }
}

static void test_random_operations(void **state)
{
    struct timer_heap heap = {0};
    uint64_t seed = 20240607, now = 0;

    (void)state;
    for (size_t i = 0; i < TIMERS; i++) {
        timers[i] = (struct timer){.fire = record};
        reference[i] = TIMER_NEVER;
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t which = test_below(&seed, TIMERS);
        unsigned what = test_below(&seed, 10);
        if (what < 6) {
            reference[which] = now + 1 + test_below(&seed, 500);
            bool earliest = timer_arm(&heap, &timers[which], reference[which]);
            assert_true(!earliest || reference[which] == reference_next());
            assert_true(earliest || timer_heap_next(&heap) <= reference[which]);
        } else if (what < 9) {
            reference[which] = TIMER_NEVER;
            timer_cancel(&timers[which]);
        } else {
            now += test_below(&seed, 40);
            run_and_compare(&heap, now);
        }
        assert_true(timer_heap_next(&heap) == reference_next());
        if (round % 64 == 0) {
            size_t armed = 0;
            for (size_t i = 0; i < TIMERS; i++) {
                armed += reference[i] != TIMER_NEVER;
            }
            assert_int_equal(check_heap(&heap), armed);
        }
    }
    run_and_compare(&heap, UINT64_MAX - 1);
    assert_null(heap.root);
}

/* --- one hart fires while another cancels and arms --- */

static struct timer_heap raced_heap;
static atomic_uint raced_fires;
static atomic_bool racing;

static void count_fire(struct timer *timer)
{
    (void)timer;
    atomic_fetch_add(&raced_fires, 1);
}

static void *run_heap(void *unused)
{
    (void)unused;
    while (atomic_load(&racing)) {
        timer_heap_run(&raced_heap, 1000);
    }
    return NULL;
}

static void test_cancel_races_with_firing(void **state)
{
    static struct timer raced[8];
    pthread_t thread;
    const unsigned arms = 20000;

    (void)state;
    atomic_store(&racing, true);
    assert_int_equal(pthread_create(&thread, NULL, run_heap, NULL), 0);
    for (unsigned i = 0; i < arms; i++) {
        struct timer *timer = &raced[i % ARRAY_LENGTH(raced)];
        timer->fire = count_fire;
        timer_arm(&raced_heap, timer, i % 1500);
        timer_cancel(&raced[i * 3 % ARRAY_LENGTH(raced)]);
    }
    atomic_store(&racing, false);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(raced); i++) {
        timer_cancel(&raced[i]);
        assert_null(atomic_load(&raced[i].heap));
    }
    assert_null(raced_heap.root);
    assert_true(atomic_load(&raced_fires) <= arms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_earliest),
        cmocka_unit_test(test_rearm_moves),
        cmocka_unit_test(test_never_disarms),
        cmocka_unit_test(test_cancel_unarmed),
        cmocka_unit_test(test_two_heaps),
        cmocka_unit_test(test_fire_may_arm),
        cmocka_unit_test(test_fire_may_cancel_another_due_one),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_random_operations),
        cmocka_unit_test(test_cancel_races_with_firing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
