"""Many small clusters, judged by everybody and by exhaustive search: who is right?"""

import collections
import random

from peers import clusterd_files, clusters, ganeti, oracle, pacemaker
from peers.measure import run

LOST = "n1"
LIMIT = 60.0
KINDS = {"memory alone": False, "with pairs kept apart": True}
N1 = "any host may be lost"
LOSS = "every VM of n1 finds a place"


def compare(options, files):
    """Prints the counts; False if clusterd was wrong."""
    right = True
    for kind, pairs in KINDS.items():
        draw = random.Random(f"{options.seed} {kind}")
        counts = collections.Counter()
        for _ in range(options.verdicts):
            cluster = clusters.generate_small(draw, pairs)
            files.write(cluster, with_cib=True)
            judge(options, files, cluster, counts)
        right = report(kind, options.verdicts, counts) and right
    return right


def judge(options, files, cluster, counts):
    any_host = oracle.tolerates_any_loss(cluster)
    this_host = oracle.recoverable(cluster, LOST)
    ours = clusterd_files.answer(run(clusterd_files.command(options.bin, files, [LOST]), LIMIT,
                                     clusterd_files.ACCEPTED).output)
    said = clusterd_files.in_words(ours["reserve_before"])
    count(counts, N1, "clusterd", said if said == "unknown" else said == "yes", any_host)
    count(counts, LOSS, "clusterd", ours["feasible"], this_host)
    hcheck = run(ganeti.command(files.htools), LIMIT).output
    count(counts, N1, "hcheck", ganeti.failing_nodes(hcheck) == 0, any_host)
    plan = pacemaker.plan(run(pacemaker.command(files.cib), LIMIT).output)
    placed = plan.placed(cluster, LOST) == len(cluster.on(LOST)) and not plan.stopped
    count(counts, LOSS, "crm_simulate", placed, this_host)
    counts[LOSS, "crm_simulate", "moved"] += plan.disturbed(cluster, LOST) != 0


def count(counts, question, who, said, truth):
    counts[question, who, said, truth] += 1
    counts[question, "truth", truth] += 1 if who == "clusterd" else 0


def report(kind, total, counts):
    print(f"\nVerdicts on {total} clusters of 4 to 8 nodes, {kind}, against exhaustive search")
    right = True
    for question, peers in ((N1, ("clusterd", "hcheck")), (LOSS, ("clusterd", "crm_simulate"))):
        print(f"  {question}: true of {counts[question, 'truth', True]}")
        for who in peers:
            agree = counts[question, who, True, True] + counts[question, who, False, False]
            too_strict = counts[question, who, False, True]
            wrong_yes = counts[question, who, True, False]
            unknown = total - agree - too_strict - wrong_yes
            print(f"    {who:13} right {agree}, no although a packing exists {too_strict},"
                  f" yes although none does {wrong_yes}, unknown {unknown}"
                  + (f"; moves VMs of other hosts {counts[question, who, 'moved']}"
                     if who == "crm_simulate" else ""))
            right = right and (who != "clusterd" or agree == total)
    return right
