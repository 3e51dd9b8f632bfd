"""The cluster as a CIB, and what crm_simulate says of it.

The CIB is what a running Pacemaker 2.1 would hold just after the loss: VirtualDomain primitives
with utilization, the result of the probe of every VM on every node (a real cluster keeps them),
a start and a recurring monitor where the VM runs, and the lost host as unclean. The operations have
the digests of their parameters: without them Pacemaker would restart every VM.
"""

import hashlib
import re
from xml.sax.saxutils import quoteattr

from peers.clusters import OVERCOMMIT, Plan
from peers.measure import PeerError

FEATURES = "3.16.2"
MOVED = re.compile(r"\* (?:Recover|Move|Migrate)\s+(\S+)\s+\( +(\S+) -> (\S+) ")
PROFILED = re.compile(r"\* Testing \S+ \.\.\. ([0-9.]+) secs")
STOPPED = re.compile(r"\* Stop\s+(\S+)\s+\( +(\S+) \)")


def write_cib(cluster, lost, path, strategy="balanced", probes=True):
    with open(path, "w", encoding="ascii") as file:
        for line in cib(cluster, lost, strategy, probes):
            file.write(line + "\n")


def cib(cluster, lost, strategy, probes):
    yield ('<cib validate-with="pacemaker-3.9" admin_epoch="0" epoch="1" num_updates="1"'
           f' crm_feature_set="{FEATURES}" have-quorum="1" dc-uuid="2"'
           ' cib-last-written="Wed Nov 25 00:00:00 2026">')
    yield "<configuration>"
    yield from properties(strategy, probes)
    yield "<nodes>"
    for number, node in enumerate(cluster.nodes, 1):
        yield f'<node id="{number}" uname={quoteattr(node.name)}>'
        yield utilization(f"n{number}-u", node.memory, node.vcpus * OVERCOMMIT) + "</node>"
    yield "</nodes>"
    yield "<resources>"
    yield '<primitive id="fence" class="stonith" type="fence_ipmilan"/>'
    for vm in cluster.vms:
        yield from primitive(vm)
    yield "</resources>"
    yield "<constraints>"
    for one, other in cluster.pairs():
        yield (f'<rsc_colocation id="apart-{one}-{other}" rsc="{one}" with-rsc="{other}"'
               ' score="-INFINITY"/>')
    yield "</constraints>"
    yield ('<rsc_defaults><meta_attributes id="rd"><nvpair id="rd-s" name="resource-stickiness"'
           ' value="100"/></meta_attributes></rsc_defaults>')
    yield "</configuration>"
    yield "<status>"
    for number, node in enumerate(cluster.nodes, 1):
        yield from node_state(cluster, number, node.name, lost, probes)
    yield "</status></cib>"


def properties(strategy, probes):
    yield '<crm_config><cluster_property_set id="o">'
    for name, value in (("placement-strategy", strategy), ("stonith-enabled", "true"),
                        ("enable-startup-probes", "true" if probes else "false"),
                        ("have-watchdog", "false"), ("cluster-infrastructure", "corosync")):
        yield f'<nvpair id="o-{name}" name="{name}" value="{value}"/>'
    yield "</cluster_property_set></crm_config>"


def utilization(identity, memory, vcpus):
    return (f'<utilization id="{identity}">'
            f'<nvpair id="{identity}-m" name="hv_memory" value="{memory}"/>'
            f'<nvpair id="{identity}-c" name="cpu" value="{vcpus}"/></utilization>')


def primitive(vm):
    name = vm.name
    yield f'<primitive id="{name}" class="ocf" provider="heartbeat" type="VirtualDomain">'
    yield (f'<instance_attributes id="{name}-p">'
           f'<nvpair id="{name}-p-c" name="config" value="{domain(name)}"/>'
           "</instance_attributes>")
    yield (f'<meta_attributes id="{name}-m">'
           f'<nvpair id="{name}-m-p" name="priority" value="{vm.priority}"/></meta_attributes>')
    yield utilization(f"{name}-u", vm.memory, vm.vcpus)
    yield (f'<operations><op id="{name}-o" name="monitor" interval="10s" timeout="30s"/>'
           "</operations></primitive>")


def domain(name):
    return f"/etc/vms/{name}.xml"


def node_state(cluster, number, name, lost, probes):
    if name == lost:
        yield (f'<node_state id="{number}" uname="{name}" in_ccm="false" crmd="offline"'
               ' join="down" expected="member">')
    else:
        yield (f'<node_state id="{number}" uname="{name}" in_ccm="true" crmd="online"'
               ' join="member" expected="member">')
    yield f'<lrm id="{number}"><lrm_resources>'
    if number == 2:
        yield '<lrm_resource id="fence" class="stonith" type="fence_ipmilan">'
        yield operation("fence", "start", name, 0, 0, digest("")) + "</lrm_resource>"
    for vm in cluster.vms:
        here = vm.node == name
        start = digest(f' config="{domain(vm.name)}"')
        monitor = digest(f' config="{domain(vm.name)}" CRM_meta_timeout="30000"')
        if here or probes:
            yield (f'<lrm_resource id="{vm.name}" class="ocf" provider="heartbeat"'
                   ' type="VirtualDomain">')
            if here:
                yield operation(vm.name, "start", name, 0, 0, start)
                yield operation(vm.name, "monitor", name, 0, 10000, monitor)
            else:
                yield operation(vm.name, "monitor", name, 7, 0, start)
            yield "</lrm_resource>"
    yield "</lrm_resources></lrm></node_state>"


def digest(parameters):
    """As calculate_xml_digest_v1 in lib/common/digest.c: blank, element, line feed."""
    return hashlib.md5(f" <parameters{parameters}/>\n".encode("ascii")).hexdigest()


def operation(vm, task, node, code, interval, parameters):
    """One result as the local executor of a node reports it."""
    key = f"{vm}_{task}_{interval}"
    identity = f"{vm}_last_0" if interval == 0 else key
    expected = 7 if code == 7 else 0
    transition = f"1:1:{expected}:00000000-0000-4000-8000-000000000000"
    return (f'<lrm_rsc_op id="{identity}" operation_key="{key}" operation="{task}"'
            f' crm-debug-origin="do_update_resource" crm_feature_set="{FEATURES}"'
            f' transition-key="{transition}" transition-magic="0:{code};{transition}"'
            f' on_node="{node}" call-id="1" rc-code="{code}" op-status="0"'
            f' op-digest="{parameters}" interval="{interval}" last-rc-change="1764000000"'
            ' exec-time="10" queue-time="0"/>')


def command(path):
    return ["crm_simulate", "--xml-file", path, "--run"]


def profile(folder, repeats):
    """The scheduler alone, without reading and printing; the folder has one CIB."""
    return ["crm_simulate", "--profile", folder, "--repeat", str(repeats)]


def profiled(output):
    """Seconds of processor time of all repeats together."""
    found = PROFILED.search(output)
    if found is None:
        raise PeerError(f"crm_simulate told no time:\n{output}")
    return float(found[1])


def plan(output):
    if "Transition Summary:" not in output:
        raise PeerError(f"crm_simulate gave no plan:\n{output}")
    return Plan({vm: target for vm, _, target in MOVED.findall(output)},
                {vm for vm, _ in STOPPED.findall(output)})
