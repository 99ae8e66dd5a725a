/* SPDX-License-Identifier: MIT
 *
 * Memory and string functions for the freestanding build. Copying and filling move words, eight at a time, since they
 * run over whole guest RAMs; no byte outside of the given ones is ever read or written. Words are little-endian, as
 * RISC-V's are. The Makefile keeps GCC from recognising these loops as memcpy and memset, and calling the function that
 * it is compiling.
 */
#include <stdint.h>
#include <string.h>

typedef unsigned long word_t __attribute__((may_alias));

enum { WORD = sizeof(word_t), BLOCK = 8 * WORD };

static inline uintptr_t misalignment(const void *pointer)
{
    return (uintptr_t)pointer % WORD;
}

/* Both pointers are aligned. All of a block is loaded before any of it is stored, so to may lie below from and overlap
 * it. */
static size_t copy_words(unsigned char *to, const unsigned char *from, size_t length)
{
    size_t done = 0;

    for (; length - done >= BLOCK; done += BLOCK) {
        const word_t *source = (const void *)(from + done);
        word_t *target = (void *)(to + done);
        word_t a = source[0], b = source[1], c = source[2], d = source[3];
        word_t e = source[4], f = source[5], g = source[6], h = source[7];
        target[0] = a;
        target[1] = b;
        target[2] = c;
        target[3] = d;
        target[4] = e;
        target[5] = f;
        target[6] = g;
        target[7] = h;
    }
    for (; length - done >= WORD; done += WORD) {
        *(word_t *)(void *)(to + done) = *(const word_t *)(const void *)(from + done);
    }
    return done;
}

/* to is aligned and from is not: each word is put together from what is left of the last one and the next. */
static size_t copy_shifted(unsigned char *to, const unsigned char *from, size_t length)
{
    size_t held = WORD - misalignment(from); /* bytes in carry: 1 … WORD − 1 */
    size_t done = 0;
    word_t carry = 0;

    if (length < held) {
        return 0;
    }
    for (size_t i = 0; i < held; i++) {
        carry |= (word_t)from[i] << (8 * i);
    }
    for (; length - done >= held + WORD; done += WORD) {
        word_t next = *(const word_t *)(const void *)(from + done + held);
        *(word_t *)(void *)(to + done) = carry | next << (8 * held);
        carry = next >> (8 * (WORD - held));
    }
    return done;
}

/* Lowest address first; right for overlapping bytes too if to lies below from. */
static void copy_up(unsigned char *to, const unsigned char *from, size_t length)
{
    for (; length > 0 && misalignment(to) != 0; length--) {
        *to++ = *from++;
    }
    size_t done = misalignment(from) == 0 ? copy_words(to, from, length) : copy_shifted(to, from, length);
    for (; done < length; done++) {
        to[done] = from[done];
    }
}

/* Highest address first, for bytes that overlap with to above from. */
static void copy_down(unsigned char *to, const unsigned char *from, size_t length)
{
    if (misalignment(to) == misalignment(from)) {
        for (; length > 0 && misalignment(to + length) != 0; length--) {
            to[length - 1] = from[length - 1];
        }
        for (; length >= WORD; length -= WORD) {
            *(word_t *)(void *)(to + length - WORD) = *(const word_t *)(const void *)(from + length - WORD);
        }
    }
    for (; length > 0; length--) {
        to[length - 1] = from[length - 1];
    }
}

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    copy_up(to, from, length);
    return to;
}

void *memmove(void *to, const void *from, size_t length)
{
    /* the difference is taken modulo 2^XLEN: it is also large if to lies below from */
    if ((uintptr_t)to - (uintptr_t)from >= length) {
        copy_up(to, from, length);
    } else {
        copy_down(to, from, length);
    }
    return to;
}

void *memset(void *to, int byte, size_t length)
{
    unsigned char *next = to;
    word_t word = (unsigned char)byte * (~0UL / 0xff); /* the byte in every place */

    for (; length > 0 && misalignment(next) != 0; length--) {
        *next++ = (unsigned char)byte;
    }
    for (; length >= BLOCK; length -= BLOCK, next += BLOCK) {
        word_t *target = (void *)next;
        target[0] = word;
        target[1] = word;
        target[2] = word;
        target[3] = word;
        target[4] = word;
        target[5] = word;
        target[6] = word;
        target[7] = word;
    }
    for (; length >= WORD; length -= WORD, next += WORD) {
        *(word_t *)(void *)next = word;
    }
    for (; length > 0; length--) {
        *next++ = (unsigned char)byte;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t length)
{
    const unsigned char *left = a, *right = b;

    if (misalignment(left) == 0 && misalignment(right) == 0) {
        while (length >= WORD && *(const word_t *)(const void *)left == *(const word_t *)(const void *)right) {
            left += WORD;
            right += WORD;
            length -= WORD;
        }
    }
    for (; length > 0; length--, left++, right++) {
        if (*left != *right) {
            return *left - *right;
        }
    }
    return 0;
}

void *memchr(const void *bytes, int byte, size_t length)
{
    const unsigned char *next = bytes;

    for (; length > 0; length--, next++) {
        if (*next == (unsigned char)byte) {
            return (void *)(uintptr_t)next;
        }
    }
    return NULL;
}

size_t strlen(const char *text)
{
    size_t length = 0;

    while (text[length] != '\0') {
        length++;
    }
    return length;
}

size_t strnlen(const char *text, size_t most)
{
    size_t length = 0;

    while (length < most && text[length] != '\0') {
        length++;
    }
    return length;
}

int strcmp(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t most)
{
    for (; most > 0; most--, a++, b++) {
        if (*a != *b || *a == '\0') {
            return (unsigned char)*a - (unsigned char)*b;
        }
    }
    return 0;
}

char *strchr(const char *text, int character)
{
    for (; *text != (char)character; text++) {
        if (*text == '\0') {
            return NULL;
        }
    }
    return (char *)(uintptr_t)text;
}

char *strrchr(const char *text, int character)
{
    const char *found = NULL;

    do {
        if (*text == (char)character) {
            found = text;
        }
    } while (*text++ != '\0');
    return (char *)(uintptr_t)found;
}
