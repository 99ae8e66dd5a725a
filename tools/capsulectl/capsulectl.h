/* SPDX-License-Identifier: MIT
 *
 * What capsulectl's files share.
 */
#ifndef CAPSULECTL_H
#define CAPSULECTL_H

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Exit statuses, as the manual has them. */
enum exit_status {
    EXIT_REFUSED = 1, /* the hypervisor refused what was asked for */
    EXIT_USAGE = 2,   /* the command line makes no sense */
    EXIT_LINK = 3,    /* the hypervisor can't be reached */
};

extern int as_json; /* --json was given */

/* Says why, and exits. */
_Noreturn void die(int status, const char *pattern, ...) __attribute__((format(printf, 2, 3)));

/* What somebody may have meant who typed this: the nearest that has been looked at. */
struct guess {
    const char *typed, *near;
    unsigned best; /* changes */
};
void guess_look(struct guess *guess, const char *name);
/* There is no such what; `capsulectl how` shows which there are. */
_Noreturn void guess_die(const struct guess *guess, int status, const char *what, const char *how);

#endif
