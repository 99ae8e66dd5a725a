# SPDX-License-Identifier: MIT
"""What may include what, where the processor may be named, where the preprocessor may choose, how long functions are."""
import os
import re

from checks import common
from checks.common import sources

# Rows, lowest first: a file includes headers of its own folder and of lower rows. Folders of one row don't know each
# other. main is src/*.c; it and boot are one thing at the top.
ROWS = [
    ["diosix"],
    ["lib"],
    ["arch"],
    ["core"],
    ["isolation", "device", "driver", "dt", "manifest"],
    ["control", "monitor"],
    ["sbi"],
    ["boot", "trap"],
    ["main"],
]
ROW_OF = {folder: row for row, folders in enumerate(ROWS) for folder in folders}
SYSTEM_HEADERS = {"stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "limits.h", "string.h", "libfdt.h"}
WORD_SIZE = re.compile(r"__riscv_xlen|XLEN|_?_LP64|__ILP32__|__SIZEOF_|__WORDSIZE|_WIDTH__|\b\w*(?:PTR|LONG|SIZE)_MAX\b")
WORD_SIZE_MAX = 6
CONDITIONAL = re.compile(r"^[ \t]*#[ \t]*(if|ifdef|ifndef|elif)\b(.*)$", re.M)
GUARD = re.compile(r"\A\s*#ifndef (\w+)\n#define \1\n")


def folder_of(name):
    """The folder in the sense of the rows: src/core/log.c → core, include/diosix/sbi.h → diosix, src/main.c → main."""
    parts = name.split("/")
    return parts[1] if len(parts) > 2 else "main"


def target_of(name, header):
    """The folder that an included header belongs to; None: it is nobody's."""
    if header == "offsets.h":  # made by the makefile, for the assembly
        return "arch" if name.startswith("src/arch/riscv/") else None
    for root in ("src", "include"):
        if os.path.isfile(os.path.join(common.ROOT, root, header)):
            return folder_of(f"{root}/{header}")
    return None


def include_complaint(name, kind, header):
    if kind == "<":
        return None if header in SYSTEM_HEADERS else f"<{header}> is not one of the headers that every compiler has"
    own, target = folder_of(name), target_of(name, header)
    if target is None:
        return f'"{header}" is not named from src or include'
    if header.startswith("arch/riscv/") and not name.startswith("src/arch/riscv/"):
        return f'"{header}" belongs to the processor: use arch/arch.h'
    if target == own or ROW_OF.get(target, len(ROWS)) < ROW_OF.get(own, -1):
        return None
    return f'{own} must not include "{header}"'


def check_layers():
    """each file includes its own folder and lower rows only"""
    complaints = []
    names = sources(["src", "include"], [".c", ".h", ".S"])
    for name in names:
        if name.startswith("src/lib/include/"):
            continue
        if folder_of(name) not in ROW_OF:
            complaints.append(f"{name}: its folder is in no row of scripts/checks/structure.py")
        for line, kind, header in common.includes(name):
            complaint = include_complaint(name, kind, header)
            if complaint:
                complaints.append(f"{name}:{line}: {complaint}")
    return complaints, f"{len(names)} files"


PROCESSOR = re.compile(r"\b(?:__asm__|__asm|asm)\b|\bcsr_(?:read|write|set|clear|try\w*|swap)\s*\(|__builtin_riscv\w*")


def check_processor():
    """inline assembly and CSR access only in src/arch/riscv"""
    complaints = []
    names = [name for name in sources(["src", "include"], [".c", ".h", ".S"]) if not name.startswith("src/arch/riscv/")]
    for name in names:
        if name.endswith(".S"):
            complaints.append(f"{name}: assembly belongs in src/arch/riscv")
        content = common.code(name)
        for match in PROCESSOR.finditer(content):
            complaints.append(f"{name}:{content.count(chr(10), 0, match.start()) + 1}: {match.group()} outside src/arch/riscv")
    return complaints, f"{len(names)} files"


def conditionals(name):
    """(line, text) of each preprocessor conditional but the include guard."""
    content = common.code(name)
    guard = GUARD.match(content)
    start = guard.end() if guard else 0
    return [(content.count("\n", 0, match.start(1)) + 1, match.group().strip())
            for match in CONDITIONAL.finditer(content, start)]


def check_conditionals():
    """the preprocessor chooses by word size in one file of src, and by nothing else"""
    complaints, by_word_size = [], 0
    for name in sources(["src", "include", "tests", "tools"], [".c", ".h", ".S"]):
        if name.endswith(".h") and not GUARD.match(common.code(name)):
            complaints.append(f"{name}: has no include guard at its top")
        for line, words in conditionals(name):
            by_word_size += bool(WORD_SIZE.search(words))
            if name.startswith(("src/", "include/")) and name != "src/arch/riscv/asm.h":
                complaints.append(f"{name}:{line}: {words}: use a plain if, a data row or a linked file")
    if by_word_size > WORD_SIZE_MAX:
        complaints.append(f"{by_word_size} conditionals on the word size in the tree; {WORD_SIZE_MAX} are allowed")
    return complaints, f"{by_word_size} on the word size, at most {WORD_SIZE_MAX}"


# --- functions -----------------------------------------------------------------------------------------------------
LINES_MAX, LINES_95, LINES_MEDIAN = 90, 45, 14
PURE_COMMENT = re.compile(r"^\s*(?:/\*.*|\*.*|//.*)$")


def functions(name):
    """(line, name, lines) of each function, relying on the format: its braces stand alone in the first column."""
    lines = common.code(name).split("\n")
    found, start = [], None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
            while start > 0 and lines[start - 1].strip() and not lines[start - 1].startswith(("}", "#")) and \
                    not lines[start - 1].rstrip().endswith(";"):
                start -= 1
        elif line == "}" and start is not None:
            head = " ".join(lines[start:number])
            called = re.search(r"(\w+)\s*\((?!\()", re.sub(r"__attribute__\s*\(\(.*?\)\)\s", "", head))
            found.append((start + 1, called[1] if called else "?", number - start + 1))
            start = None
    return found


def comment_share(names):
    lines = [line for name in names for line in common.text(name).splitlines() if line.strip()]
    return 100 * sum(1 for line in lines if PURE_COMMENT.match(line)) // max(1, len(lines))


def check_functions():
    """no function over 90 lines; 95 % up to 45, half up to 14"""
    complaints = []
    for name in sources(["src", "include", "tests", "tools"], [".c", ".h"]):
        complaints += [f"{name}:{line}: {function} has {length} lines; {LINES_MAX} are allowed"
                       for line, function, length in functions(name) if length > LINES_MAX]
    ours = sources(["src", "include", "tools"], [".c", ".h"])
    lengths = sorted(length for name in ours for _, _, length in functions(name))
    median, high = lengths[len(lengths) // 2], lengths[len(lengths) * 95 // 100]
    if median > LINES_MEDIAN:
        complaints.append(f"the median function has {median} lines; {LINES_MEDIAN} are allowed")
    if high > LINES_95:
        complaints.append(f"the 95th percentile of functions is {high} lines; {LINES_95} are allowed")
    return complaints, (f"{len(lengths)} functions: median {median}, 95th percentile {high}, longest {lengths[-1]}; "
                        f"{comment_share(ours)} % comment lines")
