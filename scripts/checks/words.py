# SPDX-License-Identifier: MIT
"""What may not stand in any file, and the scripts themselves."""
import os
import re
import shutil
from urllib.parse import urlsplit

from checks import common
from checks.common import Job

CHECKED_HERE = "scripts/checks/words.py"  # names what it forbids
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
BEYOND = re.compile(r"\.\./(?:shared|\.library)\b|/work/(?:shared|\.library)\b")
TRAILING = re.compile(r"[ \t]+$|\r$")
# Folders and files whose text carries no license line: data and prose.
NO_LICENSE_LINE = (".md", ".txt", ".json", ".svg", "LICENSE", ".gitignore", ".gitattributes")


def is_text(content):
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in content


def line_complaints(name):
    complaints = []
    for number, line in enumerate(common.text(name).split("\n"), start=1):
        if TRAILING.search(line):
            complaints.append(f"{name}:{number}: space at the end of the line")
        if UNFINISHED.search(line):
            complaints.append(f"{name}:{number}: marked as unfinished: finish it or write an issue")
        if BEYOND.search(line):
            complaints.append(f"{name}:{number}: names a folder outside the repository")
    return complaints


def check_text():
    """no binaries, no unfinished marks, no space at line ends, a license line in each source"""
    complaints = []
    for name in common.files():
        content = common.data(name)
        if not is_text(content):
            complaints.append(f"{name}: not text")
            continue
        if content and not content.endswith(b"\n"):
            complaints.append(f"{name}: its last line does not end")
        if not name.endswith(NO_LICENSE_LINE) and b"SPDX-License-Identifier: MIT" not in content[:200]:
            complaints.append(f"{name}: has no SPDX-License-Identifier line at its top")
        complaints += line_complaints(name)
    return complaints, f"{len(common.files())} files"


# --- host names ----------------------------------------------------------------------------------------------------
def host(address):
    try:
        return (urlsplit(address if "//" in address else "//" + address).hostname or "").lower()
    except ValueError:
        return ""


SOURCES_OF_HOSTS = [
    ["apt-get", "indextargets", "--format", "$(SITE)"],
    ["apt-config", "dump", "--format", "%v%n", "Acquire::http::Proxy", "Acquire::https::Proxy"],
    ["npm", "config", "get", "registry"],
    ["pip3", "config", "get", "global.index-url"],
    ["go", "env", "GOPROXY"],
]
HOST_VARIABLES = ["PIP_INDEX_URL", "NPM_CONFIG_REGISTRY", "GOPROXY", "CARGO_REGISTRY_INDEX", "DIOSIX_MIRROR",
                  "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"]
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def host_names():
    """The hosts that this machine installs packages from; only their names are looked at, and they are not printed."""
    addresses = [os.environ.get(name, "") for name in HOST_VARIABLES]
    for command in SOURCES_OF_HOSTS:
        if shutil.which(command[0]):
            status, output = common.run(command)
            addresses += re.split(r"[\s,|]+", output) if status == 0 else []
    names = {host(address) for address in addresses if "//" in address}
    return {name for name in names if name not in LOOPBACK and len(name) > 3}


def check_hosts():
    """no file names a package registry or mirror of this machine"""
    complaints = []
    names = host_names()
    for name in common.files():
        content = common.text(name).lower()
        for number, line in enumerate(content.split("\n"), start=1):
            if any(re.search(r"(?<![\w.-])" + re.escape(one) + r"(?![\w-])", line) for one in names):
                complaints.append(f"{name}:{number}: names a host of this machine's package configuration")
    return complaints, f"{len(names)} host names known here"


# --- scripts -------------------------------------------------------------------------------------------------------
def first_line(name):
    return common.data(name).split(b"\n", 1)[0].decode("utf-8", "replace")


def language(name):
    """"python", "bash", "sh" or None."""
    top = "\n".join(common.text(name).split("\n")[:3]) if is_text(common.data(name)) else ""
    if name.endswith(".py") or re.match(r"#!.*python", top):
        return "python"
    if name.endswith(".sh") or re.match(r"#!.*\bbash\b", top):
        return "bash"
    return "sh" if re.match(r"#!.*/sh\b|#!.*busybox sh\b", top) else None


PARSE = "import ast, pathlib, sys; ast.parse(pathlib.Path(sys.argv[1]).read_bytes(), sys.argv[1])"


def script_jobs(name, kind):
    if kind == "python":
        yield Job(name, ["/usr/bin/python3", "-c", PARSE, name], [name])
        if shutil.which("pyflakes3"):
            yield Job(name, ["pyflakes3", name], [name])
        return
    yield Job(name, [shell(kind), "-n", name], [name])
    if shutil.which("shellcheck"):
        shells = [other for other in common.files() if language(other) in ("bash", "sh")]
        yield Job(name, ["shellcheck", "-x", f"--shell={'bash' if kind == 'bash' else 'dash'}", name], shells)


def shell(kind):
    return "bash" if kind == "bash" else "sh"


def check_scripts():
    """python and shell scripts parse, and their linters find nothing"""
    kinds = {name: language(name) for name in common.files()}
    jobs = [job for name, kind in kinds.items() if kind for job in script_jobs(name, kind)]
    absent = [tool for tool in ("pyflakes3", "shellcheck") if not shutil.which(tool)]
    return common.run_jobs(jobs), f"{sum(map(bool, kinds.values()))} scripts" + \
        (f"; not installed: {', '.join(absent)}" if absent else "")
