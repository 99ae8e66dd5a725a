/* SPDX-License-Identifier: MIT
 *
 * The power switch's model: one register, two values that mean something.
 */
#include "device/syscon.h"

#include <string.h>

#include "device/tree_node.h"

enum { VALUE_POWER_OFF = 0x5555, VALUE_REBOOT = 0x7777 };

static void control_write(struct device *device, uint32_t index, uint64_t value)
{
    struct syscon *syscon = CONTAINER_OF(device, struct syscon, device);

    (void)index;
    if (value == VALUE_POWER_OFF || value == VALUE_REBOOT) {
        syscon->request(syscon->arg, value == VALUE_REBOOT);
    }
}

static void describe_action(struct tree_node *node, const char *name, const char *compatible, size_t compatible_size,
                            uint32_t phandle, uint32_t value)
{
    tree_node_begin(node, name);
    tree_node_strings(node, "compatible", compatible, compatible_size);
    tree_node_cell(node, "regmap", phandle);
    tree_node_cell(node, "offset", 0);
    tree_node_cell(node, "value", value);
    tree_node_end(node);
}

static int syscon_describe(const struct device *device, void *tree, struct tree_context *context)
{
    static const char compatible[] = "sifive,test1\0sifive,test0\0syscon";
    static const char power_off[] = "syscon-poweroff";
    static const char reboot[] = "syscon-reboot";
    struct tree_node node = {.tree = tree};
    uint32_t phandle = context->next_phandle++;

    tree_node_begin_device(&node, "test", device);
    tree_node_strings(&node, "compatible", compatible, sizeof(compatible));
    tree_node_cell(&node, "phandle", phandle);
    tree_node_end(&node);
    describe_action(&node, "poweroff", power_off, sizeof(power_off), phandle, VALUE_POWER_OFF);
    describe_action(&node, "reboot", reboot, sizeof(reboot), phandle, VALUE_REBOOT);
    return node.error;
}

static const struct device_register registers[] = {
    {.name = "control", .offset = 0, .width = 4, .access = REG_W, .write = control_write},
};

static const struct device_class syscon_class = {
    .name = "syscon",
    .registers = registers,
    .register_count = ARRAY_LENGTH(registers),
    .describe = syscon_describe,
};

void syscon_init(struct syscon *syscon, gpa_t base, void (*request)(void *arg, bool reboot), void *arg)
{
    assert(request != NULL);
    memset(syscon, 0, sizeof(*syscon));
    syscon->device.class = &syscon_class;
    syscon->device.window = (struct range){base.at, SYSCON_WINDOW_SIZE};
    syscon->request = request;
    syscon->arg = arg;
}
