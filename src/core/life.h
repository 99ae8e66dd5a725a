/* SPDX-License-Identifier: MIT
 *
 * A capsule's life as its operators see it: what may be asked of a capsule in which state, and what follows. The table
 * of states and requests is in life.c.
 */
#ifndef CORE_LIFE_H
#define CORE_LIFE_H

#include "core/capsules.h"

/* What an operator, a manager or the manifest asks for. */
enum capsule_request {
    REQUEST_START,   /* from loaded, stopped or crashed; or now, if it waits for its restart */
    REQUEST_STOP,    /* asks the guest to power off; kills it if it hasn't after STOP_GRACE_SECONDS */
    REQUEST_KILL,    /* stops at once, whatever the guest does; one that is stopping already stays stopped */
    REQUEST_RESTART, /* kill and start in one */
    REQUEST_PAUSE,   /* its vCPUs leave their harts and stay as they are */
    REQUEST_RESUME,
    REQUEST_DESTROY, /* of one that doesn't run: scrubs its RAM, gives everything back */
    CAPSULE_REQUESTS,
};

enum {
    STOP_GRACE_SECONDS = 15,   /* from the request to stop to the kill */
    SHORT_LIFE_SECONDS = 10,   /* a life that ends sooner counts towards the crash-loop limit */
    SHORT_LIVES_MAX = 8,       /* so many in a row, and the capsule is not restarted any more */
    BACKOFF_FIRST_MS = 100,    /* before the second restart in a row; doubled for each one after */
    BACKOFF_LONGEST_MS = 3200, /* which the limit above lets it reach */
};

/* Does what is asked for, or begins to; by is who asks, for the log ("the operator"). Refused, with the reason, if the
 * capsule is in no state for it. Any hart, no lock held. */
[[nodiscard]] enum dx_error capsule_request(struct capsule *capsule, enum capsule_request request, const char *by,
                                            struct refusal *refusal);

/* What follows a stop that has been committed; capsule.c asks. */
struct life_verdict {
    enum capsule_state next; /* STOPPED, CRASHED, or BACKOFF: it is restarted in wait_ms milliseconds */
    uint64_t wait_ms;
    bool loops; /* it would be restarted, but for the crash-loop limit */
};
struct life_verdict life_judge(struct capsule *capsule, enum stop_reason reason);
/* Its RAM is being filled; it is full, and its guest runs from now on. */
void life_begins(struct capsule *capsule);
void life_runs(struct capsule *capsule);
/* It is in BACKOFF: begins in ms milliseconds. */
void life_back_off(struct capsule *capsule, uint64_t ms);

/* "running", "restarting", …: for people. Never NULL. */
const char *capsule_state_name(enum capsule_state state);
/* Why it last stopped, as one line without its name: "power off requested", "crashed: …"; "" if it never did. */
const char *capsule_last_stop(const struct capsule *capsule);

#endif
