/* SPDX-License-Identifier: MIT
 *
 * What happens to capsules, for managers that want to be told: the newest EVENTS_KEPT of them, numbered from 1 on.
 */
#ifndef CORE_EVENTS_H
#define CORE_EVENTS_H

#include "core/capsule.h"

enum event_kind {
    EVENT_CREATED,
    EVENT_STARTED, /* its guest runs from now on */
    EVENT_STOPPED, /* text: why; it stays stopped */
    EVENT_CRASHED, /* likewise */
    EVENT_RESTARTS,
    EVENT_PAUSED,
    EVENT_RESUMED,
    EVENT_DESTROYED,
    EVENT_ATTACHED, /* a manager's client watches its console; text: whose */
};

enum { EVENTS_KEPT = 64 };

struct event {
    uint64_t number;
    uint64_t time; /* ticks of clock_now */
    enum event_kind kind;
    uint32_t id;      /* of the capsule */
    uint32_t creator; /* the manager's that made it; 0: the manifest has it */
    char name[CAPSULE_NAME_MAX + 1];
    char text[sizeof(((struct capsule *)NULL)->last_stop)];
};

/* Any hart, any lock held but a timer heap's. */
void event_report(const struct capsule *capsule, enum event_kind kind, const char *text);
/* The oldest with a larger number than after that creator's (or, 0, anybody's) capsules have had. False: there is none.
 */
bool event_next(uint64_t after, uint32_t creator, struct event *out);
/* The newest one's number; 0: there was none. */
uint64_t event_last(void);

/* Called after each report, likewise. Set once at boot; NULL: nobody cares. */
extern void (*event_news)(const struct event *event);

#endif
