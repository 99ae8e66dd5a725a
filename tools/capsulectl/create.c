/* SPDX-License-Identifier: MIT
 *
 * Making capsules: see create.h. A capsule file is a compiled manifest with one capsule, or its source.
 */
#include "create.h"

#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capsulectl.h"
#include "serve.h"
#include "unpack.h"
#include "watch.h"

enum { DEVICES_MAX = 8 }; /* of a capsule */
enum { UPLOAD_STEP = 256 * 1024, TREE_ROOM = 8192, PERCENT = 100 };

static struct file read_file(const char *path)
{
    struct file file = {NULL, 0};
    size_t room = 0;
    FILE *stream = fopen(path, "rb");
    if (stream == NULL) {
        die(EXIT_USAGE, "%s: %s", path, strerror(errno));
    }
    do {
        room = room == 0 ? 1 << 20 : room * 2;
        file.bytes = realloc(file.bytes, room);
        if (file.bytes == NULL) {
            die(EXIT_USAGE, "%s: no memory for it", path);
        }
        file.length += fread(file.bytes + file.length, 1, room - file.length, stream);
    } while (file.length == room);
    if (ferror(stream)) {
        die(EXIT_USAGE, "%s: %s", path, strerror(errno));
    }
    fclose(stream);
    return file;
}

/* --- capsule files ----------------------------------------------------------------------------------------------- */

static int is_tree(const struct file *file)
{
    return file->length >= sizeof(struct fdt_header) && fdt_check_header(file->bytes) == 0 &&
           fdt_totalsize(file->bytes) <= file->length;
}

/* By dtc, if there is one. */
static struct file compile(const char *source)
{
    char path[] = "/tmp/capsulectl-XXXXXX";
    const int made = mkstemp(path);
    if (made < 0) {
        die(EXIT_USAGE, "%s: %s", path, strerror(errno));
    }
    close(made);
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        execlp("dtc", "dtc", "-q", "-I", "dts", "-O", "dtb", "-o", path, source, (char *)NULL);
        fprintf(stderr,
                "capsulectl: %s: it isn't compiled, and there is no dtc here to do it: compile it elsewhere "
                "with `dtc -I dts -O dtb`\n",
                source);
        _exit(EXIT_USAGE);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0) {
        unlink(path);
        exit(EXIT_USAGE); /* the reason has been said */
    }
    const struct file tree = read_file(path);
    unlink(path);
    return tree;
}

static struct file read_tree(const char *path)
{
    struct file file = read_file(path);
    if (!is_tree(&file)) {
        free(file.bytes);
        file = compile(path);
    }
    if (!is_tree(&file)) {
        die(EXIT_USAGE, "%s: it is not a capsule file", path);
    }
    file.length = fdt_totalsize(file.bytes);
    return file;
}

/* The one node below /capsules. Exits if the file has none, or several. */
static int capsule_node(const struct file *tree, const char *path)
{
    if (fdt_check_full(tree->bytes, tree->length) != 0) {
        die(EXIT_USAGE, "%s: the tree is damaged", path);
    }
    if (fdt_node_check_compatible(tree->bytes, 0, "diosix,manifest") != 0) {
        die(EXIT_USAGE, "%s: compatible: the root must say \"diosix,manifest\"", path);
    }
    const int capsules = fdt_path_offset(tree->bytes, "/capsules");
    const int node = capsules < 0 ? capsules : fdt_first_subnode(tree->bytes, capsules);
    if (node < 0) {
        die(EXIT_USAGE, "%s: it has no capsule: one node below /capsules must be there", path);
    }
    if (fdt_next_subnode(tree->bytes, node) >= 0) {
        die(EXIT_USAGE, "%s: it has several capsules: give each a file of its own", path);
    }
    if (fdt_path_offset(tree->bytes, "/networks") >= 0) {
        die(EXIT_USAGE, "%s: networks: only the manifest that the machine boots with makes networks", path);
    }
    static const char *const required[][2] = {{"memory", "memory"}, {"kernel", "kernel-image"}};
    for (size_t n = 0; n < sizeof(required) / sizeof(required[0]); n++) {
        if (fdt_getprop(tree->bytes, node, required[n][0], NULL) == NULL &&
            fdt_getprop(tree->bytes, node, required[n][1], NULL) == NULL) {
            die(EXIT_USAGE, "%s: %s: must be given", path, required[n][0]);
        }
    }
    return node;
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

static void show_progress(size_t done, size_t all)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\rsending: %3zu %% of %.1f MiB%s", (size_t)((uint64_t)done * PERCENT / all),
                (double)all / (1 << 20), done == all ? "\n" : "");
    }
}

/* What a property of one or two cells says; 0 if it isn't there. */
static uint64_t cells(const struct file *tree, int node, const char *name)
{
    int length = 0;
    const uint8_t *bytes = fdt_getprop(tree->bytes, node, name, &length);
    uint64_t value = 0;
    for (int n = 0; bytes != NULL && length <= 8 && n < length; n++) {
        value = value << 8 | bytes[n];
    }
    return value;
}

/* The new capsule's id. node: the capsule's. */
static uint32_t send_capsule(struct link *link, const struct file *tree, int node)
{
    const uint64_t vcpus = cells(tree, node, "vcpus");
    const struct dx_control_create create = {
        .bytes = tree->length,
        .memory = cells(tree, node, "memory"),
        .vcpus = vcpus == 0 ? 1 : (uint32_t)vcpus,
    };
    struct dx_control_create_reply reply;
    link_get(link, DX_CONTROL_CREATE, &create, sizeof(create), NULL, 0);
    for (size_t done = 0; done < tree->length;) {
        const size_t part = tree->length - done < UPLOAD_STEP ? tree->length - done : UPLOAD_STEP;
        link_write(link, tree->bytes + done, part);
        done += part;
        show_progress(done, tree->length);
    }
    link_get_reply(link, DX_CONTROL_CREATE, &reply, sizeof(reply));
    return reply.id;
}

static uint32_t send_and_start(struct link *link, const struct file *tree, int node)
{
    const struct dx_control_request request = {.what = DX_CONTROL_START, .id = send_capsule(link, tree, node)};
    link_get(link, DX_CONTROL_REQUEST, &request, sizeof(request), NULL, 0);
    return request.id;
}

void create_and_start(struct link *link, const char *path)
{
    struct file tree = read_tree(path);
    const int node = capsule_node(&tree, path);
    printf("%s: runs, with ID %" PRIu32 "\n", fdt_get_name(tree.bytes, node, NULL), send_and_start(link, &tree, node));
    free(tree.bytes);
}

int create_verb(struct link *link, char **arguments)
{
    for (; *arguments != NULL; arguments++) {
        struct file tree = read_tree(*arguments);
        const int node = capsule_node(&tree, *arguments);
        const char *name = fdt_get_name(tree.bytes, node, NULL);
        const uint32_t id = send_capsule(link, &tree, node);
        printf("%s: created, with ID %" PRIu32 "; `capsulectl start %s` runs it\n", name, id, name);
        free(tree.bytes);
    }
    return 0;
}

int check_verb(struct link *link, char **arguments)
{
    (void)link;
    for (; *arguments != NULL; arguments++) {
        struct file tree = read_tree(*arguments);
        const int node = capsule_node(&tree, *arguments);
        printf("%s: capsule %s, %.1f MiB: what can be said without the hypervisor is in order\n", *arguments,
               fdt_get_name(tree.bytes, node, NULL), (double)tree.length / (1 << 20));
        free(tree.bytes);
    }
    return 0;
}

int quota_verb(struct link *link, char **arguments)
{
    struct dx_control_quota_reply quota;
    (void)arguments;
    link_get(link, DX_CONTROL_QUOTA, "", 0, &quota, sizeof(quota));
    printf("        %10s %10s\n", "USED", "QUOTA");
    printf("memory  %6.1f MiB %6.1f MiB\n", (double)quota.memory_used / (1 << 20), (double)quota.memory / (1 << 20));
    printf("vCPUs   %10" PRIu32 " %10" PRIu32 "\n", quota.vcpus_used, quota.vcpus);
    return 0;
}

/* --- run --------------------------------------------------------------------------------------------------------- */

struct plan {
    const char *name, *kernel, *initrd, *bootargs, *restart;
    uint64_t memory;
    uint32_t vcpus;
    int attaches;
    const char *networks[DEVICES_MAX], *disks[DEVICES_MAX];
    unsigned network_count, disk_count;
    pid_t servers[DEVICES_MAX]; /* of disks that are files; 0: it is none */
};

static uint64_t number(const char *option, const char *text, int with_unit)
{
    static const char units[] = "KMG";
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 0);
    const char *unit = *end == '\0' ? NULL : strchr(units, *end & ~0x20);
    if (end == text || errno != 0 || *text == '-' || (*end != '\0' && (!with_unit || unit == NULL || end[1] != '\0'))) {
        die(EXIT_USAGE, "%s %s: it must be a number%s", option, text, with_unit ? ", as in 128M (K, M, G)" : "");
    }
    const unsigned shift = unit == NULL ? 0 : 10 * (unsigned)(unit - units + 1);
    if (value > UINT64_MAX >> shift) {
        die(EXIT_USAGE, "%s %s: it is too large", option, text);
    }
    return value << shift;
}

static void add_device(const char *option, const char **list, unsigned *count, const char *value)
{
    if (*count == DEVICES_MAX) {
        die(EXIT_USAGE, "run: %s: a capsule has at most %d devices", option, DEVICES_MAX);
    }
    list[(*count)++] = value;
}

static void read_option(struct plan *plan, const char *option, const char *value)
{
    if (strcmp(option, "--initrd") == 0) {
        plan->initrd = value;
    } else if (strcmp(option, "--bootargs") == 0) {
        plan->bootargs = value;
    } else if (strcmp(option, "--restart") == 0) {
        if (strcmp(value, "never") != 0 && strcmp(value, "on-failure") != 0 && strcmp(value, "always") != 0) {
            die(EXIT_USAGE, "run: --restart %s: it is never, on-failure or always", value);
        }
        plan->restart = value;
    } else if (strcmp(option, "--memory") == 0) {
        plan->memory = number(option, value, 1);
    } else if (strcmp(option, "--vcpus") == 0) {
        plan->vcpus = (uint32_t)number(option, value, 0);
    } else if (strcmp(option, "--network") == 0) {
        add_device(option, plan->networks, &plan->network_count, value);
    } else if (strcmp(option, "--disk") == 0) {
        add_device(option, plan->disks, &plan->disk_count, value);
    } else {
        die(EXIT_USAGE,
            "run: there is no %s: -it, --initrd, --bootargs, --memory, --vcpus, --restart, --network, --disk are",
            option);
    }
}

static struct plan read_plan(char **arguments)
{
    struct plan plan = {.memory = 128 << 20, .vcpus = 1, .bootargs = "", .restart = "never"};
    for (; *arguments != NULL; arguments++) {
        const char *word = *arguments;
        if (word[0] != '-') {
            const char **to = plan.name == NULL ? &plan.name : &plan.kernel;
            if (*to != NULL) {
                die(EXIT_USAGE, "run: what is %s? NAME and KERNEL are there already", word);
            }
            *to = word;
        } else if (strcmp(word, "-it") == 0) {
            plan.attaches = 1;
        } else if (arguments[1] == NULL) {
            die(EXIT_USAGE, "run: %s needs a value", word);
        } else {
            read_option(&plan, word, *++arguments);
        }
    }
    if (plan.kernel == NULL) {
        die(EXIT_USAGE, "usage: capsulectl run " RUN_WORDS);
    }
    return plan;
}

static void must(int error)
{
    if (error < 0) {
        die(EXIT_USAGE, "run: the capsule file can't be made: %s", fdt_strerror(error));
    }
}

static void put_file(void *tree, const char *name, const struct file *file)
{
    void *room;
    must(fdt_property_placeholder(tree, name, (int)file->length, &room));
    memcpy(room, file->bytes, file->length);
}

static void put_text(void *tree, const char *name, const char *text)
{
    must(fdt_property(tree, name, text, (int)strlen(text) + 1));
}

/* A node for each of them: type says what it is, property what names it. */
static void put_devices(void *tree, const char *type, const char *property, const char *const *names, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        char node[16];
        snprintf(node, sizeof(node), "%s%u", type, n);
        must(fdt_begin_node(tree, node));
        put_text(tree, "type", type);
        put_text(tree, property, names[n]);
        must(fdt_end_node(tree));
    }
}

/* Files get a server each; disks are then found by its name. */
static void serve_files(const struct link *link, struct plan *plan)
{
    for (unsigned n = 0; n < plan->disk_count; n++) {
        char name[DX_CONTROL_NAME + sizeof("-disk0")];
        char source[sizeof(name) + sizeof("served:")];
        if (strncmp(plan->disks[n], "file:", 5) != 0) {
            continue;
        }
        if (snprintf(name, sizeof(name), "%s-disk%u", plan->name, n) >= DX_CONTROL_NAME) {
            die(EXIT_USAGE, "run: %s: its disks are named after it, so it can't be so long", plan->name);
        }
        plan->servers[n] = serve_in_background(link, name, plan->disks[n]);
        snprintf(source, sizeof(source), "served:%s", name);
        plan->disks[n] = strdup(source);
    }
}

static struct plan *serving; /* whose servers are of no use if it fails */
static pid_t serving_process;

static void end_servers(void)
{
    for (unsigned n = 0; serving != NULL && getpid() == serving_process && n < serving->disk_count; n++) {
        if (serving->servers[n] > 0) {
            kill(serving->servers[n], SIGTERM);
        }
    }
}

static struct file make_tree(const struct plan *plan)
{
    struct file kernel = unpack(read_file(plan->kernel), plan->kernel);
    struct file initrd = plan->initrd == NULL ? (struct file){NULL, 0} : read_file(plan->initrd);
    struct file tree = {NULL, kernel.length + initrd.length + strlen(plan->bootargs) + TREE_ROOM};
    if (tree.length > INT32_MAX || (tree.bytes = malloc(tree.length)) == NULL) {
        die(EXIT_USAGE, "run: no memory for a copy of %s and its initrd", plan->kernel);
    }
    must(fdt_create(tree.bytes, (int)tree.length));
    must(fdt_finish_reservemap(tree.bytes));
    must(fdt_begin_node(tree.bytes, ""));
    put_text(tree.bytes, "compatible", "diosix,manifest");
    must(fdt_begin_node(tree.bytes, "capsules"));
    must(fdt_begin_node(tree.bytes, plan->name));
    must(fdt_property_u64(tree.bytes, "memory", plan->memory));
    must(fdt_property_u32(tree.bytes, "vcpus", plan->vcpus));
    put_text(tree.bytes, "bootargs", plan->bootargs);
    put_text(tree.bytes, "restart", plan->restart);
    put_file(tree.bytes, "kernel", &kernel);
    if (initrd.bytes != NULL) {
        put_file(tree.bytes, "initrd", &initrd);
    }
    put_devices(tree.bytes, "net", "network", plan->networks, plan->network_count);
    put_devices(tree.bytes, "disk", "source", plan->disks, plan->disk_count);
    for (unsigned n = 0; n < 3; n++) {
        must(fdt_end_node(tree.bytes));
    }
    must(fdt_finish(tree.bytes));
    tree.length = fdt_totalsize(tree.bytes);
    free(kernel.bytes);
    free(initrd.bytes);
    return tree;
}

int run_verb(struct link *link, char **arguments)
{
    static struct plan plan;
    plan = read_plan(arguments);
    serving = &plan;
    serving_process = getpid();
    atexit(end_servers);
    serve_files(link, &plan);
    struct file tree = make_tree(&plan);
    const uint32_t id = send_and_start(link, &tree, capsule_node(&tree, plan.name));
    free(tree.bytes);
    serving = NULL;
    if (plan.attaches) {
        console_attach(link, id, plan.name, 0);
    } else {
        printf("%s: runs, with ID %" PRIu32 "\n", plan.name, id);
    }
    return 0;
}
