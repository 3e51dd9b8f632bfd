#!/usr/bin/python3
"""Corosync takes the configurations of etc/corosync as they are, and refuses a broken one.

No lab: `corosync -t` reads a file and ends. It wants the key that `corosync-keygen` would make, so
a copy names one of its own.
"""

import glob
import os
import secrets
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../etc/corosync/*.conf")


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        key = os.path.join(folder, "authkey")
        with open(key, "wb") as file:
            file.write(secrets.token_bytes(256))
        paths = sorted(glob.glob(EXAMPLES))
        if not paths:
            sys.exit("there is no example")
        for path in paths:
            with open(path, encoding="utf-8") as file:
                text = file.read().replace("totem {\n", f"totem {{\n    keyfile: {key}\n", 1)
            sound = accepted(folder, text)
            # The control: the test must be able to fail.
            broken = accepted(folder, text.replace("nodeid: 2", "nodeid: 1", 1))
            print(f"{os.path.basename(path)}: {'accepted' if sound else 'REFUSED'}; "
                  f"with an id twice {'ACCEPTED' if broken else 'refused'}")
            failed += not sound or broken
    print("FAILED" if failed else "passed")
    return 1 if failed else 0


def accepted(folder, text):
    path = os.path.join(folder, "corosync.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = subprocess.run(["corosync", "-t", "-c", path], capture_output=True, text=True,
                          check=False, timeout=30)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
