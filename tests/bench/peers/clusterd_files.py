"""The cluster as declarations and as a saved `status --json`, and what `clusterctl plan` says."""

import json

from peers.clusters import OVERCOMMIT, Plan
from peers.measure import PeerError

MIB = 2**20


def write_files(cluster, declarations, status):
    with open(declarations, "w", encoding="ascii") as file:
        for line in yaml(cluster):
            file.write(line + "\n")
    with open(status, "w", encoding="ascii") as file:
        json.dump(status_of(cluster), file)


def yaml(cluster):
    yield "cluster:"
    yield "  name: bench"
    yield "  reserve: { host_failures: 1 }"
    yield f"  overcommit: {{ memory: 1.0, vcpus: {OVERCOMMIT}.0 }}"
    yield "nodes:"
    for node in cluster.nodes:
        yield (f"  {node.name}: {{ capacity: {{ memory: {node.memory}MiB,"
               f" vcpus: {node.vcpus} }} }}")
    yield "vms:"
    for vm in cluster.vms:
        apart = ""
        if vm.away_from:
            apart = f", placement: {{ away_from: [{', '.join(vm.away_from)}] }}"
        yield (f"  {vm.name}: {{ memory: {vm.memory}MiB, vcpus: {vm.vcpus},"
               f" priority: {vm.priority}{apart} }}")


def status_of(cluster):
    return {"cluster": {"name": "bench", "quorate": True, "epoch": 1, "coordinator": "n1",
                        "members": [node.name for node in cluster.nodes], "armed": True},
            "nodes": [{"name": node.name, "id": number, "state": "online", "role": "worker",
                       "declared": True,
                       "capacity": {"memory": node.memory * MIB, "vcpus": node.vcpus}}
                      for number, node in enumerate(cluster.nodes, 1)],
            "vms": [{"name": vm.name, "desired": "running", "state": "running", "node": vm.node,
                     "memory": vm.memory * MIB, "vcpus": vm.vcpus, "priority": vm.priority}
                    for vm in cluster.vms],
            "operations": []}


def command(bin_directory, files, down=()):
    return [f"{bin_directory}/clusterctl", "plan", "-f", files.declarations,
            "--state", files.status, *(word for node in down for word in ("--down", node)),
            "--json"]


ACCEPTED = (0, 1)  # 1: not feasible, which is an answer


def plan(output):
    actions = answer(output)["actions"]
    return Plan({action["vm"]: action["to"] for action in actions if action["action"] == "start"},
                {action["vm"] for action in actions if action["action"] != "start"})


def verdict(output):
    return in_words(answer(output)["reserve"])


def in_words(reserve):
    """For one host failure; `tolerated` may be more than what was asked for."""
    if reserve is None:
        raise PeerError("clusterctl plan tells no reserve")
    if reserve["proof"] != "exact":
        return "unknown"
    return "yes" if reserve["tolerated"] >= 1 else "no"


def answer(output):
    try:
        return json.loads(output)
    except ValueError as error:
        raise PeerError(f"clusterctl plan gave no answer: {error}") from error


def bench_command(bin_directory, files, down):
    return [f"{bin_directory}/plan_file_bench", files.declarations, files.status, down]


def plan_seconds(output):
    return answer(output)["plan_ms"] / 1000


def proof_seconds(output):
    return answer(output)["proof_ms"] / 1000


def bench_verdict(output):
    return in_words(answer(output))


def bench_plan(output):
    said = answer(output)
    return f"{said['placed']} of {said['demands']} placed"
