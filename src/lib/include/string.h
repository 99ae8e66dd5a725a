/* SPDX-License-Identifier: MIT
 *
 * The part of the C library's <string.h> that the hypervisor and libfdt use; lib/string.c has the bodies. Natively
 * the C library's own is used instead.
 */
#ifndef LIB_INCLUDE_STRING_H
#define LIB_INCLUDE_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
int memcmp(const void *a, const void *b, size_t length);
void *memchr(const void *bytes, int byte, size_t length);

size_t strlen(const char *text);
size_t strnlen(const char *text, size_t most);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t most);
char *strchr(const char *text, int character);
char *strrchr(const char *text, int character);

#endif
