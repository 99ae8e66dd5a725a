/* SPDX-License-Identifier: MIT
 *
 * Unit tests of manifest/image*.c: each kind of kernel where it belongs, every lie that a header can tell, the
 * placement of initrd and tree, and ELF files and Images with random bytes changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "manifest/image.h"
#include "support.h"

enum {
    FILE_MAX = 64 * KIB,
    SEGMENTS_MAX = 20,
    WORD = XLEN / 8,
    LINUX_ALIGN = XLEN == 32 ? 4 * MIB : 2 * MIB,
};

static const uint64_t ram_base = 0x80000000;

static uint8_t file[FILE_MAX];
static struct capsule_config config;
static struct load_plan plan;
static struct refusal refusal;

static int setup(void **state)
{
    (void)state;
    memset(file, 0, sizeof(file));
    config = (struct capsule_config){.name = "test", .vcpus = 1, .bootargs = "", .weight = CAPSULE_WEIGHT_USUAL};
    plan = (struct load_plan){.piece_count = 99};
    return 0;
}

static void put(size_t at, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++) {
        file[at + i] = (uint8_t)(value >> (8 * i));
    }
}

static struct range ram_of(uint64_t size)
{
    return (struct range){.base = ram_base, .size = size};
}

static enum dx_error run(size_t length, struct range ram)
{
    config.kernel = (struct blob){.bytes = file, .length = length};
    return image_plan(&config, ram, &plan, &refusal);
}

static void expect_refusal(size_t length, struct range ram, enum dx_error error, const char *text)
{
    enum dx_error got = run(length, ram);
    if (got != error || strstr(refusal.text, text) == NULL) {
        print_message("error %d, \"%s\"; expected %d, \"%s\"\n", (int)got, refusal.text, (int)error, text);
        fail();
    }
    assert_int_equal(refusal.error, error);
    assert_memory_equal(refusal.text, "capsule test: ", 14);
}

static void expect_plan(size_t length, struct range ram)
{
    enum dx_error error = run(length, ram);
    if (error != DX_OK) {
        print_message("%s\n", refusal.text);
    }
    assert_int_equal(error, DX_OK);
}

static void expect_piece(size_t index, uint64_t offset, size_t at, uint64_t length)
{
    assert_true(index < plan.piece_count);
    assert_true(plan.pieces[index].offset == offset);
    assert_ptr_equal(plan.pieces[index].bytes, file + at);
    assert_true(plan.pieces[index].length == length);
}

/* --- flat ------------------------------------------------------------------------------------------------------- */

static void flat_at_the_start(void **state)
{
    (void)state;
    expect_plan(5000, ram_of(64 * KIB));
    assert_int_equal(plan.piece_count, 1);
    expect_piece(0, 0, 0, 5000);
    assert_true(plan.entry == ram_base);
    assert_true(plan.initrd.size == 0);
    assert_true(plan.tree_room == 8 * KIB && plan.tree_offset == 56 * KIB);
}

static void flat_at_an_offset(void **state)
{
    (void)state;
    config.has_kernel_offset = true;
    config.kernel_offset = 0x200000;
    expect_plan(1, ram_of(4 * MIB));
    expect_piece(0, 0x200000, 0, 1);
    assert_true(plan.entry == ram_base + 0x200000);
    config.kernel_offset = 0x200001;
    expect_refusal(1, ram_of(4 * MIB), DX_UNALIGNED, "kernel-offset: 0x200001 is odd");
    config.kernel_offset = 4 * MIB;
    expect_refusal(1, ram_of(4 * MIB), DX_BAD_VALUE, "kernel-offset: 0x400000 is beyond memory's 0x400000");
    config.kernel_offset = UINT64_MAX - 1;
    expect_refusal(16, ram_of(4 * MIB), DX_BAD_VALUE, "kernel-offset");
    config.kernel_offset = 4 * MIB - 4;
    expect_refusal(5, ram_of(4 * MIB), DX_TOO_LARGE, "kernel: has 0x5 bytes at 0x3ffffc");
    expect_refusal(4, ram_of(4 * MIB), DX_TOO_LARGE, "memory: kernel, initrd and tree need 4104 KiB, of 4096 KiB");
}

static void foreign_files(void **state)
{
    (void)state;
    const struct {
        size_t at, length;
        const char *magic;
        const char *text;
    } rows[] = {
        {0, 4, "\x1f\x8b\x08\0", "kernel: is compressed (gzip); decompress it first: gzip -d"},
        {0, 4, "\x28\xb5\x2f\xfd", "zstd -d"},
        {0, 6, "\xfd\x37zXZ\0", "xz -d"},
        {0, 4, "\x02\x21\x4c\x18", "lz4 -d"},
        {0, 8, "MZ\0\0zimg", "zboot"},
        {0, 4, "\x27\x05\x19\x56", "uImage"},
        {0, 4, "\xd0\x0d\xfe\xed", "device tree"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        setup(NULL);
        memcpy(file + rows[i].at, rows[i].magic, rows[i].length);
        expect_refusal(100, ram_of(MIB), DX_BAD_IMAGE, rows[i].text);
        expect_refusal(rows[i].length, ram_of(MIB), DX_BAD_IMAGE, rows[i].text);
        expect_plan(2, ram_of(MIB)); /* too short to be one */
    }
}

/* --- RISC-V Image ------------------------------------------------------------------------------------------------ */

static void linux_header(uint64_t text_offset, uint64_t image_size)
{
    memcpy(file, "MZ", 2); /* as with an EFI stub */
    put(8, text_offset, 8);
    put(16, image_size, 8);
    put(32, 2, 4);
    memcpy(file + 48, "RISCV\0\0\0", 8);
    memcpy(file + 56, "RSC\x05", 4);
}

static void linux_as_its_header_says(void **state)
{
    (void)state;
    linux_header(LINUX_ALIGN, 2 * MIB + 5);
    expect_plan(60000, ram_of(16 * MIB));
    assert_int_equal(plan.piece_count, 1);
    expect_piece(0, LINUX_ALIGN, 0, 60000);
    assert_true(plan.entry == ram_base + LINUX_ALIGN);
    assert_true(plan.tree_room == 64 * KIB && plan.tree_offset == 16 * MIB - 64 * KIB);
    /* the zeroed data up to image_size is kept free: one page less than is needed */
    uint64_t least = LINUX_ALIGN + 2 * MIB + 4 * KIB + 8 * KIB;
    expect_plan(60000, ram_of(least));
    assert_true(plan.tree_offset == least - 8 * KIB);
    expect_refusal(60000, ram_of(least - 4 * KIB), DX_TOO_LARGE, "kernel, initrd and tree need");
}

static void linux_of_older_versions(void **state)
{
    (void)state;
    linux_header(0, 0); /* no size: the file's length counts */
    memset(file + 56, 0, 4);
    expect_plan(1000, ram_of(MIB));
    expect_piece(0, 0, 0, 1000);
    linux_header(0, 10); /* signed files are longer than they say */
    expect_plan(1000, ram_of(MIB));
    expect_piece(0, 0, 0, 1000);
    memset(file + 48, 0, 8); /* the newer magic number alone does too */
    linux_header(0, 0);
    memset(file + 48, 0, 8);
    expect_plan(1000, ram_of(MIB));
    assert_true(plan.entry == ram_base);
    config.has_kernel_offset = true;
    expect_refusal(1000, ram_of(MIB), DX_BAD_VALUE, "kernel-offset: only for flat binaries; this is an Image");
    expect_plan(63, ram_of(MIB)); /* shorter than a header: flat */
}

static void linux_headers_that_lie(void **state)
{
    (void)state;
    const struct {
        uint64_t text_offset, image_size;
        enum dx_error error;
    } rows[] = {
        {UINT64_MAX, 4096, DX_BAD_IMAGE}, {UINT64_MAX - 4095, 4096, DX_BAD_IMAGE}, {UINT64_C(1) << 63, 0, DX_BAD_IMAGE},
        {0, UINT64_MAX, DX_BAD_IMAGE},    {8, UINT64_MAX - 7, DX_BAD_IMAGE},       {2 * MIB, 15 * MIB, DX_BAD_IMAGE},
        {16 * MIB, 0, DX_BAD_IMAGE},      {16 * MIB - 4096, 4097, DX_BAD_IMAGE},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        linux_header(rows[i].text_offset, rows[i].image_size);
        expect_refusal(1000, ram_of(16 * MIB), rows[i].error, "kernel: needs 0x");
    }
    linux_header(2 * MIB, 0);
    expect_refusal(8 * KIB, ram_of(2 * MIB + 4 * KIB), DX_TOO_LARGE,
                   "kernel: needs 0x2000 bytes at text_offset 0x200000");
    linux_header(2, 0);
    expect_refusal(1000, ram_of(16 * MIB), DX_BAD_IMAGE, "text_offset 0x2 is not aligned");
    linux_header(0, 0);
    put(24, 1, 8);
    expect_refusal(1000, ram_of(16 * MIB), DX_BAD_IMAGE, "big-endian");
}

static void linux_needs_aligned_ram(void **state)
{
    (void)state;
    linux_header(0, 0);
    struct range ram = {.base = ram_base + LINUX_ALIGN / 2, .size = 16 * MIB};
    expect_refusal(1000, ram, DX_UNALIGNED, XLEN == 32 ? "multiple of 4 MiB" : "multiple of 2 MiB");
    ram.base = ram_base + LINUX_ALIGN;
    expect_plan(1000, ram);
    assert_true(plan.entry == ram.base);
}

/* --- ELF --------------------------------------------------------------------------------------------------------- */

struct test_segment {
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

enum {
    HEADER_SIZE = XLEN == 32 ? 52 : 64,
    ROW_SIZE = XLEN == 32 ? 32 : 56,
    ENTRY_AT = 24,
    TABLE_AT = 24 + WORD,
    ROW_SIZE_AT = XLEN == 32 ? 42 : 54,
    ROWS_AT = XLEN == 32 ? 44 : 56,
    TYPE_EXECUTABLE = 2,
    TYPE_DYNAMIC = 3,
};

static void elf_row(size_t index, uint32_t type, struct test_segment s)
{
    size_t at = HEADER_SIZE + index * ROW_SIZE;
    const uint64_t fields[] = {s.offset, s.vaddr, s.paddr, s.filesz, s.memsz};
    put(at, type, 4);
    for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
        put(at + (XLEN == 32 ? 4 : 8) + i * WORD, fields[i], WORD);
    }
    put(at + (XLEN == 32 ? 28 : 48), s.align, WORD);
}

static void elf(unsigned type, uint64_t entry, const struct test_segment *segments, size_t count)
{
    memset(file, 0, sizeof(file));
    memcpy(file, "\177ELF", 4);
    file[4] = XLEN == 32 ? 1 : 2;
    file[5] = 1;
    file[6] = 1;
    put(16, type, 2);
    put(18, 243, 2);
    put(20, 1, 4);
    put(ENTRY_AT, entry, WORD);
    put(TABLE_AT, HEADER_SIZE, WORD);
    put(ROW_SIZE_AT, ROW_SIZE, 2);
    put(ROWS_AT, count, 2);
    for (size_t i = 0; i < count; i++) {
        elf_row(i, 1, segments[i]);
    }
}

static uint64_t high(uint64_t at)
{
    return (XLEN == 32 ? 0xc0000000 : 0xffffffff80000000) + at;
}

static void elf_at_its_addresses(void **state)
{
    (void)state;
    /* unsorted; one without bytes in the file; the entry is in the second by address */
    const struct test_segment segments[] = {
        {0x3000, high(0x210000), 0x80210000, 0x800, 0x2000, 4096},
        {0x1000, high(0x200000), 0x80200000, 0x1000, 0x1000, 4096},
        {0, high(0x300000), 0x80300000, 0, 0x5000, 4096},
    };
    elf(TYPE_EXECUTABLE, high(0x210010), segments, 3);
    expect_plan(0x4000, ram_of(16 * MIB));
    assert_int_equal(plan.piece_count, 2);
    expect_piece(0, 0x200000, 0x1000, 0x1000);
    expect_piece(1, 0x210000, 0x3000, 0x800);
    assert_true(plan.entry == 0x80210010);
    /* zeroed data counts: 0x305000 is the end, and the tree needs 8 KiB above it */
    expect_plan(0x4000, ram_of(0x307000));
    assert_true(plan.tree_offset == 0x305000);
    expect_refusal(0x4000, ram_of(0x306000), DX_TOO_LARGE, "need 3100 KiB, of 3096 KiB");
    expect_refusal(0x4000, ram_of(0x304000), DX_BAD_IMAGE,
                   "kernel: 0x80200000-0x80304fff does not lie in the capsule's memory 0x80000000-0x80303fff");
    config.has_kernel_offset = true;
    expect_refusal(0x4000, ram_of(16 * MIB), DX_BAD_VALUE, "only for flat binaries; this is an ELF file");
}

static void elf_that_starts_at_zero(void **state)
{
    (void)state;
    const struct test_segment segments[] = {
        {0x1000, high(0), 0, 0x1000, 0x1000, 4096},
        {0x2000, high(0x200000), 0x200000, 0x100, 0x200000, 4096},
    };
    elf(TYPE_EXECUTABLE, high(0x200004), segments, 2);
    expect_plan(0x3000, ram_of(16 * MIB));
    expect_piece(0, 0, 0x1000, 0x1000);
    expect_piece(1, 0x200000, 0x2000, 0x100);
    assert_true(plan.entry == ram_base + 0x200004);
    struct range crooked = {.base = ram_base + LINUX_ALIGN / 2, .size = 16 * MIB};
    expect_refusal(0x3000, crooked, DX_UNALIGNED, "kernel: needs memory-base at a multiple of");
    expect_refusal(0x3000, ram_of(0x3ff000), DX_TOO_LARGE, "0x0-0x3fffff is larger than the capsule's memory");
    /* where RAM itself starts at 0 */
    expect_plan(0x3000, (struct range){.base = 0, .size = 16 * MIB});
    assert_true(plan.entry == 0x200004);
}

static void elf_that_can_be_moved(void **state)
{
    (void)state;
    const struct test_segment segments[] = {
        {0x1000, 0x90001000, 0x90001000, 0x1000, 0x1000, 0x1000},
        {0x2000, 0x90004000, 0x90004000, 0x100, 0x200, 3},
    };
    elf(TYPE_DYNAMIC, 0x90001008, segments, 2);
    expect_plan(0x3000, ram_of(64 * KIB));
    expect_piece(0, 0, 0x1000, 0x1000);
    expect_piece(1, 0x3000, 0x2000, 0x100);
    assert_true(plan.entry == ram_base + 8);
    expect_refusal(0x3000, ram_of(0x3000), DX_TOO_LARGE, "is larger than the capsule's memory");
    /* what it asks to be aligned to is kept */
    put(HEADER_SIZE + (XLEN == 32 ? 28 : 48), 0x2000, WORD);
    expect_plan(0x3000, ram_of(64 * KIB));
    expect_piece(0, 0x1000, 0x1000, 0x1000);
    expect_refusal(0x3000, (struct range){.base = ram_base + 0x1000, .size = 64 * KIB}, DX_UNALIGNED,
                   "needs memory-base at a multiple of 0x2000, it is 0x80001000");
    /* and where its addresses happen to lie in RAM, it isn't moved at all */
    expect_plan(0x3000, (struct range){.base = 0x90000000, .size = 64 * KIB});
    expect_piece(0, 0x1000, 0x1000, 0x1000);
    assert_true(plan.entry == 0x90001008);
}

static const struct test_segment one_segment = {0x1000, 0x80200000, 0x80200000, 0x1000, 0x1000, 4096};

static void one_segment_elf(struct test_segment segment)
{
    elf(TYPE_EXECUTABLE, 0x80200000, &segment, 1);
}

static void elf_headers_that_lie(void **state)
{
    (void)state;
    const struct {
        size_t at;
        uint64_t value;
        unsigned width;
        const char *text;
    } rows[] = {
        {4, XLEN == 32 ? 2 : 1, 1,
         XLEN == 32 ? "is for 64-bit harts, these have 32" : "is for 32-bit harts, these have 64"},
        {4, 3, 1, "class or byte order"},
        {5, 2, 1, "class or byte order"},
        {16, 1, 2, "type is not executable; link it"},
        {16, 4, 2, "type is not executable"},
        {18, 62, 2, "is for machine type 62, not RISC-V"},
        {ENTRY_AT, 0x80200001, WORD, "entry is odd"},
        {ENTRY_AT, 0x801fffff, WORD, "entry is odd or in none"},
        {ENTRY_AT, 0x80201000, WORD, "entry is odd or in none"},
        {TABLE_AT, 0x2000, WORD, "program headers reach beyond"},
        {TABLE_AT, UINT64_MAX, WORD, "program headers reach beyond"},
        {ROW_SIZE_AT, ROW_SIZE - 1, 2, "program headers reach beyond"},
        {ROW_SIZE_AT, 0xffff, 2, "program headers reach beyond"},
        {ROWS_AT, 0xffff, 2, "program headers reach beyond"},
        {ROWS_AT, 0, 2, "program headers load nothing"},
        {HEADER_SIZE, 2, 4, "program headers load nothing"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        one_segment_elf(one_segment);
        expect_plan(0x2000, ram_of(16 * MIB));
        put(rows[i].at, rows[i].value, rows[i].width);
        expect_refusal(0x2000, ram_of(16 * MIB), DX_BAD_IMAGE, rows[i].text);
    }
    one_segment_elf(one_segment);
    expect_refusal(8, ram_of(16 * MIB), DX_BAD_IMAGE, "header is cut short");
    expect_refusal(HEADER_SIZE - 1, ram_of(16 * MIB), DX_BAD_IMAGE, "header is cut short");
    expect_refusal(HEADER_SIZE, ram_of(16 * MIB), DX_BAD_IMAGE, "program headers reach beyond");
    expect_refusal(0x1fff, ram_of(16 * MIB), DX_BAD_IMAGE, "segment reaches beyond the file's end");
}

static void elf_segments_that_lie(void **state)
{
    (void)state;
    const uint64_t top = XLEN == 32 ? UINT32_MAX : UINT64_MAX;
    const struct {
        struct test_segment segment;
        const char *text;
    } rows[] = {
        {{0x1000, 0x80200000, 0x80200000, 0x1000, 0xfff, 0}, "more bytes in the file than in memory"},
        {{0x1000, 0x80200000, 0x80200000, 0x1000, 0, 0}, "more bytes in the file than in memory"},
        {{top, 0x80200000, 0x80200000, 2, 2, 0}, "segment reaches beyond the file's end"},
        {{0x1000, 0x80200000, 0x80200000, top, top, 0}, "segment reaches beyond the file's end"},
        {{0x1000, 0x80200000, 0x80fff000, 0x1000, 0x1001, 0}, "does not lie in the capsule's memory"},
        {{0x1000, 0x80200000, 0x7ffff000, 0x1000, 0x1001, 0}, "does not lie in the capsule's memory"},
        {{0x1000, 0x80200000, top - 0xfff, 0x1000, 0x1000, 0},
         XLEN == 32 ? "does not lie" : "end of the address space"},
        {{0x1000, 0x80200000, top - 1, 0x1000, 0x1000, 0}, XLEN == 32 ? "does not lie" : "end of the address space"},
        {{0x1000, 0x80200000, 2, 0x1000, top, 0}, XLEN == 32 ? "does not lie" : "end of the address space"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        one_segment_elf(rows[i].segment);
        expect_refusal(0x2000, ram_of(16 * MIB), DX_BAD_IMAGE, rows[i].text);
    }
    one_segment_elf((struct test_segment){0x1000, 0x80200000, 0, 0x1000, top, 0});
    enum dx_error error = run(0x2000, ram_of(16 * MIB));
    assert_int_equal(error, DX_TOO_LARGE);
}

static void elf_segments_that_overlap(void **state)
{
    (void)state;
    const struct test_segment segments[] = {
        {0x2000, 0x80201000, 0x80201000, 0x10, 0x1000, 0},
        {0x1000, 0x80200000, 0x80200000, 0x10, 0x1001, 0}, /* by one zeroed byte */
    };
    elf(TYPE_EXECUTABLE, 0x80200000, segments, 2);
    expect_refusal(0x3000, ram_of(16 * MIB), DX_OVERLAP,
                   "kernel: 0x80201000-0x80201fff overlaps its segment 0x80200000-0x80201000");
}

static void elf_of_many_segments(void **state)
{
    (void)state;
    struct test_segment segments[SEGMENTS_MAX];
    for (size_t i = 0; i < SEGMENTS_MAX; i++) {
        uint64_t at = 0x80200000 + (SEGMENTS_MAX - i) * 0x1000;
        segments[i] = (struct test_segment){0x1000 + i, at, at, 1, 0x1000, 4096};
    }
    elf(TYPE_EXECUTABLE, segments[0].vaddr, segments, 16);
    expect_plan(0x2000, ram_of(16 * MIB));
    assert_int_equal(plan.piece_count, 16);
    expect_piece(0, segments[15].paddr - ram_base, 0x100f, 1);
    elf(TYPE_EXECUTABLE, segments[0].vaddr, segments, 17);
    expect_refusal(0x2000, ram_of(16 * MIB), DX_TOO_MANY, "more than 16 segments");
    segments[3] = (struct test_segment){.offset = UINT32_MAX}; /* loads nothing: doesn't count */
    elf(TYPE_EXECUTABLE, segments[0].vaddr, segments, 17);
    config.initrd = (struct blob){.bytes = file, .length = 1};
    expect_plan(0x2000, ram_of(16 * MIB));
    assert_int_equal(plan.piece_count, 17);
}

/* --- initrd and tree --------------------------------------------------------------------------------------------- */

static void initrd_below_the_tree(void **state)
{
    (void)state;
    static uint8_t initrd[3 * MIB];
    config.initrd = (struct blob){.bytes = initrd, .length = 3 * MIB - 100};
    expect_plan(1000, ram_of(64 * MIB));
    assert_int_equal(plan.piece_count, 2);
    assert_true(plan.tree_offset == 64 * MIB - 64 * KIB);
    assert_true(plan.initrd.base == ram_base + 60 * MIB && plan.initrd.size == 3 * MIB - 100);
    assert_true(plan.pieces[1].offset == 60 * MIB && plan.pieces[1].length == 3 * MIB - 100);
    assert_ptr_equal(plan.pieces[1].bytes, initrd);
    /* no room for whole 2 MiB steps: pages */
    expect_plan(1000, ram_of(3 * MIB + 64 * KIB));
    assert_true(plan.initrd.base == ram_base + 56 * KIB);
    assert_true(plan.tree_offset == 3 * MIB + 56 * KIB);
    /* the last page that fits, and one less */
    expect_plan(1000, ram_of(3 * MIB + 12 * KIB));
    assert_true(plan.initrd.base == ram_base + 4 * KIB);
    expect_refusal(1000, ram_of(3 * MIB + 8 * KIB), DX_TOO_LARGE,
                   "memory: kernel, initrd and tree need 3084 KiB, of 3080 KiB that they can lie in");
    config.initrd.length = SIZE_MAX;
    expect_refusal(1000, ram_of(64 * MIB), DX_TOO_LARGE, "kernel, initrd and tree need");
}

static void trees_grow_with_vcpus_and_bootargs(void **state)
{
    (void)state;
    static char bootargs[2048];
    memset(bootargs, 'x', sizeof(bootargs) - 1);
    config.vcpus = 32;
    config.bootargs = bootargs;
    expect_plan(16, ram_of(80 * KIB));
    assert_true(plan.tree_room == 72 * KIB && plan.tree_offset == 8 * KIB);
    expect_refusal(16, ram_of(72 * KIB), DX_TOO_LARGE, "need 76 KiB, of 72 KiB");
    expect_plan(16, ram_of(4 * MIB));
    assert_true(plan.tree_room == 128 * KIB && plan.tree_offset == 4 * MIB - 128 * KIB);
}

static void what_a_kernel_can_reach(void **state)
{
    (void)state;
    const uint64_t reach = (uint64_t)(XLEN == 32 ? 512 : 1024) * MIB;
    expect_plan(16, ram_of(reach + 256 * MIB));
    assert_true(plan.tree_offset == reach - 64 * KIB);
    /* a kernel that lies beyond */
    config.has_kernel_offset = true;
    config.kernel_offset = reach;
    if (XLEN == 32) {
        expect_refusal(16, ram_of(reach + 256 * MIB), DX_TOO_LARGE, "of 524288 KiB that they can lie in");
    } else {
        expect_plan(16, ram_of(reach + 256 * MIB));
        assert_true(plan.tree_offset == reach + 256 * MIB - 64 * KIB);
    }
}

static void beyond_the_32nd_bit(void **state)
{
    (void)state;
    struct range ram = {.base = UINT64_C(0x100000000), .size = MIB};
    if (XLEN == 32) {
        expect_refusal(16, ram, DX_BAD_VALUE, "memory-base: 32-bit harts cannot start at 0x100000000");
        ram.base -= 256 * KIB; /* the kernel below, much of its RAM above */
        expect_plan(16, ram);
        assert_true(plan.tree_offset + plan.tree_room <= 256 * KIB);
    } else {
        expect_plan(16, ram);
        assert_true(plan.entry == ram.base);
        ram.base = (UINT64_C(1) << 56) - MIB;
        expect_plan(16, ram);
        assert_true(plan.entry == ram.base);
    }
}

static void crooked_ram_is_our_own_mistake(void **state)
{
    (void)state;
    assert_true(PANICS((void)run(16, (struct range){.base = ram_base, .size = 0})));
    assert_true(PANICS((void)run(16, (struct range){.base = ram_base + 1, .size = MIB})));
    assert_true(PANICS((void)run(16, (struct range){.base = ram_base, .size = MIB + 1})));
    assert_true(PANICS((void)run(16, (struct range){.base = UINT64_C(1) << 56, .size = MIB})));
}

/* --- random ------------------------------------------------------------------------------------------------------ */

/* Whatever was planned must be sound, and every byte of it must be there to be read. */
static void check_hostile(const uint8_t *bytes, size_t length, struct range ram)
{
    uint64_t end = 0;
    unsigned sum = 0;
    for (size_t i = 0; i < plan.piece_count; i++) {
        const struct load_piece *piece = &plan.pieces[i];
        assert_true(piece->offset >= end && range_holds((struct range){0, ram.size}, piece->offset, piece->length));
        end = piece->offset + piece->length;
        assert_true(piece->length > 0 && piece->length <= length);
        assert_true(piece->bytes >= bytes && (size_t)(piece->bytes - bytes) <= length - (size_t)piece->length);
        sum += piece->bytes[0] + piece->bytes[piece->length - 1];
    }
    assert_true(sum < UINT32_MAX);
    assert_true(plan.tree_offset >= end && plan.tree_room >= 8 * KIB);
    assert_true(range_holds((struct range){0, ram.size}, plan.tree_offset, plan.tree_room));
    assert_true(range_holds(ram, plan.entry, 2) && plan.entry % 2 == 0);
}

/* Counts how many of many damaged copies of the file are still accepted. The first 4 bytes, and the bytes behind
 * interesting, stay as they are; the copy ends where its allocation ends. */
static unsigned damage(size_t length, size_t interesting, uint64_t seed)
{
    const struct range rams[] = {ram_of(16 * MIB),
                                 ram_of(64 * KIB),
                                 {.base = 0, .size = 4 * MIB},
                                 {.base = UINT64_C(0x90000000), .size = 3 * MIB}};
    unsigned accepted = 0;
    uint8_t *copy = malloc(length);
    for (int round = 0; round < 40000; round++) {
        memcpy(copy, file, length);
        for (uint64_t flips = 1 + test_random(&seed) % 3; flips > 0; flips--) {
            uint64_t random = test_random(&seed);
            uint8_t value = (uint8_t)(random >> 40);
            copy[4 + random % (interesting - 4)] = random >> 62 == 0 ? 0xff : random >> 62 == 1 ? 0 : value;
        }
        config.kernel = (struct blob){.bytes = copy, .length = length};
        struct range ram = rams[(unsigned)round % ARRAY_LENGTH(rams)];
        if (image_plan(&config, ram, &plan, &refusal) == DX_OK) {
            accepted++;
            check_hostile(copy, length, ram);
        }
    }
    free(copy);
    return accepted;
}

static void damaged_elf_files(void **state)
{
    (void)state;
    const struct test_segment segments[] = {
        {0x200, high(0), 0, 0x80, 0x100, 0x1000},
        {0x280, high(0x1000), 0x1000, 0x80, 0x2000, 0x1000},
        {0x300, high(0x4000), 0x4000, 0x10, 0x10, 0x1000},
    };
    for (unsigned type = TYPE_EXECUTABLE; type <= TYPE_DYNAMIC; type++) {
        elf(type, high(0x10), segments, ARRAY_LENGTH(segments));
        unsigned accepted = damage(0x310, HEADER_SIZE + 3 * ROW_SIZE, 0x656c66 + type);
        assert_in_range(accepted, 100, 39000);
    }
}

static void damaged_images(void **state)
{
    (void)state;
    linux_header(0, 0x3000);
    unsigned accepted = damage(0x800, 64, 0x52495343);
    assert_in_range(accepted, 100, 39000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(flat_at_the_start, setup),
        cmocka_unit_test_setup(flat_at_an_offset, setup),
        cmocka_unit_test_setup(foreign_files, setup),
        cmocka_unit_test_setup(linux_as_its_header_says, setup),
        cmocka_unit_test_setup(linux_of_older_versions, setup),
        cmocka_unit_test_setup(linux_headers_that_lie, setup),
        cmocka_unit_test_setup(linux_needs_aligned_ram, setup),
        cmocka_unit_test_setup(elf_at_its_addresses, setup),
        cmocka_unit_test_setup(elf_that_starts_at_zero, setup),
        cmocka_unit_test_setup(elf_that_can_be_moved, setup),
        cmocka_unit_test_setup(elf_headers_that_lie, setup),
        cmocka_unit_test_setup(elf_segments_that_lie, setup),
        cmocka_unit_test_setup(elf_segments_that_overlap, setup),
        cmocka_unit_test_setup(elf_of_many_segments, setup),
        cmocka_unit_test_setup(initrd_below_the_tree, setup),
        cmocka_unit_test_setup(trees_grow_with_vcpus_and_bootargs, setup),
        cmocka_unit_test_setup(what_a_kernel_can_reach, setup),
        cmocka_unit_test_setup(beyond_the_32nd_bit, setup),
        cmocka_unit_test_setup(crooked_ram_is_our_own_mistake, setup),
        cmocka_unit_test_setup(damaged_elf_files, setup),
        cmocka_unit_test_setup(damaged_images, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
