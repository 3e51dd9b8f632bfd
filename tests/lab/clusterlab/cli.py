"""The command line `tests/lab/lab`: one subcommand per thing a person does to a lab.

Exit codes: 0 done; 1 refused or failed, the reason on stderr; 2 wrong usage; 77 the machine cannot
run a lab. `exec` returns the exit code of its command.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

from . import capabilities, declarations, network
from .cluster import Cluster, down
from .system import LabError, complete_path
from .topology import DEFAULT_BIN, directory_of
from .wait import TooLate
from .witness import watch_until_stopped

NAME_VARIABLE = "CLUSTERD_LAB_NAME"


def main():
    arguments = _parser().parse_args()
    complete_path()
    try:
        return arguments.action(arguments) or 0
    except (LabError, TooLate) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


# --- life ------------------------------------------------------------------------------------


def do_up(options):
    guests = not options.no_guests
    capabilities.require(guests, options.arbiter)
    begin = time.monotonic()
    cluster = Cluster.up(
        options.name, options.nodes, guests=guests, arbiter=options.arbiter,
        token_ms=options.token, bin_directory=options.bin, hold_clusterd=options.hold_clusterd,
    )
    cluster.wait_formed()
    took = time.monotonic() - begin
    print(f"lab {options.name!r}: {options.nodes} nodes, one quorate ring after {took:.1f} s")
    if "clusterd" not in cluster.node("n1").services():
        print(f"without clusterd: there is none in {cluster.topology.bin_directory}")
    print(f"files: {cluster.topology.directory}")


def do_down(options):
    down(options.name)


def do_status(options):
    cluster = Cluster.open(options.name)
    report = status(cluster)
    if options.json:
        print(json.dumps(report, indent=1))
        return
    print(f"lab {options.name!r} in {cluster.topology.directory}")
    guests = report["guests"]
    for name, node in report["nodes"].items():
        if not node["powered"]:
            print(f"{name}  off     BMC {node['bmc']}")
            continue
        ring = ",".join(node["members"]) or "?"
        quorum = "quorate" if node["quorate"] else "not quorate"
        services = "  ".join(f"{s} {state['state']}" for s, state in node["services"].items())
        power = "FROZEN" if node["frozen"] else "on"
        print(f"{name}  {power:6}  BMC {node['bmc']}  sees {ring} ({quorum})  {services}")
        for guest in (g for g in guests if g["node"] == name):
            print(f"      {guest['name']}  {guest['uuid']}  pid {guest['pid']}")
    for first, second in report["cuts"]:
        print(f"cut: {first} -> {second}")


def status(cluster):
    """The state of the lab as plain data."""
    nodes = {}
    for name, node in cluster.nodes.items():
        powered, frozen = node.powered, node.frozen
        members, quorate = (set(), False) if not powered or frozen else cluster.membership(name)
        nodes[name] = {
            "powered": powered, "frozen": frozen, "bmc": cluster.bmcs[name].status(),
            "members": sorted(members), "quorate": quorate, "services": node.services(),
        }
    return {
        "nodes": nodes, "cuts": network.cuts(cluster.topology),
        "guests": [{"node": p.node, "name": p.name, "uuid": p.uuid, "pid": p.pid}
                   for p in cluster.qemu_processes()],
    }


def do_shell(options):
    node = Cluster.open(options.name).node(options.node)
    shell = ["bash", "--norc", "-i"] if sys.stdin.isatty() else ["bash", "--norc"]
    environment = {**node.environment(), "PS1": f"root@{options.node}:\\w# "}
    return subprocess.call([*node.enter(), *shell], env=environment)


def do_exec(options):
    node = Cluster.open(options.name).node(options.node)
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words:
        raise LabError("exec: no command given")
    return subprocess.call([*node.enter(), *words], env=node.environment())


# --- power and network -------------------------------------------------------------------------


def do_power_cut(options):
    if not _node(options).power_cut():
        print(f"{options.node} was off")


def do_power_on(options):
    if not _node(options).boot():
        print(f"{options.node} was on")


def do_reboot(options):
    node = _node(options)
    if options.hard:
        node.power_cut()
    else:
        node.shutdown()
    node.boot()


def do_partition(options):
    Cluster.open(options.name).partition(*[group.split(",") for group in options.groups])


def do_heal(options):
    Cluster.open(options.name).heal()


def do_freeze(options):
    node = _node(options)
    node.freeze()
    if options.seconds is not None:
        time.sleep(options.seconds)
        node.thaw()


def do_thaw(options):
    _node(options).thaw()


def do_bmc(options):
    bmc = Cluster.open(options.name).bmc(options.node)
    if options.order == "start":
        bmc.start()
    elif options.order == "stop":
        bmc.stop()
    elif options.order == "lie":
        bmc.set_lying(True)
    elif options.order == "slow":
        if options.seconds is None:
            raise LabError("bmc slow: how many seconds?")
        bmc.set_delay(options.seconds)
    else:
        print(bmc.command("chassis", "power", options.order))


# --- the daemon --------------------------------------------------------------------------------


def do_kill_daemon(options):
    if not _node(options).kill_service(options.service):
        raise LabError(f"{options.service} does not run on {options.node}")


def do_hold_daemon(options):
    number = signal.SIGTERM if options.term else signal.SIGKILL
    _node(options).hold_service(options.service, number)


def do_release_daemon(options):
    _node(options).release_service(options.service)


def do_crash_loop(options):
    _node(options).crash_service(options.service, options.life)


# --- looking and declaring -----------------------------------------------------------------------


def do_witness(options):
    cluster = Cluster.open(options.name)
    return watch_until_stopped(cluster, options.out, activity=options.active)


def do_declare(options):
    cluster = Cluster.open(options.name)
    workers = options.workers.split(",")
    path = declarations.write(
        cluster.topology, options.out, workers=workers, backup=options.backup,
        vms_per_node=options.vms_per_node, after_fence=options.after_fence,
    )
    print(path)


# --- arguments -----------------------------------------------------------------------------------


def _node(options):
    return Cluster.open(options.name).node(options.node)


def _parser():
    parser = argparse.ArgumentParser(prog="lab", description="A real cluster on one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, action, text, *, node=False, service=False):
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(action=action)
        made.add_argument("--name", metavar="PREFIX", type=_lab_name,
                          default=os.environ.get(NAME_VARIABLE, "lab"),
                          help=f"which lab (default: ${NAME_VARIABLE} or 'lab')")
        if node:
            made.add_argument("node", help="n1, n2, ...")
        if service:
            made.add_argument("--service", default="clusterd",
                              help="clusterd (default), corosync, libvirtd or qdevice")
        return made

    up = command("up", do_up, "build and boot a lab (removes an earlier one of this name)")
    up.add_argument("--nodes", type=int, default=4)
    up.add_argument("--no-guests", action="store_true", help="do not build the guests' image")
    up.add_argument("--arbiter", action="store_true", help="a corosync-qnetd with one vote more")
    up.add_argument("--token", type=int, default=1000, metavar="MS",
                    help="Corosync's token timeout")
    up.add_argument("--bin", default=DEFAULT_BIN, metavar="DIR", help="where clusterd is")
    up.add_argument("--hold-clusterd", action="store_true", help="boot without clusterd")
    command("down", do_down, "end and remove everything of a lab")
    command("status", do_status, "what is there").add_argument("--json", action="store_true")
    command("shell", do_shell, "a shell in a node", node=True)
    run = command("exec", do_exec, "run a command in a node: lab exec n1 -- CMD...", node=True)
    run.add_argument("command", nargs=argparse.REMAINDER)

    command("power-cut", do_power_cut, "silent, instant death of a node", node=True)
    command("power-on", do_power_on, "boot a node", node=True)
    reboot = command("reboot", do_reboot, "orderly shutdown and boot", node=True)
    reboot.add_argument("--hard", action="store_true", help="power cut and boot")
    partition = command("partition", do_partition, "cut the network: lab partition n1,n2 n3,n4")
    partition.add_argument("groups", nargs="+")
    command("heal", do_heal, "take all cuts away")
    freeze = command("freeze", do_freeze, "stop all processes of a node", node=True)
    freeze.add_argument("--seconds", type=float, help="thaw after that long")
    command("thaw", do_thaw, "let a frozen node run on", node=True)
    bmc = command("bmc", do_bmc, "a node's BMC; on, off and status go over the wire", node=True)
    bmc.add_argument("order", choices=["stop", "start", "lie", "slow", "on", "off", "status"],
                     help="start also ends lie and slow")
    bmc.add_argument("seconds", type=float, nargs="?", help="for slow")

    command("kill-daemon", do_kill_daemon, "SIGKILL clusterd; init restarts it", node=True,
            service=True)
    hold = command("hold-daemon", do_hold_daemon, "end clusterd and keep it down", node=True,
                   service=True)
    hold.add_argument("--term", action="store_true", help="by SIGTERM instead of SIGKILL")
    command("release-daemon", do_release_daemon, "end hold-daemon or crash-loop", node=True,
            service=True)
    crash = command("crash-loop", do_crash_loop, "let clusterd die after each start", node=True,
                    service=True)
    crash.add_argument("--life", type=float, default=0.5, metavar="S", help="seconds it lives")

    witness = command("witness", do_witness, "watch all guests from outside until stopped")
    witness.add_argument("--out", required=True, metavar="FILE", help="JSON lines")
    witness.add_argument("--active", action="store_true",
                         help="also record when libvirt lists a domain as active")
    declare = command("declare", do_declare, "write declarations and domain XML")
    declare.add_argument("--workers", default="n1,n2,n3")
    declare.add_argument("--backup", default="n4")
    declare.add_argument("--vms-per-node", type=int, default=3)
    declare.add_argument("--after-fence", choices=["stay_off", "power_on"], default="stay_off")
    declare.add_argument("--out", required=True, metavar="DIR")
    return parser


def _lab_name(text):
    try:
        directory_of(text)
    except LabError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
