"""The negative control of layers.py: a violation of each rule, planted, has to be caught."""

import os
import tempfile

LONG_BODY = "  f();\n" * 90
UNFINISHED_WORDS = ("TO" + "DO", "FIX" + "ME")

# (rule, path, text): each alone in a tree must give exactly this rule.
PLANTED = [
    ("layer", "clusterd/base/a.cc", '#include "clusterd/model/ids.h"\n'),
    ("layer", "clusterd/model/a.cc", '#include "clusterd/engine/apply.h"\n'),
    ("layer", "clusterd/engine/a.cc", '#include "clusterd/ports/group.h"\n'),
    ("layer", "clusterd/engine/a.cc", '#include "clusterd/codec/wire.h"\n'),
    ("layer", "clusterd/codec/a.cc", '#include "clusterd/engine/apply.h"\n'),
    ("layer", "clusterd/config/a.cc", '#include "clusterd/ports/group.h"\n'),
    ("layer", "clusterd/ports/a.h", '#pragma once\n#include "clusterd/engine/apply.h"\n'),
    ("layer", "clusterd/runtime/a.cc", '#include "clusterd/adapters/qb/loop.h"\n'),
    ("layer", "clusterd/adapters/qb/a.cc", '#include "clusterd/adapters/corosync/cpg.h"\n'),
    ("layer", "clusterd/adapters/store/a.cc", '#include "clusterd/runtime/driver.h"\n'),
    ("layer", "clusterd/daemon/a.cc", '#include "clusterd/ctl/options.h"\n'),
    ("layer", "clusterd/ctl/a.cc", '#include "clusterd/runtime/driver.h"\n'),
    ("layer", "clusterd/ctl/a.cc", '#include "clusterd/adapters/qb/main_loop.h"\n'),
    ("layer", "resource-agents/libvirt/a.cc", '#include "clusterd/engine/apply.h"\n'),
    ("layer", "resource-agents/libvirt/hook/a.cc", '#include "clusterd/codec/wire.h"\n'),
    ("layer", "fencing/agent/a.cc", '#include "resource-agents/libvirt/link.h"\n'),
    ("layer", "tests/sim/a.cc", '#include "clusterd/adapters/store/file.h"\n'),
    ("no-layer", "clusterd/surprise/a.cc", "int x;\n"),
    ("include-from-root", "clusterd/model/a.cc", '#include "ids.h"\n'),
    ("include-from-root", "tests/unit/a.cc", '#include "../../clusterd/model/ids.h"\n'),
    ("include-from-root", "clusterd/model/a.cc", "#include <clusterd/base/time.h>\n"),
    ("third-party", "clusterd/model/a.cc", "#include <nlohmann/json.hpp>\n"),
    ("third-party", "clusterd/codec/wire.cc", "#include <nlohmann/json.hpp>\n"),
    ("third-party", "clusterd/runtime/a.cc", "#include <qb/qbloop.h>\n"),
    ("third-party", "clusterd/config/a.cc", "#include <libvirt/libvirt.h>\n"),
    ("third-party", "clusterd/adapters/qb/a.cc", "#include <corosync/cpg.h>\n"),
    ("system-header", "clusterd/model/a.cc", "#include <unistd.h>\n"),
    ("system-header", "clusterd/engine/a.cc", "#include <sys/stat.h>\n"),
    ("pragma-once", "clusterd/model/a.h", "int x;\n"),
    ("pragma-once", "clusterd/model/a.h", "// #pragma once\nint x;\n"),
    ("impure", "clusterd/engine/a.cc", "auto n = std::chrono::steady_clock::now();\n"),
    ("impure", "clusterd/model/a.cc", "std::unordered_map<int, int> m;\n"),
    ("impure", "clusterd/base/a.cc", "std::uniform_int_distribution<int> d;\n"),
    ("line-length", "clusterd/model/a.cc", "// " + "x" * 98 + "\n"),
    ("line-length", "tests/lab/a.py", "# " + "x" * 99 + "\n"),
    ("line-length", "tests/run", "#!/bin/bash\n# " + "x" * 99 + "\n"),
    ("function-length", "clusterd/model/a.cc", "void g() {\n" + LONG_BODY + "}\n"),
    ("function-length", "clusterd/model/a.cc",
     "namespace a {\nclass B {\n public:\n  template <class T>\n  int g() const {\n" + LONG_BODY
     + "  }\n};\n}\n"),
    ("function-length", "clusterd/model/a.cc",
     "B::B(int x)\n    : x_{x}, y_{'{'} {\n" + LONG_BODY + "}\n"),
    ("function-length", "tests/unit/a.cc", 'TEST_CASE("a: b") {\n' + LONG_BODY + "}\n"),
    ("function-length", "tests/lab/a.py", "def g():\n" + "    f()\n" * 90),
    ("python-syntax", "tests/lab/a.py", "def g(:\n"),
    ("file-length", "clusterd/model/a.cc", "int f();\n" * 601),
    ("scenario-mode", "tests/lab/scenarios/a.py", "#!/usr/bin/python3\n"),
]
PLANTED += [("forbidden-header", f"clusterd/{layer}/a.cc", f"#include <{header}>\n")
            for layer in ("model", "engine")
            for header in ("thread", "mutex", "iostream", "fstream", "filesystem", "random",
                           "unordered_map", "unordered_set", "ctime")]
PLANTED += [("forbidden-header", "clusterd/codec/a.cc", "#include <fstream>\n"),
            ("forbidden-header", "clusterd/ports/a.cc", "#include <thread>\n")]
PLANTED += [("unfinished", "clusterd/model/a.cc", f"// {word}: later\n")
            for word in UNFINISHED_WORDS]

# Text that looks like a violation and is none.
CLEAN = [
    ("clusterd/model/a.cc", "// steady_clock, unordered_map: not here\n"
                            'const char* s = "steady_clock } {";\n'),
    ("clusterd/engine/a.cc", '#include "clusterd/base/time.h"\n#include "clusterd/model/ids.h"\n'
                             "#include <map>\n#include <chrono>\n"),
    ("clusterd/engine/b.cc", "struct A {\n" + "  int f();\n" * 90 + "};\n"),
    ("clusterd/engine/c.cc", "void g() {\n" + "  f();\n" * 50 + "}\n"
                             "void h() {\n" + "  f();\n" * 50 + "}\n"),
    ("clusterd/engine/d.cc", "const std::map<int, int> table{\n" + "    {1, 2},\n" * 90 + "};\n"),
    ("clusterd/codec/json_text.cc", "#include <nlohmann/json.hpp>\n"),
    ("clusterd/adapters/qb/a.cc", "#include <qb/qbloop.h>\n#include <unistd.h>\n"),
    ("clusterd/ctl/a.cc", '#include "clusterd/adapters/qb/ipc_client.h"\n'),
    ("clusterd/daemon/main.cc", '#include "clusterd/adapters/qb/loop.h"\n'
                                '#include "resource-agents/libvirt/link.h"\n'),
    ("resource-agents/libvirt/hook/a.cc", '#include "resource-agents/libvirt/hook/decision.h"\n'),
    ("tests/unit/a.cc", '#include "clusterd/adapters/qb/loop.h"\n#include <catch2/catch.hpp>\n'),
    ("build/dev/a.cc", "// " + "x" * 200 + "\n"),
    ("README.md", "x" * 200 + "\n"),
]


def rules_in(violations, files):
    """The rules that a tree of just these files breaks, in order."""
    with tempfile.TemporaryDirectory(prefix="clusterd-tidy-") as root:
        for path, text in files:
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        return [(path, rule) for path, _, rule, _ in violations(root)]


def run(violations):
    """Prints what was missed or wrongly reported; 0 if nothing was."""
    failures = 0
    for rule, path, text in PLANTED:
        found = rules_in(violations, [(path, text)])
        if found != [(path, rule)]:
            failures += 1
            print(f"planted {rule} in {path}: {text[:60]!r}: found {found}")
    for path, text in CLEAN:
        found = rules_in(violations, [(path, text)])
        if found:
            failures += 1
            print(f"clean {path}: {text[:60]!r}: found {found}")
    base = ("clusterd/base/a.cc", '#include "clusterd/model/ids.h"\n')
    ports = ("clusterd/ports/a.h", "int x;\n")
    together = rules_in(violations, [base, CLEAN[0], ports])
    if together != [(base[0], "layer"), (ports[0], "pragma-once")]:
        failures += 1
        print(f"several files in one tree: found {together}")
    print(f"{len(PLANTED)} planted, {len(CLEAN)} clean, {failures} failures")
    return 1 if failures else 0
