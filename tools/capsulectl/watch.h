/* SPDX-License-Identifier: MIT
 *
 * Verbs that look for longer: consoles, logs, events.
 */
#ifndef CAPSULECTL_WATCH_H
#define CAPSULECTL_WATCH_H

#include "link.h"

/* Attaches this terminal to a capsule's console, from that position on, until the user leaves or the capsule has
 * stopped. */
void console_attach(struct link *link, uint32_t id, const char *name, uint64_t from);

/* Verbs: see `capsulectl help`. arguments end with NULL. */
int console_verb(struct link *link, char **arguments);
int log_verb(struct link *link, char **arguments);
int events_verb(struct link *link, char **arguments);

#endif
