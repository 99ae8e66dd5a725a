# SPDX-License-Identifier: MIT
"""What documents name must be there: the targets of their links, files, functions, tests."""
import os
import re

from checks import common

FENCED = re.compile(r"^( *)```.*?^\1```", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
HEADING = re.compile(r"^#+ (.*)$", re.M)
# "core/vcpu.c: vcpu_fold", and of several functions the first; "tests/system/test_boot.py::test_shell[row]".
FUNCTION = re.compile(r"([\w./-]+\.[chS]): (\w+)")
TEST = re.compile(r"([\w./-]*test_\w+\.py)::(\w+)")
PATH = re.compile(r"(?:src|include|tests|scripts|docs|examples|guests)/[\w./-]+(?![\w./*-])")
PLACEHOLDER = re.compile(r"NAME|name|\.\.\.|FILE")


def documents():
    return [name for name in common.files() if name.endswith(".md")]


def prose(name):
    """The document's text without examples."""
    return FENCED.sub("", common.text(name))


def anchors(name):
    """What its headings are called in links."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(name))}


def exists(path):
    return os.path.exists(os.path.join(common.ROOT, path))


def link_complaint(name, target):
    if "://" in target:
        return None
    path, _, anchor = target.partition("#")
    path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
    if not exists(path):
        return f"{name}: links to {target}, which isn't there"
    if anchor and path.endswith(".md") and anchor not in anchors(path):
        return f"{name}: links to {target}: there's no such heading"
    return None


def files_named(path):
    """Documents leave out the folders that all paths of a page have in common."""
    return [name for name in common.files() if name == path or name.endswith("/" + path)]


def mention_complaint(name, path, what, pattern):
    found = files_named(path)
    if not found:
        return f"{name}: names {path}, which isn't there"
    if not any(re.search(pattern.format(re.escape(what)), common.text(file), re.M) for file in found):
        return f"{name}: names {what}, which isn't in {path}"
    return None


def code_complaints(name, words):
    words = re.sub(r"\s+", " ", words)
    for path, function in FUNCTION.findall(words):
        yield mention_complaint(name, path, function, r"\b{}\b")
    for path, test in TEST.findall(words):
        yield mention_complaint(name, path, test, r"^def {}\(")
    for path in PATH.findall(words):
        if not PLACEHOLDER.search(path) and not exists(path) and not files_named(path):
            yield f"{name}: names {path}, which isn't there"


def check_documents():
    """documents link to what is there, and name files, functions and tests that are there"""
    complaints = []
    for name in documents():
        text = prose(name)
        found = [link_complaint(name, target) for target in LINK.findall(text)]
        for words in CODE.findall(text):
            found += code_complaints(name, words)
        complaints += [complaint for complaint in found if complaint]
    return complaints, f"{len(documents())} documents"
