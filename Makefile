# SPDX-License-Identifier: MIT
#
# Diosix: one makefile, nothing to configure. `make help` lists what it does.

.DEFAULT_GOAL := all
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SUFFIXES:

VERSION := 0.1.0
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/diosix
PYTHON ?= /usr/bin/python3
CROSS ?= riscv64-unknown-elf-
CC := $(CROSS)gcc
OBJCOPY := $(CROSS)objcopy
SIZE := $(CROSS)size
# Debian's bare-metal linker has no -pie; its Linux one links the same objects position-independent.
LD := riscv64-linux-gnu-ld
LIBFDT_SRC ?= $(CACHE)/libfdt
CMOCKA_SRC ?= $(CACHE)/cmocka
TOOL_SRC ?= $(CACHE)/tool
CMOCKA_FLAGS := -DHAVE_MALLOC_H -DHAVE_INTTYPES_H -DHAVE_SETJMP_H -DHAVE_SIGNAL_H -DHAVE_STRINGS_H -DHAVE_TIME_H \
  -DHAVE_STRUCT_TIMESPEC -DHAVE_CLOCK_GETTIME -DHAVE_GCC_THREAD_LOCAL_STORAGE
DEBUG ?= 0
BUILD := build$(if $(filter 1,$(DEBUG)),/debug)

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wundef -Wvla -Wconversion -Wsign-conversion -Wcast-qual \
  -Wcast-align=strict -Wstrict-prototypes -Wmissing-prototypes -Wredundant-decls -Wwrite-strings -Wformat=2 \
  -Wimplicit-fallthrough -Wswitch-enum
GCC_WARNINGS := -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wimplicit-fallthrough=5
LANGUAGE := -std=gnu2x -ffreestanding -fno-common -fno-strict-aliasing
DEFINES := -DDIOSIX_VERSION='"$(VERSION)"' -DDIOSIX_DEBUG=$(DEBUG)

# --- sources -------------------------------------------------------------------------------------------------
LIBFDT_FILES := fdt.c fdt_ro.c fdt_sw.c fdt_rw.c fdt_wip.c fdt_strerror.c fdt_check.c fdt_addresses.c
PORTABLE := $(sort $(wildcard src/boot/*.c)  $(wildcard src/core/*.c src/lib/*.c src/isolation/*.c src/trap/*.c src/sbi/*.c src/device/*.c \
  src/driver/*.c src/dt/*.c src/manifest/*.c src/control/*.c src/monitor/*.c))
ARCH_C := $(sort $(filter-out src/arch/riscv/offsets.c,$(wildcard src/arch/riscv/*.c)))
ARCH_S := $(sort $(wildcard src/arch/riscv/*.S))
HYPERVISOR := $(PORTABLE) $(ARCH_C) src/main.c

.PHONY: all help clean check format unit unit-64 unit-32 fuzz coverage test test-quick test-all run image setup
all: $(BUILD)/rv64/diosix.elf $(BUILD)/rv32/diosix.elf ## build the hypervisor for both word sizes

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16
	@echo
	@echo "Variables: XLEN=64 SMP=4 MEM=1G MANIFEST=file.dts KERNEL= INITRD= APPEND= QEMU= DEBUG=1 LIBFDT_SRC="

$(LIBFDT_SRC)/libfdt.h:
	scripts/fetch-sources libfdt "$(LIBFDT_SRC)"

$(TOOL_SRC)/SHA256SUMS:
	scripts/fetch-sources tool "$(TOOL_SRC)"

$(CMOCKA_SRC)/include/cmocka.h:
	scripts/fetch-sources cmocka "$(CMOCKA_SRC)"

# --- the hypervisor, once per word size ------------------------------------------------------------------------
# -misa-spec=2.2 lets GCC 12 accept CSR instructions without _zicsr, whose multilib it doesn't have.
FLAGS_rv64 := -march=rv64imac -mabi=lp64 -misa-spec=2.2
FLAGS_rv32 := -march=rv32imac -mabi=ilp32 -misa-spec=2.2
LDFLAGS_rv64 := -m elf64lriscv
LDFLAGS_rv32 := -m elf32lriscv
TARGET_FLAGS := -mcmodel=medany -mno-save-restore -fno-pic -O2 -g -fno-omit-frame-pointer -fstack-usage \
  -ffunction-sections -fdata-sections -Wframe-larger-than=1024 -fno-stack-protector

# $(1): rv64 or rv32
define hypervisor_rules
$(BUILD)/$(1)/libfdt/%.o: $(LIBFDT_SRC)/libfdt.h
	@mkdir -p $$(@D)
	@echo '  CC   $$@'
	@$(CC) $(FLAGS_$(1)) $(LANGUAGE) $(TARGET_FLAGS) -w -Isrc/lib/include -I$(LIBFDT_SRC) -c $(LIBFDT_SRC)/$$*.c -o $$@

$(BUILD)/$(1)/%.o: %.c $(LIBFDT_SRC)/libfdt.h $(BUILD)/$(1)/offsets.h
	@mkdir -p $$(@D)
	@echo '  CC   $$@'
	@$(CC) $(FLAGS_$(1)) $(LANGUAGE) $(TARGET_FLAGS) $$(FILE_FLAGS) $(WARNINGS) $(GCC_WARNINGS) $(DEFINES) -MMD -MP \
	  -Isrc -Iinclude -isystem src/lib/include -isystem $(LIBFDT_SRC) -c $$< -o $$@

$(BUILD)/$(1)/%.o: %.S $(BUILD)/$(1)/offsets.h
	@mkdir -p $$(@D)
	@echo '  AS   $$@'
	@$(CC) $$(FLAGS_$(1)) -g -MMD -MP -Isrc -I$(BUILD)/$(1) -c $$< -o $$@

# Offsets of C structures for the assembly, computed by the compiler.
$(BUILD)/$(1)/offsets.h: src/arch/riscv/offsets.c src/arch/arch.h src/arch/pmp.h
	@mkdir -p $$(@D)
	@echo '  CC   $$@'
	@$(CC) $(FLAGS_$(1)) $(LANGUAGE) -Isrc -Iinclude -S $$< -o - | sed -n 's/^@@ \([A-Z0-9_]*\) \([0-9]*\)$$$$/#define \1 \2/p' > $$@

OBJECTS_$(1) := $(HYPERVISOR:%.c=$(BUILD)/$(1)/%.o) $(ARCH_S:%.S=$(BUILD)/$(1)/%.o) \
  $(LIBFDT_FILES:%.c=$(BUILD)/$(1)/libfdt/%.o)
$(BUILD)/$(1)/diosix.elf: $$(OBJECTS_$(1)) src/arch/riscv/diosix.ld
	@echo '  LD   $$@'
	@$(LD) $(LDFLAGS_$(1)) -pie --no-dynamic-linker -z max-page-size=4096 --gc-sections --build-id=none \
	  -T src/arch/riscv/diosix.ld $$(OBJECTS_$(1)) -o $$@
	@! riscv64-linux-gnu-readelf -r $$@ | grep -E 'R_RISCV_' | grep -v R_RISCV_RELATIVE || \
	  { echo "unexpected relocation type in $$@"; exit 1; }
# The same as a flat binary, for loaders that know no ELF.
$(BUILD)/$(1)/diosix.bin: $(BUILD)/$(1)/diosix.elf
	@$(OBJCOPY) -O binary $$< $$@
-include $$(OBJECTS_$(1):.o=.d)
endef
$(eval $(call hypervisor_rules,rv64))
$(eval $(call hypervisor_rules,rv32))

# The tool for Linux inside a manager, with others' libraries: libfdt, zlib, libzstd, cJSON.
TOOL_INCLUDES := -isystem $(LIBFDT_SRC) -isystem $(TOOL_SRC)/zlib -isystem $(TOOL_SRC)/libzstd -isystem $(TOOL_SRC)/cjson
TOOL_ZLIB := adler32.c crc32.c inffast.c inflate.c inftrees.c zutil.c
TOOL_CC_rv64 := riscv64-linux-gnu-gcc
TOOL_CC_rv32 := $(CURDIR)/scripts/rv32-cc
# $(1): rv64 or rv32
define tool_rules
$(BUILD)/$(1)/tool/libraries.a: $(LIBFDT_SRC)/libfdt.h $(TOOL_SRC)/SHA256SUMS
	@mkdir -p $$(@D)/objects
	@echo '  CC   $$@'
	@cd $$(@D)/objects && rm -f *.o ../libraries.a && $(TOOL_CC_$(1)) -O2 -w -DZSTD_DISABLE_ASM \
	  -I$(LIBFDT_SRC) -I$(TOOL_SRC)/libzstd -c $(LIBFDT_FILES:%=$(LIBFDT_SRC)/%) $(TOOL_ZLIB:%=$(TOOL_SRC)/zlib/%) \
	  $(TOOL_SRC)/libzstd/common/*.c $(TOOL_SRC)/libzstd/decompress/*.c $(TOOL_SRC)/cjson/cJSON.c && riscv64-linux-gnu-ar rc ../libraries.a *.o
$(BUILD)/$(1)/capsulectl: $(wildcard tools/capsulectl/*.[ch] include/diosix/*.h) $(BUILD)/$(1)/tool/libraries.a
	@mkdir -p $$(@D)
	@echo '  CC   $$@'
	@$(TOOL_CC_$(1)) -static -O2 -std=gnu2x $(WARNINGS) $(DEFINES) -Iinclude $(TOOL_INCLUDES) $$(filter %.c %.a,$$^) -lm -o $$@
	@riscv64-linux-gnu-strip $$@
endef
$(eval $(call tool_rules,rv64))
$(eval $(call tool_rules,rv32))

# --- unit tests: the portable sources, natively, under sanitizers, at both widths -------------------------------
UNIT_TESTS := $(sort $(wildcard tests/unit/test_*.c))
UNIT_SUPPORT := $(sort $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))
# The freestanding string functions would collide with libc's: natively libc's are used, and ours are renamed in their test.
NATIVE_PORTABLE := $(filter-out src/lib/string.c src/lib/builtins.c src/core/panic.c,$(PORTABLE))
UNIT_CC ?= gcc
UNIT_FLAGS := -std=gnu2x -fno-common -fno-strict-aliasing -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined \
  -fno-sanitize-recover=all $(WARNINGS) $(DEFINES) $(COVERAGE_FLAGS)

# $(1): 64 or 32
define unit_rules
$(BUILD)/unit$(1)/libfdt/%.o: $(LIBFDT_SRC)/libfdt.h
	@mkdir -p $$(@D)
	@$(UNIT_CC) -m$(1) -g -O1 -w -fsanitize=address,undefined -I$(LIBFDT_SRC) -c $(LIBFDT_SRC)/$$*.c -o $$@
$(BUILD)/unit$(1)/%.o: %.c $(LIBFDT_SRC)/libfdt.h $(CMOCKA_SRC)/include/cmocka.h
	@mkdir -p $$(@D)
	@echo '  CC   $$@'
	@$(UNIT_CC) -m$(1) $(UNIT_FLAGS) -MMD -MP -Isrc -Iinclude -isystem $(LIBFDT_SRC) -isystem $(CMOCKA_SRC)/include -c $$< -o $$@
NATIVE_$(1) := $(NATIVE_PORTABLE:%.c=$(BUILD)/unit$(1)/%.o) $(UNIT_SUPPORT:%.c=$(BUILD)/unit$(1)/%.o) \
  $(LIBFDT_FILES:%.c=$(BUILD)/unit$(1)/libfdt/%.o)
$(BUILD)/unit$(1)/native.a: $$(NATIVE_$(1))
	@rm -f $$@ && ar rcs $$@ $$^
$(BUILD)/unit$(1)/cmocka.o: $(CMOCKA_SRC)/include/cmocka.h
	@mkdir -p $$(@D)
	@$(UNIT_CC) -m$(1) -w $(CMOCKA_FLAGS) -I$(CMOCKA_SRC)/include -c $(CMOCKA_SRC)/src/cmocka.c -o $$@
$(BUILD)/unit$(1)/test_%: $(BUILD)/unit$(1)/tests/unit/test_%.o $(BUILD)/unit$(1)/cmocka.o $(BUILD)/unit$(1)/native.a
	@echo '  LD   $$@'
	@$(UNIT_CC) -m$(1) $(UNIT_FLAGS) $$^ -o $$@
unit-programs-$(1): $(UNIT_TESTS:tests/unit/%.c=$(BUILD)/unit$(1)/%)
.PRECIOUS: $(BUILD)/unit$(1)/tests/unit/test_%.o
-include $$(NATIVE_$(1):.o=.d) $(UNIT_TESTS:%.c=$(BUILD)/unit$(1)/%.d)
endef
$(eval $(call unit_rules,64))
$(eval $(call unit_rules,32))
.PHONY: unit-programs-64 unit-programs-32
unit-64: unit-programs-64
	scripts/test unit64
unit-32: unit-programs-32
	scripts/test unit32
unit: unit-64 unit-32 ## unit tests, natively, under sanitizers, at 64 and 32 bits

# --- fuzzers: the same sources by clang, each run for FUZZ_SECONDS from what it found before -----------------------
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SECONDS ?= 10
FUZZ_CC ?= clang
FUZZ_FLAGS := -std=gnu2x -fno-common -fno-strict-aliasing -g -O1 -fno-omit-frame-pointer $(DEFINES) \
  -fsanitize=address,undefined -fno-sanitize-recover=all
$(BUILD)/fuzz/libfdt/%.o: $(LIBFDT_SRC)/libfdt.h
	@mkdir -p $(@D)
	@$(FUZZ_CC) -w -g -O1 -fsanitize=address,undefined -I$(LIBFDT_SRC) -c $(LIBFDT_SRC)/$*.c -o $@
$(BUILD)/fuzz/%.o: %.c $(LIBFDT_SRC)/libfdt.h $(CMOCKA_SRC)/include/cmocka.h
	@mkdir -p $(@D)
	@echo '  CC   $@'
	@$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(filter-out -Wcast-align=strict,$(WARNINGS)) -MMD -MP -Isrc -Iinclude -Itests/unit -isystem $(LIBFDT_SRC) \
	  -isystem $(CMOCKA_SRC)/include -c $< -o $@
NATIVE_FUZZ := $(NATIVE_PORTABLE:%.c=$(BUILD)/fuzz/%.o) $(BUILD)/fuzz/tests/unit/support.o $(BUILD)/fuzz/tests/unit/fake_arch.o \
  $(LIBFDT_FILES:%.c=$(BUILD)/fuzz/libfdt/%.o)
$(BUILD)/fuzz/native.a: $(NATIVE_FUZZ)
	@rm -f $@ && ar rcs $@ $^
$(BUILD)/fuzz/fuzz_%: $(BUILD)/fuzz/tests/fuzz/fuzz_%.o $(BUILD)/fuzz/native.a
	@echo '  LD   $@'
	@$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer $^ -o $@
-include $(NATIVE_FUZZ:.o=.d) $(FUZZERS:%=$(BUILD)/fuzz/tests/fuzz/%.d)
fuzz: $(FUZZERS:%=$(BUILD)/fuzz/%) ## fuzz virtio's queues and devices, FUZZ_SECONDS=10 each
	@for name in $(FUZZERS); do \
	  mkdir -p "$(BUILD)/fuzz/corpus/$$name"; \
	  echo "  FUZZ $$name"; \
	  "$(BUILD)/fuzz/$$name" -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1 \
	    -artifact_prefix="$(BUILD)/fuzz/$$name-" "$(BUILD)/fuzz/corpus/$$name" 2>&1 | \
	    tee "$(BUILD)/fuzz/$$name.log" | grep -E 'ERROR|SUMMARY|stat::number_of_executed|cov:' | tail -n 3; \
	  done

coverage: ## line coverage of the unit tests, per file
	$(MAKE) BUILD=build/coverage COVERAGE_FLAGS=--coverage unit-programs-64
	scripts/coverage build/coverage

# --- guests for tests, an image with a manifest inside -------------------------------------------------------------
include tests/guest/guest.mk

# The hypervisor once more, with the compiled manifest in it: $(BUILD)/<target>/diosix-<manifest name>.elf and .bin.
TARGET := rv$(or $(XLEN),64)
IMAGE_NAME = $(basename $(notdir $(MANIFEST)))
IMAGE = $(BUILD)/$(TARGET)/diosix-$(IMAGE_NAME)
image: $(BUILD)/$(TARGET)/diosix.elf ## make image MANIFEST=file.dts: one file with that manifest inside, ELF and binary
	@test -n "$(MANIFEST)" || { echo "make image needs MANIFEST=file.dts"; exit 2; }
	scripts/compile-manifest "$(MANIFEST)" $(IMAGE).dtb
	echo '.section .manifest,"a"; .balign 16; .incbin "$(IMAGE).dtb"' | $(CC) $(FLAGS_$(TARGET)) -x assembler -c - -o $(IMAGE).o
	$(LD) $(LDFLAGS_$(TARGET)) -pie --no-dynamic-linker -z max-page-size=4096 --gc-sections --build-id=none \
	  -T src/arch/riscv/diosix.ld $(OBJECTS_$(TARGET)) $(IMAGE).o -o $(IMAGE).elf
	$(OBJCOPY) -O binary $(IMAGE).elf $(IMAGE).bin
	@ls -l $(IMAGE).elf $(IMAGE).bin

# --- the two commands of the README, and their relatives -----------------------------------------------------------
setup: ## install the Debian packages that building and testing need (root or sudo), or say which
	@scripts/setup

run: setup ## boot Diosix in QEMU with a Debian capsule (see `make help` for variables)
	@$(MAKE) --no-print-directory $(BUILD)/rv$(or $(XLEN),64)/diosix.elf
	@BUILD=$(BUILD) scripts/run

check: setup ## format, linters, layers, headers, function sizes, stack depth
	scripts/check

format: ## clang-format all C files in place
	git ls-files -z --cached --others --exclude-standard '*.c' '*.h' | xargs -0 clang-format -i --style=file

# A variable's value, for scripts.
print-%:
	$(info $($*))@:

test: setup ## everything that CI runs: check, unit and system tests
	scripts/test all

test-quick: setup ## the tests of the first five minutes
	scripts/test quick

test-all: setup ## the whole cross product of machines, emulators and sizes (hours)
	scripts/test exhaustive

# Without this GCC would make memcpy's loop a call of memcpy.
$(BUILD)/rv64/src/lib/string.o $(BUILD)/rv32/src/lib/string.o: FILE_FLAGS := -fno-tree-loop-distribute-patterns

# Floating-point and vector save code is assembled for harts that have them; nothing else is.
$(BUILD)/rv64/src/arch/riscv/fp.o: FLAGS_rv64 := -march=rv64imafdc -mabi=lp64 -misa-spec=2.2
$(BUILD)/rv32/src/arch/riscv/fp.o: FLAGS_rv32 := -march=rv32imafdc -mabi=ilp32 -misa-spec=2.2
$(BUILD)/rv64/src/arch/riscv/vector.o: FLAGS_rv64 := -march=rv64gcv -mabi=lp64
$(BUILD)/rv32/src/arch/riscv/vector.o: FLAGS_rv32 := -march=rv32gcv -mabi=ilp32

clean: ## remove everything that was built here (not the cache of downloads)
	rm -rf build
