# SPDX-License-Identifier: MIT
"""What the checks share: the tree's files, the makefile's flags, programs run side by side, and a memory of what passed."""
import concurrent.futures
import functools
import hashlib
import os
import re
import shlex
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, "build", "check")
CACHE_DAYS = 7
JOBS = max(2, os.cpu_count() or 1)
SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".pytest_cache"}


def run(command, input_text=""):
    """The command's exit status and what it printed."""
    done = subprocess.run(command, cwd=ROOT, check=False, input=input_text, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


@functools.lru_cache(None)
def files():
    """Every file that belongs to the tree, relative to its root."""
    if os.path.exists(os.path.join(ROOT, ".git")):
        status, listing = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        if status == 0:
            return sorted(name for name in set(listing.split("\0")) if name and os.path.isfile(os.path.join(ROOT, name)))
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    return sorted(found)


def sources(folders, endings):
    """The tree's files below any of the folders that end in one of the endings."""
    return [name for name in files() if name.startswith(tuple(f + "/" for f in folders)) and name.endswith(tuple(endings))]


@functools.lru_cache(None)
def data(name):
    with open(os.path.join(ROOT, name), "rb") as file:
        return file.read()


def text(name):
    return data(name).decode("utf-8", "replace")


@functools.lru_cache(None)
def make_words(*names):
    """The words of variables as the makefile expands them, quotes resolved."""
    command = ["make", "-s", "--no-print-directory"] + [f"print-{name}" for name in names]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return shlex.split(done.stdout)


# --- C text without what is no code --------------------------------------------------------------------------------
NO_CODE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def _blank(match):
    token = match.group()
    quote = token[0] if token[0] in "\"'" else ""
    return quote + re.sub(r"[^\n]", " ", token[1:-1] if quote else token) + quote


def code(name):
    """The file's text with comments and the insides of strings blanked, lines and columns kept."""
    return NO_CODE.sub(_blank, text(name))


INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.M)


def includes(name):
    """(line, "<" or '"', header) of each #include."""
    content = text(name)
    return [(content.count("\n", 0, match.start(2)) + 1, match[1], match[2]) for match in INCLUDE.finditer(content)]


INCLUDE_FOLDERS = ("", "src", "include", "src/lib/include", "tests/unit", "tests/guest")


@functools.lru_cache(None)
def closure(name):
    """The file and all headers of the tree that it includes, itself or through others. Folders are not told apart by
    command line: a header too many only means a check too many."""
    found, waiting = {name}, [name]
    while waiting:
        current = waiting.pop()
        for _, _, header in includes(current):
            for folder in (os.path.dirname(current),) + INCLUDE_FOLDERS:
                candidate = os.path.normpath(os.path.join(folder, header))
                if candidate not in found and os.path.isfile(os.path.join(ROOT, candidate)):
                    found.add(candidate)
                    waiting.append(candidate)
    return frozenset(found)


# --- jobs that are not done twice ----------------------------------------------------------------------------------
@functools.lru_cache(None)
def version(program):
    return run([program, "--version"])[1]


class Job:
    """A command that says nothing and ends with 0 when all is well. What passed once, with the same program, words,
    file, headers and configuration, passes again without being run."""

    def __init__(self, name, command, depends, input_text=""):
        self.name = name
        self.command = command
        self.input_text = input_text
        key = hashlib.sha256(repr((command, version(command[0]), input_text)).encode())
        for dependency in sorted(depends):
            key.update(dependency.encode() + b"\0" + hashlib.sha256(data(dependency)).digest())
        self.stamp = os.path.join(CACHE, "passed", key.hexdigest())

    def accept(self, output):
        """What of the output is a complaint."""
        return output

    def __call__(self):
        if os.path.exists(self.stamp):
            os.utime(self.stamp)
            return ""
        status, output = run(self.command, input_text=self.input_text)
        output = self.accept(output)
        if status == 0 and not output.strip():
            os.makedirs(os.path.dirname(self.stamp), exist_ok=True)
            with open(self.stamp, "w", encoding="utf-8"):
                return ""
        return f"{self.name}: {shlex.join(self.command[:1])} ended with {status}\n{output.strip()}"


def run_jobs(jobs):
    """What the jobs complain about, in their order."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        return [complaint for complaint in pool.map(lambda job: job(), jobs) if complaint]


def forget_old():
    """Removes what was remembered and not asked for lately."""
    folder = os.path.join(CACHE, "passed")
    if os.path.isdir(folder):
        for entry in os.scandir(folder):
            if entry.stat().st_mtime < time.time() - CACHE_DAYS * 86400:
                os.unlink(entry.path)
