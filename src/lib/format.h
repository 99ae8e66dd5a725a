/* SPDX-License-Identifier: MIT
 *
 * A small snprintf for the hypervisor: %% %c %s %d %i %u %x %X %p with flags 0 and -, width (also *), precision for
 * %s, and lengths hh h l ll z. Pure.
 */
#ifndef LIB_FORMAT_H
#define LIB_FORMAT_H

#include <stdarg.h>

#include "lib/base.h"

/* Writes at most size − 1 bytes and a NUL (nothing if size is 0). Returns how many bytes the whole text has, as
 * snprintf does; an unknown conversion is written as it stands. */
size_t format(char *out, size_t size, const char *pattern, ...) __attribute__((format(printf, 3, 4)));
size_t format_list(char *out, size_t size, const char *pattern, va_list list) __attribute__((format(printf, 3, 0)));

#endif
