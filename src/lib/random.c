/* SPDX-License-Identifier: MIT
 *
 * The generator: ChaCha20's block function used two ways, each with its own nonces, so that no block is ever made
 * twice from the same input.
 *
 * Drawing (fast key erasure): block 0 under the key gives the next key (32 bytes) and output (32 bytes), blocks 1, 2 …
 * more output. The old key is then gone, so whoever learns the state later cannot compute what was drawn before.
 *
 * Mixing: the key is XORed with each 32 bytes of seed and replaced by half a block made from the sum. The block
 * function adds its input to its output, so it can't be run backwards: a chosen seed cannot undo an earlier one, nor
 * steer the key to a wanted value. The number of bytes and the place of each piece are in counter and nonce, so that
 * the zeros that pad the last piece are not mistaken for seed.
 */
#include "lib/random.h"

#include <string.h>

enum {
    KEY_BYTES = 32,
    BLOCK_BYTES = 64,
    DRAW_BLOCKS = 64, /* from one key; then it is replaced */
};

/* The last nonce word's low byte; the rest of it is the length of a piece of seed. */
enum purpose { PURPOSE_DRAW = 1, PURPOSE_MIX = 2 };

static uint32_t rotate_left(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

static void quarter_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    *a += *b;
    *d = rotate_left(*d ^ *a, 16);
    *c += *d;
    *b = rotate_left(*b ^ *c, 12);
    *a += *b;
    *d = rotate_left(*d ^ *a, 8);
    *c += *d;
    *b = rotate_left(*b ^ *c, 7);
}

static uint32_t load_little(const uint8_t bytes[4])
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void store_little(uint8_t bytes[4], uint32_t word)
{
    for (unsigned i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(word >> (8 * i));
    }
}

/* Clears secrets in a way that the compiler keeps although nobody reads them again. */
static void wipe(void *bytes, size_t length)
{
    volatile uint8_t *next = bytes;

    for (size_t i = 0; i < length; i++) {
        next[i] = 0;
    }
}

void chacha20_block(const uint32_t key[8], uint32_t counter, const uint32_t nonce[3], uint8_t out[64])
{
    const uint32_t start[16] = {
        0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, /* "expand 32-byte k" */
        key[0],     key[1],     key[2],     key[3],     key[4],   key[5],
        key[6],     key[7],     counter,    nonce[0],   nonce[1], nonce[2],
    };
    uint32_t x[16];

    memcpy(x, start, sizeof(x));
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 4; i++) { /* columns */
            quarter_round(&x[i], &x[4 + i], &x[8 + i], &x[12 + i]);
        }
        for (unsigned i = 0; i < 4; i++) { /* diagonals */
            quarter_round(&x[i], &x[4 + (i + 1) % 4], &x[8 + (i + 2) % 4], &x[12 + (i + 3) % 4]);
        }
    }
    for (size_t i = 0; i < 16; i++) {
        store_little(&out[4 * i], x[i] + start[i]);
    }
    wipe(x, sizeof(x));
}

/* One block under the state's key; every call has another nonce. */
static void make_block(struct random_state *state, uint32_t counter, uint32_t last, uint8_t out[BLOCK_BYTES])
{
    const uint32_t nonce[3] = {(uint32_t)state->drawn, (uint32_t)(state->drawn >> 32), last};

    chacha20_block(state->key, counter, nonce, out);
    state->drawn++;
}

static void set_key(struct random_state *state, const uint8_t bytes[KEY_BYTES])
{
    for (size_t i = 0; i < 8; i++) {
        state->key[i] = load_little(&bytes[4 * i]);
    }
}

void random_mix(struct random_state *state, const uint8_t *seed, size_t length)
{
    uint8_t block[BLOCK_BYTES];
    uint8_t piece[KEY_BYTES];
    uint32_t index = 0;

    while (length > 0) {
        size_t size = MIN(length, sizeof(piece));
        memset(piece, 0, sizeof(piece));
        memcpy(piece, seed, size);
        for (size_t i = 0; i < 8; i++) {
            state->key[i] ^= load_little(&piece[4 * i]);
        }
        make_block(state, index++, PURPOSE_MIX | (uint32_t)size << 8, block);
        set_key(state, block);
        seed += size;
        length -= size;
    }
    wipe(block, sizeof(block));
    wipe(piece, sizeof(piece));
}

/* Fills as many of the bytes as one key may make; returns their number. */
static size_t draw(struct random_state *state, uint8_t *bytes, size_t length)
{
    uint8_t next_key[KEY_BYTES];
    uint8_t block[BLOCK_BYTES];
    size_t done = MIN(length, sizeof(block) - sizeof(next_key));

    make_block(state, 0, PURPOSE_DRAW, block);
    memcpy(next_key, block, sizeof(next_key));
    memcpy(bytes, block + sizeof(next_key), done);
    for (uint32_t i = 1; i < DRAW_BLOCKS && done < length; i++) {
        size_t size = MIN(length - done, sizeof(block));
        make_block(state, i, PURPOSE_DRAW, block);
        memcpy(bytes + done, block, size);
        done += size;
    }
    set_key(state, next_key);
    wipe(next_key, sizeof(next_key));
    wipe(block, sizeof(block));
    return done;
}

void random_bytes(struct random_state *state, uint8_t *bytes, size_t length)
{
    while (length > 0) {
        size_t done = draw(state, bytes, length);
        bytes += done;
        length -= done;
    }
}
