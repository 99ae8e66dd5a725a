/* SPDX-License-Identifier: MIT
 *
 * Commands about the monitor itself.
 */
#include "monitor/command.h"

#include "lib/format.h"

enum { HELP_COLUMNS = 28, HELP_ROWS = 8 /* in a step */ };

static void help_row(const struct monitor_command *command)
{
    char usage[HELP_COLUMNS + 1];
    format(usage, sizeof(usage), "%s %s", command->name, command->arguments);
    say("%-*s %s\n", (int)HELP_COLUMNS, usage, command->summary);
}

static void help_command(const char *word)
{
    unsigned candidates;
    const struct monitor_command *command = monitor_command_find(word, &candidates);
    if (command == NULL) {
        say("No command is called '%.31s': 'help' lists them.\n", word);
        return;
    }
    help_row(command);
    if (command->details[0] != '\0') {
        say_wrapped("  ", command->details);
    }
}

bool command_help(struct monitor_job *job)
{
    if (job->argument_count != 0) {
        help_command(job->arguments[0]);
        return false;
    }
    for (unsigned n = 0; n < HELP_ROWS && job->cursor < monitor_command_count; n++) {
        help_row(&monitor_commands[job->cursor++]);
    }
    if (job->cursor < monitor_command_count) {
        return true;
    }
    say("NAME is a capsule's name or number. Tab completes, words may be shortened.\n");
    return false;
}

/* For itself: in a line with others (alone it is seen by monitor.c). */
bool command_quit(struct monitor_job *job)
{
    (void)job;
    leave_monitor(true);
    return false;
}

/* Never a step: dispatch.c puts what is to be repeated in its place. */
bool command_repeat(struct monitor_job *job)
{
    (void)job;
    return false;
}
