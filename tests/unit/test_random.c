/* SPDX-License-Identifier: MIT
 *
 * The generator: RFC 8439's test vectors, and what mixing and drawing promise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/random.h"

/* Compares a block with 128 hexadecimal digits. */
static void assert_block(const uint8_t block[64], const char *digits)
{
    static const char hex[] = "0123456789abcdef";
    char text[129];

    for (size_t i = 0; i < 64; i++) {
        text[2 * i] = hex[block[i] >> 4];
        text[2 * i + 1] = hex[block[i] & 15];
    }
    text[128] = '\0';
    assert_string_equal(text, digits);
}

/* RFC 8439, 2.3.2 */
static void test_rfc8439_block(void **state)
{
    uint32_t key[8];
    const uint32_t nonce[3] = {0x09000000, 0x4a000000, 0};
    uint8_t block[64];

    (void)state;
    for (uint32_t i = 0; i < 8; i++) {
        key[i] = 0x03020100 + i * 0x04040404;
    }
    chacha20_block(key, 1, nonce, block);
    assert_block(block, "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
                        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e");
}

/* RFC 8439, A.1, vectors 1, 2, 3 and 5 */
static void test_rfc8439_appendix(void **state)
{
    const uint32_t zero[8] = {0};
    const uint32_t one[8] = {[7] = 0x01000000};
    const uint32_t no_nonce[3] = {0};
    const uint32_t nonce[3] = {0, 0, 0x02000000};
    uint8_t block[64];

    (void)state;
    chacha20_block(zero, 0, no_nonce, block);
    assert_block(block, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586");
    chacha20_block(zero, 1, no_nonce, block);
    assert_block(block, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
                        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f");
    chacha20_block(one, 1, no_nonce, block);
    assert_block(block, "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
                        "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0");
    chacha20_block(zero, 0, nonce, block);
    assert_block(block, "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
                        "8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d");
}

static struct random_state seeded(const char *seed)
{
    struct random_state state = {0};

    random_mix(&state, (const uint8_t *)seed, strlen(seed));
    return state;
}

static void test_same_seed_same_bytes(void **state)
{
    struct random_state a = seeded("seed"), b = seeded("seed"), c = seeded("seee");
    uint8_t from_a[100], from_b[100], from_c[100];

    (void)state;
    random_bytes(&a, from_a, sizeof(from_a));
    random_bytes(&b, from_b, sizeof(from_b));
    random_bytes(&c, from_c, sizeof(from_c));
    assert_memory_equal(from_a, from_b, sizeof(from_a));
    assert_memory_not_equal(from_a, from_c, sizeof(from_a));
}

/* A change of any single bit of a seed of several pieces changes the key. */
static void test_every_seed_bit_counts(void **state)
{
    uint8_t seed[70] = {0};
    struct random_state plain = {0};

    (void)state;
    random_mix(&plain, seed, sizeof(seed));
    for (size_t bit = 0; bit < sizeof(seed) * 8; bit++) {
        struct random_state other = {0};
        seed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        random_mix(&other, seed, sizeof(seed));
        seed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_memory_not_equal(plain.key, other.key, sizeof(plain.key));
    }
}

static void test_seed_length_counts(void **state)
{
    const uint8_t zeros[100] = {0};
    uint32_t keys[101][8];

    (void)state;
    for (size_t length = 0; length <= 100; length++) {
        struct random_state mixed = {0};
        random_mix(&mixed, zeros, length);
        memcpy(keys[length], mixed.key, sizeof(mixed.key));
        for (size_t other = 0; other < length; other++) {
            assert_memory_not_equal(keys[length], keys[other], sizeof(keys[0]));
        }
    }
}

static void test_mixing_keeps_what_was_there(void **state)
{
    struct random_state a = seeded("first"), b = seeded("other");

    (void)state;
    random_mix(&a, (const uint8_t *)"same", 4);
    random_mix(&b, (const uint8_t *)"same", 4);
    assert_memory_not_equal(a.key, b.key, sizeof(a.key));
}

static void test_mixing_nothing_changes_nothing(void **state)
{
    struct random_state a = seeded("seed"), b = a;

    (void)state;
    random_mix(&a, NULL, 0);
    assert_memory_equal(&a, &b, sizeof(a));
    random_bytes(&a, NULL, 0);
    assert_memory_equal(&a, &b, sizeof(a));
}

/* The key that made the bytes is gone afterwards, and is no part of them. */
static void test_drawing_erases_the_key(void **state)
{
    struct random_state generator = seeded("seed"), before = generator;
    uint8_t bytes[200], key[32];

    (void)state;
    random_bytes(&generator, bytes, sizeof(bytes));
    assert_memory_not_equal(generator.key, before.key, sizeof(before.key));
    for (size_t i = 0; i < 32; i++) {
        key[i] = (uint8_t)(generator.key[i / 4] >> (8 * (i % 4)));
    }
    for (size_t i = 0; i + sizeof(key) <= sizeof(bytes); i++) {
        assert_memory_not_equal(bytes + i, key, sizeof(key));
    }
}

/* As the specification in random.c says: key, nonce and halves of block 0. */
static void test_drawing_is_fast_key_erasure(void **state)
{
    struct random_state generator = {.key = {1, 2, 3, 4, 5, 6, 7, 8}, .drawn = 0x100000007};
    struct random_state before = generator;
    uint8_t bytes[96], first[64], second[64];

    (void)state;
    random_bytes(&generator, bytes, sizeof(bytes));
    chacha20_block(before.key, 0, (const uint32_t[]){7, 1, 1}, first);
    chacha20_block(before.key, 1, (const uint32_t[]){8, 1, 1}, second);
    assert_memory_equal(bytes, first + 32, 32);
    assert_memory_equal(bytes + 32, second, 64);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal((uint8_t)(generator.key[i] >> 24), first[4 * i + 3]);
        assert_int_equal((uint8_t)generator.key[i], first[4 * i]);
    }
    assert_true(generator.drawn == before.drawn + 2);
}

static void test_long_draws(void **state)
{
    static uint8_t bytes[3 * 4096 + 5];
    struct random_state generator = seeded("seed");
    size_t counts[256] = {0};

    (void)state;
    random_bytes(&generator, bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++) {
        counts[bytes[i]]++;
    }
    for (size_t i = 0; i < 256; i++) { /* 48 expected, standard deviation 7 */
        assert_in_range(counts[i], 8, 100);
    }
    for (size_t i = 0; i + 64 <= sizeof(bytes); i += 32) { /* no block comes twice in a row */
        assert_memory_not_equal(bytes + i, bytes + i + 32, 32);
    }
}

static void test_draws_never_go_past_the_end(void **state)
{
    struct random_state generator = seeded("seed");
    uint8_t bytes[200];

    (void)state;
    for (size_t length = 0; length < 199; length++) {
        memset(bytes, 0, sizeof(bytes));
        random_bytes(&generator, bytes, length);
        for (size_t i = length; i < sizeof(bytes); i++) {
            assert_int_equal(bytes[i], 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8439_block),
        cmocka_unit_test(test_rfc8439_appendix),
        cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_every_seed_bit_counts),
        cmocka_unit_test(test_seed_length_counts),
        cmocka_unit_test(test_mixing_keeps_what_was_there),
        cmocka_unit_test(test_mixing_nothing_changes_nothing),
        cmocka_unit_test(test_drawing_erases_the_key),
        cmocka_unit_test(test_drawing_is_fast_key_erasure),
        cmocka_unit_test(test_long_draws),
        cmocka_unit_test(test_draws_never_go_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
