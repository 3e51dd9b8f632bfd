#!/usr/bin/python3
"""Checks what the compiler does not: which layer includes what, and the size of things.

  layers.py [ROOT]      prints every violation as `file:line: rule: message`, exit 1 if there is one
  layers.py --selftest  plants one violation of each kind in an empty tree and sees it caught

The table below is that of docs/architecture.md, section "Layers". An exception has to be written
into ALLOWED, with its reason: there is none so far.
"""

import ast
import os
import re
import sys

from cpp_text import code_only, function_bodies

MAX_LINE = 100
MAX_FUNCTION = 80
MAX_FILE = 600

# (rule, path) pairs that are let through.
ALLOWED = set()

EDGE = ["clusterd/base", "clusterd/model", "clusterd/ports"]
PURE = ["clusterd/base", "clusterd/model"]
CORE = PURE + ["clusterd/engine", "clusterd/codec", "clusterd/ports", "clusterd/runtime"]

IO = {"cstdio", "filesystem", "fstream", "iostream", "syncstream"}
THREADS = {"atomic", "barrier", "condition_variable", "future", "latch", "mutex", "semaphore",
           "shared_mutex", "stop_token", "thread"}
CHANCE = {"ctime", "random", "unordered_map", "unordered_set", "locale"}


class Layer:
    """What the files below one folder may include; a folder may always include itself."""

    def __init__(self, ours, libraries=(), forbidden=(), system=False, clocks=True):
        self.ours = ours            # folders or single headers of this repository
        self.libraries = libraries  # prefixes of library headers
        self.forbidden = set(forbidden)  # standard headers
        self.system = system        # may use headers of the C library and the kernel
        self.clocks = clocks        # may read a clock, use chance or hash order


# The longest folder that matches decides.
LAYERS = {
    "clusterd/base": Layer([], forbidden={"filesystem"} | CHANCE, clocks=False),
    "clusterd/model": Layer(["clusterd/base"], forbidden=IO | THREADS | CHANCE, clocks=False),
    "clusterd/engine": Layer(PURE, forbidden=IO | THREADS | CHANCE, clocks=False),
    "clusterd/codec": Layer(PURE, ["nlohmann/"], forbidden=IO | THREADS),
    "clusterd/config": Layer(PURE, ["yaml-cpp/", "pugixml.hpp"], system=True),
    "clusterd/ports": Layer(PURE, forbidden=IO | THREADS),
    "clusterd/runtime": Layer(PURE + ["clusterd/engine", "clusterd/codec", "clusterd/ports"]),
    "clusterd/adapters/qb": Layer(EDGE, ["qb/"], system=True),
    "clusterd/adapters/corosync": Layer(EDGE, ["corosync/"], system=True),
    "clusterd/adapters/host": Layer(EDGE, system=True),
    "clusterd/adapters/metrics": Layer(EDGE, ["prometheus/"], system=True),
    "clusterd/adapters/process": Layer(EDGE, system=True),
    "clusterd/adapters/store": Layer(EDGE, system=True),
    "clusterd/daemon": Layer(CORE + ["clusterd/config", "clusterd/adapters", "resource-agents",
                                     "fencing"], ["qb/"], system=True),
    "clusterd/ctl": Layer(PURE + ["clusterd/codec", "clusterd/config", "clusterd/engine",
                                  "clusterd/adapters/qb/ipc_client.h",
                                  "clusterd/adapters/corosync/corosync_settings.h",
                                  "clusterd/adapters/host/sleep.h",
                                  "fencing/agent/agent_metadata.h"],
                          ["CLI/", "nlohmann/", "qb/"], system=True),
    "resource-agents/libvirt": Layer(EDGE, ["libvirt/", "pugixml.hpp"], system=True),
    "resource-agents/probes": Layer(EDGE + ["clusterd/adapters/process",
                                            "resource-agents/libvirt/guest_agent.h"],
                                    ["curl/", "nlohmann/"], system=True),
    "fencing/agent": Layer(EDGE + ["clusterd/adapters/process"], system=True),
    "fencing/watchdog": Layer(EDGE, system=True),
    "fencing/storage": Layer(EDGE, system=True),
    "tests/sim": Layer(CORE + ["tests/support"], ["CLI/"], system=True),
}

# Code below these needs a line in LAYERS; tests may include anything, the simulator excepted.
ROOTS = ("clusterd", "resource-agents", "fencing", "tests")
LIBRARIES = ("CLI/", "catch2/", "corosync/", "curl/", "libvirt/", "nlohmann/", "prometheus/",
             "pugixml.hpp", "qb/", "yaml-cpp/")

# What would make two runs differ, in code of the pure layers (style.md, "Determinism").
IMPURE = re.compile(r"\b(unordered_\w+|random_device|\w+_distribution|mt19937\w*|"
                    r"system_clock|steady_clock|high_resolution_clock|"
                    r"clock_gettime|gettimeofday|srand|setlocale)\b")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def layer_of(path):
    """The longest folder of LAYERS that holds this path, or None."""
    holders = [folder for folder in LAYERS if path.startswith(folder + "/")]
    return max(holders, key=len) if holders else None


def is_test(path):
    return path.startswith("tests/") and not path.startswith("tests/sim/")


def check_our_include(path, target):
    """A quoted include: the arrow between the two folders has to be in the table."""
    if target.split("/")[0] not in ROOTS or ".." in target.split("/"):
        yield "include-from-root", f'"{target}" is not a path from the repository root'
        return
    if is_test(path):
        return
    folder = layer_of(path)
    ours = [folder] + LAYERS[folder].ours
    if not any((target + "/").startswith(allowed + "/") for allowed in ours):
        yield "layer", f'{folder} may not include "{target}"'


def check_foreign_include(path, target):
    """An angle include: a library's, the C++ standard's, or the system's."""
    if target.split("/")[0] in ROOTS:
        yield "include-from-root", f"<{target}> is ours: write it in quotes"
        return
    if is_test(path):
        return
    folder = layer_of(path)
    layer = LAYERS[folder]
    if target.startswith(LIBRARIES):
        if not target.startswith(tuple(layer.libraries)):
            yield "third-party", f"{folder} may not include <{target}>"
        elif folder == "clusterd/codec" and "json" not in os.path.basename(path):
            yield "third-party", f"only the json part of {folder} may include <{target}>"
    elif "/" in target or "." in target:
        if not layer.system:
            yield "system-header", f"{folder} may not include <{target}>"
    elif target in layer.forbidden:
        yield "forbidden-header", f"{folder} may not include <{target}>"


def check_cpp(path, text):
    """Yields (line, rule, message) for one C++ file."""
    if path.split("/")[0] in ROOTS and not is_test(path) and layer_of(path) is None:
        yield 1, "no-layer", "this folder is in no layer: add it to LAYERS and to CMakeLists.txt"
        return
    lines = text.split("\n")
    if path.endswith(".h") and "#pragma once" not in lines:
        yield 1, "pragma-once", "a header begins with #pragma once"
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if match:
            check = check_our_include if match[1] == '"' else check_foreign_include
            for rule, message in check(path, match[2]):
                yield number, rule, message
    code = code_only(text)
    folder = layer_of(path)
    if folder and not LAYERS[folder].clocks:
        for number, line in enumerate(code.split("\n"), 1):
            found = IMPURE.search(line)
            if found and not line.lstrip().startswith("#"):
                yield number, "impure", f"{folder} may not use {found[0]}"
    for first, last in function_bodies(code):
        if last - first + 1 > MAX_FUNCTION:
            yield first, "function-length", f"{last - first + 1} lines, at most {MAX_FUNCTION}"


def check_python(text):
    """Yields (line, rule, message) for one Python file."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield error.lineno or 1, "python-syntax", str(error.msg)
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION:
                yield node.lineno, "function-length", f"{length} lines, at most {MAX_FUNCTION}"


def kind_of(path, text):
    """cpp, python, other (a script or CMake file), or None for what is not code."""
    name = os.path.basename(path)
    if name.endswith((".h", ".cc")):
        return "cpp"
    if name.endswith(".py") or text.startswith(("#!/usr/bin/python", "#!/usr/bin/env python")):
        return "python"
    if name.endswith((".cmake", ".sh")) or name == "CMakeLists.txt" or text.startswith("#!"):
        return "other"
    return None


def check_scenario(root, path, text):
    """ctest takes the executable files of this folder: one that lost its mode would not run."""
    if os.path.dirname(path) == "tests/lab/scenarios" and text.startswith("#!"):
        if not os.access(os.path.join(root, path), os.X_OK):
            yield 1, "scenario-mode", "a scenario has to be executable, or ctest does not run it"


def check_file(root, path):
    """Yields (line, rule, message) for one file."""
    with open(os.path.join(root, path), "rb") as file:
        text = file.read().decode("utf-8", errors="replace")
    kind = kind_of(path, text)
    if kind is None:
        return
    lines = text.rstrip("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            yield number, "line-length", f"{len(line)} columns, at most {MAX_LINE}"
        if UNFINISHED.search(line):
            yield number, "unfinished", "finish it, or write it down as an issue"
    if len(lines) > MAX_FILE:
        yield 1, "file-length", f"{len(lines)} lines, at most {MAX_FILE}"
    if kind == "cpp":
        yield from check_cpp(path, text)
    elif kind == "python":
        yield from check_python(text)
    yield from check_scenario(root, path, text)


def files_of(root):
    """All files below root, as sorted paths from it; build folders and hidden ones left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders
                      if name != "__pycache__" and (not name.startswith(".") or name == ".ci")
                      and os.path.join(folder, name) != os.path.join(root, "build")]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names
                  if os.path.isfile(os.path.join(folder, name))]
    return sorted(found)


def violations(root):
    """Yields (path, line, rule, message)."""
    for path in files_of(root):
        for line, rule, message in check_file(root, path):
            if (rule, path) not in ALLOWED:
                yield path, line, rule, message


def main(arguments):
    if arguments == ["--selftest"]:
        import selftest
        return selftest.run(violations)
    root = arguments[0] if arguments else os.path.join(os.path.dirname(__file__), "..", "..")
    root = os.path.realpath(root)
    files = files_of(root)
    if not any(path.startswith("clusterd/") for path in files):
        print(f"no sources below {root}/clusterd: is this the repository?")
        return 1
    found = list(violations(root))
    for path, line, rule, message in found:
        print(f"{path}:{line}: {rule}: {message}")
    print(f"{len(files)} files, {len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main(sys.argv[1:]))
