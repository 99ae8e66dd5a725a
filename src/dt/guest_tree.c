/* SPDX-License-Identifier: MIT
 *
 * Writes a guest's device tree with libfdt's sequential calls, in the shape of QEMU's virt machine, in parts: whoever
 * starts a capsule keeps nobody waiting. Names are not looked for among those that are there already, which would
 * take most of the time: the tree holds them as often as they are used.
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
    SEED_LENGTH = 64,
};

/* Once one step fails all later ones do nothing, so that only the end has to ask. */
static void node_begin(struct guest_tree *w, const char *name)
{
    w->error = w->error == 0 ? fdt_begin_node(w->buffer, name) : w->error;
}

static void node_begin_at(struct guest_tree *w, const char *name, uint64_t address)
{
    char text[NAME_MAX_LENGTH];
    format(text, sizeof(text), "%s%llx", name, (unsigned long long)address);
    node_begin(w, text);
}

static void node_end(struct guest_tree *w)
{
    w->error = w->error == 0 ? fdt_end_node(w->buffer) : w->error;
}

static void put_bytes(struct guest_tree *w, const char *name, const void *bytes, size_t length)
{
    if (w->error == 0) {
        w->error = length > INT_MAX ? -FDT_ERR_NOSPACE : fdt_property(w->buffer, name, bytes, (int)length);
    }
}

static void put_text(struct guest_tree *w, const char *name, const char *text)
{
    put_bytes(w, name, text, strlen(text) + 1);
}

static void put_flag(struct guest_tree *w, const char *name)
{
    put_bytes(w, name, "", 0);
}

static void put_u32(struct guest_tree *w, const char *name, uint32_t value)
{
    w->error = w->error == 0 ? fdt_property_u32(w->buffer, name, value) : w->error;
}

static void put_u64(struct guest_tree *w, const char *name, uint64_t value)
{
    w->error = w->error == 0 ? fdt_property_u64(w->buffer, name, value) : w->error;
}

static void put_cells_counts(struct guest_tree *w, uint32_t address_cells, uint32_t size_cells)
{
    put_u32(w, "#address-cells", address_cells);
    put_u32(w, "#size-cells", size_cells);
}

/* The same said twice, in the older form and in the one that Linux prefers since 6.7. */
static void put_isa(struct guest_tree *w, const struct guest_tree_options *options)
{
    if (isa_extensions(options->isa) == NULL) {
        return;
    }
    put_text(w, "riscv,isa", options->isa);
    put_text(w, "riscv,isa-base", strncmp(options->isa, "rv32", 4) == 0 ? "rv32i" : "rv64i");
    put_bytes(w, "riscv,isa-extensions", options->isa_list, options->isa_list_length);
}

static void put_block_size(struct guest_tree *w, const char *name, uint32_t size)
{
    if (size != 0) {
        put_u32(w, name, size);
    }
}

static void put_mmu_type(struct guest_tree *w, const char *type)
{
    char text[NAME_MAX_LENGTH];
    if (type[0] != '\0') {
        format(text, sizeof(text), "riscv,%s", type);
        put_text(w, "mmu-type", text);
    }
}

static void vcpu_write(struct guest_tree *w, const struct guest_tree_options *options, uint32_t id, uint32_t vcpus)
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
static void cpu_map_write(struct guest_tree *w, uint32_t vcpus)
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

static void chosen_write(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
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
    if (options->random != NULL) {
        uint8_t seed[SEED_LENGTH];
        options->random(seed, sizeof(seed));
        put_bytes(w, "rng-seed", seed, sizeof(seed));
    }
    node_end(w);
}

static void memory_write(struct guest_tree *w, const struct capsule *capsule)
{
    fdt64_t reg[2];
    fdt64_st(&reg[0], capsule->ram.base);
    fdt64_st(&reg[1], capsule->ram.size);

    node_begin_at(w, "memory@", capsule->ram.base);
    put_text(w, "device_type", "memory");
    put_bytes(w, "reg", reg, sizeof(reg));
    node_end(w);
}

/* --- the parts: true when one is whole --------------------------------------------------------------------------- */

typedef bool part(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options);

static bool begin(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    (void)options;
    static const char compatible[] = "riscv-virtio\0diosix,capsule";
    w->next_phandle = VCPU_INTC_PHANDLES + 2 * capsule->config.vcpus;
    w->error = fdt_create_with_flags(w->buffer, (int)MIN(w->size, (size_t)INT_MAX), FDT_CREATE_FLAG_NO_NAME_DEDUP);
    w->error = w->error == 0 ? fdt_finish_reservemap(w->buffer) : w->error;
    node_begin(w, "");
    put_cells_counts(w, 2, 2);
    put_bytes(w, "compatible", compatible, sizeof(compatible));
    put_text(w, "model", "diosix capsule");
    return true;
}

static bool chosen_and_memory(struct guest_tree *w, const struct capsule *capsule,
                              const struct guest_tree_options *options)
{
    chosen_write(w, capsule, options);
    memory_write(w, capsule);
    return true;
}

static bool cpus_begin(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    (void)capsule;
    node_begin(w, "cpus");
    put_cells_counts(w, 1, 0);
    put_u32(w, "timebase-frequency", options->timebase_hz);
    return true;
}

static bool next_vcpu(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    vcpu_write(w, options, w->item, capsule->config.vcpus);
    return w->item + 1 >= capsule->config.vcpus;
}

static bool cpus_end(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    (void)options;
    if (capsule->config.vcpus > 1) {
        cpu_map_write(w, capsule->config.vcpus);
    }
    node_end(w);
    return true;
}

static bool soc_begin(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    (void)capsule, (void)options;
    node_begin(w, "soc");
    put_cells_counts(w, 2, 2);
    put_text(w, "compatible", "simple-bus");
    put_flag(w, "ranges");
    return true;
}

static bool next_device(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    (void)options;
    struct tree_context context = {
        .plic_phandle = PLIC_PHANDLE,
        .vcpu_phandle_base = VCPU_INTC_PHANDLES,
        .vcpus = capsule->config.vcpus,
        .next_phandle = w->next_phandle,
    };
    if (w->item >= capsule->bus.count) {
        return true;
    }
    const struct device *device = capsule->bus.devices[w->item];
    if (device->class->describe != NULL && w->error == 0) {
        w->error = device->class->describe(device, w->buffer, &context);
        w->next_phandle = context.next_phandle;
    }
    return false;
}

static bool finish(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    (void)capsule, (void)options;
    node_end(w); /* soc */
    node_end(w);
    w->error = w->error == 0 ? fdt_finish(w->buffer) : w->error;
    return true;
}

static bool clear(struct guest_tree *w, const struct capsule *capsule, const struct guest_tree_options *options)
{
    (void)capsule, (void)options;
    const size_t length = fdt_totalsize(w->buffer);
    memset((char *)w->buffer + length, 0, w->size - length); /* names, collected at the end while it was written */
    return true;
}

static part *const parts[] = {begin,     chosen_and_memory, cpus_begin, next_vcpu, cpus_end,
                              soc_begin, next_device,       finish,     clear};

void guest_tree_begin(struct guest_tree *tree, void *buffer, size_t size)
{
    *tree = (struct guest_tree){.buffer = buffer, .size = size};
}

bool guest_tree_step(struct guest_tree *tree, const struct capsule *capsule, const struct guest_tree_options *options)
{
    if (parts[tree->part](tree, capsule, options)) {
        tree->part++;
        tree->item = 0;
    } else {
        tree->item++;
    }
    return tree->error != 0 || tree->part == ARRAY_LENGTH(parts);
}
