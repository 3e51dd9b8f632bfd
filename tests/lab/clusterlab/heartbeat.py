"""Reading the heartbeats that guests write to their disks, and proving two writers.

A guest draws a random boot id and writes `counter, boot id, uptime, counter` once a second, in turn
to the two blocks of a region chosen by the boot id (guest_init.sh). A disk is therefore a table:
for each boot that ever wrote, its last two records.

One guest at a time gives: boot A counts, stops for ever, boot B counts. Two writers give one of:
  - boot A counts on after a younger boot B has written;
  - one boot (the same guest memory running twice, as after a migration that left both sides
    running) writes a counter again with another uptime, or goes back by more than one.
All are certain. A reading that hits the middle of a write loses that record (the counters at its
ends differ), which looks like going back by one and is therefore no proof.
"""

import dataclasses

REGIONS = 64
BLOCK = 512
MARK = b"clusterd-lab "


@dataclasses.dataclass(frozen=True)
class Record:
    boot: str
    uptime: float
    counter: int


def read_disk(path):
    """boot id -> its Records, newest last. Empty while no guest has written (or without disk)."""
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.read(REGIONS * 2 * BLOCK)
    except OSError:
        return {}
    if MARK not in content:
        return {}
    found = {}
    for offset in range(0, len(content), BLOCK):
        record = _parse(content[offset:offset + BLOCK])
        if record:
            found.setdefault(record.boot, []).append(record)
    return {boot: sorted(records, key=lambda r: r.counter) for boot, records in found.items()}


def _parse(block):
    if not block.startswith(MARK):
        return None
    words = block.partition(b"\n")[0].decode("ascii", errors="replace").split()
    try:
        record = Record(words[2], float(words[3]), int(words[4]))
        return record if int(words[1]) == record.counter else None
    except (IndexError, ValueError):
        return None


@dataclasses.dataclass
class _Boot:
    """What is known of one guest boot."""

    newest: Record
    superseded_at: int = None  # its counter when a younger boot had written


class DiskHistory:
    """What one disk has shown so far; `look` tells news and finds two writers."""

    def __init__(self):
        self._boots = {}

    def look(self, records):
        """Takes a reading of the disk. Returns (new boot ids, proofs of two writers as text)."""
        proofs = []
        for boot in set(records) & set(self._boots):
            proofs += self._judge(self._boots[boot], records[boot])
        new = sorted(set(records) - set(self._boots))
        if new:
            # Boots found in one reading have no known order among each other.
            for older in self._boots.values():
                if older.superseded_at is None:
                    older.superseded_at = older.newest.counter
            self._boots.update((boot, _Boot(records[boot][-1])) for boot in new)
        return new, proofs

    @staticmethod
    def _judge(known, records):
        """Compares a boot's records with what is known of it, then makes them known."""
        newest, before = records[-1], known.newest
        name = f"boot {newest.boot}"
        if known.superseded_at is not None and newest.counter > known.superseded_at:
            yield (f"{name} wrote counter {newest.counter} after a younger boot had written"
                   f" (it stood at {known.superseded_at})")
            known.superseded_at = newest.counter  # one proof per further write
        for record in records:
            if record.counter == before.counter and record.uptime != before.uptime:
                yield (f"{name} wrote counter {record.counter} twice, at uptime"
                       f" {before.uptime} and {record.uptime}")
        if newest.counter < before.counter - 1:
            yield f"{name}: the counter went back from {before.counter} to {newest.counter}"
        if newest.counter >= before.counter:
            known.newest = newest
