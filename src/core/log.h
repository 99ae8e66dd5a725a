/* SPDX-License-Identifier: MIT
 *
 * The hypervisor's log: one line per call, "[-] CPU n: text". Lines go to a ring in memory and, while no capsule
 * owns the terminal raw, to the console too (alerts always). Callable from any hart, with any lock but the
 * terminal's held. Never pass bytes that a guest wrote as the format.
 */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdarg.h>

#include "lib/base.h"
#include "lib/spinlock.h"

enum log_level {
    LOG_ALERT, /* [!] something is wrong or was refused */
    LOG_INFO,  /* [-] what happened */
    LOG_DEBUG, /* [?] what a developer wants to know */
};

enum {
    LOG_LINE_MAX = 240,        /* bytes of a line with its prefix and line end; longer ones are cut and end in "..." */
    LOG_RING_SIZE = 32 * 1024, /* bytes of the newest lines that log_copy can give back */
    LOG_BURST = 10,            /* lines that a log_limiter lets through at once */
};

/* Sets the highest level that is kept (default LOG_INFO). */
void log_set_level(enum log_level level);
enum log_level log_level_current(void);

/* Where finished lines go beside the ring: set once at boot; NULL: nowhere. The line ends in "\r\n" and is length bytes
 * long; whatever isn't printable ASCII in it has become '?'. Called for one line at a time, in the ring's order, with
 * the log's sink lock held; it must not log. */
void log_set_sink(void (*sink)(enum log_level level, const char *line, size_t length));

void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_write_list(enum log_level level, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));

#define log_alert(...) log_write(LOG_ALERT, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

/* Copies the newest whole lines that fit into size − 1 bytes, oldest first, each ending in "\n", then a NUL. Returns
 * their length. Any hart, any lock held. */
size_t log_copy(char *out, size_t size);

/* Keeps lines that a guest can cause from filling the log: LOG_BURST at once, then one a second. Zeroed: ready. One for
 * each capsule or other culprit. */
struct log_limiter {
    struct spinlock lock;
    /* lock guards these: */
    uint64_t refilled; /* when spent last went down */
    uint32_t spent;    /* 0 … LOG_BURST */
    uint32_t dropped;  /* lines refused since one was last let through */
};

/* True if a line may be written now; *dropped (which may be NULL) is then how many were refused before it. now and
 * ticks_per_second are in the machine's timebase. Any hart, any lock held. */
bool log_limit(struct log_limiter *limiter, uint64_t now, uint64_t ticks_per_second, uint32_t *dropped);

/* A published error's cause and cure, as text that is never NULL. */
const char *error_cause(enum dx_error error);
const char *error_cure(enum dx_error error);

#endif
