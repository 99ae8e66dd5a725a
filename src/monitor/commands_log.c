/* SPDX-License-Identifier: MIT
 *
 * Commands about what was said: the hypervisor's log, and what a capsule has printed.
 */
#include "monitor/command.h"

#include <string.h>

#include "core/log.h"
#include "monitor/scroll_text.h"

/* --- what a capsule has printed -------------------------------------------------------------------------------- */

enum { SCROLL_STEP = SAY_STEP_MAX / SCROLL_BYTE_MAX }; /* bytes of a guest that a step looks at */

/* Of the command that is being executed. It ends with what had been printed when it began. */
static struct scroll_text scroll;
static uint64_t scroll_at, scroll_end;

static void begin_scroll(struct monitor_job *job)
{
    struct console_counts counts;
    console_port_counts(&job->capsule->console, &counts);
    scroll_at = 0;
    scroll_end = counts.out;
    scroll_text_begin(&scroll, job->capsule->config.name, say_bytes);
    job->stage = 1;
}

static bool log_of_capsule(struct monitor_job *job)
{
    uint8_t bytes[SCROLL_STEP];
    if (job->stage == 0) {
        begin_scroll(job);
    }
    scroll.name = job->capsule->config.name;
    const size_t length = console_port_scrollback(&job->capsule->console, &scroll_at, bytes, sizeof(bytes));
    const bool more = length != 0 && scroll_at < scroll_end;
    for (size_t n = 0; n < length; n++) {
        scroll_text_byte(&scroll, bytes[n]);
    }
    if (!more) {
        scroll_text_end(&scroll);
    }
    return more;
}

/* --- log ------------------------------------------------------------------------------------------------------- */

static struct log_reader reader; /* of the one job that there is */

bool command_log(struct monitor_job *job)
{
    char line[LOG_LINE_MAX];
    if (job->argument_count != 0) {
        return log_of_capsule(job);
    }
    if (job->stage == 0) {
        log_read_begin(&reader);
        job->stage = 1;
    }
    const bool found = log_read_line(&reader, line, sizeof(line));
    if (found) {
        say("%s\n", line);
    }
    return found;
}

/* --- loglevel -------------------------------------------------------------------------------------------------- */

bool command_loglevel(struct monitor_job *job)
{
    if (job->argument_count == 0) {
        say("The log keeps: %s\n", monitor_level_names[log_level_current()]);
        return false;
    }
    for (unsigned n = 0; n < ARRAY_LENGTH(monitor_level_names); n++) {
        if (strcmp(monitor_level_names[n], job->arguments[0]) == 0) {
            log_set_level((enum log_level)n);
            say("ok\n");
            return false;
        }
    }
    say("Usage: loglevel [alert|info|debug]\n");
    return false;
}
