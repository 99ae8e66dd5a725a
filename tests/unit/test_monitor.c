/* SPDX-License-Identifier: MIT
 *
 * The monitor as an operator uses it: lines are typed, and what comes back is looked at. The capsules are the test's,
 * and so is what becomes of requests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What the core would answer; the monitor's files are compiled against these. */
#define capsule_request(...)    fake_request(__VA_ARGS__)
#define capsule_state_name(...) fake_state_name(__VA_ARGS__)
#define capsule_last_stop(...)  fake_last_stop(__VA_ARGS__)
#define capsule_find(...)       fake_find(__VA_ARGS__)
#define capsule_after(...)      fake_after(__VA_ARGS__)
#define capsule_stats(...)      fake_stats(__VA_ARGS__)
#define capsule_overhead(...)   fake_overhead(__VA_ARGS__)
#define hart_stats(...)         fake_hart_stats(__VA_ARGS__)
#define vcpu_exit_name(...)     fake_exit_name(__VA_ARGS__)

#include "monitor/command_table.c"
#include "monitor/commands_capsules.c"
#include "monitor/commands_help.c"
#include "monitor/commands_log.c"
#include "monitor/commands_machine.c"
#include "monitor/commands_stat.c"
#include "monitor/dispatch.c"
#include "monitor/monitor.c"
#include "monitor/say.c"

#include "fake_arch.h"
#include "support.h"

/* --- the capsules --- */

enum { GUESTS = 256, GUEST_VCPUS = 2, HZ = 1000000 };

static struct {
    struct capsule guests[GUESTS];
    struct vcpu vcpus[GUESTS][GUEST_VCPUS];
    unsigned count;
    struct hart harts[2];
    unsigned walks; /* steps along the list of capsules */

    struct capsule *asked;
    enum capsule_request request;
    unsigned requests;
    const char *refuses; /* the next request, with this */
    enum dx_error created;
    char created_name[64], focused[64];
    unsigned power_offs, reboots;
    bool focus_refuses;
    const char *last_stop;
} fake;

static void assert_unlocked(void)
{
    assert_int_equal(atomic_load(&monitor.lock.next), atomic_load(&monitor.lock.serving));
}

enum dx_error fake_request(struct capsule *capsule, enum capsule_request request, const char *by,
                           struct refusal *refusal)
{
    assert_unlocked();
    assert_string_equal(by, "the operator");
    fake.asked = capsule;
    fake.request = request;
    fake.requests++;
    return fake.refuses == NULL ? DX_OK : refuse(refusal, DX_NOT_SUPPORTED, "%s", fake.refuses);
}

const char *fake_state_name(enum capsule_state state)
{
    return state == CAPSULE_RUNNING ? "running" : state == CAPSULE_BACKOFF ? "crash loop, waits to restart" : "stopped";
}

const char *fake_last_stop(const struct capsule *capsule)
{
    return capsule->id == 1 ? fake.last_stop : "";
}

struct capsule *fake_after(uint32_t after)
{
    assert_unlocked();
    fake.walks++;
    for (unsigned n = 0; n < fake.count; n++) {
        if (fake.guests[n].id > after) {
            return &fake.guests[n];
        }
    }
    return NULL;
}

struct capsule *fake_find(const char *name)
{
    assert_unlocked();
    for (unsigned n = 0; n < fake.count; n++) {
        if (strcmp(fake.guests[n].config.name, name) == 0) {
            return &fake.guests[n];
        }
    }
    return NULL;
}

void fake_stats(const struct capsule *capsule, struct capsule_stats *out)
{
    *out = (struct capsule_stats){.cpu_ticks = capsule->id * 1500000,
                                  .steal_ticks = 2500,
                                  .interrupts = 7,
                                  .console_out = 64 * KIB,
                                  .console_in = 3,
                                  .console_dropped = 1536,
                                  .starts = 4};
    out->exits[CAUSE_ECALL_S] = 100;
    out->exits[CAUSE_ECALL_VS] = 20;
    out->exits[EXIT_TIMER] = 3;
}

uint64_t fake_overhead(const struct capsule *capsule)
{
    (void)capsule;
    return 12 * KIB;
}

void fake_hart_stats(const struct hart *hart, struct hart_stats *out)
{
    *out = (struct hart_stats){.idle_ticks = 1000 + hart->index, .switches = 12, .steals = 1, .up_ticks = 2000};
}

const char *fake_exit_name(enum vcpu_exit exit)
{
    return exit == (enum vcpu_exit)CAUSE_ECALL_S || exit == (enum vcpu_exit)CAUSE_ECALL_VS ? "SBI call"
           : exit == EXIT_TIMER                                                            ? "timer"
                                                                                           : "other";
}

/* --- the host --- */

static void host_power_off(void)
{
    assert_unlocked();
    fake.power_offs++;
}

static void host_reboot(void)
{
    assert_unlocked();
    fake.reboots++;
}

static enum dx_error host_create(const char *name, struct refusal *refusal)
{
    assert_unlocked();
    snprintf(fake.created_name, sizeof(fake.created_name), "%s", name);
    return fake.created == DX_OK ? DX_OK
                                 : refuse(refusal, fake.created, "%s: the manifest names no such capsule", name);
}

static bool host_focus(const char *name)
{
    assert_unlocked();
    snprintf(fake.focused, sizeof(fake.focused), "%s", name);
    return !fake.focus_refuses;
}

static const struct monitor_host host = {
    .power_off = host_power_off, .reboot = host_reboot, .create = host_create, .focus = host_focus};

static const struct isolation_ops fake_isolation = {.name = "hyp"};

/* --- the world --- */

static struct capsule *add(const char *name, enum capsule_state state)
{
    struct capsule *capsule = &fake.guests[fake.count];
    capsule->id = ++fake.count;
    snprintf(capsule->config.name, sizeof(capsule->config.name), "%s", name);
    capsule->config.vcpus = GUEST_VCPUS;
    capsule->config.weight = CAPSULE_WEIGHT_USUAL;
    capsule->config.bootargs = "";
    capsule->isolation = &fake_isolation;
    capsule->ram = (struct range){0x80000000, 256 * (uint64_t)MIB};
    capsule->pieces[0] = (struct ram_piece){.size = 256 * (uint64_t)MIB, .host = {0x90000000}};
    capsule->piece_count = 1;
    capsule->vcpus = fake.vcpus[capsule->id - 1];
    capsule->vcpu_stride = sizeof(struct vcpu);
    atomic_store(&capsule->state, state);
    console_port_init(&capsule->console, name);
    for (uint32_t id = 0; id < GUEST_VCPUS; id++) {
        fake.vcpus[capsule->id - 1][id] = (struct vcpu){.capsule = capsule, .id = id};
    }
    return capsule;
}

static char said[1 << 17];
static size_t said_length;

/* What the terminal does: takes what comes, in pieces, and lets the monitor work. */
static void serve(void)
{
    size_t got;
    do {
        const uint32_t before = monitor.output_head;
        monitor_work();
        const uint32_t step = monitor.output_head - before; /* more, and some of it might find no room */
        assert_true(step <= SAY_STEP_MAX || !monitor.busy); /* the last: with keys that were kept */
        got = monitor_output(said + said_length, 100);
        said_length += got;
        assert_true(said_length < sizeof(said) - 100);
    } while (got != 0 || monitor_has_work());
    said[said_length] = '\0';
}

/* Types, and returns what came back. */
static const char *type(const char *keys)
{
    said_length = 0;
    said[0] = '\0';
    for (; *keys != '\0'; keys++) {
        monitor_input((uint8_t)*keys);
    }
    serve();
    return said;
}

/* A command's answer alone: without the line that was typed and the prompt. */
static const char *answer(const char *line)
{
    static char text[sizeof(said)];
    char keys[LINE_LENGTH_MAX + 2];
    snprintf(keys, sizeof(keys), "%s\r", line);
    const char *all = type(keys);
    const size_t echo = strlen(line) + 2;
    const size_t end = strlen("diosix> ");
    assert_true(strlen(all) >= echo + end);
    assert_memory_equal(all, line, echo - 2);
    assert_string_equal(all + strlen(all) - end, "diosix> ");
    snprintf(text, sizeof(text), "%.*s", (int)(strlen(all) - echo - end), all + echo);
    return text;
}

static int setup(void **state)
{
    (void)state;
    fake_arch_reset();
    memset(&fake, 0, sizeof(fake));
    fake.last_stop = "";
    clock_hz = HZ;
    hart_count = 2;
    for (unsigned n = 0; n < 2; n++) {
        fake.harts[n].index = n;
        fake.harts[n].arch.id = n + 4;
        fake.harts[n].features.misa = BIT(0) | BIT(2) | BIT(8);
        atomic_store(&fake.harts[n].online, true);
        harts[n] = &fake.harts[n];
    }
    log_set_level(LOG_INFO);
    add("debian", CAPSULE_RUNNING);
    add("flat", CAPSULE_STOPPED);
    monitor_init(&host);
    monitor_enter();
    said_length = 0;
    serve();
    return 0;
}

/* No line takes more columns than the screen has. */
static void assert_narrow(const char *text)
{
    unsigned columns = 0;
    for (; *text != '\0'; text++) {
        columns = *text == '\n' ? 0 : columns + ((uint8_t)*text >= ' ' && ((uint8_t)*text & 0xc0) != 0x80 ? 1 : 0);
        assert_in_range(columns, 0, 79);
    }
}

#define assert_answer(line, text)       assert_string_equal(answer(line), text)
#define assert_answers_with(line, text) assert_non_null(strstr(answer(line), text))

/* --- coming and going --- */

static void test_greeting(void **state)
{
    (void)state;
    assert_non_null(strstr(said, "\r\ndiosix " DIOSIX_VERSION " monitor: "));
    assert_non_null(strstr(said, "\r\ndiosix> "));
    assert_answer("", "");
    assert_answer("   ;; ", "");
}

static void test_leaving(void **state)
{
    (void)state;
    assert_true(monitor_input('l'));
    assert_true(monitor_input(4)); /* deletes nothing */
    assert_true(monitor_input(8));
    assert_false(monitor_input(4));
    assert_false(monitor_input('x'));
    assert_false(monitor_left());
    monitor_enter();
    type("qui");
    assert_false(monitor_input('\r'));
    assert_false(monitor_has_work());
    monitor_enter();
    assert_true(monitor_input('x'));
}

static void test_leaving_in_the_course_of_work(void **state)
{
    (void)state;
    type("mem; quit; list\r");
    assert_true(monitor_left());
    assert_null(strstr(said, "debian           running"));
    assert_false(monitor_input('x'));
    monitor_enter();
    assert_false(monitor_left());
    type("list\rquit\rx"); /* typed before the list was there */
    assert_true(monitor_left());
    monitor_enter();
    type("mem\r\004");
    assert_true(monitor_left());
}

static void test_focus(void **state)
{
    (void)state;
    fake.focus_refuses = true;
    assert_answer("focus flat", "The terminal doesn't show flat.\r\n");
    assert_string_equal(fake.focused, "flat");
    fake.focus_refuses = false;
    type("focus debian\r");
    assert_string_equal(fake.focused, "debian");
    assert_true(monitor_left());
    assert_false(monitor_input('x'));
    assert_false(monitor_has_work());
    monitor_enter();
    assert_true(monitor_input('x'));
}

/* Coming back while the last visit's command is half done. */
static void test_entering_anew(void **state)
{
    (void)state;
    for (const char *key = "list; list; kill debian\r"; *key != '\0'; key++) {
        monitor_input((uint8_t)*key);
    }
    monitor_work();
    monitor_work();
    monitor_enter();
    said_length = 0;
    serve();
    assert_null(strstr(said, "debian"));
    assert_int_equal(fake.requests, 0);
    assert_answer("loglevel", "The log keeps: info\r\n");
}

static void test_host_that_can_do_nothing(void **state)
{
    (void)state;
    monitor_init(NULL);
    monitor_enter();
    serve();
    assert_answer("poweroff", "This machine cannot be switched off by software.\r\n");
    assert_answer("reboot", "This machine cannot be restarted by software.\r\n");
    assert_answer("create x", "Capsules cannot be created here.\r\n");
    assert_answer("focus debian", "There is no console to go to here.\r\n");
}

/* --- lines --- */

static void test_prefixes(void **state)
{
    (void)state;
    assert_answer("logl", "The log keeps: info\r\n");
    assert_answers_with("li", "debian");
    assert_answer("l", "'l' may be: list log loglevel\r\n");
    assert_answer("log debian", ""); /* a whole name, though others begin so */
}

static void test_unknown_words(void **state)
{
    (void)state;
    assert_answer("lits", "No command is called 'lits': did you mean 'list'?\r\n");
    assert_answer("xyzzy", "No command is called 'xyzzy'.\r\n");
    assert_answer("kill debain", "No capsule is called 'debain': did you mean 'debian'?\r\n");
    assert_answer("kill other", "No capsule is called 'other'.\r\n");
    assert_answer("kill 3", "No capsule is called '3'.\r\n");
    assert_answer("kill 99999999999999999999", "No capsule is called '99999999999999999999'.\r\n");
    assert_answer("kill", "Usage: kill NAME\r\n");
    assert_answer("kill debian now", "Usage: kill NAME\r\n");
    assert_answer("list a b c d e f g", "Usage: list \r\n");
    assert_answer("help xyzzy", "No command is called 'xyzzy': 'help' lists them.\r\n");
    assert_int_equal(fake.requests, 0);
    char line[LINE_LENGTH_MAX + 1];
    memset(line, 'a', LINE_LENGTH_MAX);
    line[LINE_LENGTH_MAX] = '\0';
    type(line);
    assert_narrow(strstr(type("\r"), "No command") == NULL ? "no" : strstr(said, "No command"));
    assert_non_null(strstr(said, "No command"));
}

static void test_names_and_numbers(void **state)
{
    (void)state;
    assert_answer("  kill   flat  ", "ok: it stops at once\r\n");
    assert_ptr_equal(fake.asked, &fake.guests[1]);
    assert_answers_with("kill 1", "ok");
    assert_ptr_equal(fake.asked, &fake.guests[0]);
    add("1", CAPSULE_RUNNING); /* the name comes first */
    assert_answers_with("kill 1", "ok");
    assert_ptr_equal(fake.asked, &fake.guests[2]);
}

static void test_several_commands(void **state)
{
    (void)state;
    assert_answer("kill 1;stop 2 ; ;nonsense;kill 2",
                  "ok: it stops at once\r\nok: asked to power off; it is killed after 15 s\r\n"
                  "No command is called 'nonsense'.\r\nok: it stops at once\r\n");
    assert_int_equal(fake.requests, 3);
}

static void test_repeat(void **state)
{
    (void)state;
    assert_answer("repeat 3 kill flat; loglevel",
                  "ok: it stops at once\r\nok: it stops at once\r\nok: it stops at once\r\nThe log keeps: info\r\n");
    assert_int_equal(fake.requests, 3);
    static const char *const wrong[] = {"repeat",
                                        "repeat 3",
                                        "repeat x list",
                                        "repeat 0 list",
                                        "repeat 3 repeat 3 list",
                                        "repeat 1 repeat 3 list",
                                        "repeat 1000000 list"};
    for (size_t n = 0; n < ARRAY_LENGTH(wrong); n++) {
        assert_answer(wrong[n], "Usage: repeat N COMMAND, with N from 1 to 100000, and no repeat in it\r\n");
    }
}

static void test_interrupt(void **state)
{
    (void)state;
    for (const char *key = "repeat 1000 kill flat; kill debian\r"; *key != '\0'; key++) {
        monitor_input((uint8_t)*key);
    }
    for (unsigned n = 0; n < 20; n++) {
        monitor_work();
    }
    type("loglevel\r\003");
    assert_in_range(fake.requests, 5, 20);
    assert_ptr_equal(fake.asked, &fake.guests[1]);
    assert_non_null(strstr(said, "^C\r\ndiosix> "));
    assert_null(strstr(said, "The log keeps"));
    assert_answer("loglevel", "The log keeps: info\r\n");
}

static void test_typing_ahead(void **state)
{
    (void)state;
    type("loglevel\rlist\r\nmem\rlog");
    const char *at = strstr(said, "The log keeps: info\r\ndiosix> list\r\n");
    assert_non_null(at);
    at = strstr(at, "diosix> mem\r\n");
    assert_non_null(at);
    assert_non_null(strstr(at, "diosix> log"));
    type("level\r");
    assert_non_null(strstr(said, "The log keeps: info\r\ndiosix> "));
    /* more than is kept: the bell rings, nothing else is lost */
    monitor_input('\r');
    for (unsigned n = 0; n < AHEAD_SIZE + 5; n++) {
        monitor_input('a');
    }
    type("");
    assert_non_null(strchr(said, '\a'));
    assert_non_null(strstr(type("\025loglevel\r"), "The log keeps: info"));
}

/* Nobody takes what is said: nothing more is done, and nothing is lost. */
static void test_output_that_nobody_takes(void **state)
{
    (void)state;
    for (unsigned n = 3; n <= 200; n++) {
        char name[32];
        snprintf(name, sizeof(name), "guest-%u", n);
        add(name, CAPSULE_RUNNING);
    }
    for (const char *key = "list\r"; *key != '\0'; key++) {
        monitor_input((uint8_t)*key);
    }
    for (unsigned n = 0; n < 1000 && monitor_has_work(); n++) {
        monitor_work();
    }
    assert_false(monitor_has_work());
    assert_int_equal(fake.requests, 0);
    for (unsigned n = 0; n < 5000; n++) {
        monitor_input('\003'); /* what there is no room for is not shown */
        monitor_input('x');
    }
    type("");
    assert_non_null(strstr(type("\025\rloglevel\r"), "The log keeps: info"));
    const char *rows = answer("list");
    for (unsigned n = 3; n <= 200; n++) {
        char name[32];
        snprintf(name, sizeof(name), " guest-%u ", n);
        assert_non_null(strstr(rows, name));
    }
}

/* The line that is being typed comes back when there is room again. */
static void test_echo_that_found_no_room(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3000; n++) {
        monitor_input('\002');
        monitor_input('a');
        monitor_input('\b');
    }
    type("\025loglevel");
    assert_non_null(strstr(said, "\r\ndiosix> loglevel\033[K"));
    assert_non_null(strstr(type("\r"), "The log keeps: info"));
}

static void test_completion(void **state)
{
    (void)state;
    add("debug", CAPSULE_RUNNING);
    assert_string_equal(type("ki\t"), "kill ");
    assert_string_equal(type("fl\t"), "flat ");
    assert_string_equal(type("\t"), "\a");
    type("\003");
    assert_string_equal(type("kill d\t"), "kill deb");
    assert_non_null(strstr(type("\t"), "debian  debug\r\ndiosix> kill deb"));
    type("\003");
    assert_non_null(strstr(type("loglevel d\t"), "debug "));
    type("\003");
    assert_non_null(strstr(type("mem;help repe\t"), "repeat "));
    type("\003");
    assert_non_null(strstr(type("mem; repeat 5 st\t\t"), "start  stop  stat\r\n"));
    assert_non_null(strstr(type("op fl\t\r"), "asked to power off"));
    type("repeat \t");
    assert_int_equal(said[strlen(said) - 1], '\a');
    type("\003");
    assert_non_null(strstr(type("list \t"), "\a"));
    type("\003");
    assert_non_null(strstr(type("\t"), "list  info  start"));
}

/* Of many capsules some are looked at in one step. */
static void test_completion_is_bounded(void **state)
{
    (void)state;
    for (unsigned n = 3; n <= GUESTS; n++) {
        char name[32];
        snprintf(name, sizeof(name), "guest-%u", n);
        add(name, CAPSULE_STOPPED);
    }
    static const char *const keys[] = {"kill guest-25\t", "\025kill gest-256\r", "\025poweroff\r"};
    for (size_t k = 0; k < ARRAY_LENGTH(keys); k++) {
        atomic_store(&fake.guests[0].state, CAPSULE_STOPPED);
        for (const char *key = keys[k]; *key != '\0'; key++) {
            monitor_input((uint8_t)*key);
        }
        unsigned steps = 0;
        while (monitor_has_work()) {
            fake.walks = 0;
            monitor_work();
            assert_in_range(fake.walks, 0, STEP_CAPSULES + 1);
            steps++;
        }
        assert_true(steps >= GUESTS / STEP_CAPSULES);
        type("");
    }
    assert_int_equal(fake.power_offs, 1);
}

/* --- what is asked of capsules --- */

static void test_requests(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum capsule_request request;
        const char *answer;
    } rows[] = {
        {"start debian", REQUEST_START, "ok: its RAM is cleared and loaded, then it runs\r\n"},
        {"stop debian", REQUEST_STOP, "ok: asked to power off; it is killed after 15 s\r\n"},
        {"kill debian", REQUEST_KILL, "ok: it stops at once\r\n"},
        {"restart debian", REQUEST_RESTART,
         "ok: it stops at once; its RAM is cleared and loaded, then it runs again\r\n"},
        {"pause debian", REQUEST_PAUSE, "ok: it stands still until 'resume debian'\r\n"},
        {"resume debian", REQUEST_RESUME, "ok: it goes on\r\n"},
        {"destroy debian", REQUEST_DESTROY, "ok: its RAM is cleared, then all that it had is free\r\n"},
    };
    for (size_t n = 0; n < ARRAY_LENGTH(rows); n++) {
        assert_answer(rows[n].line, rows[n].answer);
        assert_int_equal(fake.request, rows[n].request);
        assert_ptr_equal(fake.asked, &fake.guests[0]);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    fake.refuses = "debian is running";
    assert_answer("start debian", "Refused: debian is running (not supported yet; leave the named property out)\r\n");
    fake.refuses = "a text of some length, as those have that name a capsule, a property, two ranges and what is wrong "
                   "with them: 0123456789012345678901234567890";
    assert_narrow(answer("start debian"));
    assert_non_null(strstr(said, "\r\n         "));
    fake.refuses = "\033[2J\r\n[!] CPU 0: forged";
    const char *text = answer("start debian");
    assert_null(strchr(text, '\033'));
    assert_null(strstr(text, "\n[!]"));
}

static void test_create(void **state)
{
    (void)state;
    assert_answer("create new", "ok: it is there; 'start new' runs it\r\n");
    assert_string_equal(fake.created_name, "new");
    fake.created = DX_NOT_FOUND;
    assert_answers_with("create new", "Refused: new: the manifest names no such capsule (");
}

static void test_power(void **state)
{
    (void)state;
    static const char question[] = "Capsules run and would be cut off; one is debian.\r\n";
    assert_answers_with("poweroff", question);
    assert_narrow(said);
    assert_int_equal(fake.power_offs, 0);
    assert_answer("poweroff", "");
    assert_int_equal(fake.power_offs, 1);
    assert_answers_with("reboot", question);
    assert_answer("yes", "");
    assert_int_equal(fake.reboots, 1);
    assert_answer("yes", "Nothing was asked.\r\n");
    /* anything in between, and a new visit, mean no */
    assert_answers_with("reboot", question);
    assert_answers_with("poweroff", question);
    assert_answers_with("reboot", question);
    answer("nonsense");
    assert_answer("yes", "Nothing was asked.\r\n");
    assert_answers_with("reboot", question);
    type("\003");
    assert_answer("yes", "Nothing was asked.\r\n");
    assert_answers_with("reboot", question);
    monitor_enter();
    serve();
    assert_answer("yes", "Nothing was asked.\r\n");
    assert_int_equal(fake.reboots, 1);
    /* nobody runs: it is done at once */
    atomic_store(&fake.guests[0].state, CAPSULE_CRASHED);
    assert_answer("reboot", "");
    assert_int_equal(fake.reboots, 2);
}

/* --- what is shown --- */

static void test_list(void **state)
{
    (void)state;
    fake.last_stop = "power off requested: its last vCPU stopped";
    assert_answer("list", " ID NAME             STATE        ISO vCPU   MEMORY      CPU LAST STOP\r\n"
                          "  1 debian           running      hyp    2  256 MiB    1.5 s power off requ...\r\n"
                          "  2 flat             stopped      hyp    2  256 MiB    3.0 s \r\n");
    add("a-capsule-with-the-longest-name", CAPSULE_BACKOFF);
    assert_answers_with("list", "\r\n  3 a-capsule-with-the-longest-name\r\n"
                                "                     crash loo... hyp    2  256 MiB    4.5 s \r\n");
    assert_narrow(said);
    fake.count = 0;
    assert_answer("list", "There is no capsule.\r\n");
}

static void test_info(void **state)
{
    (void)state;
    struct capsule *debian = &fake.guests[0];
    static const uint8_t cells[] = {0, 0, 0, 1, 0, 0, 0, 2};
    debian->config.harts = (struct blob){cells, sizeof(cells)};
    debian->config.dedicated = true;
    debian->config.watchdog = true;
    debian->config.watchdog_seconds = 30;
    debian->config.restart = RESTART_ON_FAILURE;
    debian->config.kernel.length = 3 * MIB / 2;
    debian->config.bootargs = "console=ttyS0 \033[31mquiet";
    debian->stage2.memory.size = 32 * KIB;
    debian->piece_count = 2;
    debian->pieces[1] = (struct ram_piece){.size = 64 * KIB, .host = {0xa0000000}};
    fake.last_stop = "crashed: store access fault at pc 0x80001234, address 0x10, vCPU 1: nothing is there at all";
    atomic_store(&fake.vcpus[0][0].run, RUN_LOADED);
    atomic_store(&fake.vcpus[0][0].hart, &fake.harts[1]);
    atomic_store(&fake.vcpus[0][1].run, RUN_WAITING);
    assert_answer("info debian", "Capsule 1 (debian): running\r\n"
                                 "  memory     256 MiB at 0x80000000 for the guest\r\n"
                                 "  piece 1    256 MiB at 0x90000000 of the machine\r\n"
                                 "  piece 2    64 KiB at 0xa0000000 of the machine\r\n"
                                 "  isolation  hyp, stage-2 tables of 32 KiB\r\n"
                                 "  overhead   12 KiB\r\n"
                                 "  harts      1 2, dedicated\r\n"
                                 "  share      priority 0, weight 100\r\n"
                                 "  restart    on-failure\r\n"
                                 "  watchdog   30 s, from the start on\r\n"
                                 "  manager    no\r\n"
                                 "  manual     no\r\n"
                                 "  kernel     1.5 MiB\r\n"
                                 "  initrd     none\r\n"
                                 "  bootargs   console=ttyS0 ?[31mquiet\r\n"
                                 "  vCPU 0     runs on hart 5\r\n"
                                 "  vCPU 1     sleeps\r\n"
                                 "  CPU time   1.5 s\r\n"
                                 "  starts     4\r\n"
                                 "  last stop  crashed: store access fault at pc 0x80001234, address 0x10, vCPU\r\n"
                                 "             1: nothing is there at all\r\n");
}

static void test_info_of_a_paused_capsule(void **state)
{
    (void)state;
    atomic_store(&fake.vcpus[0][0].run, RUN_PARKED);
    assert_answers_with("info debian", "  vCPU 0     stands still: the capsule is paused\r\n");
}

/* The longest of everything: in lines that fit, nothing left out, no step that says too much. */
static void test_info_at_its_longest(void **state)
{
    (void)state;
    static uint8_t cells[CAPSULE_HARTS_MAX * 4];
    static char bootargs[4001];
    struct capsule *debian = &fake.guests[0];
    memset(cells, 0xff, sizeof(cells));
    memset(bootargs, 'x', sizeof(bootargs) - 1);
    for (unsigned n = 50; n < 4000; n += 61) {
        bootargs[n] = ' ';
    }
    debian->config.harts = (struct blob){cells, sizeof(cells)};
    debian->config.bootargs = bootargs;
    debian->piece_count = RAM_PIECES_MAX;
    assert_narrow(answer("info debian"));
    unsigned harts_named = 0, letters = 0;
    for (const char *at = said; (at = strstr(at, "4294967295")) != NULL; at++) {
        harts_named++;
    }
    for (const char *at = strstr(said, "  bootargs"); *at != '\0' && strncmp(at, "  vCPU", 6) != 0; at++) {
        letters += *at == 'x' ? 1 : 0;
    }
    assert_int_equal(harts_named, CAPSULE_HARTS_MAX);
    unsigned expected = 0;
    for (const char *at = bootargs; *at != '\0'; at++) {
        expected += *at == 'x' ? 1 : 0;
    }
    assert_int_equal(letters, expected);
}

static void test_stat(void **state)
{
    (void)state;
    assert_answer("stat", " ID NAME                  CPU    STEAL    EXITS     IRQS      OUT  DROPPED\r\n"
                          "  1 debian              1.5 s   2.5 ms      123        7   64 KiB  1.5 KiB\r\n"
                          "  2 flat                3.0 s   2.5 ms      123        7   64 KiB  1.5 KiB\r\n"
                          "HART     IDLE SWITCHES   STEALS       UP\r\n"
                          "   4   50.0 %       12        1     2 ms\r\n"
                          "   5   50.0 %       12        1     2 ms\r\n");
    assert_answer("stat debian", "Capsule 1 (debian): running\r\n"
                                 "  starts               4\r\n"
                                 "  CPU time         1.5 s\r\n"
                                 "  steal           2.5 ms\r\n"
                                 "  interrupts           7\r\n"
                                 "  printed         64 KiB\r\n"
                                 "  typed              3 B\r\n"
                                 "  dropped        1.5 KiB\r\n"
                                 "  exits              123\r\n"
                                 "    SBI call         120\r\n"
                                 "    timer              3\r\n");
}

static void test_regs(void **state)
{
    (void)state;
    struct vcpu *vcpu = &fake.vcpus[0][1];
    for (unsigned n = 1; n < 32; n++) {
        vcpu->context.x[n] = n << 4;
    }
    vcpu->context.pc = 0x80001234;
    const char *text = answer("regs debian 1");
    assert_narrow(text);
    assert_non_null(strstr(text, "debian vCPU 1: doesn't run now\r\n"));
    assert_non_null(
        strstr(text, XLEN == 64 ? " pc      0000000080001234   status  0" : " pc      80001234   status  0"));
    assert_non_null(strstr(text, XLEN == 64 ? " x1  ra  0000000000000010   x2  sp  0000000000000020   x3 "
                                            : " x1  ra  00000010   x2  sp  00000020   x3 "));
    assert_non_null(strstr(text, XLEN == 64 ? " x31 t6  00000000000001f0\r\n" : " x31 t6  000001f0\r\n"));
    atomic_store(&vcpu->run, RUN_LOADED);
    atomic_store(&vcpu->hart, &fake.harts[0]);
    assert_answers_with("regs debian 1", "debian vCPU 1: runs on hart 4; its registers as of its last trap\r\n");
    assert_answers_with("regs debian", "debian vCPU 0: doesn't run now\r\n");
    static const char *const wrong[] = {"regs debian 2", "regs debian x", "regs debian 4294967296", "regs debian -1"};
    for (size_t n = 0; n < ARRAY_LENGTH(wrong); n++) {
        assert_answer(wrong[n], "debian has vCPUs 0 to 1.\r\n");
    }
}

static void test_mem(void **state)
{
    (void)state;
    static struct memory map;
    struct range taken;
    memset(&map, 0, sizeof(map));
    memory_map_add(&map, (struct range){MIB, 64 * MIB});
    memory_init(&map);
    assert_true(memory_take(16 * MIB, PAGE_SIZE, &taken));
    fake.guests[0].stage2.memory.size = 32 * KIB;
    assert_answer("mem", "48 MiB of 64 MiB are free.\r\n"
                         " ID NAME                  RAM   TABLES OVERHEAD\r\n"
                         "  1 debian            256 MiB   32 KiB   12 KiB\r\n"
                         "  2 flat              256 MiB      0 B   12 KiB\r\n"
                         "    all               512 MiB   32 KiB   24 KiB\r\n");
}

static void test_harts(void **state)
{
    (void)state;
    fake.harts[0].kind = HART_HYP;
    fake.harts[0].current = &fake.vcpus[0][1];
    assert_answer("harts", "HART KIND    IDLE  ISA         RUNS\r\n"
                           "   4 hyp   50.0 %  aci         debian vCPU 1\r\n"
                           "   5 pmp   50.0 %  aci         idle\r\n");
    atomic_store(&fake.harts[1].online, false);
    fake.harts[0].features.misa = ~0UL;
    assert_answers_with("harts", "abcdefghijklmnopqrstuvwxyz debian vCPU 1\r\n");
    assert_narrow(said);
    assert_answers_with("harts", "takes no part\r\n");
}

static void test_loglevel(void **state)
{
    (void)state;
    assert_answer("loglevel debug", "ok\r\n");
    assert_int_equal(log_level_current(), LOG_DEBUG);
    assert_answer("loglevel", "The log keeps: debug\r\n");
    assert_answer("loglevel all", "Usage: loglevel [alert|info|debug]\r\n");
    assert_answer("loglevel alert", "ok\r\n");
    assert_int_equal(log_level_current(), LOG_ALERT);
}

static void test_log(void **state)
{
    (void)state;
    for (unsigned n = 0; n < LOG_RING_SIZE / 16; n++) {
        log_info("%s", "old");
    }
    log_info("the first");
    log_alert("the second");
    const char *text = answer("log");
    const char *tail = "[-] CPU 0: old\r\n[-] CPU 0: the first\r\n[!] CPU 0: the second\r\n";
    assert_true(strlen(text) > LOG_RING_SIZE / 2);
    assert_string_equal(text + strlen(text) - strlen(tail), tail);
}

static void print(const char *text)
{
    assert_int_equal(console_port_write(&fake.guests[0].console, (const uint8_t *)text, strlen(text)), strlen(text));
}

static void test_log_of_a_capsule(void **state)
{
    (void)state;
    assert_answer("log debian", "");
    print("Linux\r\n\n\tinit: \033[32mok\033[0m \xc3\xa4\r\nno end");
    assert_answer("log debian", "debian| Linux\r\n"
                                "debian| \r\n"
                                "debian|  init: ok \xc3\xa4\r\n"
                                "debian| no end\r\n");
    uint8_t bytes[64];
    console_port_drain(&fake.guests[0].console, bytes, sizeof(bytes)); /* what was shown is kept */
    assert_answers_with("log debian", "debian| Linux\r\n");
}

/* Whatever a guest prints, each line on the screen is under its name and fits, and nothing steers the terminal. */
static void test_log_cannot_be_forged(void **state)
{
    (void)state;
    print("\r[!] CPU 0: forged\n\033]0;title\a\x9b"
          "31m\033P x\n\v\f\b\x7f\xc2\x9b"
          "2J\xe2\x80\xae\xed\xa0\x80\xc0\x8a\xf8\x80\xff\xe2\x82");
    for (unsigned n = 0; n < 200; n++) {
        print("x");
    }
    uint64_t seed = 99;
    for (unsigned n = 0; n < 1000; n++) {
        uint8_t byte = (uint8_t)test_below(&seed, 256);
        console_port_write(&fake.guests[0].console, &byte, 1);
    }
    const char *text = answer("log debian");
    assert_narrow(text);
    for (const char *row = text; *row != '\0'; row = strchr(row, '\n') + 1) {
        assert_memory_equal(row, "debian| ", 8);
    }
    assert_non_null(strstr(text, "debian| [!] CPU 0: forged\r\n"));
    assert_null(strstr(text, "title"));
    for (; *text != '\0'; text++) {
        assert_true(*text == '\r' || *text == '\n' || (uint8_t)*text >= ' ');
        assert_int_not_equal(*text, 0x7f);
        assert_false((uint8_t)text[0] == 0xc2 && (uint8_t)text[1] < 0xa0);
        assert_false(strncmp(text, "\xe2\x80\xae", 3) == 0);
    }
}

static void test_help(void **state)
{
    (void)state;
    const char *all = answer("help");
    assert_narrow(all);
    for (size_t n = 0; n < monitor_command_count; n++) {
        char row[80];
        snprintf(row, sizeof(row), "%s %s", monitor_commands[n].name, monitor_commands[n].arguments);
        assert_non_null(strstr(all, row));
        assert_non_null(strstr(all, monitor_commands[n].summary));
    }
    for (size_t n = 0; n < monitor_command_count; n++) {
        char line[40];
        snprintf(line, sizeof(line), "help %s", monitor_commands[n].name);
        const char *text = answer(line);
        assert_narrow(text);
        assert_non_null(strstr(text, monitor_commands[n].summary));
    }
}

/* The capsule is destroyed while a command is busy with it. */
static void test_capsule_that_goes(void **state)
{
    (void)state;
    for (const char *key = "info debian\r"; *key != '\0'; key++) {
        monitor_input((uint8_t)*key);
    }
    for (unsigned n = 0; n < 3; n++) {
        monitor_work();
    }
    fake.guests[0].id = 77;
    said_length = 0;
    serve();
    assert_non_null(strstr(said, "The capsule is gone.\r\ndiosix> "));
}

/* --- any keys --- */

/* What comes out steers the terminal only as the line editor does, whatever is typed. */
static void assert_tame(const char *text)
{
    for (; *text != '\0'; text++) {
        if (strncmp(text, "\033[K", 3) == 0 || strncmp(text, "\033[H", 3) == 0) {
            text += 2;
        } else if (strncmp(text, "\033[2J", 4) == 0) {
            text += 3;
        } else if (*text < ' ' || *text > '~') {
            assert_non_null(strchr("\r\n\b\a", *text));
        }
    }
}

static void test_any_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"\r",   "\r",     " ",          "\t",     "\003",   "\004",  ";",      "debian",
                                       "flat", "1",      "repeat ",    "3 ",     "list\r", "info ", "stat ",  "kill ",
                                       "log ", "help\r", "\033[A",     "\033[D", "\177",   "\025",  "regs ",  "yes\r",
                                       "\014", "x",      "poweroff\r", "\xc3",   "\033[",  "mem;",  "focus ", "quit"};
    uint64_t seed = 0x5eed;
    print("\033[2Jhello\n");
    for (unsigned n = 0; n < 20000; n++) {
        const char *key = keys[test_below(&seed, ARRAY_LENGTH(keys))];
        for (; *key != '\0'; key++) {
            if (!monitor_input((uint8_t)*key) || monitor_left()) {
                monitor_enter();
            }
        }
        said_length = 0;
        if (test_below(&seed, 4) == 0) {
            monitor_work();
        } else if (test_below(&seed, 4) == 0) {
            serve();
            assert_tame(said);
        }
    }
    monitor_enter();
    serve();
    assert_answer("loglevel", "The log keeps: info\r\n");
}

/* --- harts --- */

static atomic_bool over;

static void *worker(void *unused)
{
    (void)unused;
    while (!atomic_load(&over)) {
        monitor_work();
    }
    return NULL;
}

/* Several harts work, one types, one takes what is said: every command is done once, and every answer is whole. */
static void test_harts_at_once(void **state)
{
    (void)state;
    pthread_t threads[2];
    atomic_store(&over, false);
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(pthread_create(&threads[n], NULL, worker, NULL), 0);
    }
    said_length = 0;
    for (unsigned n = 0; n < 200; n++) {
        for (const char *key = "loglevel\r"; *key != '\0'; key++) {
            monitor_input((uint8_t)*key);
        }
        for (unsigned wait = 0; wait < 1000000 && (said_length < 8 || strcmp(said + said_length - 8, "diosix> ") != 0);
             wait++) {
            said_length += monitor_output(said + said_length, 100);
            said[said_length] = '\0';
        }
        said[said_length++] = '#';
    }
    atomic_store(&over, true);
    for (unsigned n = 0; n < 2; n++) {
        pthread_join(threads[n], NULL);
    }
    said[said_length] = '\0';
    unsigned answers = 0;
    for (const char *at = said; (at = strstr(at, "loglevel\r\nThe log keeps: info\r\ndiosix> #")) != NULL; at++) {
        answers++;
    }
    assert_int_equal(answers, 200);
}

#define MONITOR_TEST(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MONITOR_TEST(test_greeting),
        MONITOR_TEST(test_leaving),
        MONITOR_TEST(test_leaving_in_the_course_of_work),
        MONITOR_TEST(test_focus),
        MONITOR_TEST(test_entering_anew),
        MONITOR_TEST(test_host_that_can_do_nothing),
        MONITOR_TEST(test_prefixes),
        MONITOR_TEST(test_unknown_words),
        MONITOR_TEST(test_names_and_numbers),
        MONITOR_TEST(test_several_commands),
        MONITOR_TEST(test_repeat),
        MONITOR_TEST(test_interrupt),
        MONITOR_TEST(test_typing_ahead),
        MONITOR_TEST(test_output_that_nobody_takes),
        MONITOR_TEST(test_echo_that_found_no_room),
        MONITOR_TEST(test_completion),
        MONITOR_TEST(test_completion_is_bounded),
        MONITOR_TEST(test_requests),
        MONITOR_TEST(test_refusals),
        MONITOR_TEST(test_create),
        MONITOR_TEST(test_power),
        MONITOR_TEST(test_list),
        MONITOR_TEST(test_info),
        MONITOR_TEST(test_info_of_a_paused_capsule),
        MONITOR_TEST(test_info_at_its_longest),
        MONITOR_TEST(test_stat),
        MONITOR_TEST(test_regs),
        MONITOR_TEST(test_mem),
        MONITOR_TEST(test_harts),
        MONITOR_TEST(test_loglevel),
        MONITOR_TEST(test_log),
        MONITOR_TEST(test_log_of_a_capsule),
        MONITOR_TEST(test_log_cannot_be_forged),
        MONITOR_TEST(test_help),
        MONITOR_TEST(test_capsule_that_goes),
        MONITOR_TEST(test_any_keys),
        MONITOR_TEST(test_harts_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
