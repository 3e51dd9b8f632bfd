#!/usr/bin/python3
"""Plans and N+1 verdicts of clusterd beside Pacemaker's and Ganeti's, on the same clusters.

  sudo tests/bench/placement_peers.py [--sizes 4x40,16x400] [--runs 5] [--verdicts 1000] [--all]

Clusters are generated from one seed: mixed hosts and VMs, about 75 % full, some VMs kept apart. On
each, alternately and in one go:
  - the loss of n1 is planned by `clusterctl plan` and by Pacemaker's `crm_simulate`;
  - N+1 is judged by `clusterctl plan` and by Ganeti's `hcheck`.
Both as whole processes, reading and printing included, and (clusterd, crm_simulate) by what the
planner alone takes. Ratios and growth are those of processor time. Then --verdicts many small
clusters, with and without VMs to be kept apart, are judged by all, and by exhaustive search.

--all also gives the peers the sizes that take them minutes and gigabytes. The packages of
tests/bench/packages are installed if the script is run as root. Exit code 1: a program could not be
run, or clusterd was wrong.
"""

import argparse
import csv
import dataclasses
import math
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

from peers import clusterd_files, clusters, ganeti, pacemaker, verdicts  # noqa: E402
from peers.measure import PeerError, apart, run  # noqa: E402

LOST = "n1"
SIZES = "4x40,16x400,32x1000,64x4000,256x10000"
MOST_VMS = {"crm_simulate": 1000, "hcheck": 4000}  # more only with --all
MOST_PROBES = 300_000  # a CIB with more results of probes than this has a gigabyte
WHOLE = "Plan of the loss of n1, whole process"
ALONE = "Plan of the loss of n1, planner alone"
VERDICT = "N+1 verdict"
FIELDS = ("task", "nodes", "vms", "who", "runs", "wall_ms", "cpu_ms", "peak_mib", "ratio",
          "answer")


def main():
    options = arguments()
    try:
        require_programs(options)
        with tempfile.TemporaryDirectory(prefix="placement-peers-") as work:
            files = Files(work)
            rows = [row for size in options.sizes for row in measured(options, files, *size)]
            print_tables(rows)
            if options.csv:
                write_csv(options.csv, rows)
            wrong = [one for one in rows if "WRONG" in one["answer"]
                     and one["who"].startswith("clusterc")]
            right = not options.verdicts or verdicts.compare(options, files)
    except PeerError as error:
        sys.exit(f"placement_peers.py: {error}")
    sys.exit(1 if wrong or not right else 0)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, add_help=True,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=sizes, default=SIZES, metavar="NODESxVMS,...")
    parser.add_argument("--runs", type=int, default=5, help="of each, alternately (5)")
    parser.add_argument("--patience", type=float, default=60,
                        help="seconds after which no further run of a size is begun (60)")
    parser.add_argument("--limit", type=float, default=900,
                        help="seconds after which a program is ended (900)")
    parser.add_argument("--verdicts", type=int, default=1000, help="small clusters a kind (1000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--all", action="store_true", help="peers get the largest sizes, too")
    parser.add_argument("--csv", help="also write the figures to this file")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "release", "bin"))
    return parser.parse_args()


def sizes(text):
    return [tuple(int(number) for number in size.split("x")) for size in text.split(",")]


def require_programs(options):
    if os.geteuid() == 0:
        install = [os.path.join(ROOT, "tests", "run"),
                   f"--packages={os.path.join(HERE, 'packages')}"]
        if subprocess.run(install, check=False).returncode != 0:
            raise PeerError("the peers' packages could not be installed")
    for name in ("crm_simulate", "hcheck"):
        if shutil.which(name) is None:
            raise PeerError(f"{name} is missing; root may install tests/bench/packages")
    for name in ("clusterctl", "plan_file_bench"):
        if not os.access(os.path.join(options.bin, name), os.X_OK):
            raise PeerError(f"there is no {name} in {options.bin}: tests/run --build")


class Files:
    """One cluster, said to everybody; the cluster itself only ever lives in a child process."""

    def __init__(self, work):
        self.declarations = os.path.join(work, "cluster.yaml")
        self.status = os.path.join(work, "status.json")
        self.htools = os.path.join(work, "cluster.txt")
        self.cibs = os.path.join(work, "cibs")
        self.cib = os.path.join(self.cibs, "cib.xml")
        os.makedirs(self.cibs, exist_ok=True)

    def write(self, cluster, with_cib):
        clusterd_files.write_files(cluster, self.declarations, self.status)
        ganeti.write_text(cluster, self.htools)
        if with_cib:
            probes = len(cluster.nodes) * len(cluster.vms) <= MOST_PROBES
            pacemaker.write_cib(cluster, LOST, self.cib, probes=probes)


@dataclasses.dataclass
class Contender:
    """A program for a task."""
    who: str
    command: list
    answer: object  # of its output and the cluster, in words
    accept: tuple = (0,)  # exit codes
    seconds: object = None  # of its output: its own word of processor time; None: what it took
    runs: list = dataclasses.field(default_factory=list)


def measured(options, files, nodes, vms):
    """All tasks for one size, as rows of the tables."""
    peers = {name for name, most in MOST_VMS.items() if options.all or vms <= most}
    apart(lambda: files.write(clusters.generate(nodes, vms, options.seed),
                              "crm_simulate" in peers))
    rows = []
    for task, contenders in tasks(options, files, vms, peers):
        begin = time.monotonic()
        for turn in range(options.runs):
            if turn and time.monotonic() - begin > options.patience:
                break
            for contender in contenders if turn % 2 == 0 else reversed(contenders):
                contender.runs.append(run(contender.command, options.limit, contender.accept))
        print(f"# {nodes} x {vms}, {task}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
        cluster = (nodes, vms, options.seed)
        rows += [row(task, cluster, one, contenders[0]) for one in contenders]
    return rows


def tasks(options, files, vms, peers):
    """What is measured on a cluster; the first of each list is what the others are compared to."""
    plan = clusterd_files.command(options.bin, files, [LOST])
    bench = clusterd_files.bench_command(options.bin, files, LOST)
    whole = [Contender("clusterctl plan", plan, plan_words(clusterd_files.plan),
                       clusterd_files.ACCEPTED)]
    alone = [Contender("clusterd", bench, words_of(clusterd_files.bench_plan),
                        seconds=clusterd_files.plan_seconds)]
    verdict = [Contender("clusterctl plan", clusterd_files.command(options.bin, files),
                         words_of(clusterd_files.verdict), clusterd_files.ACCEPTED),
               Contender("clusterd, proof alone", bench,
                         words_of(clusterd_files.bench_verdict),
                         seconds=clusterd_files.proof_seconds)]
    if "crm_simulate" in peers:
        repeats = max(1, 1000 // vms)
        whole.append(Contender("crm_simulate", pacemaker.command(files.cib),
                               plan_words(pacemaker.plan)))
        alone.append(Contender("crm_simulate", pacemaker.profile(files.cibs, repeats),
                               words_of(lambda _output: "as above"),
                               seconds=lambda output: pacemaker.profiled(output) / repeats))
    if "hcheck" in peers:
        verdict.append(Contender("hcheck", ganeti.command(files.htools),
                                 words_of(ganeti.verdict)))
    return [(WHOLE, whole), (ALONE, alone), (VERDICT, verdict)]


def plan_words(reader):
    def words(output, cluster):
        plan = reader(output)
        said = f"{plan.placed(cluster, LOST)} of {len(cluster.on(LOST))} placed"
        if plan.disturbed(cluster, LOST):
            said += f", {plan.disturbed(cluster, LOST)} others moved"
        wrong = clusters.errors_of_plan(cluster, LOST, plan)
        return said + (f", WRONG: {wrong[0]}" if wrong else "")
    return words


def words_of(reader):
    return lambda output, _cluster: reader(output)


def row(task, cluster, contender, first):
    """What the runs of one contender say; `first` is who it is compared to."""
    runs = contender.runs
    values = {"task": task, "nodes": cluster[0], "vms": cluster[1], "who": contender.who,
              "runs": len(runs), "peak_mib": peak_mib(runs), "wall_ms": None, "cpu_ms": None,
              "ratio": None}
    if not all(one.finished for one in runs):
        return values | {"answer": "ended at the limit"}
    if contender.seconds is None:
        values["wall_ms"] = 1000 * statistics.median(one.wall for one in runs)
    values["cpu_ms"] = cpu_ms(contender)
    if contender is not first:
        values["ratio"] = cpu_ms(contender) / cpu_ms(first)
    values["answer"] = apart(lambda: contender.answer(runs[-1].output,
                                                      clusters.generate(*cluster)))
    return values


def cpu_ms(contender):
    """The median. Processor time, as the machine may have other things to do."""
    own = contender.seconds
    return 1000 * statistics.median(one.cpu if own is None else own(one.output)
                                    for one in contender.runs)


def peak_mib(runs):
    """What is not above this process's own size, from which the kernel counts, is not known."""
    peak = max(one.peak for one in runs)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{'<' if peak < own + 2**20 else ''}{max(peak, own) / 2**20:.0f}"


def print_tables(rows):
    for task in (WHOLE, ALONE, VERDICT):
        print(f"\n{task}")
        print(f"  {'nodes x VMs':>12}  {'who':22} {'runs':>4} {'wall ms':>11} {'CPU ms':>11}"
              f" {'peak MiB':>8} {'ratio':>9}  answer")
        for one in rows:
            if one["task"] == task:
                print(line(one))
        for who in dict.fromkeys(one["who"] for one in rows if one["task"] == task):
            print_growth(who, [one for one in rows if one["task"] == task and one["who"] == who
                               and one["cpu_ms"]])
    sys.stdout.flush()


def line(one):
    size = f"{one['nodes']} x {one['vms']}"
    ratio = one["ratio"]
    ratio = "-" if ratio is None else f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"
    return (f"  {size:>12}  {one['who']:22} {one['runs']:4} {number(one['wall_ms'], 11, 2)}"
            f" {number(one['cpu_ms'], 11, 2)} {one['peak_mib']:>8} {ratio:>9}  {one['answer']}")


def print_growth(who, rows):
    """CPU ms ~ VMs ^ exponent, from each size to the next."""
    steps = [math.log(b["cpu_ms"] / a["cpu_ms"]) / math.log(b["vms"] / a["vms"])
             for a, b in zip(rows, rows[1:]) if b["vms"] != a["vms"]]
    if steps:
        print(f"  growth with the number of VMs, exponent: {who}"
              f" {' '.join(f'{step:.2f}' for step in steps)}")


def number(value, width, digits):
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def write_csv(path, rows):
    with open(path, "w", encoding="ascii", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
