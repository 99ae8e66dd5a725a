/* SPDX-License-Identifier: MIT
 *
 * One capsule's node of the manifest → struct capsule_config. One table row per property, one small reader each;
 * a property without a row is refused.
 */
#include <string.h>

#include <libfdt.h>

#include "lib/format.h"
#include "manifest/capsule_node.h"

/* The property being read, and where it leads. */
struct reading {
    const struct manifest *manifest;
    struct capsule_config *config;
    struct refusal *refusal;
    const char *property;
    const uint8_t *value; /* in the blob: only 4-byte aligned at best */
    size_t length;
};

struct property_row {
    const char *name;
    enum dx_error (*read)(const struct reading *r);
};

/* Guest-physical addresses have at most this many bits: Sv32x4 reaches 34, the others as far as a PMP entry. */
static unsigned address_bits(void)
{
    return XLEN == 32 ? 34 : 56;
}

struct printable printable(const char *name)
{
    struct printable out = {.text = ""};
    for (size_t i = 0; i < sizeof(out.text) - 1 && name[i] != '\0'; i++) {
        out.text[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    }
    return out;
}

bool property_is_dtc_own(const char *name)
{
    return strcmp(name, "phandle") == 0 || strcmp(name, "linux,phandle") == 0;
}

/* Every refusal of a property names the capsule, the property and the reason. */
static enum dx_error wrong(const struct reading *r, enum dx_error error, const char *pattern, ...)
    __attribute__((format(printf, 3, 4)));
static enum dx_error wrong(const struct reading *r, enum dx_error error, const char *pattern, ...)
{
    char reason[REFUSAL_TEXT_MAX];
    va_list arguments;
    va_start(arguments, pattern);
    (void)format_list(reason, sizeof(reason), pattern, arguments);
    va_end(arguments);
    return refuse(r->refusal, error, "capsule %s: %s: %s", r->config->name, printable(r->property).text, reason);
}

/* --- values: their type is only known by their length -------------------------------------------------------- */

static enum dx_error read_cell(const struct reading *r, uint32_t *cell)
{
    if (r->length != sizeof(fdt32_t)) {
        return wrong(r, DX_BAD_VALUE, "must be one number of 32 bits, has %zu bytes", r->length);
    }
    *cell = fdt32_ld((const fdt32_t *)(const void *)r->value);
    return DX_OK;
}

/* <…> is 32 bits, /bits/ 64 <…> and <high low> are 64. */
static enum dx_error read_number(const struct reading *r, uint64_t *number)
{
    if (r->length == sizeof(fdt64_t)) {
        *number = fdt64_ld((const fdt64_t *)(const void *)r->value);
        return DX_OK;
    }
    if (r->length != sizeof(fdt32_t)) {
        return wrong(r, DX_BAD_VALUE, "must be one number of 32 or 64 bits, has %zu bytes", r->length);
    }
    *number = fdt32_ld((const fdt32_t *)(const void *)r->value);
    return DX_OK;
}

static enum dx_error read_string(const struct reading *r, const char **string)
{
    const uint8_t *end = r->length == 0 ? NULL : memchr(r->value, '\0', r->length);
    if (end == NULL || end != r->value + r->length - 1) {
        return wrong(r, DX_BAD_VALUE, "must be one string");
    }
    *string = (const char *)r->value;
    return DX_OK;
}

static enum dx_error read_flag(const struct reading *r, bool *flag)
{
    if (r->length != 0) {
        return wrong(r, DX_BAD_VALUE, "takes no value, has %zu bytes", r->length);
    }
    *flag = true;
    return DX_OK;
}

/* bytes is where either of the two properties, such as kernel and kernel-image, puts what it found. */
static enum dx_error take_blob(const struct reading *r, struct blob *blob, const uint8_t *bytes, size_t length)
{
    if (blob->bytes != NULL) {
        return wrong(r, DX_DUPLICATE, "given both as data and as an image; choose one");
    }
    if (length == 0) {
        return wrong(r, DX_BAD_VALUE, "is empty");
    }
    *blob = (struct blob){.bytes = bytes, .length = length};
    return DX_OK;
}

static int image_by_phandle(const struct manifest *manifest, uint32_t phandle)
{
    if (manifest->images < 0 || phandle == 0) {
        return -FDT_ERR_NOTFOUND;
    }
    int node = fdt_first_subnode(manifest->blob, manifest->images);
    while (node >= 0 && fdt_get_phandle(manifest->blob, node) != phandle) {
        node = fdt_next_subnode(manifest->blob, node);
    }
    return node;
}

static enum dx_error take_image(const struct reading *r, struct blob *blob)
{
    uint32_t phandle = 0;
    enum dx_error error = read_cell(r, &phandle);
    if (error != DX_OK) {
        return error;
    }
    const void *tree = r->manifest->blob;
    int node = image_by_phandle(r->manifest, phandle);
    if (node < 0) {
        return wrong(r, DX_NOT_FOUND, "must refer to a node in /images");
    }
    int length = 0;
    const void *data = fdt_getprop(tree, node, "data", &length);
    if (data == NULL) {
        struct printable name = printable(fdt_get_name(tree, node, NULL));
        return wrong(r, DX_MISSING, "/images/%s has no data", name.text);
    }
    return take_blob(r, blob, data, (size_t)length);
}

/* --- one reader per property ---------------------------------------------------------------------------------- */

static enum dx_error on_vcpus(const struct reading *r)
{
    uint32_t vcpus = 0;
    enum dx_error error = read_cell(r, &vcpus);
    if (error != DX_OK) {
        return error;
    }
    if (vcpus < 1 || vcpus > CAPSULE_VCPUS_MAX) {
        return wrong(r, DX_BAD_VALUE, "must be 1 to %d, is %u", CAPSULE_VCPUS_MAX, (unsigned)vcpus);
    }
    r->config->vcpus = vcpus;
    return DX_OK;
}

static enum dx_error on_memory(const struct reading *r)
{
    uint64_t memory = 0;
    enum dx_error error = read_number(r, &memory);
    if (error != DX_OK) {
        return error;
    }
    if (memory == 0) {
        return wrong(r, DX_BAD_VALUE, "must not be 0");
    }
    if (memory % PAGE_SIZE != 0) {
        return wrong(r, DX_UNALIGNED, "must be a multiple of 4 KiB, is 0x%llx", (unsigned long long)memory);
    }
    if (memory > UINT64_C(1) << address_bits()) {
        return wrong(r, DX_BAD_VALUE, "0x%llx is more than %u bits of address reach", (unsigned long long)memory,
                     address_bits());
    }
    r->config->memory = memory;
    return DX_OK;
}

static enum dx_error on_memory_base(const struct reading *r)
{
    uint64_t base = 0;
    enum dx_error error = read_number(r, &base);
    if (error != DX_OK) {
        return error;
    }
    if (base % PAGE_SIZE != 0) {
        return wrong(r, DX_UNALIGNED, "must be a multiple of 4 KiB, is 0x%llx", (unsigned long long)base);
    }
    r->config->has_memory_base = true;
    r->config->memory_base = base;
    return DX_OK;
}

static enum dx_error on_isolation(const struct reading *r)
{
    static const char *const wishes[] = {
        [ISOLATION_AUTO] = "auto",
        [ISOLATION_PMP] = "pmp",
        [ISOLATION_HYP] = "hyp",
    };
    const char *wish = "";
    enum dx_error error = read_string(r, &wish);
    if (error != DX_OK) {
        return error;
    }
    for (unsigned i = 0; i < ARRAY_LENGTH(wishes); i++) {
        if (strcmp(wish, wishes[i]) == 0) {
            r->config->isolation = (enum isolation_wish)i;
            return DX_OK;
        }
    }
    return wrong(r, DX_BAD_VALUE, "must be \"auto\", \"pmp\" or \"hyp\"");
}

static enum dx_error on_kernel(const struct reading *r)
{
    return take_blob(r, &r->config->kernel, r->value, r->length);
}

static enum dx_error on_kernel_image(const struct reading *r)
{
    return take_image(r, &r->config->kernel);
}

static enum dx_error on_kernel_offset(const struct reading *r)
{
    r->config->has_kernel_offset = true;
    return read_number(r, &r->config->kernel_offset);
}

static enum dx_error on_initrd(const struct reading *r)
{
    return take_blob(r, &r->config->initrd, r->value, r->length);
}

static enum dx_error on_initrd_image(const struct reading *r)
{
    return take_image(r, &r->config->initrd);
}

static enum dx_error on_bootargs(const struct reading *r)
{
    if (r->length > CAPSULE_BOOTARGS_MAX + 1) {
        return wrong(r, DX_BAD_VALUE, "must not be longer than %d characters", CAPSULE_BOOTARGS_MAX);
    }
    return read_string(r, &r->config->bootargs);
}

static enum dx_error on_manager(const struct reading *r)
{
    return read_flag(r, &r->config->manager);
}

static enum dx_error on_manual(const struct reading *r)
{
    return read_flag(r, &r->config->manual);
}

static enum dx_error on_restart(const struct reading *r)
{
    const char *wish = "";
    enum dx_error error = read_string(r, &wish);
    if (error != DX_OK) {
        return error;
    }
    if (strcmp(wish, "on-failure") == 0 || strcmp(wish, "always") == 0) {
        return wrong(r, DX_NOT_SUPPORTED, "\"%s\" is not supported yet", wish);
    }
    if (strcmp(wish, "never") != 0) {
        return wrong(r, DX_BAD_VALUE, "must be \"never\", \"on-failure\" or \"always\"");
    }
    return DX_OK;
}

/* Shares of the harts: only what every capsule gets anyway can be asked for. */
static enum dx_error only_default(const struct reading *r, uint32_t usual)
{
    uint32_t value = 0;
    enum dx_error error = read_cell(r, &value);
    if (error != DX_OK) {
        return error;
    }
    if (value != usual) {
        return wrong(r, DX_NOT_SUPPORTED, "values other than %u are not supported yet", (unsigned)usual);
    }
    return DX_OK;
}

static enum dx_error on_priority(const struct reading *r)
{
    return only_default(r, 0);
}

static enum dx_error on_weight(const struct reading *r)
{
    return only_default(r, 100);
}

/* Names that are spoken for: a capsule that relies on one must not run as if it were honoured. */
static enum dx_error on_reserved(const struct reading *r)
{
    return wrong(r, DX_NOT_SUPPORTED, "is not supported yet");
}

static const struct property_row rows[] = {
    {"vcpus", on_vcpus},
    {"memory", on_memory},
    {"memory-base", on_memory_base},
    {"isolation", on_isolation},
    {"kernel", on_kernel},
    {"kernel-image", on_kernel_image},
    {"kernel-offset", on_kernel_offset},
    {"initrd", on_initrd},
    {"initrd-image", on_initrd_image},
    {"bootargs", on_bootargs},
    {"manager", on_manager},
    {"manual", on_manual},
    {"restart", on_restart},
    {"priority", on_priority},
    {"weight", on_weight},
    {"harts", on_reserved},
    {"dedicated", on_reserved},
    {"quota", on_reserved},
    {"watchdog", on_reserved},
    {"rate", on_reserved},
    {"isolated", on_reserved},
    {"after", on_reserved},
};
static_assert(ARRAY_LENGTH(rows) <= 32, "one bit of seen for each");

/* --- the node ------------------------------------------------------------------------------------------------- */

static enum dx_error read_property(const struct reading *r, uint32_t *seen)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(rows); i++) {
        if (strcmp(rows[i].name, r->property) != 0) {
            continue;
        }
        if ((*seen & UINT32_C(1) << i) != 0) {
            return wrong(r, DX_DUPLICATE, "is given twice");
        }
        *seen |= UINT32_C(1) << i;
        return rows[i].read(r);
    }
    return property_is_dtc_own(r->property) ? DX_OK : wrong(r, DX_UNKNOWN, "there is no such property");
}

static enum dx_error read_properties(struct reading *r, int node)
{
    const void *tree = r->manifest->blob;
    uint32_t seen = 0;
    int property = 0;
    fdt_for_each_property_offset(property, tree, node)
    {
        int length = 0;
        r->value = fdt_getprop_by_offset(tree, property, &r->property, &length);
        if (r->value == NULL) {
            return refuse(r->refusal, DX_BAD_TREE, "capsule %s: %s", r->config->name, fdt_strerror(length));
        }
        r->length = (size_t)length;
        enum dx_error error = read_property(r, &seen);
        if (error != DX_OK) {
            return error;
        }
    }
    return DX_OK;
}

/* Child nodes are devices; none can be had yet, but a known type deserves a better answer than a misspelt one. */
static enum dx_error check_children(const struct manifest *manifest, int node, const struct capsule_config *config,
                                    struct refusal *refusal)
{
    static const char *const types[] = {"disk", "net", "rng", "console"};
    int child = fdt_first_subnode(manifest->blob, node);
    if (child < 0) {
        return DX_OK;
    }
    struct printable name = printable(fdt_get_name(manifest->blob, child, NULL));
    for (unsigned i = 0; i < ARRAY_LENGTH(types); i++) {
        int length = 0;
        const char *type = fdt_getprop(manifest->blob, child, "type", &length);
        if (type != NULL && (size_t)length == strlen(types[i]) + 1 && memcmp(type, types[i], (size_t)length) == 0) {
            return refuse(refusal, DX_NOT_SUPPORTED, "capsule %s: %s: devices of type \"%s\" are not supported yet",
                          config->name, name.text, types[i]);
        }
    }
    return refuse(refusal, DX_UNKNOWN, "capsule %s: %s: not a device of a known type", config->name, name.text);
}

/* What can only be judged when every property has been read. */
static enum dx_error check_whole(const struct capsule_config *config, struct refusal *refusal)
{
    if (config->memory == 0) {
        return refuse(refusal, DX_MISSING, "capsule %s: memory: must be given", config->name);
    }
    if (config->kernel.bytes == NULL) {
        return refuse(refusal, DX_MISSING, "capsule %s: kernel: kernel or kernel-image must be given", config->name);
    }
    struct range reach = {.base = 0, .size = UINT64_C(1) << address_bits()};
    if (!range_holds(reach, config->memory_base, config->memory)) {
        return refuse(refusal, DX_BAD_VALUE, "capsule %s: memory-base: 0x%llx and 0x%llx bytes end beyond %u bits",
                      config->name, (unsigned long long)config->memory_base, (unsigned long long)config->memory,
                      address_bits());
    }
    return DX_OK;
}

static bool name_allowed(const char *name)
{
    size_t length = strnlen(name, CAPSULE_NAME_MAX + 1);
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return length >= 1 && length <= CAPSULE_NAME_MAX;
}

enum dx_error capsule_node_read(const struct manifest *manifest, int node, struct capsule_config *config,
                                struct refusal *refusal)
{
    const char *name = fdt_get_name(manifest->blob, node, NULL);
    struct printable shown = printable(name);
    *config = (struct capsule_config){.vcpus = 1, .bootargs = ""};
    memcpy(config->name, shown.text, sizeof(config->name));
    if (!name_allowed(name)) {
        return refuse(refusal, DX_BAD_VALUE, "capsule %s: a name is 1 to %d of a-z, 0-9 and -", shown.text,
                      CAPSULE_NAME_MAX);
    }

    struct reading reading = {.manifest = manifest, .config = config, .refusal = refusal};
    enum dx_error error = read_properties(&reading, node);
    if (error == DX_OK) {
        error = check_children(manifest, node, config, refusal);
    }
    return error == DX_OK ? check_whole(config, refusal) : error;
}
