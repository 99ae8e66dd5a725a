# SPDX-License-Identifier: MIT
"""Who calls through pointers and whose address is taken, by type, as clang's syntax tree has it."""
import concurrent.futures
import hashlib
import json
import os

from checks import common, compilers


class Reader:
    """Walks one file's tree. Clang leaves out a file name or a line that the location printed before also had."""

    def __init__(self):
        self.file = ""
        self.function = None
        self.calls = []  # (function, its file, type): a call through a pointer
        self.taken = []  # (function, type): its address is used

    def locate(self, node):
        """Follows a location; in a macro it has two, and they come in the order that they were printed in."""
        if "offset" in node:
            self.file = node.get("file", self.file)
        for part in ("spellingLoc", "expansionLoc"):
            if part in node:
                self.locate(node[part])

    def walk(self, node):
        outer = self.function
        self.locate(node.get("loc", {}))
        if node.get("kind") == "FunctionDecl":
            self.function = (node.get("name"), self.file)
        for end in ("begin", "end"):
            self.locate(node.get("range", {}).get(end, {}))
        children = [child for child in node.get("inner", []) if child]
        if node.get("kind") == "CallExpr":
            self.call(children[0])
            children = children if self.callee(children[0]) is None else [no_reference(children[0])] + children[1:]
        elif node.get("kind") == "DeclRefExpr" and node.get("referencedDecl", {}).get("kind") == "FunctionDecl":
            self.taken.append((node["referencedDecl"]["name"], plain(node["referencedDecl"]["type"])))
        for child in children:
            self.walk(child)
        self.function = outer

    def callee(self, node):
        """The function that is called by its name, or None."""
        while node.get("kind") in ("ImplicitCastExpr", "ParenExpr"):
            node = node["inner"][0]
        return node if node.get("referencedDecl", {}).get("kind") == "FunctionDecl" else None

    def call(self, node):
        if self.callee(node) is None and self.function is not None:
            self.calls.append(self.function + (plain(node["type"]),))


def no_reference(node):
    """The same with nothing but its locations, so that a call by name does not count as taking the address."""
    return {"range": node.get("range", {}), "inner": [no_reference(child) for child in node.get("inner", []) if child]}


def plain(kind):
    """A function type, or a pointer to it, in one spelling."""
    words = kind.get("desugaredQualType", kind["qualType"])
    for pointer in ("(*const)", "(*)", "(*volatile)"):
        words = words.replace(pointer, "", 1)
    return "".join(words.replace("__attribute__((noreturn))", "").replace("_Noreturn", "").split())


def read(name):
    """Calls and taken addresses of one source, remembered by its content."""
    command = ["clang-14"] + compilers.freestanding_flags("rv64") + ["-w", "-fsyntax-only", "-Xclang", "-ast-dump=json", name]
    key = hashlib.sha256(repr(command).encode() + common.data("scripts/checks/pointers.py"))
    for dependency in sorted(common.closure(name)):
        key.update(hashlib.sha256(common.data(dependency)).digest())
    path = os.path.join(common.CACHE, "passed", key.hexdigest())
    if os.path.exists(path):
        os.utime(path)
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    status, output = common.run(command)
    if status != 0:
        raise RuntimeError(f"clang cannot read {name}:\n{output[-2000:]}")
    reader = Reader()
    reader.walk(json.loads(output))
    result = [reader.calls, reader.taken]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file)
    return result


def read_all():
    """({(function, base name of its file): types it calls through pointers}, {type: functions of which pointers exist})"""
    calls, taken = {}, {}
    with concurrent.futures.ThreadPoolExecutor(common.JOBS) as pool:
        for made, used in pool.map(read, compilers.hypervisor_sources()):
            for function, file, kind in made:
                calls.setdefault((function, os.path.basename(file)), set()).add(kind)
            for function, kind in used:
                taken.setdefault(kind, set()).add(function)
    return calls, taken
