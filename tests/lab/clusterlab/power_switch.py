#!/usr/bin/python3
"""The power switch behind a BMC; ipmi_sim calls it:

    power_switch.py LAB-DIRECTORY NODE get|set|check WHAT...


    get power         prints power:1 or power:0
    set power 0|1     cuts the power or boots
    set reset 1       both, if the node was on
    check ...         nothing to check

Faults are files in the BMC's folder: `delay` (seconds before anything happens) and `lie`.
"""

import os
import sys
import time

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from clusterlab.node import Node  # noqa: E402
from clusterlab.topology import Topology  # noqa: E402


def main():
    directory, name, verb = sys.argv[1:4]
    words = sys.argv[4:]
    topology = Topology.load_from(directory)
    node = Node(topology, name)
    time.sleep(float(fault(topology, name, "delay") or 0))
    lying = fault(topology, name, "lie") is not None
    if verb == "get":
        for what in words:
            if what == "power":
                print(f"power:{int(node.powered and not lying)}")
    elif verb == "set" and not lying:
        for what, value in zip(words[::2], words[1::2]):
            turn(node, what, value)


def turn(node, what, value):
    if what == "reset" and node.power_cut():
        node.boot()
    elif what == "power" and value == "0":
        node.power_cut()
    elif what == "power" and value == "1":
        node.boot()


def fault(topology, name, kind):
    try:
        with open(os.path.join(topology.bmc_directory(name), kind), encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    main()
