/* SPDX-License-Identifier: MIT
 *
 * What may be asked of a capsule in which state, all of it; and that what was asked stays asked, or is forgotten, when
 * something else comes between.
 */
#include "core_world.h"

static struct refusal refusal;

static enum dx_error request(struct capsule *capsule, enum capsule_request what)
{
    return capsule_request(capsule, what, "the test", &refusal);
}

/* --- the table --- */

static const char *const request_names[CAPSULE_REQUESTS] = {
    [REQUEST_START] = "start", [REQUEST_STOP] = "stop",     [REQUEST_KILL] = "kill",      [REQUEST_RESTART] = "restart",
    [REQUEST_PAUSE] = "pause", [REQUEST_RESUME] = "resume", [REQUEST_DESTROY] = "destroy"};

/* For each state what it is called, and what each request leads to at once, with no vCPU on a hart; "-": refused. */
static const struct {
    enum capsule_state state;
    const char *name;
    const char *after[CAPSULE_REQUESTS]; /* start, stop, kill, restart, pause, resume, destroy */
} table[] = {
    {CAPSULE_LOADED, "loaded", {"starting", "-", "-", "starting", "-", "-", "destroying"}},
    {CAPSULE_FILLING, "starting", {"-", "stopped", "stopped", "starting", "-", "-", "-"}},
    {CAPSULE_RUNNING, "running", {"-", "running", "stopped", "starting", "paused", "-", "-"}},
    {CAPSULE_STOPPING, "stopping", {"-", "-", "stopping", "-", "-", "-", "-"}},
    {CAPSULE_COMMITTING, "stopping", {"-", "-", "-", "-", "-", "-", "-"}},
    {CAPSULE_STOPPED, "stopped", {"starting", "-", "-", "starting", "-", "-", "destroying"}},
    {CAPSULE_CRASHED, "crashed", {"starting", "-", "-", "starting", "-", "-", "destroying"}},
    {CAPSULE_PAUSED, "paused", {"-", "running", "stopped", "starting", "-", "running", "-"}},
    {CAPSULE_BACKOFF, "restarting", {"starting", "stopped", "stopped", "starting", "-", "-", "-"}},
    {CAPSULE_DESTROYING, "destroying", {"-", "-", "-", "-", "-", "-", "-"}},
};

static void check_refused(struct capsule *capsule, enum capsule_request what, const char *state_name)
{
    char text[120];
    const unsigned before = atomic_load(&capsule->state);
    snprintf(text, sizeof(text), "guest0: %s: it is %s", request_names[what], state_name);
    assert_int_equal(request(capsule, what), DX_WRONG_STATE);
    assert_int_equal(refusal.error, DX_WRONG_STATE);
    assert_string_equal(refusal.text, text);
    assert_int_equal(atomic_load(&capsule->state), before);
    assert_int_equal(atomic_load(&core.vcpus[0][0].run), RUN_OFF);
    assert_null(atomic_load(&capsule->life.timer.heap));
}

/* In that state, with its only vCPU off: as if it had been put there a moment ago. */
static void check_cell(size_t row, enum capsule_request what)
{
    world_make(1);
    struct capsule *capsule = make_capsule(0, 1);
    atomic_store(&capsule->state, table[row].state);
    const char *after = table[row].after[what];
    if (strcmp(after, "-") == 0) {
        check_refused(capsule, what, table[row].name);
    } else {
        assert_int_equal(request(capsule, what), DX_OK);
        assert_string_equal(capsule_state_name(capsule_state(capsule)), after);
        const bool to_be_run = strcmp(after, "starting") == 0 || strcmp(after, "destroying") == 0;
        assert_int_equal(atomic_load(&capsule->vcpus->run), to_be_run ? RUN_QUEUED : RUN_OFF);
        assert_int_equal(capsule->life.asked != 0, what == REQUEST_STOP && strcmp(after, "running") == 0);
    }
    assert_int_equal(capsule_holds(capsule), 0);
}

static void test_table(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LENGTH(table), CAPSULE_DESTROYING + 1);
    for (size_t row = 0; row < ARRAY_LENGTH(table); row++) {
        assert_int_equal(table[row].state, row);
        assert_string_equal(capsule_state_name(table[row].state), table[row].name);
        for (unsigned what = 0; what < CAPSULE_REQUESTS; what++) {
            check_cell(row, (enum capsule_request)what);
        }
    }
}

/* --- being asked to power off, and something that comes between --- */

/* The timer's next moment on hart 0. */
static void let_time_pass(void)
{
    assert_true(core.timer[0] != TIMER_NEVER);
    core.now = MAX(core.now, core.timer[0]);
}

static unsigned keys_sent(struct capsule *capsule)
{
    unsigned count = 0;
    while (console_port_get(&capsule->console) >= 0) {
        count++;
    }
    return count;
}

/* Paused for longer than its patience lasts: time stands still for it, and goes on when it does. */
static void test_paused_while_it_is_asked(void **state)
{
    (void)state;
    for (unsigned steps = 0; steps < 3; steps++) {
        world_make(1);
        struct capsule *capsule = run_capsule(0, 1);
        assert_int_equal(request(capsule, REQUEST_STOP), DX_OK);
        for (unsigned n = 0; n < steps; n++) {
            (void)next(0);
            let_time_pass();
            assert_ptr_equal(interrupt(0), capsule->vcpus);
        }
        assert_int_equal(keys_sent(capsule), steps + 1);
        assert_int_equal(request(capsule, REQUEST_PAUSE), DX_OK);
        assert_null(next(0));
        const uint64_t before = core.now;
        while (core.now - before < 3ull * STOP_GRACE_SECONDS * HZ) {
            let_time_pass();
            assert_null(next(0));
            assert_int_equal(capsule_state(capsule), CAPSULE_PAUSED);
        }
        assert_int_equal(keys_sent(capsule), 0);
        assert_int_equal(request(capsule, steps == 0 ? REQUEST_STOP : REQUEST_RESUME), DX_OK);
        assert_ptr_equal(next(0), capsule->vcpus);
        const uint64_t resumed = core.now;
        while (interrupt(0) != NULL) {
            assert_true(core.now - resumed <= (STOP_GRACE_SECONDS + 1ull) * HZ);
            let_time_pass();
        }
        assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
        assert_int_equal(keys_sent(capsule), steps == 2 ? 1 : 2 - steps);
        assert_true(core.now - resumed >= (STOP_GRACE_SECONDS - 2ull) * HZ);
    }
}

static void kill_it(struct capsule *capsule)
{
    (void)capsule_stop(capsule, STOP_KILLED, "%s", "");
}

/* It has stopped by another's hand before it could be asked: nothing of that is left for its next life. */
static void test_stopped_before_it_is_asked(void **state)
{
    (void)state;
    static struct capsule_hooks hooks;
    struct capsule *capsule = run_capsule(0, 1);
    hooks = world_hooks;
    assert_int_equal(request(capsule, REQUEST_PAUSE), DX_OK);
    assert_null(next(0));
    hooks.resume = kill_it;
    capsule->hooks = &hooks;
    assert_int_equal(request(capsule, REQUEST_STOP), DX_WRONG_STATE); /* it says what became of it */
    assert_string_equal(refusal.text, "guest0: stop: it is stopped");
    capsule->hooks = &world_hooks;
    assert_int_equal(capsule_state(capsule), CAPSULE_STOPPED);
    assert_int_equal(capsule->life.asked, 0);
    assert_null(atomic_load(&capsule->life.timer.heap));
    assert_int_equal(keys_sent(capsule), 0);
    capsule_start(capsule);
    assert_ptr_equal(next(0), capsule->vcpus);
    assert_int_equal(request(capsule, REQUEST_STOP), DX_OK);
    assert_int_equal(keys_sent(capsule), 1);
}

/* A kill that comes while the guest's reset is under way: it stays stopped, and the next life knows nothing of that. */
static void test_killed_while_it_stops(void **state)
{
    (void)state;
    struct capsule *capsule = run_capsule(0, 1);
    capsule->config.restart = RESTART_ALWAYS;
    for (unsigned life = 0; life < 3; life++) {
        const bool killed = life % 2 == 0;
        assert_true(capsule_stop(capsule, STOP_RESET, "%s", ""));
        assert_false(capsule_stop(capsule, STOP_KILLED, "too late"));
        assert_int_equal(capsule_state(capsule), CAPSULE_STOPPING); /* hart 0 has its vCPU yet */
        if (killed) {
            assert_int_equal(request(capsule, REQUEST_KILL), DX_OK);
        }
        struct vcpu *again = next(0);
        while (!killed && again == NULL) { /* back-off */
            let_time_pass();
            again = next(0);
        }
        assert_ptr_equal(again, killed ? NULL : capsule->vcpus);
        assert_int_equal(capsule_state(capsule), killed ? CAPSULE_STOPPED : CAPSULE_RUNNING);
        assert_string_equal(capsule_last_stop(capsule), "reset");
        if (killed) {
            assert_int_equal(request(capsule, REQUEST_START), DX_OK);
            assert_ptr_equal(next(0), capsule->vcpus);
        }
    }
}

static enum capsule_state seen;

static void see_state(struct capsule *capsule)
{
    seen = capsule_state(capsule);
}

/* Devices are told of a resume before time counts for the guest again: no watchdog bites between. */
static void test_devices_resume_first(void **state)
{
    (void)state;
    static struct capsule_hooks hooks;
    struct capsule *capsule = run_capsule(0, 1);
    hooks = world_hooks;
    hooks.resume = see_state;
    capsule->hooks = &hooks;
    assert_int_equal(request(capsule, REQUEST_PAUSE), DX_OK);
    assert_null(next(0));
    seen = CAPSULE_DESTROYING;
    assert_int_equal(request(capsule, REQUEST_RESUME), DX_OK);
    assert_int_equal(seen, CAPSULE_PAUSED);
    assert_ptr_equal(next(0), capsule->vcpus);
    seen = CAPSULE_DESTROYING;
    assert_int_equal(request(capsule, REQUEST_STOP), DX_OK); /* of one that isn't paused */
    assert_int_equal(seen, CAPSULE_DESTROYING);
    capsule->hooks = &world_hooks;
}

/* --- crash loops --- */

static void take_long(struct capsule *capsule)
{
    (void)capsule;
    core.now += 2 * SHORT_LIFE_SECONDS * (uint64_t)HZ;
}

/* Filling a large RAM takes longer than a short life: a guest that crashes at once lives no longer for that. */
static void test_filling_is_no_life(void **state)
{
    (void)state;
    struct capsule *capsule = make_capsule(0, 1);
    capsule->config.restart = RESTART_ON_FAILURE;
    core.on_prepare = take_long;
    capsule_start(capsule);
    for (unsigned n = 1; n < SHORT_LIVES_MAX; n++) {
        struct vcpu *vcpu = NULL;
        while ((vcpu = next(0)) == NULL) {
            let_time_pass();
        }
        capsule_stop(capsule, STOP_CRASH, "at once");
        assert_int_equal(capsule->life.short_lives, n - 1);
    }
    while (next(0) == NULL) {
        let_time_pass();
    }
    capsule_stop(capsule, STOP_CRASH, "at once");
    assert_null(next(0));
    assert_int_equal(capsule_state(capsule), CAPSULE_CRASHED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        CORE_TEST(test_paused_while_it_is_asked),
        CORE_TEST(test_stopped_before_it_is_asked),
        CORE_TEST(test_killed_while_it_stops),
        CORE_TEST(test_devices_resume_first),
        CORE_TEST(test_filling_is_no_life),
    };
    return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
