/* SPDX-License-Identifier: MIT
 *
 * Consoles, logs, events: see watch.h.
 */
#include "watch.h"

#include <cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "capsulectl.h"
#include "capsules.h"

/* --- the terminal ------------------------------------------------------------------------------------------------ */

enum { LEAVE_KEY = 0x1e, RETRY_MS = 20 }; /* Ctrl-^ */

static struct termios as_before;
static volatile sig_atomic_t ends;

static void restore(void)
{
    tcsetattr(STDIN_FILENO, TCSADRAIN, &as_before);
}

static void on_signal(int number)
{
    (void)number;
    ends = 1;
}

/* Every key goes to the capsule, Ctrl-C too. Restored at exit, whatever ends us. */
static void make_raw(void)
{
    static const int deadly[] = {SIGTERM, SIGHUP, SIGINT};
    const struct sigaction action = {.sa_handler = on_signal};
    if (tcgetattr(STDIN_FILENO, &as_before) != 0) {
        return; /* it is no terminal */
    }
    struct termios raw = as_before;
    cfmakeraw(&raw);
    atexit(restore);
    for (size_t n = 0; n < COUNT(deadly); n++) {
        sigaction(deadly[n], &action, NULL);
    }
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void put(const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        const ssize_t done = write(STDOUT_FILENO, bytes, length);
        if (done < 0 && errno != EINTR) {
            exit(EXIT_USAGE); /* nobody looks any more */
        }
        bytes += done > 0 ? done : 0;
        length -= done > 0 ? (size_t)done : 0;
    }
}

/* --- console ----------------------------------------------------------------------------------------------------- */

struct attached {
    struct link *link;
    uint32_t id;
    uint64_t from;
    bool reads, writes; /* a message of that kind has not been answered */
    bool typed_all;     /* there is nothing more to come from this end */
    bool leaves, stopped;
    size_t pending; /* bytes that were typed and have not been taken */
    uint8_t typed[512];
};

static bool is_up(uint32_t state)
{
    return state != DX_CONTROL_LOADED && state != DX_CONTROL_STOPPED && state != DX_CONTROL_CRASHED &&
           state != DX_CONTROL_DESTROYING;
}

static void ask_to_read(struct attached *attached)
{
    const struct dx_control_read read = {
        .from = attached->from, .id = attached->id, .how = DX_CONTROL_WAIT | DX_CONTROL_WATCH};
    link_send(attached->link, DX_CONTROL_READ, &read, sizeof(read));
    attached->reads = true;
}

static void ask_to_write(struct attached *attached)
{
    struct {
        struct dx_control_write head;
        uint8_t bytes[sizeof(attached->typed)];
    } message = {.head = {.id = attached->id}};
    memcpy(message.bytes, attached->typed, attached->pending);
    link_send(attached->link, DX_CONTROL_WRITE, &message, sizeof(message.head) + attached->pending);
    attached->writes = true;
}

static void was_read(struct attached *attached, size_t bytes)
{
    struct dx_control_read_reply reply;
    if (bytes < sizeof(reply)) {
        link_nonsense();
    }
    memcpy(&reply, link_payload(attached->link), sizeof(reply));
    const size_t length = bytes - sizeof(reply);
    if (attached->from != DX_CONTROL_NEWEST && reply.first > attached->from) {
        fprintf(stderr, "\r\n[%" PRIu64 " bytes are gone]\r\n", reply.first - attached->from);
    }
    put((const uint8_t *)link_payload(attached->link) + sizeof(reply), length);
    attached->from = reply.first + length;
    attached->reads = false;
    attached->stopped = length == 0 && !is_up(reply.state);
}

static void was_written(struct attached *attached, size_t bytes)
{
    struct dx_control_write_reply reply;
    if (bytes < sizeof(reply)) {
        link_nonsense();
    }
    memcpy(&reply, link_payload(attached->link), sizeof(reply));
    if (reply.taken > attached->pending) {
        link_nonsense();
    }
    attached->pending -= reply.taken;
    memmove(attached->typed, attached->typed + reply.taken, attached->pending);
    attached->writes = false;
}

static void hear(struct attached *attached)
{
    size_t bytes;
    unsigned kind;
    const unsigned error = link_hear(attached->link, &kind, &bytes);
    if (error == DX_NOT_FOUND || error == DX_WRONG_STATE) { /* it has gone, or gone down, meanwhile */
        attached->stopped = true;
    } else if (error != 0) {
        link_refused(attached->link, bytes);
    } else if (kind == DX_CONTROL_READ && attached->reads) {
        was_read(attached, bytes);
    } else if (kind == DX_CONTROL_WRITE && attached->writes) {
        was_written(attached, bytes);
    } else {
        link_nonsense();
    }
}

static void take_typed(struct attached *attached)
{
    const ssize_t got = read(STDIN_FILENO, attached->typed, sizeof(attached->typed));
    if (got <= 0) {
        attached->typed_all = got == 0 || errno != EINTR;
        return;
    }
    const uint8_t *key = isatty(STDIN_FILENO) ? memchr(attached->typed, LEAVE_KEY, (size_t)got) : NULL;
    attached->leaves = key != NULL;
    attached->pending = key != NULL ? (size_t)(key - attached->typed) : (size_t)got;
}

/* What is asked of the hypervisor next; how long to wait for an answer or a key, ms. */
static int go_on(struct attached *attached, bool retry)
{
    if (attached->pending > 0 && !attached->writes && retry) {
        ask_to_write(attached);
    }
    if (!attached->reads && !attached->writes) {
        ask_to_read(attached);
    }
    return attached->pending > 0 && !attached->writes ? RETRY_MS : -1;
}

void console_attach(struct link *link, uint32_t id, const char *name, uint64_t from)
{
    struct attached attached = {.link = link, .id = id, .from = from};
    bool retry = true;
    if (isatty(STDIN_FILENO)) {
        fprintf(stderr, "the console of %s; Ctrl-^ leaves\n", name);
        make_raw();
    }
    while (!ends && !attached.stopped && !(attached.leaves && attached.pending == 0)) {
        const int wait = go_on(&attached, retry);
        struct pollfd files[] = {{.fd = link->file, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
        const bool takes = attached.pending == 0 && !attached.typed_all && !attached.leaves;
        const int found = poll(files, takes ? 2 : 1, wait);
        const size_t before = attached.pending;
        retry = found == 0;
        if (found > 0 && (files[0].revents & (POLLIN | POLLHUP)) != 0) {
            hear(&attached);
        }
        if (found > 0 && takes && files[1].revents != 0) {
            take_typed(&attached);
        }
        retry |= attached.pending != before; /* the guest takes some */
    }
    fprintf(stderr, "%s\n[%s: %s]\n", isatty(STDIN_FILENO) ? "\r" : "", name,
            attached.stopped ? "it doesn't run" : "left; it goes on");
}

int console_verb(struct link *link, char **arguments)
{
    if (arguments[1] != NULL) {
        die(EXIT_USAGE, "console: one NAME; for several, run capsulectl several times");
    }
    const struct dx_control_row row = capsule_named(link, arguments[0]);
    if (!is_up(row.state)) {
        die(EXIT_REFUSED, "%s is %s: `capsulectl start %s` first, or `capsulectl log %s` for what it wrote", row.name,
            state_name(row.state), row.name, row.name);
    }
    console_attach(link, row.id, row.name, DX_CONTROL_NEWEST);
    return 0;
}

/* --- log --------------------------------------------------------------------------------------------------------- */

/* A guest's bytes must not steer this terminal. */
static void put_clean(const uint8_t *bytes, size_t length)
{
    for (size_t n = 0; n < length; n++) {
        const uint8_t byte = bytes[n];
        if (byte == '\n' || byte == '\t' || byte >= ' ') {
            putchar(byte == 0x7f || (byte >= 0x80 && byte < 0xa0) ? '?' : byte);
        } else if (byte != '\r') {
            putchar(byte == '\033' ? '^' : '?');
        }
    }
}

static void show_log(struct link *link, uint32_t id, bool follows)
{
    struct dx_control_read read = {.id = id};
    size_t bytes;
    do {
        struct dx_control_read_reply reply;
        if (link_ask(link, DX_CONTROL_READ, &read, sizeof(read), &bytes) != 0) {
            link_refused(link, bytes);
        }
        if (bytes < sizeof(reply)) {
            link_nonsense();
        }
        memcpy(&reply, link_payload(link), sizeof(reply));
        bytes -= sizeof(reply);
        put_clean((const uint8_t *)link_payload(link) + sizeof(reply), bytes);
        fflush(stdout);
        read.from = reply.first + bytes;
        if (bytes == 0 && read.how != 0) {
            return; /* it doesn't run */
        }
        read.how = bytes == 0 && follows ? DX_CONTROL_WAIT : read.how;
    } while (bytes != 0 || follows);
}

int log_verb(struct link *link, char **arguments)
{
    const bool follows = arguments[0] != NULL && strcmp(arguments[0], "-f") == 0;
    arguments += follows ? 1 : 0;
    if (arguments[0] == NULL) {
        show_log(link, 0, follows);
    }
    for (; *arguments != NULL; arguments++) {
        show_log(link, capsule_named(link, *arguments).id, follows);
    }
    return 0;
}

/* --- events ------------------------------------------------------------------------------------------------------ */

static const char *event_name(uint32_t kind)
{
    static const char *const names[] = {
        [DX_CONTROL_EVENT_CREATED] = "created",           [DX_CONTROL_EVENT_STARTED] = "started",
        [DX_CONTROL_EVENT_STOPPED] = "stopped",           [DX_CONTROL_EVENT_CRASHED] = "crashed",
        [DX_CONTROL_EVENT_RESTARTS] = "restarts",         [DX_CONTROL_EVENT_PAUSED] = "paused",
        [DX_CONTROL_EVENT_RESUMED] = "resumed",           [DX_CONTROL_EVENT_DESTROYED] = "destroyed",
        [DX_CONTROL_EVENT_ATTACHED] = "console attached",
    };
    return kind < COUNT(names) ? names[kind] : "something happened";
}

static void print_event(struct dx_control_event *event)
{
    event->name[sizeof(event->name) - 1] = '\0';
    event->text[sizeof(event->text) - 1] = '\0';
    if (!as_json) {
        printf("%10.3f  %3" PRIu32 " %-16s %s%s%s\n", (double)event->time_us / 1e6, event->id, event->name,
               event_name(event->kind), event->text[0] == '\0' ? "" : ": ", event->text);
        return;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "number", (double)event->number);
    cJSON_AddNumberToObject(object, "time_us", (double)event->time_us);
    cJSON_AddNumberToObject(object, "id", event->id);
    cJSON_AddStringToObject(object, "name", event->name);
    cJSON_AddStringToObject(object, "event", event_name(event->kind));
    cJSON_AddStringToObject(object, "text", event->text);
    print_json(object);
    putchar('\n');
}

int events_verb(struct link *link, char **arguments)
{
    const bool past = arguments[0] != NULL && strcmp(arguments[0], "--past") == 0;
    struct dx_control_events message = {.after = past ? 0 : DX_CONTROL_NEWEST, .how = past ? 0 : DX_CONTROL_WAIT};
    struct dx_control_events_reply reply;
    if (arguments[0] != NULL && (!past || arguments[1] != NULL)) {
        die(EXIT_USAGE, "usage: capsulectl events [--past]");
    }
    do {
        size_t bytes;
        if (link_ask(link, DX_CONTROL_EVENTS, &message, sizeof(message), &bytes) != 0) {
            link_refused(link, bytes);
        }
        memcpy(&reply, link_payload(link), sizeof(reply));
        if (bytes < sizeof(reply) || bytes != sizeof(reply) + reply.count * sizeof(struct dx_control_event)) {
            link_nonsense();
        }
        for (uint32_t n = 0; n < reply.count; n++) {
            struct dx_control_event event;
            memcpy(&event, (const uint8_t *)link_payload(link) + sizeof(reply) + n * sizeof(event), sizeof(event));
            print_event(&event);
        }
        fflush(stdout);
        message.after = reply.last;
    } while (!past || reply.count != 0);
    return 0;
}
