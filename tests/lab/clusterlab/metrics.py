"""Reading a Prometheus text page."""

import re

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Metrics:
    """The samples of one page."""

    def __init__(self, page):
        self.samples = []  # (name, labels as a dict, value)
        for line in page.splitlines():
            sample = _SAMPLE.match(line)
            if sample:
                labels = dict(_LABEL.findall(sample[2] or ""))
                self.samples.append((sample[1], labels, float(sample[3])))

    def all(self, name, **labels):
        """The samples of that name whose labels include `labels`, as (labels, value)."""
        return [(found, value) for sample, found, value in self.samples
                if sample == name and labels.items() <= found.items()]

    def value(self, name, **labels):
        """The sum over the matching samples, None if there is none."""
        matching = [value for _, value in self.all(name, **labels)]
        return sum(matching) if matching else None
