/* SPDX-License-Identifier: MIT
 *
 * Files of this Linux as disks of capsules.
 */
#ifndef CAPSULECTL_SERVE_H
#define CAPSULECTL_SERVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "link.h"

#define SERVE_WORDS "NAME FILE [--read-only]"

int serve_verb(struct link *link, char **arguments);
/* Starts a process that serves the file ("file:PATH", or "file:PATH:ro") as the disk of that name until no capsule uses
 * it any more, and waits until it does. It has a session of its own: link is the caller's. Exits, with the reason said,
 * if it can't. */
pid_t serve_in_background(const struct link *link, const char *name, const char *file);

#endif
