/* SPDX-License-Identifier: MIT
 *
 * Those who wait for news of a topic: a capsule's output and state, or anybody's events. Told once, by a timer, so that
 * whoever has the news may hold any lock but a timer heap's.
 */
#ifndef CONTROL_WAITERS_H
#define CONTROL_WAITERS_H

#include "core/timer.h"

/* Others are a capsule's id. */
#define TOPIC_EVENTS UINT32_MAX
#define TOPIC_SERVED (UINT32_MAX - 1) /* and so many below it: a served disk's requests */

struct waiter {
    struct timer timer;  /* its fire is whoever waits; set once */
    struct waiter *next; /* the waiters' lock guards these */
    uint32_t topic;
    bool waits;
};

/* From now on news of the topic makes it fire, once. Look at what there is after that. */
void waiter_wait(struct waiter *waiter, uint32_t topic);
/* In so many ticks it fires, whatever there is. */
void waiter_sleep(struct waiter *waiter, uint64_t ticks);
/* It is not told any more; one fire may have begun. */
void waiter_cancel(struct waiter *waiter);
/* There is news. ticks: it may wait so long, so that more of it comes together. */
void waiters_tell(uint32_t topic, uint64_t ticks);

#endif
