/* SPDX-License-Identifier: MIT
 *
 * ELF kernels. Segments go to their physical addresses if these lie in RAM; a file that says it can be moved, or
 * whose addresses start at 0 (Linux's vmlinux), goes to the start of RAM instead.
 */
#include <string.h>

#include "manifest/image_kind.h"

/* Where the fields are that differ between the classes; they are word bytes wide. */
struct elf_layout {
    uint8_t class;
    uint8_t bits;
    uint8_t word;
    uint8_t header_size;
    uint8_t entry, table, row_size, rows; /* in the header: e_entry, e_phoff, e_phentsize, e_phnum */
    uint8_t row_least;                    /* bytes of a program header */
    uint8_t offset, vaddr, paddr, filesz, memsz, align;
};

/* clang-format off */
static const struct elf_layout elf32 = {
    .class = 1, .bits = 32, .word = 4, .header_size = 52,
    .entry = 24, .table = 28, .row_size = 42, .rows = 44,
    .row_least = 32, .offset = 4, .vaddr = 8, .paddr = 12, .filesz = 16, .memsz = 20, .align = 28,
};
static const struct elf_layout elf64 = {
    .class = 2, .bits = 64, .word = 8, .header_size = 64,
    .entry = 24, .table = 32, .row_size = 54, .rows = 56,
    .row_least = 56, .offset = 8, .vaddr = 16, .paddr = 24, .filesz = 32, .memsz = 40, .align = 48,
};
/* clang-format on */

enum {
    CLASS_AT = 4,
    DATA_AT = 5, /* 1: little-endian */
    TYPE_AT = 16,
    MACHINE_AT = 18,
    TYPE_EXECUTABLE = 2,
    TYPE_DYNAMIC = 3,
    MACHINE_RISCV = 243,
    SEGMENT_LOAD = 1,
};

struct segment {
    uint64_t offset; /* in the file */
    uint64_t vaddr;
    uint64_t paddr;
    uint64_t filesz;
    uint64_t memsz; /* not 0; ends below 2^64, so that sizes of whole files fit too */
};

/* A checked file: its segments by ascending physical address, not overlapping. */
struct elf {
    const struct capsule_config *config;
    const struct elf_layout *layout;
    struct refusal *refusal;
    bool movable;
    uint64_t align; /* the largest that a segment asks for, where movable */
    size_t count;
    struct segment segments[IMAGE_SEGMENTS_MAX];
};

static uint64_t field(const struct elf *elf, const uint8_t *at, unsigned offset)
{
    return image_number(at + offset, elf->layout->word);
}

static struct range placed(const struct segment *segment)
{
    return (struct range){.base = segment->paddr, .size = segment->memsz};
}

static enum dx_error bad(const struct elf *elf, const char *reason)
{
    return refuse(elf->refusal, DX_BAD_IMAGE, "capsule %s: kernel: the ELF file's %s", elf->config->name, reason);
}

/* Two ranges in one line, for whoever has to move one of them. */
static enum dx_error conflict(const struct elf *elf, enum dx_error error, struct range a, const char *relation,
                              struct range b)
{
    return refuse(elf->refusal, error, "capsule %s: kernel: 0x%llx-0x%llx %s 0x%llx-0x%llx", elf->config->name,
                  (unsigned long long)a.base, (unsigned long long)range_last(a), relation, (unsigned long long)b.base,
                  (unsigned long long)range_last(b));
}

bool image_is_elf(struct blob kernel)
{
    return kernel.length >= 4 && memcmp(kernel.bytes, "\177ELF", 4) == 0;
}

static enum dx_error check_header(struct elf *elf)
{
    const struct elf_layout *layout = elf->layout;
    struct blob file = elf->config->kernel;
    if (file.length <= MACHINE_AT + 2) {
        return bad(elf, "header is cut short");
    }
    if (file.bytes[CLASS_AT] != layout->class && (file.bytes[CLASS_AT] == 1 || file.bytes[CLASS_AT] == 2)) {
        return refuse(elf->refusal, DX_BAD_IMAGE, "capsule %s: kernel: is for %d-bit harts, these have %u bits",
                      elf->config->name, file.bytes[CLASS_AT] * 32, layout->bits);
    }
    if (file.bytes[CLASS_AT] != layout->class || file.bytes[DATA_AT] != 1) {
        return bad(elf, "class or byte order is not RISC-V's");
    }
    uint64_t machine = image_number(file.bytes + MACHINE_AT, 2);
    if (machine != MACHINE_RISCV) {
        return refuse(elf->refusal, DX_BAD_IMAGE, "capsule %s: kernel: is for machine type %u, not RISC-V (243)",
                      elf->config->name, (unsigned)machine);
    }
    uint64_t type = image_number(file.bytes + TYPE_AT, 2);
    if (type != TYPE_EXECUTABLE && type != TYPE_DYNAMIC) {
        return bad(elf, "type is not executable; link it");
    }
    elf->movable = type == TYPE_DYNAMIC;
    return file.length >= layout->header_size ? DX_OK : bad(elf, "header is cut short");
}

/* Keeps the segments sorted; there are few. */
static void insert(struct elf *elf, struct segment segment)
{
    size_t at = elf->count++;
    for (; at > 0 && elf->segments[at - 1].paddr > segment.paddr; at--) {
        elf->segments[at] = elf->segments[at - 1];
    }
    elf->segments[at] = segment;
}

static enum dx_error take_segment(struct elf *elf, const uint8_t *row)
{
    const struct elf_layout *layout = elf->layout;
    struct segment segment = {
        .offset = field(elf, row, layout->offset),
        .vaddr = field(elf, row, layout->vaddr),
        .paddr = field(elf, row, layout->paddr),
        .filesz = field(elf, row, layout->filesz),
        .memsz = field(elf, row, layout->memsz),
    };
    uint64_t align = field(elf, row, layout->align);
    if (image_number(row, 4) != SEGMENT_LOAD || (segment.memsz == 0 && segment.filesz == 0)) {
        return DX_OK;
    }
    if (elf->count == IMAGE_SEGMENTS_MAX) {
        return refuse(elf->refusal, DX_TOO_MANY, "capsule %s: kernel: the ELF file has more than %d segments to load",
                      elf->config->name, IMAGE_SEGMENTS_MAX);
    }
    if (segment.filesz > segment.memsz) {
        return bad(elf, "segment has more bytes in the file than in memory");
    }
    if (!range_holds((struct range){.base = 0, .size = elf->config->kernel.length}, segment.offset, segment.filesz)) {
        return bad(elf, "segment reaches beyond the file's end");
    }
    if (!range_holds((struct range){.base = 0, .size = UINT64_MAX}, segment.paddr, segment.memsz)) {
        return bad(elf, "segment reaches the end of the address space");
    }
    elf->align = is_power_of_two(align) ? MAX(elf->align, align) : elf->align;
    insert(elf, segment);
    return DX_OK;
}

static enum dx_error take_segments(struct elf *elf)
{
    const struct elf_layout *layout = elf->layout;
    struct blob file = elf->config->kernel;
    uint64_t table = field(elf, file.bytes, layout->table);
    uint64_t row_size = image_number(file.bytes + layout->row_size, 2);
    uint64_t rows = image_number(file.bytes + layout->rows, 2);
    if (row_size < layout->row_least ||
        !range_holds((struct range){.base = 0, .size = file.length}, table, row_size * rows)) {
        return bad(elf, "program headers reach beyond the file's end");
    }
    for (uint64_t i = 0; i < rows; i++) {
        enum dx_error error = take_segment(elf, file.bytes + table + i * row_size);
        if (error != DX_OK) {
            return error;
        }
    }
    for (size_t i = 1; i < elf->count; i++) {
        struct range before = placed(&elf->segments[i - 1]);
        struct range after = placed(&elf->segments[i]);
        if (range_overlaps(before, after)) {
            return conflict(elf, DX_OVERLAP, after, "overlaps its segment", before);
        }
    }
    return elf->count > 0 ? DX_OK : bad(elf, "program headers load nothing");
}

/* How far the whole file moves: *slide is added, modulo 2^64, to every physical address. */
static enum dx_error choose_place(const struct elf *elf, struct range ram, struct range extent, uint64_t *slide)
{
    *slide = 0;
    if (range_holds_range(ram, extent)) {
        return DX_OK;
    }
    if (!elf->movable && extent.base != 0) {
        return conflict(elf, DX_BAD_IMAGE, extent, "does not lie in the capsule's memory", ram);
    }
    /* What is linked at 0 runs anywhere that Linux would; it says so less exactly than a movable file does. */
    uint64_t align = elf->movable ? elf->align : MAX(elf->align, image_linux_align());
    if (ram.base % align != 0) {
        return refuse(elf->refusal, DX_UNALIGNED,
                      "capsule %s: kernel: needs memory-base at a multiple of 0x%llx, it is 0x%llx", elf->config->name,
                      (unsigned long long)align, (unsigned long long)ram.base);
    }
    uint64_t origin = align_down(extent.base, align);
    if (!range_holds((struct range){.base = 0, .size = ram.size}, extent.base - origin, extent.size)) {
        return conflict(elf, DX_TOO_LARGE, extent, "is larger than the capsule's memory", ram);
    }
    *slide = ram.base - origin;
    return DX_OK;
}

/* The entry is a virtual address: the segment that holds it says which physical one that is. */
static bool translate_entry(const struct elf *elf, uint64_t *entry)
{
    uint64_t virtual = field(elf, elf->config->kernel.bytes, elf->layout->entry);
    for (size_t i = 0; i < elf->count; i++) {
        const struct segment *segment = &elf->segments[i];
        if (virtual >= segment->vaddr && virtual - segment->vaddr < segment->memsz) {
            *entry = segment->paddr + (virtual - segment->vaddr);
            return true;
        }
    }
    return false;
}

enum dx_error image_place_elf(const struct capsule_config *config, struct range ram, struct load_plan *plan,
                              struct range *extent, struct refusal *refusal)
{
    struct elf elf = {.config = config, .refusal = refusal, .layout = XLEN == 32 ? &elf32 : &elf64, .align = PAGE_SIZE};
    enum dx_error error = check_header(&elf);
    error = error == DX_OK ? take_segments(&elf) : error;
    if (error != DX_OK) {
        return error;
    }
    uint64_t entry = 0;
    if (!translate_entry(&elf, &entry) || entry % 2 != 0) {
        return bad(&elf, "entry is odd or in none of its segments");
    }
    uint64_t lowest = elf.segments[0].paddr;
    *extent = (struct range){
        .base = lowest,
        .size = range_last(placed(&elf.segments[elf.count - 1])) - lowest + 1,
    };
    uint64_t slide = 0;
    error = choose_place(&elf, ram, *extent, &slide);
    if (error != DX_OK) {
        return error;
    }
    for (size_t i = 0; i < elf.count; i++) {
        const struct segment *segment = &elf.segments[i];
        if (segment->filesz > 0) {
            plan->pieces[plan->piece_count++] = (struct load_piece){
                .offset = segment->paddr + slide - ram.base,
                .bytes = config->kernel.bytes + segment->offset,
                .length = segment->filesz,
            };
        }
    }
    plan->entry = entry + slide;
    extent->base += slide;
    return DX_OK;
}
