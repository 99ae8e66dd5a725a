/* SPDX-License-Identifier: MIT
 *
 * Words that are nearly alike: see nearest.h.
 */
#include "monitor/nearest.h"

#include <string.h>

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned smaller = MIN(a, b);
    return MIN(smaller, c);
}

/* Row by row through the table of distances between the first i characters of a and the first j of b; three rows are
 * needed at a time. */
unsigned word_distance(const char *a, const char *b)
{
    uint8_t rows[3][WORD_MAX + 1];
    const size_t a_length = strnlen(a, WORD_MAX);
    const size_t b_length = strnlen(b, WORD_MAX);

    for (size_t j = 0; j <= b_length; j++) {
        rows[0][j] = (uint8_t)j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        const uint8_t *before = rows[(i - 1) % 3];
        uint8_t *row = rows[i % 3];
        row[0] = (uint8_t)i;
        for (size_t j = 1; j <= b_length; j++) {
            unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;
            unsigned best = least(before[j] + 1u, row[j - 1] + 1u, before[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = MIN(best, rows[(i - 2) % 3][j - 2] + 1u);
            }
            row[j] = (uint8_t)best;
        }
    }
    return rows[a_length % 3][b_length];
}

void nearest_begin(struct nearest *nearest, const char *typed)
{
    const size_t length = strnlen(typed, WORD_MAX);
    *nearest = (struct nearest){.distance = length < 4 ? 2 : length < 9 ? 3 : 4};
    memcpy(nearest->typed, typed, length);
}

void nearest_offer(struct nearest *nearest, const char *word)
{
    const size_t length = strnlen(word, WORD_MAX);
    const unsigned distance = word_distance(nearest->typed, word);
    if (distance < nearest->distance && distance < length) { /* a word that has nothing in common is not near */
        nearest->distance = distance;
        memcpy(nearest->word, word, length);
        nearest->word[length] = '\0';
    }
}
