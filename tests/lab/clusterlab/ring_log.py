"""Corosync's own account of its rings, with times to the millisecond.

Reading the log costs the node nothing; a call of corosync-quorumtool costs Corosync 18 ms of
real-time CPU, so nothing polls with it.
"""

import dataclasses
import datetime
import re
import time

_LINE = re.compile(r"^(\w{3} \d{2} \d{2}:\d{2}:\d{2}\.\d{3}) .*\[QUORUM\] (.*)$")
_MEMBERS = re.compile(r"^Members\[\d+\]:((?: \d+)*)")


@dataclasses.dataclass(frozen=True)
class Ring:
    """A membership as one node saw it: `time` as time.time(), `members` as node names."""

    time: float
    members: frozenset


def rings(node):
    """All memberships that the node's Corosync logged, oldest first, over its reboots."""
    found = []
    for when, message in _messages(node):
        members = _MEMBERS.match(message)
        if members:
            found.append(Ring(when, frozenset(f"n{i}" for i in members[1].split())))
    return found


def ring_without(node, lost, since):
    """The first Ring after `since` (time.time()) that lacks the node named `lost`, or None."""
    for ring in rings(node):
        if ring.time >= since and lost not in ring.members:
            return ring
    return None


def primary_changes(node, since):
    """[(time, quorate)] for each time the node's Corosync gained or lost quorum after `since`."""
    return [(when, "non-primary" not in message) for when, message in _messages(node)
            if when >= since and "primary component" in message]


def _messages(node):
    year = datetime.datetime.now().year  # the log does not say
    try:
        with open(node.disk("/var/log/corosync.log"), encoding="utf-8", errors="replace") as file:
            for line in file:
                match = _LINE.match(line)
                if match:
                    stamp = datetime.datetime.strptime(f"{year} {match[1]}", "%Y %b %d %H:%M:%S.%f")
                    yield time.mktime(stamp.timetuple()) + stamp.microsecond / 1e6, match[2]
    except FileNotFoundError:
        return
