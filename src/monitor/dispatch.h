/* SPDX-License-Identifier: MIT
 *
 * From a line that was typed to commands that are executed; for monitor.c only. All of it belongs to the hart that
 * works for the monitor, but for dispatch_line and _completion, which are called while nobody works.
 */
#ifndef MONITOR_DISPATCH_H
#define MONITOR_DISPATCH_H

#include "monitor/command.h"

/* Commands, parted by ';', to be executed. At most LINE_LENGTH_MAX bytes. */
void dispatch_line(const char *line);
/* Words to be found that end the last of these. */
void dispatch_completion(const char *before, size_t length);
/* One bounded step of it. False: all is done. No lock held. */
bool dispatch_step(void);
/* The words that were found, after the last step of dispatch_completion; NULL: that wasn't what was done. */
const struct line_completion *dispatch_completed(void);
/* Forgets what there is still to do, and what was asked. */
void dispatch_drop(void);
/* Whether the line is one command, and that `quit`. Any time. */
bool dispatch_is_quit(const char *line);

#endif
