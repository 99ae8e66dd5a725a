/* SPDX-License-Identifier: MIT
 *
 * Making capsules: from a capsule file, or from a kernel and some words.
 */
#ifndef CAPSULECTL_CREATE_H
#define CAPSULECTL_CREATE_H

#include "link.h"

#define RUN_WORDS                                                                                                      \
    "[-it] NAME KERNEL [--initrd FILE] [--memory 128M] [--vcpus N] [--bootargs TEXT]\n            "                    \
    "[--restart always] [--network NAME]... [--disk SOURCE]..."

/* Verbs: see `capsulectl help`. arguments end with NULL. */
int create_verb(struct link *link, char **arguments);
int run_verb(struct link *link, char **arguments);
int check_verb(struct link *link, char **arguments);
int quota_verb(struct link *link, char **arguments);
/* Makes the capsule of that file, starts it, and says so. Exits if it can't. */
void create_and_start(struct link *link, const char *path);

#endif
