/* SPDX-License-Identifier: MIT
 *
 * Events: see events.h.
 */
#include "core/events.h"

#include <string.h>

#include "core/hart.h"

void (*event_news)(const struct event *event);

static struct spinlock lock; /* a leaf; guards all below */
static uint64_t last;
static struct event kept[EVENTS_KEPT]; /* number n at n modulo their count */

static void copy_text(char *to, size_t size, const char *text)
{
    const size_t length = strnlen(text, size - 1);
    memcpy(to, text, length);
    to[length] = '\0';
}

void event_report(const struct capsule *capsule, enum event_kind kind, const char *text)
{
    struct event event = {
        .time = clock_now(), .kind = kind, .id = capsule->id, .creator = capsule->config.origin.creator};
    copy_text(event.name, sizeof(event.name), capsule->config.name);
    copy_text(event.text, sizeof(event.text), text);
    spinlock_take(&lock);
    event.number = ++last;
    kept[event.number % EVENTS_KEPT] = event;
    spinlock_release(&lock);
    if (event_news != NULL) {
        event_news(&event);
    }
}

bool event_next(uint64_t after, uint32_t creator, struct event *out)
{
    bool found = false;
    spinlock_take(&lock);
    const uint64_t oldest = last > EVENTS_KEPT ? last - EVENTS_KEPT + 1 : 1;
    for (uint64_t n = MAX(after + 1, oldest); !found && n != 0 && n <= last; n++) {
        const struct event *event = &kept[n % EVENTS_KEPT];
        found = creator == 0 || event->creator == creator;
        if (found) {
            *out = *event;
        }
    }
    spinlock_release(&lock);
    return found;
}

uint64_t event_last(void)
{
    spinlock_take(&lock);
    const uint64_t number = last;
    spinlock_release(&lock);
    return number;
}
