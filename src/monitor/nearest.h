/* SPDX-License-Identifier: MIT
 *
 * Which of several words somebody probably meant who typed another one. Pure.
 */
#ifndef MONITOR_NEAREST_H
#define MONITOR_NEAREST_H

#include "lib/base.h"

enum { WORD_MAX = 31 }; /* characters of the longest word that is compared: a capsule's name */

/* What was typed, and the nearest word that was offered so far. */
struct nearest {
    char typed[WORD_MAX + 1];
    char word[WORD_MAX + 1]; /* "": none is near */
    unsigned distance;       /* of word; while there is none: one more than what counts as near */
};

void nearest_begin(struct nearest *nearest, const char *typed);
void nearest_offer(struct nearest *nearest, const char *word);

/* How many characters must be put in, taken out, replaced, or swapped with their neighbour, to make b of a. Both have
 * WORD_MAX characters at most; work is the product of the two lengths. */
unsigned word_distance(const char *a, const char *b);

#endif
