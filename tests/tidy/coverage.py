#!/usr/bin/python3
"""Holds tests/scenario/coverage.md, the scenario files and the list of what waits together.

  coverage.py [ROOT]      prints every disagreement, exit 1 if there is one
  coverage.py --selftest  spoils a copy of each of them and sees it caught

Every line of the table names scenarios that exist, tests elsewhere that exist, or `waits`; every
scenario stands in the table; what waits, and only that, stands in docs/testing.md with what is
missing.
"""

import os
import re
import shutil
import sys
import tempfile

TABLE = "tests/scenario/coverage.md"
CASES = "tests/scenario/cases"
WAITING = "docs/testing.md"
WAITING_HEADING = "## Scenarios that wait for a capability"


def rows(lines):
    """The cells of each line of a Markdown table that begins with a key: A.basics.1, R8.2."""
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(r"([AB]\.[a-z]+\.\d+|R\d+(\.\d+)?)", cells[0]):
            yield cells


def waiting(root):
    """Key -> what is missing, from docs/testing.md."""
    with open(os.path.join(root, WAITING), encoding="utf-8") as file:
        _, _, section = file.read().partition(WAITING_HEADING)
    return {cells[0]: cells[-1] for cells in rows(section.split("\n## ")[0].splitlines())}


def disagreements(root):
    with open(os.path.join(root, TABLE), encoding="utf-8") as file:
        table = list(rows(file.read().splitlines()))
    cases = {name[:-4] for name in os.listdir(os.path.join(root, CASES)) if name.endswith(".scn")}
    missing = waiting(root)
    found = []
    covered, keys, waits = set(), set(), set()
    for cells in table:
        key, shown = cells[0], cells[-1].split()
        if key in keys:
            found.append(f"{TABLE}: {key} stands there twice")
        keys.add(key)
        if len(cells) != 3 or not shown:
            found.append(f"{TABLE}: {key} is shown by nothing")
        for name in shown:
            if name == "waits":
                waits.add(key)
            elif "/" in name:
                if not os.path.isfile(os.path.join(root, name)):
                    found.append(f"{TABLE}: {key}: there is no {name}")
            elif name in cases:
                covered.add(name)
            else:
                found.append(f"{TABLE}: {key}: there is no scenario {name}")
    found += [f"{TABLE}: {name}.scn stands nowhere" for name in sorted(cases - covered)]
    found += [f"{WAITING}: {key} waits; what is missing?" for key in sorted(waits - set(missing))]
    found += [f"{WAITING}: {key} waits for nothing" for key in sorted(set(missing) - waits)]
    found += [f"{WAITING}: {key}: what is missing?" for key, what in missing.items() if not what]
    return found


def selftest(root):
    def replaced(path, old, new):
        def spoil(copy):
            with open(os.path.join(copy, path), encoding="utf-8") as file:
                text = file.read()
            assert old in text, (path, old)
            with open(os.path.join(copy, path), "w", encoding="utf-8") as file:
                file.write(text.replace(old, new, 1))
        return spoil

    spoilings = {
        "there is no scenario": lambda copy: os.remove(os.path.join(copy, CASES, "orders.scn")),
        "stands nowhere": lambda copy: shutil.copy(os.path.join(copy, CASES, "orders.scn"),
                                                   os.path.join(copy, CASES, "new.scn")),
        "there is no tests/": replaced(TABLE, "replay_guard_test.cc", "none_test.cc"),
        "is shown by nothing": replaced(TABLE, " | orders |", " | |"),
        "stands there twice": replaced(TABLE, "| R29.2 |", "| R29.1 |"),
        "waits for nothing": replaced(TABLE, "source_lost_midway | waits", "x | orders"),
        "waits; what is missing?": replaced(WAITING, "\n| R24 ", "\n| X24 "),
    }
    for expected, spoil in spoilings.items():
        with tempfile.TemporaryDirectory() as copy:
            for path in ("tests", "docs"):
                shutil.copytree(os.path.join(root, path), os.path.join(copy, path))
            spoil(copy)
            if not any(expected in line for line in disagreements(copy)):
                print(f"not caught: {expected}")
                return 1
    return 0


def main():
    root = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    if sys.argv[1:] == ["--selftest"]:
        return selftest(root)
    found = disagreements(sys.argv[1] if len(sys.argv) > 1 else root)
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
