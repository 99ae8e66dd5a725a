/* SPDX-License-Identifier: MIT
 *
 * A ChaCha20-based generator (RFC 8439's block function, fast key erasure) for guests' rng-seeds. Its key comes
 * from the host tree's rng-seed and Zkr; never from time alone without an alert in the log.
 */
#ifndef LIB_RANDOM_H
#define LIB_RANDOM_H

#include "lib/base.h"

struct random_state {
    uint32_t key[8];
    uint64_t drawn; /* blocks ever made, mixed into each nonce */
};

/* Mixes length bytes into the state: every byte of seed influences every later byte. May be called repeatedly; 0 bytes
 * change nothing. The caller keeps other harts away from the state, here and below. */
void random_mix(struct random_state *state, const uint8_t *seed, size_t length);
/* Writes length unpredictable bytes and erases the key that made them. */
void random_bytes(struct random_state *state, uint8_t *bytes, size_t length);
/* RFC 8439, 2.3: one block of 64 bytes; exposed for its test vectors. */
void chacha20_block(const uint32_t key[8], uint32_t counter, const uint32_t nonce[3], uint8_t out[64]);

#endif
