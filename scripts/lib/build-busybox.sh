# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# The recipe for the 32-bit busybox. Debian has no 32-bit RISC-V: its 64-bit compiler makes the code, against a musl that
# is built first; the few functions that the compiler itself needs (libgcc) come from the bare-metal compiler, which has
# them. Part of the key by which the cache knows it: whatever changes busybox belongs in here or in guests/busybox.config.
# To be sourced after build-tools.sh and build-linux.sh.

RV32_COMPILER="${CROSS_PREFIX}gcc -march=rv32gc -mabi=ilp32d"

rv32_libgcc() {
    riscv64-unknown-elf-gcc -march=rv32imafdc -mabi=ilp32d -print-libgcc-file-name
}

# build_musl SOURCE OBJECTS ROOT LOG: include and lib into ROOT.
build_musl() {
    local source="$1" objects="$2" root="$3" log="$4"
    mkdir -p "$objects" "$root"
    (cd "$objects" && logged "configuring musl" 0 "$log" env -i PATH="$PATH" LC_ALL=C CC="$RV32_COMPILER" \
        CROSS_COMPILE="$CROSS_PREFIX" LIBCC="$(rv32_libgcc)" "$source/configure" --target=riscv32-linux-musl \
        --disable-shared --prefix="$root")
    logged "building musl" 1700 "$log" quiet_make -C "$objects" -j "$(nproc)" install
}

# write_specs ROOT FILE: tells the compiler's driver to link with musl instead of its own C library.
write_specs() {
    printf '*%s:\n%s\n\n' startfile "$1/lib/crt1.o $1/lib/crti.o" endfile "$1/lib/crtn.o" \
        libgcc "$(rv32_libgcc)" link_libgcc "-L$1/lib" >"$2"
}

# rv32_compiler ROOT: prints the compiler's command for static 32-bit programs.
rv32_compiler() {
    echo "$RV32_COMPILER -fno-pie -no-pie -specs=$1/specs -nostdinc -isystem $1/include" \
        "-isystem $("${CROSS_PREFIX}gcc" -print-file-name=include)"
}

# busybox_make SOURCE OBJECTS ROOT ARGUMENTS...
busybox_make() {
    local source="$1" objects="$2" root="$3" compiler
    shift 3
    compiler="$(rv32_compiler "$root")"
    quiet_make -C "$source" O="$objects" ARCH=riscv32 CROSS_COMPILE="$CROSS_PREFIX" CC="$compiler" \
        LD="${CROSS_PREFIX}ld -m elf32lriscv" "$@"
}

# Takes the usual answer to every question about the configuration.
configure_busybox() {
    { yes "" || true; } | env -i PATH="$PATH" HOME="$HOME" LC_ALL=C KCONFIG_NOTIMESTAMP=1 \
        make -C "$1" O="$2" silentoldconfig
}

# build_busybox SOURCE OBJECTS ROOT PRODUCT LOG: busybox and its config into PRODUCT; ROOT has musl, Linux's headers and
# specs.
build_busybox() {
    local source="$1" objects="$2" root="$3" product="$4" log="$5"
    mkdir -p "$objects" "$product"
    # Of two settings for one option, the first is taken.
    cat "$REPOSITORY/guests/busybox.config" "$source/debian/config/os/linux" "$source/debian/config/pkg/static" \
        >"$objects/.config"
    logged "configuring busybox" 0 "$log" configure_busybox "$source" "$objects"
    check_config "$REPOSITORY/guests/busybox.config" "$objects/.config"
    logged "building busybox" 700 "$log" busybox_make "$source" "$objects" "$root" -j "$(nproc)" busybox
    cp "$objects/busybox" "$objects/.config" "$product"
    mv "$product/.config" "$product/config"
}
