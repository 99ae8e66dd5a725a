# SPDX-License-Identifier: MIT
#
# The test guests: small supervisor-mode programs that test the hypervisor from inside a capsule. Included by the
# Makefile; `make -f tests/guest/guest.mk guests` works too. Each becomes an ELF and a flat binary.

BUILD ?= build
GUEST_CC ?= riscv64-unknown-elf-gcc
GUEST_LD ?= riscv64-linux-gnu-ld
GUEST_OBJCOPY ?= riscv64-unknown-elf-objcopy

GUEST_FLAGS_rv64 := -march=rv64imac -mabi=lp64 -misa-spec=2.2
GUEST_FLAGS_rv32 := -march=rv32imac -mabi=ilp32 -misa-spec=2.2
GUEST_FPFLAGS_rv64 := -march=rv64gcv -mabi=lp64 -misa-spec=2.2
GUEST_FPFLAGS_rv32 := -march=rv32gcv -mabi=ilp32 -misa-spec=2.2
GUEST_LDFLAGS_rv64 := -m elf64lriscv
GUEST_LDFLAGS_rv32 := -m elf32lriscv
GUEST_WARNINGS := -Wall -Wextra -Werror -Wshadow -Wundef -Wvla -Wconversion -Wsign-conversion -Wcast-qual \
  -Wcast-align=strict -Wstrict-prototypes -Wmissing-prototypes -Wredundant-decls -Wwrite-strings -Wformat=2 \
  -Wimplicit-fallthrough=5 -Wswitch-enum -Wlogical-op -Wduplicated-cond -Wduplicated-branches
GUEST_CFLAGS := -std=gnu2x -ffreestanding -fno-common -fno-strict-aliasing -mcmodel=medany -fno-pic -mno-save-restore \
  -O2 -g -fno-stack-protector -fno-tree-loop-distribute-patterns -Itests/guest -Iinclude $(GUEST_WARNINGS)

GUEST_sbi := sbi sbi_base sbi_hsm sbi_storm sbi_fence sbi_time sbi_console sbi_sta sbi_fuzz
GUEST_isolation := isolation isolation_memory isolation_csr isolation_insn isolation_paging isolation_hyper isolation_pte \
  isolation_state
GUEST_devices := devices devices_forms devices_plic devices_uart devices_paging
GUEST_timing := timing timing_wake timing_registers timing_paging
GUEST_bench := bench
GUEST_crash := crash
GUEST_virtio := virtio
GUEST_PROGRAMS := sbi isolation devices timing bench crash virtio

# The same framework with room for two harts and smaller stacks: guests that run in 64 KiB.
GUEST_many := many many_storm many_time many_end many_talk many_disk
GUEST_LITTLE := many
GUEST_LITTLE_FLAGS := -DHARTS_MAX=2 -DSTACK_SIZE=2048
GUEST_LITTLE_SHARED := start.S guest.c pending.c print.c tree.c

# One assembly file each, linked alone: guests of a few bytes, and what runs in front of the hypervisor in its place.
GUEST_SMALL := hello again fixed trampoline
GUEST_ORIGIN_rv64_hello := 0
GUEST_ORIGIN_rv32_hello := 0
GUEST_ORIGIN_rv64_again := 0
GUEST_ORIGIN_rv32_again := 0
# Where systems with a fixed address expect to be: the second large page of RAM.
GUEST_ORIGIN_rv64_fixed := 0x80200000
GUEST_ORIGIN_rv32_fixed := 0x80400000
GUEST_ORIGIN_rv64_trampoline := 0x80000000
GUEST_ORIGIN_rv32_trampoline := 0x80000000

guests: guests-rv64 ## build the test guests for RV64
GUEST_ALL := $(GUEST_PROGRAMS) $(GUEST_LITTLE) $(GUEST_SMALL)
guests-rv64: $(GUEST_ALL:%=$(BUILD)/rv64/guest/%.bin)
guests-rv32: $(GUEST_ALL:%=$(BUILD)/rv32/guest/%.bin)
.PHONY: guests guests-rv64 guests-rv32

# $(1): rv64 or rv32
define guest_rules
$(BUILD)/$(1)/guest/%.c.o: tests/guest/%.c
	@mkdir -p $$(@D)
	$(GUEST_CC) $(GUEST_FLAGS_$(1)) $(GUEST_CFLAGS) -MMD -MP -c $$< -o $$@
$(BUILD)/$(1)/guest/fp.S.o: tests/guest/fp.S
	@mkdir -p $$(@D)
	$(GUEST_CC) $(GUEST_FPFLAGS_$(1)) -g -MMD -MP -Itests/guest -c $$< -o $$@
$(BUILD)/$(1)/guest/%.S.o: tests/guest/%.S
	@mkdir -p $$(@D)
	$(GUEST_CC) $(GUEST_FLAGS_$(1)) -g -MMD -MP -Itests/guest -c $$< -o $$@
$(BUILD)/$(1)/guest/little/%.c.o: tests/guest/%.c
	@mkdir -p $$(@D)
	$(GUEST_CC) $(GUEST_FLAGS_$(1)) $(GUEST_CFLAGS) $(GUEST_LITTLE_FLAGS) -MMD -MP -c $$< -o $$@
$(BUILD)/$(1)/guest/little/%.S.o: tests/guest/%.S
	@mkdir -p $$(@D)
	$(GUEST_CC) $(GUEST_FLAGS_$(1)) -g $(GUEST_LITTLE_FLAGS) -MMD -MP -Itests/guest -c $$< -o $$@
$(BUILD)/$(1)/guest/%.bin: $(BUILD)/$(1)/guest/%.elf
	$(GUEST_OBJCOPY) --set-section-flags .bss=alloc,load,contents -O binary $$< $$@
-include $(BUILD)/$(1)/guest/*.d $(BUILD)/$(1)/guest/little/*.d
.PRECIOUS: $(BUILD)/$(1)/guest/%.elf $(BUILD)/$(1)/guest/%.c.o $(BUILD)/$(1)/guest/%.S.o
.PRECIOUS: $(BUILD)/$(1)/guest/little/%.c.o $(BUILD)/$(1)/guest/little/%.S.o
endef

# $(1): word size, $(2): program, $(3): its objects' folder and a slash, or nothing, $(4): what it shares with others
define guest_program
GUEST_OBJECTS_$(1)_$(2) := $$(patsubst %,$(BUILD)/$(1)/guest/$(3)%.o,$(4) $$(GUEST_$(2):%=%.c))
$(BUILD)/$(1)/guest/$(2).elf: $$(GUEST_OBJECTS_$(1)_$(2)) tests/guest/guest.ld
	$(GUEST_LD) $(GUEST_LDFLAGS_$(1)) -pie --no-dynamic-linker -z notext -z max-page-size=4096 -z norelro \
	  --build-id=none --no-warn-rwx-segments -T tests/guest/guest.ld $$(GUEST_OBJECTS_$(1)_$(2)) -o $$@
endef
GUEST_SHARED := start.S guest.c pending.c print.c tree.c forms.c paging.c forms.S fp.S
$(foreach x,rv64 rv32,$(eval $(call guest_rules,$(x))))
$(foreach x,rv64 rv32,$(foreach p,$(GUEST_PROGRAMS),$(eval $(call guest_program,$(x),$(p),,$(GUEST_SHARED)))))
$(foreach x,rv64 rv32,$(foreach p,$(GUEST_LITTLE),$(eval $(call guest_program,$(x),$(p),little/,$(GUEST_LITTLE_SHARED)))))

# $(1): word size, $(2): program
define guest_small
$(BUILD)/$(1)/guest/$(2).elf: $(BUILD)/$(1)/guest/$(2).S.o
	$(GUEST_LD) $(GUEST_LDFLAGS_$(1)) --build-id=none --no-warn-rwx-segments -N -Ttext=$(GUEST_ORIGIN_$(1)_$(2)) $$< -o $$@
endef
$(foreach x,rv64 rv32,$(foreach p,$(GUEST_SMALL),$(eval $(call guest_small,$(x),$(p)))))
