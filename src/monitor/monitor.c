/* SPDX-License-Identifier: MIT
 *
 * The monitor: see monitor.h. Keys edit the line at once; what a line asks for is done later, by monitor_work, which
 * belongs to no lock and leaves its words in a ring until the terminal takes them.
 */
#include "monitor/monitor.h"

#include <string.h>

#include "monitor/dispatch.h"

enum {
    OUTPUT_SIZE = 4096, /* a power of two */
    AHEAD_SIZE = 256,   /* bytes typed while a command runs; a power of two */
    EDIT_MAX = 1024,    /* bytes that one key can lead to: a list of completions, and the line again */
    KEY_INTERRUPT = 3,
};

static const char prompt[] = "diosix> ";

static struct {
    struct spinlock lock; /* a leaf: nothing is called with it held but the editor and what dispatch says of lines */
    /* lock guards these: */
    char output[OUTPUT_SIZE];
    uint32_t output_head, output_tail; /* bytes ever put, ever taken */
    uint8_t ahead[AHEAD_SIZE];
    uint32_t ahead_head, ahead_tail;
    struct line_editor editor;
    bool busy;    /* dispatch has something to do: it is working's, and keys wait */
    bool working; /* a hart is in dispatch_step */
    bool stop;    /* what is being done is to be given up, and has nothing more to say */
    bool stale;   /* the screen lacks something of the line that was edited */
    bool leaving; /* after this step */
    bool left, told;

    const struct monitor_host *host; /* constant after monitor_init */
} monitor;

static const struct monitor_host no_host;

/* --- output ---------------------------------------------------------------------------------------------------- */

static size_t room(void)
{
    return OUTPUT_SIZE - (monitor.output_head - monitor.output_tail);
}

static void put(const char *bytes, size_t length)
{
    for (size_t n = 0; n < length; n++) {
        monitor.output[monitor.output_head++ % OUTPUT_SIZE] = bytes[n];
    }
}

/* Of the editor. What finds no room is not kept: the whole line is shown again as soon as there is some. */
static void put_edited(void *unused, const char *bytes, size_t length)
{
    (void)unused;
    if (monitor.stale || length > room()) {
        monitor.stale = true;
    } else {
        put(bytes, length);
    }
}

/* Of commands. There is room: steps are made only if there is, and say no more than they may. */
void say_bytes(const char *bytes, size_t length)
{
    spinlock_take(&monitor.lock);
    if (!monitor.stop && length <= room()) {
        put(bytes, length);
    }
    spinlock_release(&monitor.lock);
}

static void refresh(void)
{
    if (monitor.stale && !monitor.busy && !monitor.left && room() >= EDIT_MAX) {
        monitor.stale = false;
        line_editor_reprint(&monitor.editor);
    }
}

size_t monitor_output(char *out, size_t size)
{
    size_t done = 0;
    spinlock_take(&monitor.lock);
    while (done < size && monitor.output_tail != monitor.output_head) {
        out[done++] = monitor.output[monitor.output_tail++ % OUTPUT_SIZE];
    }
    refresh();
    spinlock_release(&monitor.lock);
    return done;
}

/* --- input ----------------------------------------------------------------------------------------------------- */

static void leave(bool told)
{
    put_edited(NULL, "\r\n", 2);
    monitor.left = true;
    monitor.told = told;
}

static void line_entered(void)
{
    if (dispatch_is_quit(monitor.editor.line)) {
        leave(false);
    } else {
        dispatch_line(monitor.editor.line);
        monitor.busy = true;
    }
}

/* A key while nothing runs. */
static void take_key(uint8_t byte)
{
    switch (line_editor_type(&monitor.editor, byte)) {
    case LINE_ENTERED:
        line_entered();
        break;
    case LINE_TAB:
        dispatch_completion(monitor.editor.line, monitor.editor.cursor);
        monitor.busy = true;
        break;
    case LINE_DROPPED:
        dispatch_drop();
        line_editor_begin(&monitor.editor);
        break;
    case LINE_ENDED:
        leave(false);
        break;
    case LINE_EDITED:
    default:
        break;
    }
}

/* A key while something runs. */
static void keep_key(uint8_t byte)
{
    if (byte == KEY_INTERRUPT) {
        monitor.stop = true;
        monitor.ahead_tail = monitor.ahead_head;
        put_edited(NULL, "^C\r\n", 4);
    } else if (monitor.ahead_head - monitor.ahead_tail < AHEAD_SIZE) {
        monitor.ahead[monitor.ahead_head++ % AHEAD_SIZE] = byte;
    } else {
        put_edited(NULL, "\a", 1);
    }
}

bool monitor_input(uint8_t byte)
{
    spinlock_take(&monitor.lock);
    if (monitor.busy) {
        keep_key(byte);
    } else if (!monitor.left) {
        take_key(byte);
    }
    bool stays = !monitor.left;
    spinlock_release(&monitor.lock);
    return stays;
}

void monitor_enter(void)
{
    static const char greeting[] = "\r\ndiosix " DIOSIX_VERSION " monitor: help lists the commands, quit leaves\r\n";
    spinlock_take(&monitor.lock);
    monitor.output_tail = monitor.output_head;
    monitor.ahead_tail = monitor.ahead_head;
    monitor.left = monitor.told = monitor.leaving = monitor.stale = false;
    put(greeting, sizeof(greeting) - 1);
    if (monitor.working) {
        monitor.stop = true; /* the prompt comes when that step is over */
    } else {
        dispatch_drop();
        monitor.busy = monitor.stop = false;
        line_editor_begin(&monitor.editor);
    }
    spinlock_release(&monitor.lock);
}

bool monitor_left(void)
{
    spinlock_take(&monitor.lock);
    bool told = monitor.left && monitor.told;
    spinlock_release(&monitor.lock);
    return told;
}

/* --- work ------------------------------------------------------------------------------------------------------ */

static bool has_work(void)
{
    return monitor.busy && !monitor.working && (monitor.stop || room() >= SAY_STEP_MAX);
}

bool monitor_has_work(void)
{
    spinlock_take(&monitor.lock);
    bool has = has_work();
    spinlock_release(&monitor.lock);
    return has;
}

/* Nothing runs any more: the line goes on, or a new one begins, with the keys that were kept. */
static void finish(const struct line_completion *completion)
{
    monitor.busy = false;
    if (completion != NULL) {
        line_editor_complete(&monitor.editor, completion);
    } else {
        line_editor_begin(&monitor.editor);
    }
    while (!monitor.busy && !monitor.left && monitor.ahead_tail != monitor.ahead_head) {
        take_key(monitor.ahead[monitor.ahead_tail++ % AHEAD_SIZE]);
    }
    monitor.told = monitor.left; /* a kept key has left: monitor_input can't say so any more */
}

static void end_step(bool more)
{
    monitor.working = false;
    if (monitor.stop) {
        dispatch_drop();
        monitor.stop = monitor.leaving = false;
        finish(NULL);
    } else if (monitor.leaving) {
        dispatch_drop();
        monitor.busy = monitor.leaving = false;
        leave(monitor.told);
    } else if (!more) {
        finish(dispatch_completed());
    }
}

void monitor_work(void)
{
    spinlock_take(&monitor.lock);
    const bool works = has_work();
    const bool stop = monitor.stop;
    monitor.working = monitor.working || works;
    spinlock_release(&monitor.lock);
    if (!works) {
        return;
    }
    const bool more = !stop && dispatch_step();
    spinlock_take(&monitor.lock);
    end_step(more);
    spinlock_release(&monitor.lock);
}

/* --- for commands ---------------------------------------------------------------------------------------------- */

void leave_monitor(bool told)
{
    spinlock_take(&monitor.lock);
    monitor.leaving = true;
    monitor.told = told;
    spinlock_release(&monitor.lock);
}

const struct monitor_host *the_host(void)
{
    return monitor.host;
}

void monitor_init(const struct monitor_host *host)
{
    memset(&monitor, 0, sizeof(monitor));
    monitor.host = host == NULL ? &no_host : host;
    monitor.left = true;
    line_editor_init(&monitor.editor, prompt, put_edited, NULL);
    dispatch_drop();
}

void monitor_set_plain(bool plain)
{
    monitor.editor.plain = plain;
}
