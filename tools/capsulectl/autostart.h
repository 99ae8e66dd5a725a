/* SPDX-License-Identifier: MIT
 *
 * Starting what a directory of capsules says, with no hand on the keyboard.
 */
#ifndef CAPSULECTL_AUTOSTART_H
#define CAPSULECTL_AUTOSTART_H

#include "link.h"

#define AUTOSTART_DIRECTORY "/var/lib/capsules"

/* A verb: see `capsulectl help`. arguments end with NULL. */
int autostart_verb(struct link *link, char **arguments);

#endif
