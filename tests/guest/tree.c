/* SPDX-License-Identifier: MIT
 *
 * The little that a test guest wants to know from its device tree, read in one bounded pass.
 */
#include "guest.h"

struct machine machine;

enum { BEGIN_NODE = 1, END_NODE = 2, PROPERTY = 3, NOP = 4, END = 9, DEPTH_MAX = 8, TREE_MAX = 2 << 20 };

struct reader {
    const unsigned char *base;
    size_t at, end;       /* in the structure block */
    size_t strings, size; /* of the strings block; of the whole */
    size_t depth;
    const char *name[DEPTH_MAX];
    uint32_t address_cells[DEPTH_MAX], size_cells[DEPTH_MAX];
    struct machine_device device; /* of the node being read */
};

static uint32_t word_at(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t cells(const unsigned char *p, uint32_t count)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < count; i++) {
        value = value << 32 | word_at(p + 4 * i);
    }
    return value;
}

static bool starts(const char *text, const char *with)
{
    while (*with != 0) {
        if (*text++ != *with++) {
            return false;
        }
    }
    return true;
}

static const char *node(const struct reader *reader, size_t depth)
{
    return depth < DEPTH_MAX && depth <= reader->depth && reader->name[depth] != NULL ? reader->name[depth] : "";
}

/* "reg" of a node whose parent's cell counts are known. */
static bool read_reg(const struct reader *reader, const unsigned char *value, size_t length, uint64_t *base,
                     uint64_t *size)
{
    uint32_t a = reader->address_cells[reader->depth - 1], s = reader->size_cells[reader->depth - 1];
    if (a > 2 || s > 2 || length < 4 * (size_t)(a + s)) {
        return false;
    }
    *base = cells(value, a);
    *size = cells(value + 4 * a, s);
    return true;
}

static void read_chosen(const char *name, const unsigned char *value, size_t length)
{
    if (text_equal(name, "bootargs") && length > 0 && value[length - 1] == 0) {
        machine.bootargs = (const char *)value;
    } else if (text_equal(name, "linux,initrd-start") && length <= 8) {
        machine.initrd = (unsigned long)cells(value, (uint32_t)length / 4);
    } else if (text_equal(name, "linux,initrd-end") && length <= 8) {
        machine.initrd_end = (unsigned long)cells(value, (uint32_t)length / 4);
    }
}

static void read_property(struct reader *reader, const char *name, const unsigned char *value, size_t length)
{
    size_t depth = reader->depth;
    uint64_t base, size;
    if (depth >= DEPTH_MAX) {
        return;
    }
    if (text_equal(name, "#address-cells") && length == 4) {
        reader->address_cells[depth] = word_at(value);
    } else if (text_equal(name, "#size-cells") && length == 4) {
        reader->size_cells[depth] = word_at(value);
    } else if (depth == 1 && text_equal(node(reader, 1), "chosen")) {
        read_chosen(name, value, length);
    } else if (text_equal(node(reader, 1), "cpus")) {
        if (text_equal(name, "timebase-frequency") && length == 4) {
            machine.timebase = word_at(value);
        } else if (depth == 2 && text_equal(name, "riscv,isa") && length > 0 && value[length - 1] == 0) {
            machine.isa = (const char *)value;
        } else if (depth == 2 && text_equal(name, "mmu-type") && length > 0 && value[length - 1] == 0) {
            machine.mmu = (const char *)value;
        } else if (depth == 2 && starts(node(reader, 2), "cpu@") && text_equal(name, "reg") && length == 4 &&
                   machine.harts < HARTS_MAX && word_at(value) < HARTS_MAX) {
            machine.hart_id[machine.harts++] = word_at(value);
        }
    } else if (depth == 1 && starts(node(reader, 1), "memory") && text_equal(name, "reg")) {
        if (machine.ram_size == 0 && read_reg(reader, value, length, &base, &size)) {
            machine.ram_base = base;
            machine.ram_size = size;
        }
    } else if (depth > 0 && text_equal(name, "reg")) {
        (void)read_reg(reader, value, length, &reader->device.base, &reader->device.size);
    } else if (text_equal(name, "compatible") && length > 0 && value[length - 1] == 0) {
        reader->device.compatible = (const char *)value;
    }
}

/* A node's properties are complete when its first child begins or it ends. */
static void device_done(struct reader *reader)
{
    if (reader->device.compatible != NULL && reader->device.size != 0 && machine.device_count < DEVICES_MAX) {
        reader->device.name = node(reader, reader->depth);
        machine.devices[machine.device_count++] = reader->device;
    }
    reader->device = (struct machine_device){0};
}

static bool node_begin(struct reader *reader)
{
    const char *name = (const char *)reader->base + reader->at;
    size_t length = 0;
    while (reader->at + length < reader->end && name[length] != 0) {
        length++;
    }
    if (reader->at + length >= reader->end) {
        return false;
    }
    device_done(reader);
    if (++reader->depth < DEPTH_MAX) {
        reader->name[reader->depth] = name;
        reader->address_cells[reader->depth] = 2;
        reader->size_cells[reader->depth] = 1;
    }
    reader->at += (length + 4) & ~(size_t)3;
    return true;
}

static bool property(struct reader *reader)
{
    if (reader->end - reader->at < 8) {
        return false;
    }
    size_t length = word_at(reader->base + reader->at);
    size_t name = reader->strings + word_at(reader->base + reader->at + 4);
    reader->at += 8;
    if (length > reader->end - reader->at || name >= reader->size) {
        return false;
    }
    read_property(reader, (const char *)reader->base + name, reader->base + reader->at, length);
    reader->at += (length + 3) & ~(size_t)3;
    return true;
}

bool tree_read(const void *tree)
{
    const unsigned char *base = tree;
    struct reader reader = {.base = base, .depth = (size_t)0 - 1};
    machine.bootargs = "";
    machine.isa = "";
    machine.mmu = "";
    machine.timebase = 10000000;
    if (((uintptr_t)tree & 7) != 0 || word_at(base) != 0xd00dfeed || word_at(base + 4) > TREE_MAX) {
        return false;
    }
    reader.size = word_at(base + 4);
    reader.at = word_at(base + 8);
    reader.strings = word_at(base + 12);
    reader.end = reader.at + word_at(base + 36);
    machine.tree = (unsigned long)(uintptr_t)tree;
    machine.tree_size = reader.size;
    if (reader.end > reader.size || reader.strings > reader.size) {
        return false;
    }
    while (reader.at + 4 <= reader.end) {
        uint32_t token = word_at(base + reader.at);
        reader.at += 4;
        if (token == END) {
            return machine.ram_size != 0 && machine.harts != 0;
        }
        if (token == END_NODE) {
            device_done(&reader);
            reader.depth--;
        } else if (token == BEGIN_NODE ? !node_begin(&reader) : token == PROPERTY ? !property(&reader) : token != NOP) {
            return false;
        }
    }
    return false;
}

const struct machine_device *find_device(const char *compatible)
{
    for (size_t i = 0; i < machine.device_count; i++) {
        if (starts(machine.devices[i].compatible, compatible)) {
            return &machine.devices[i];
        }
    }
    return NULL;
}

bool in_ram(uint64_t address)
{
    return address >= machine.ram_base && address - machine.ram_base < machine.ram_size;
}

bool in_device(uint64_t address)
{
    for (size_t i = 0; i < machine.device_count; i++) {
        if (address >= machine.devices[i].base && address - machine.devices[i].base < machine.devices[i].size) {
            return true;
        }
    }
    return false;
}

bool isa_names(const char *extension)
{
    size_t length = strlen(extension);
    for (const char *p = machine.isa; *p != 0; p++) {
        if (p[0] == '_' && starts(p + 1, extension) && (p[length + 1] == '_' || p[length + 1] == 0)) {
            return true;
        }
    }
    return false;
}

/* --- bootargs --- */

const char *argument_text(const char *name)
{
    size_t length = strlen(name);
    for (const char *p = machine.bootargs; *p != 0; p++) {
        if ((p == machine.bootargs || p[-1] == ' ') && starts(p, name) && p[length] == '=') {
            return p + length + 1;
        }
    }
    return NULL;
}

unsigned long argument(const char *name, unsigned long otherwise)
{
    const char *p = argument_text(name);
    if (p == NULL) {
        return otherwise;
    }
    unsigned long value = 0, base = 10;
    if (p[0] == '0' && p[1] == 'x') {
        base = 16;
        p += 2;
    }
    for (;; p++) {
        unsigned long digit = *p >= '0' && *p <= '9' ? (unsigned long)(*p - '0') : (unsigned long)(*p - 'a') + 10;
        if (*p < '0' || digit >= base) {
            return value;
        }
        value = value * base + digit;
    }
}

bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *p = list; *p != 0 && *p != ' '; p++) {
        char after = starts(p, word) ? p[length] : 'x';
        if ((p == list || p[-1] == ',') && (after == 0 || after == ',' || after == ' ')) {
            return true;
        }
    }
    return false;
}
