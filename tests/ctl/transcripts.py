#!/usr/bin/python3
"""Plays clusterctl's commands that need no daemon, and compares what they print.

  transcripts.py BIN_DIR [CASE...]     plays tests/ctl/cases/CASE.txt, all of them by default

A case is a transcript: `$ ARGUMENTS`, what clusterctl printed (standard error first, its lines
marked `! `), and `= EXIT CODE`. Commands run in tests/ctl/files. JSON is shown indented. With
CLUSTERD_REWRITE=1 what differs is written anew, for review in the diff.
"""

import difflib
import glob
import json
import os
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def shown_json(text):
    """One line for each entry of a list, so that a difference reads as one."""
    lines = []
    for key, value in json.loads(text).items():
        if isinstance(value, list) and value:
            lines.append(f"{key}:")
            lines += [f"  {json.dumps(entry)}" for entry in value]
        else:
            lines.append(f"{key}: {json.dumps(value)}")
    return "".join(line + "\n" for line in lines)


def play(program, arguments):
    run = subprocess.run([program, *arguments], cwd=os.path.join(HERE, "files"), text=True,
                         capture_output=True, timeout=60, check=False)
    out = run.stdout
    if "--json" in arguments and out:
        out = shown_json(out)
    told = "".join(f"! {line}\n" for line in run.stderr.splitlines())
    return told + out + f"= {run.returncode}\n"


def played(program, transcript):
    """The transcript as it is now, with its comments and blank lines."""
    text = ""
    skipping = False
    for line in transcript.splitlines(keepends=True):
        if line.startswith("$ "):
            skipping = True
            text += line + play(program, shlex.split(line[2:]))
        elif not skipping:
            text += line
        elif line.startswith("= "):
            skipping = False
    return text


def main():
    program = os.path.join(os.path.abspath(sys.argv[1]), "clusterctl")
    names = sys.argv[2:]
    cases = sorted(glob.glob(os.path.join(HERE, "cases", "*.txt")))
    if names:
        cases = [case for case in cases if os.path.basename(case)[:-4] in names]
    if not cases:
        print("no such case")
        return 1
    failed = 0
    for case in cases:
        with open(case, encoding="utf-8") as file:
            wanted = file.read()
        found = played(program, wanted)
        if found == wanted:
            continue
        if os.environ.get("CLUSTERD_REWRITE") == "1":
            with open(case, "w", encoding="utf-8") as file:
                file.write(found)
            print(f"written anew: {case}")
            continue
        failed += 1
        sys.stdout.writelines(difflib.unified_diff(wanted.splitlines(True), found.splitlines(True),
                                                   case, "played now"))
    print(f"{len(cases) - failed} of {len(cases)} transcripts are as written")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
