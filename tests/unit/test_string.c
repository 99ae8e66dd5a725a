/* SPDX-License-Identifier: MIT
 *
 * The freestanding string functions, under other names, against the C library's, at every alignment and at lengths
 * around the word and block sizes, with guard bytes on both sides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

void *diosix_memcpy(void *restrict to, const void *restrict from, size_t length);
void *diosix_memmove(void *to, const void *from, size_t length);
void *diosix_memset(void *to, int byte, size_t length);
int diosix_memcmp(const void *a, const void *b, size_t length);
void *diosix_memchr(const void *bytes, int byte, size_t length);
size_t diosix_strlen(const char *text);
size_t diosix_strnlen(const char *text, size_t most);
int diosix_strcmp(const char *a, const char *b);
int diosix_strncmp(const char *a, const char *b, size_t most);
char *diosix_strchr(const char *text, int character);
char *diosix_strrchr(const char *text, int character);

#define memcpy  diosix_memcpy
#define memmove diosix_memmove
#define memset  diosix_memset
#define memcmp  diosix_memcmp
#define memchr  diosix_memchr
#define strlen  diosix_strlen
#define strnlen diosix_strnlen
#define strcmp  diosix_strcmp
#define strncmp diosix_strncmp
#define strchr  diosix_strchr
#define strrchr diosix_strrchr
#include "lib/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr

enum { AREA = 320, LONGEST = 200 };

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void fill_pattern(uint8_t *bytes, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)(i * 7 + seed);
    }
}

static void test_memcpy(void **state)
{
    uint8_t from[AREA], ours[AREA], theirs[AREA];

    (void)state;
    fill_pattern(from, sizeof(from), 3);
    for (size_t to_offset = 0; to_offset < 16; to_offset++) {
        for (size_t from_offset = 0; from_offset < 16; from_offset++) {
            for (size_t length = 0; length <= LONGEST; length++) {
                fill_pattern(ours, sizeof(ours), 100);
                fill_pattern(theirs, sizeof(theirs), 100);
                void *result = diosix_memcpy(ours + to_offset, from + from_offset, length);
                memcpy(theirs + to_offset, from + from_offset, length);
                assert_ptr_equal(result, ours + to_offset);
                assert_memory_equal(ours, theirs, sizeof(ours));
            }
        }
    }
}

/* Sources of exactly the right size, so that the address sanitizer sees a read past either end. */
static void test_memcpy_reads_only_what_it_copies(void **state)
{
    (void)state;
    for (size_t skip = 0; skip < 9; skip++) {
        for (size_t length = 1; length <= 40; length++) {
            uint8_t *from = malloc(skip + length);
            uint8_t to[64];
            fill_pattern(from, skip + length, 9);
            diosix_memcpy(to, from + skip, length);
            assert_memory_equal(to, from + skip, length);
            free(from);
        }
    }
}

static void test_memmove(void **state)
{
    uint8_t ours[AREA], theirs[AREA];

    (void)state;
    for (size_t to_offset = 0; to_offset < 80; to_offset++) {
        for (size_t from_offset = 0; from_offset < 80; from_offset += 3) {
            for (size_t length = 0; length <= LONGEST; length += 1 + length / 16) {
                fill_pattern(ours, sizeof(ours), 0);
                fill_pattern(theirs, sizeof(theirs), 0);
                void *result = diosix_memmove(ours + to_offset, ours + from_offset, length);
                memmove(theirs + to_offset, theirs + from_offset, length);
                assert_ptr_equal(result, ours + to_offset);
                assert_memory_equal(ours, theirs, sizeof(ours));
            }
        }
    }
}

static void test_memset(void **state)
{
    static const int bytes[] = {0, 0xa5, -1, 0x1ff};
    uint8_t ours[AREA], theirs[AREA];

    (void)state;
    for (size_t which = 0; which < ARRAY_LENGTH(bytes); which++) {
        for (size_t offset = 0; offset < 16; offset++) {
            for (size_t length = 0; length <= LONGEST; length++) {
                fill_pattern(ours, sizeof(ours), 1);
                fill_pattern(theirs, sizeof(theirs), 1);
                assert_ptr_equal(diosix_memset(ours + offset, bytes[which], length), ours + offset);
                memset(theirs + offset, bytes[which], length);
                assert_memory_equal(ours, theirs, sizeof(ours));
            }
        }
    }
}

static void test_memcmp(void **state)
{
    uint8_t a[64], b[64];

    (void)state;
    for (size_t offset = 0; offset < 9; offset++) {
        for (size_t length = 0; length <= 40; length++) {
            fill_pattern(a, sizeof(a), 0);
            memset(b, 0x55, sizeof(b));
            memcpy(b + offset, a, length);
            assert_int_equal(diosix_memcmp(a, b + offset, length), 0);
            for (size_t i = 0; i < length; i++) {
                b[offset + i] ^= 0x80;
                int expected = sign(memcmp(a, b + offset, length));
                assert_int_not_equal(expected, 0);
                assert_int_equal(sign(diosix_memcmp(a, b + offset, length)), expected);
                assert_int_equal(sign(diosix_memcmp(b + offset, a, length)), -expected);
                b[offset + i] ^= 0x80;
            }
        }
    }
}

static void test_memcmp_orders_by_the_first_difference(void **state)
{
    uint8_t a[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t b[8] = {1, 2, 3, 4, 6, 1, 1, 1};

    (void)state;
    assert_true(diosix_memcmp(a, b, 8) < 0);
    assert_true(diosix_memcmp(b, a, 8) > 0);
    assert_int_equal(diosix_memcmp(a, b, 4), 0);
}

static void test_memchr(void **state)
{
    const uint8_t bytes[] = {1, 0, 0xff, 7, 0xff};

    (void)state;
    assert_ptr_equal(diosix_memchr(bytes, 0xff, 5), &bytes[2]);
    assert_ptr_equal(diosix_memchr(bytes, -1, 5), &bytes[2]);
    assert_ptr_equal(diosix_memchr(bytes, 0x107, 5), &bytes[3]);
    assert_null(diosix_memchr(bytes, 7, 3));
    assert_null(diosix_memchr(bytes, 1, 0));
}

static void test_lengths(void **state)
{
    const char unended[3] = {'a', 'b', 'c'};

    (void)state;
    assert_int_equal(diosix_strlen(""), 0);
    assert_int_equal(diosix_strlen("capsule"), 7);
    assert_int_equal(diosix_strnlen("capsule", 3), 3);
    assert_int_equal(diosix_strnlen("capsule", 7), 7);
    assert_int_equal(diosix_strnlen("capsule", SIZE_MAX), 7);
    assert_int_equal(diosix_strnlen(unended, sizeof(unended)), 3);
    assert_int_equal(diosix_strnlen(unended, 0), 0);
}

static void test_comparisons(void **state)
{
    static const char *const texts[] = {"", "a", "ab", "abc", "abd", "b", "\xff", "a\xff"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        for (size_t j = 0; j < ARRAY_LENGTH(texts); j++) {
            assert_int_equal(sign(diosix_strcmp(texts[i], texts[j])), sign(strcmp(texts[i], texts[j])));
            for (size_t most = 0; most < 5; most++) {
                assert_int_equal(sign(diosix_strncmp(texts[i], texts[j], most)),
                                 sign(strncmp(texts[i], texts[j], most)));
            }
        }
    }
}

static void test_searches(void **state)
{
    const char *text = "path:/soc/serial";

    (void)state;
    assert_ptr_equal(diosix_strchr(text, '/'), text + 5);
    assert_ptr_equal(diosix_strrchr(text, '/'), text + 9);
    assert_ptr_equal(diosix_strchr(text, 'p'), text);
    assert_ptr_equal(diosix_strrchr(text, 'p'), text);
    assert_null(diosix_strchr(text, '!'));
    assert_null(diosix_strrchr(text, '!'));
    assert_ptr_equal(diosix_strchr(text, '\0'), text + 16);
    assert_ptr_equal(diosix_strrchr(text, '\0'), text + 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memcpy),      cmocka_unit_test(test_memcpy_reads_only_what_it_copies),
        cmocka_unit_test(test_memmove),     cmocka_unit_test(test_memset),
        cmocka_unit_test(test_memcmp),      cmocka_unit_test(test_memcmp_orders_by_the_first_difference),
        cmocka_unit_test(test_memchr),      cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_comparisons), cmocka_unit_test(test_searches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
