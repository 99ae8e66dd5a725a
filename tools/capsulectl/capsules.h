/* SPDX-License-Identifier: MIT
 *
 * Capsules as the hypervisor lists them, and the verbs that show them.
 */
#ifndef CAPSULECTL_CAPSULES_H
#define CAPSULECTL_CAPSULES_H

#include "link.h"

struct cJSON;

struct rows {
    struct dx_control_row *row; /* the caller's, to be freed */
    size_t count;
};
/* All that this capsule may see. */
struct rows rows_get(struct link *link);
/* By its name, or its id. Exits, and says which may have been meant, if there is none. */
const struct dx_control_row *rows_find(const struct rows *rows, const char *name);
/* The same, asked for now. */
struct dx_control_row capsule_named(struct link *link, const char *name);

const char *state_name(uint32_t state);
/* On one line, without its end; the object is freed. */
void print_json(struct cJSON *object);

/* Verbs: see `capsulectl help`. arguments end with NULL. */
int list_verb(struct link *link, char **arguments);
int info_verb(struct link *link, char **arguments);
int stat_verb(struct link *link, char **arguments);
int top_verb(struct link *link, char **arguments);

#endif
