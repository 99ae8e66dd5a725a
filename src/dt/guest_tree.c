/* SPDX-License-Identifier: MIT
 *
 * Writes a guest's device tree with libfdt's sequential calls, in the shape of QEMU's virt machine.
 */
#include "dt/guest_tree.h"

#include <libfdt.h>
#include <limits.h>
#include <string.h>

#include "dt/guest_isa.h"
#include "lib/format.h"

enum {
    PLIC_PHANDLE = 1,
    VCPU_INTC_PHANDLES = 2, /* vCPU n's interrupt controller: this and n; then the vCPUs; then what devices take */
    NAME_MAX_LENGTH = 32,
};

/* Once one step fails all later ones do nothing, so that only the end has to ask. */
struct writer {
    void *tree;
    int error;
};

static void node_begin(struct writer *w, const char *name)
{
    w->error = w->error == 0 ? fdt_begin_node(w->tree, name) : w->error;
}

static void node_begin_at(struct writer *w, const char *name, uint64_t address)
{
    char text[NAME_MAX_LENGTH];
    format(text, sizeof(text), "%s%llx", name, (unsigned long long)address);
    node_begin(w, text);
}

static void node_end(struct writer *w)
{
    w->error = w->error == 0 ? fdt_end_node(w->tree) : w->error;
}

static void put_bytes(struct writer *w, const char *name, const void *bytes, size_t length)
{
    if (w->error == 0) {
        w->error = length > INT_MAX ? -FDT_ERR_NOSPACE : fdt_property(w->tree, name, bytes, (int)length);
    }
}

static void put_text(struct writer *w, const char *name, const char *text)
{
    put_bytes(w, name, text, strlen(text) + 1);
}

static void put_flag(struct writer *w, const char *name)
{
    put_bytes(w, name, "", 0);
}

static void put_u32(struct writer *w, const char *name, uint32_t value)
{
    w->error = w->error == 0 ? fdt_property_u32(w->tree, name, value) : w->error;
}

static void put_u64(struct writer *w, const char *name, uint64_t value)
{
    w->error = w->error == 0 ? fdt_property_u64(w->tree, name, value) : w->error;
}

static void put_cells_counts(struct writer *w, uint32_t address_cells, uint32_t size_cells)
{
    put_u32(w, "#address-cells", address_cells);
    put_u32(w, "#size-cells", size_cells);
}

/* Linux asks that a cache-block extension comes with its block size, and says so in the log if it doesn't. */
static bool extension_told(const struct guest_tree_options *options, const struct isa_extension *extension)
{
    const struct {
        const char *name;
        uint32_t block_size;
    } blocks[] = {
        {"zicbom", options->cbom_block_size},
        {"zicboz", options->cboz_block_size},
        {"zicbop", options->cbop_block_size},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(blocks); i++) {
        if (extension->length == strlen(blocks[i].name) &&
            memcmp(extension->name, blocks[i].name, extension->length) == 0) {
            return blocks[i].block_size != 0;
        }
    }
    return true;
}

/* All extensions that the guest is told of, in one of two forms: one string with "_" before longer names, or a list
 * of strings. Returns the bytes that it takes, and writes nothing if out is NULL. */
static size_t extensions_write(const struct guest_tree_options *options, bool list, char *out)
{
    const char *cursor = isa_extensions(options->isa);
    struct isa_extension extension;
    size_t used = 0;

    while (cursor != NULL && isa_next(&cursor, &extension)) {
        if (!extension_told(options, &extension)) {
            continue;
        }
        bool separated = !list && extension.length > 1;
        if (out != NULL) {
            out[used] = '_';
            memcpy(out + used + separated, extension.name, extension.length);
        }
        used += separated + extension.length;
        if (list && out != NULL) {
            out[used] = '\0';
        }
        used += list;
    }
    return used;
}

/* The same said twice, in the older form and in the one that Linux prefers since 6.7. */
static void put_isa(struct writer *w, const struct guest_tree_options *options)
{
    const size_t prefix = 4; /* "rv64" */
    size_t length = extensions_write(options, false, NULL);
    void *at;

    if (w->error != 0 || isa_extensions(options->isa) == NULL) {
        return;
    }
    w->error = fdt_property_placeholder(w->tree, "riscv,isa", (int)(prefix + length + 1), &at);
    if (w->error == 0) {
        char *text = at;
        memcpy(text, options->isa, prefix);
        extensions_write(options, false, text + prefix);
        text[prefix + length] = '\0';
    }
    put_text(w, "riscv,isa-base", strncmp(options->isa, "rv32", prefix) == 0 ? "rv32i" : "rv64i");
    length = extensions_write(options, true, NULL);
    if (w->error == 0) {
        w->error = fdt_property_placeholder(w->tree, "riscv,isa-extensions", (int)length, &at);
    }
    if (w->error == 0) {
        extensions_write(options, true, at);
    }
}

static void put_block_size(struct writer *w, const char *name, uint32_t size)
{
    if (size != 0) {
        put_u32(w, name, size);
    }
}

static void put_mmu_type(struct writer *w, const char *type)
{
    char text[NAME_MAX_LENGTH];
    if (type[0] != '\0') {
        format(text, sizeof(text), "riscv,%s", type);
        put_text(w, "mmu-type", text);
    }
}

static void vcpu_write(struct writer *w, const struct guest_tree_options *options, uint32_t id, uint32_t vcpus)
{
    node_begin_at(w, "cpu@", id);
    put_text(w, "device_type", "cpu");
    put_u32(w, "reg", id);
    put_text(w, "status", "okay");
    put_text(w, "compatible", "riscv");
    put_isa(w, options);
    put_mmu_type(w, options->mmu_type);
    put_block_size(w, "riscv,cbom-block-size", options->cbom_block_size);
    put_block_size(w, "riscv,cboz-block-size", options->cboz_block_size);
    put_block_size(w, "riscv,cbop-block-size", options->cbop_block_size);
    put_u32(w, "phandle", VCPU_INTC_PHANDLES + vcpus + id);

    node_begin(w, "interrupt-controller");
    put_text(w, "compatible", "riscv,cpu-intc");
    put_u32(w, "#address-cells", 0);
    put_u32(w, "#interrupt-cells", 1);
    put_flag(w, "interrupt-controller");
    put_u32(w, "phandle", VCPU_INTC_PHANDLES + id);
    node_end(w);
    node_end(w);
}

/* All vCPUs are alike to the guest: one cluster. */
static void cpu_map_write(struct writer *w, uint32_t vcpus)
{
    node_begin(w, "cpu-map");
    node_begin(w, "cluster0");
    for (uint32_t id = 0; id < vcpus; id++) {
        char name[NAME_MAX_LENGTH];
        format(name, sizeof(name), "core%u", (unsigned)id);
        node_begin(w, name);
        put_u32(w, "cpu", VCPU_INTC_PHANDLES + vcpus + id);
        node_end(w);
    }
    node_end(w);
    node_end(w);
}

static void cpus_write(struct writer *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    uint32_t vcpus = capsule->config.vcpus;

    node_begin(w, "cpus");
    put_cells_counts(w, 1, 0);
    put_u32(w, "timebase-frequency", options->timebase_hz);
    for (uint32_t id = 0; id < vcpus; id++) {
        vcpu_write(w, options, id, vcpus);
    }
    if (vcpus > 1) {
        cpu_map_write(w, vcpus);
    }
    node_end(w);
}

/* The console's UART, by the name of its class. */
static const struct device *uart_find(const struct device_bus *bus)
{
    for (size_t i = 0; i < bus->count; i++) {
        if (strcmp(bus->devices[i]->class->name, GUEST_TREE_UART_CLASS) == 0) {
            return bus->devices[i];
        }
    }
    return NULL;
}

static void chosen_write(struct writer *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    const struct range *initrd = &capsule->plan.initrd;
    const struct device *uart = uart_find(&capsule->bus);
    char path[NAME_MAX_LENGTH + sizeof("/soc/serial@")];

    node_begin(w, "chosen");
    put_text(w, "bootargs", capsule->config.bootargs);
    if (uart != NULL) {
        format(path, sizeof(path), "/soc/serial@%llx", (unsigned long long)uart->window.base);
        put_text(w, "stdout-path", path);
    }
    if (initrd->size != 0) {
        put_u64(w, "linux,initrd-start", initrd->base);
        put_u64(w, "linux,initrd-end", initrd->base + initrd->size);
    }
    if (options->seed_length != 0) {
        put_bytes(w, "rng-seed", options->seed, options->seed_length);
    }
    node_end(w);
}

static void memory_write(struct writer *w, const struct capsule *capsule)
{
    fdt64_t reg[2];
    fdt64_st(&reg[0], capsule->ram.base);
    fdt64_st(&reg[1], capsule->ram.size);

    node_begin_at(w, "memory@", capsule->ram.base);
    put_text(w, "device_type", "memory");
    put_bytes(w, "reg", reg, sizeof(reg));
    node_end(w);
}

static void soc_write(struct writer *w, const struct capsule *capsule)
{
    struct tree_context context = {
        .plic_phandle = PLIC_PHANDLE,
        .vcpu_phandle_base = VCPU_INTC_PHANDLES,
        .vcpus = capsule->config.vcpus,
        .next_phandle = VCPU_INTC_PHANDLES + 2 * capsule->config.vcpus,
    };
    node_begin(w, "soc");
    put_cells_counts(w, 2, 2);
    put_text(w, "compatible", "simple-bus");
    put_flag(w, "ranges");
    for (size_t i = 0; w->error == 0 && i < capsule->bus.count; i++) {
        const struct device *device = capsule->bus.devices[i];
        if (device->class->describe != NULL) {
            w->error = device->class->describe(device, w->tree, &context);
        }
    }
    node_end(w);
}

int guest_tree_write(const struct capsule *capsule, const struct guest_tree_options *options, void *buffer, size_t size)
{
    static const char compatible[] = "riscv-virtio\0diosix,capsule";
    struct writer w = {.tree = buffer};

    w.error = fdt_create(buffer, (int)MIN(size, (size_t)INT_MAX));
    w.error = w.error == 0 ? fdt_finish_reservemap(buffer) : w.error;
    node_begin(&w, "");
    put_cells_counts(&w, 2, 2);
    put_bytes(&w, "compatible", compatible, sizeof(compatible));
    put_text(&w, "model", "diosix capsule");
    chosen_write(&w, capsule, options);
    memory_write(&w, capsule);
    cpus_write(&w, capsule, options);
    soc_write(&w, capsule);
    node_end(&w);
    w.error = w.error == 0 ? fdt_finish(buffer) : w.error;
    return w.error == 0 ? (int)fdt_totalsize(buffer) : w.error;
}
