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

enum log_level {
    LOG_ALERT, /* [!] something is wrong or was refused */
    LOG_INFO,  /* [-] what happened */
    LOG_DEBUG, /* [?] what a developer wants to know */
};

enum {
    LOG_LINE_MAX = 240,        /* bytes of a line with its prefix and line end; longer ones are cut and end in "..." */
    LOG_RING_SIZE = 32 * 1024, /* bytes of the newest lines that log_copy can give back */
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

/* Reads the ring line by line, oldest first, as far as it went at log_read_begin. Lines that newer ones have displaced
 * meanwhile are left out. Any hart, any lock held; each reader is its owner's. */
struct log_reader {
    uint64_t next, end; /* of the bytes ever put into the ring */
};
void log_read_begin(struct log_reader *reader);
/* The next line without its end, cut to size − 1 bytes, and a NUL. False: there is none. size is at least 1. */
bool log_read_line(struct log_reader *reader, char *out, size_t size);

/* Copies up to size bytes, of lines that end in "\n", from the count *first of bytes ever put into the ring on; what
 * is no longer kept is skipped, and *first moved. Returns their number. log_written is the count that comes next. */
size_t log_read(uint64_t *first, uint8_t *bytes, size_t size);
uint64_t log_written(void);

/* A published error's cause and cure, as text that is never NULL. */
const char *error_cause(enum dx_error error);
const char *error_cure(enum dx_error error);

#endif
