/* SPDX-License-Identifier: MIT
 *
 * Reads /cpus of the host's tree: each hart, what it says it can do, and the timebase.
 */
#include <libfdt.h>
#include <string.h>

#include "core/tree.h"
#include "dt/host_parts.h"

/* Appends length bytes of text to a terminated string if all of them fit. */
static void append(char *out, size_t size, const char *text, size_t length)
{
    size_t used = strlen(out);
    if (length < size - used) {
        memcpy(out + used, text, length);
        out[used + length] = '\0';
    }
}

static bool isa_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* Lower-cases, and ends at the first character that no ISA string has: it goes into the log and into guests' trees. */
static void isa_clean(char *isa)
{
    size_t i;
    for (i = 0; isa[i] != '\0'; i++) {
        if (isa[i] >= 'A' && isa[i] <= 'Z') {
            isa[i] = (char)(isa[i] - 'A' + 'a');
        }
        if (!isa_character(isa[i])) {
            break;
        }
    }
    isa[i] = '\0';
}

/* A string too long for the machine's description is cut between two extensions. */
static void isa_copy(char *isa, const char *text)
{
    size_t length = strnlen(text, MACHINE_ISA_MAX);

    if (length == MACHINE_ISA_MAX) {
        length--;
        while (length > 0 && text[length] != '_') {
            length--;
        }
    }
    append(isa, MACHINE_ISA_MAX, text, length);
}

/* The newer form of the same: a base such as "rv64i", and a list of extensions. Single letters go first. */
static void isa_join(char *isa, const char *base, const char *list, size_t list_length)
{
    append(isa, MACHINE_ISA_MAX, base, strlen(base));
    for (int pass = 0; pass < 2; pass++) {
        for (const char *name = list; name < list + list_length; name += strlen(name) + 1) {
            size_t length = strlen(name);
            if (pass == 0 && length == 1 && strchr(base, name[0]) == NULL) {
                append(isa, MACHINE_ISA_MAX, name, length);
            } else if (pass == 1 && length > 1 && length + 1 < MACHINE_ISA_MAX - strlen(isa)) {
                append(isa, MACHINE_ISA_MAX, "_", 1);
                append(isa, MACHINE_ISA_MAX, name, length);
            }
        }
    }
}

static void isa_read(const void *blob, int node, struct machine_hart *hart)
{
    size_t length;
    const char *text = tree_string(blob, node, "riscv,isa");
    const char *base = tree_string(blob, node, "riscv,isa-base");
    const char *list = tree_strings(blob, node, "riscv,isa-extensions", &length);

    if (text != NULL) {
        isa_copy(hart->isa, text);
    } else if (base != NULL && list != NULL) {
        isa_join(hart->isa, base, list, length);
    }
    isa_clean(hart->isa);
}

static void mmu_read(const void *blob, int node, struct machine_hart *hart)
{
    const char *type = tree_string(blob, node, "mmu-type");
    const char prefix[] = "riscv,";

    if (type != NULL && strncmp(type, prefix, strlen(prefix)) == 0) {
        append(hart->mmu_type, sizeof(hart->mmu_type), type + strlen(prefix), strlen(type + strlen(prefix)));
        isa_clean(hart->mmu_type);
    }
    if (strcmp(hart->mmu_type, "none") == 0) {
        hart->mmu_type[0] = '\0';
    }
}

static uint32_t intc_phandle(const void *blob, int cpu)
{
    int node;
    fdt_for_each_subnode(node, blob, cpu)
    {
        if (tree_lists(blob, node, "compatible", "riscv,cpu-intc")) {
            return fdt_get_phandle(blob, node);
        }
    }
    return 0;
}

/* Nodes in /cpus that aren't harts: cpu-map, caches, idle states. */
static bool is_hart(const void *blob, int node)
{
    const char *name = fdt_get_name(blob, node, NULL);
    return tree_lists(blob, node, "device_type", "cpu") || (name != NULL && strncmp(name, "cpu@", 4) == 0);
}

static enum dx_error hart_read(struct host_reader *reader, int node, unsigned cells)
{
    const void *blob = reader->blob;
    struct machine *machine = reader->machine;
    int length;
    const void *reg = fdt_getprop(blob, node, "reg", &length);
    uint64_t id = reg == NULL || (unsigned)length != cells * sizeof(fdt32_t) ? UINT64_MAX : tree_cells(reg, cells);

    if (id >= (unsigned long)-1) {
        return refuse(reader->refusal, DX_BAD_TREE, "device tree: /cpus/%s: reg is not a hart's number",
                      fdt_get_name(blob, node, NULL));
    }
    if (machine_hart_index(machine, (unsigned long)id) >= 0) {
        return refuse(reader->refusal, DX_BAD_TREE, "device tree: /cpus: hart %llu is named twice",
                      (unsigned long long)id);
    }
    if (machine->hart_count == MACHINE_HARTS_MAX) {
        return refuse(reader->refusal, DX_TOO_MANY, "device tree: /cpus: more than %u harts",
                      (unsigned)MACHINE_HARTS_MAX);
    }
    struct machine_hart *hart = &machine->harts[machine->hart_count++];
    hart->id = (unsigned long)id;
    hart->intc_phandle = intc_phandle(blob, node);
    isa_read(blob, node, hart);
    mmu_read(blob, node, hart);
    tree_u32(blob, node, "riscv,cbom-block-size", &hart->cbom_block_size);
    tree_u32(blob, node, "riscv,cboz-block-size", &hart->cboz_block_size);
    tree_u32(blob, node, "riscv,cbop-block-size", &hart->cbop_block_size);
    hart->usable = tree_enabled(blob, node) && hart->mmu_type[0] != '\0';
    return DX_OK;
}

/* In /cpus, or in the first hart's node. */
static enum dx_error timebase_read(struct host_reader *reader, int cpus)
{
    uint64_t hz = 0;
    bool found = tree_number(reader->blob, cpus, "timebase-frequency", &hz);
    int node;

    fdt_for_each_subnode(node, reader->blob, cpus)
    {
        found = found || tree_number(reader->blob, node, "timebase-frequency", &hz);
    }
    if (!found) {
        return refuse(reader->refusal, DX_MISSING, "device tree: /cpus: no timebase-frequency");
    }
    if (hz == 0 || hz > UINT32_MAX) {
        return refuse(reader->refusal, DX_BAD_TREE, "device tree: /cpus: timebase-frequency %llu is out of range",
                      (unsigned long long)hz);
    }
    reader->machine->timebase_hz = (uint32_t)hz;
    return DX_OK;
}

enum dx_error host_harts_read(struct host_reader *reader)
{
    int cpus = fdt_path_offset(reader->blob, "/cpus");
    int cells = cpus < 0 ? 0 : fdt_address_cells(reader->blob, cpus);
    int node;

    if (cpus < 0) {
        return refuse(reader->refusal, DX_MISSING, "device tree: no /cpus");
    }
    if (cells != 1 && cells != 2) {
        return refuse(reader->refusal, DX_BAD_TREE, "device tree: /cpus: #address-cells is neither 1 nor 2");
    }
    fdt_for_each_subnode(node, reader->blob, cpus)
    {
        enum dx_error error = is_hart(reader->blob, node) ? hart_read(reader, node, (unsigned)cells) : DX_OK;
        if (error != DX_OK) {
            return error;
        }
    }
    return timebase_read(reader, cpus);
}

int host_hart_by_intc(const struct machine *machine, uint32_t phandle)
{
    for (size_t i = 0; phandle != 0 && i < machine->hart_count; i++) {
        if (machine->harts[i].intc_phandle == phandle) {
            return (int)i;
        }
    }
    return -1;
}
