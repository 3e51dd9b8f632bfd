"""What a lab consists of: names, addresses and folders. Pure data, saved as lab.json.

Every lab lives in a folder of its own and gives its prefix to everything the kernel knows by a
global name (namespaces, control groups). Addresses repeat from lab to lab: they never leave the
lab's own network namespaces.
"""

import dataclasses
import os
import re

from .system import LabError, read_json, write_json

BASE_VARIABLE = "CLUSTERD_LAB_DIR"
DEFAULT_BASE = "/var/tmp/clusterd-lab"
REPOSITORY = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
DEFAULT_BIN = os.path.join(REPOSITORY, "build/release/bin")
MAX_NODES = 16  # Corosync with two links does not form with 32 (README)

# Links a and b carry Corosync; c is everything else: guests, migration, BMCs, the arbiter.
LINKS = ("a", "b", "c")
PREFIX_LENGTH = 24


@dataclasses.dataclass(frozen=True)
class NodePlan:
    """Names and addresses of one node; `index` is also its Corosync node id, from 1."""

    index: int

    @property
    def name(self):
        return f"n{self.index}"

    def port(self, link):
        """The node's port on the switch (an interface in the switch's namespace)."""
        return f"{self.name}{link}"

    @staticmethod
    def interface(link):
        """The same cable's other end, in the node."""
        return f"eth{LINKS.index(link)}"

    def address(self, link):
        return f"10.99.{LINKS.index(link)}.{10 + self.index}"

    @property
    def bmc_address(self):
        return f"10.99.2.{100 + self.index}"


ARBITER_ADDRESS = "10.99.2.1"
GUEST_NETWORK = "10.99.2"  # guests sit on link c, from .150


@dataclasses.dataclass(frozen=True)
class Topology:
    """One lab, as `lab up` was told to build it."""

    prefix: str
    node_count: int
    directory: str
    bin_directory: str
    guests: bool = True
    arbiter: bool = False
    token_ms: int = 1000
    bmc_password: str = ""

    @property
    def nodes(self):
        return [NodePlan(index) for index in range(1, self.node_count + 1)]

    def plan(self, name):
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise LabError(f"no node {name!r} in lab {self.prefix!r} (there are: {known})")

    @property
    def switch_namespace(self):
        return f"{self.prefix}-sw"

    def namespace(self, node_name):
        return f"{self.prefix}-{node_name}"

    @property
    def shared_directory(self):
        """Shared storage: the same path in every node and on the host."""
        return os.path.join(self.directory, "shared")

    def node_directory(self, name):
        return os.path.join(self.directory, "nodes", name)

    def bmc_directory(self, name):
        return os.path.join(self.directory, "bmc", name)

    @property
    def token(self):
        """Corosync's token timeout in seconds; the lab sets token_coefficient to 0."""
        return self.token_ms / 1000.0

    @property
    def detection_bound(self):
        """Seconds in which the others must have noticed a silent node, with slack for a busy
        machine: token plus consensus is 2.2 x token."""
        return 2.2 * self.token + 2.0

    def save(self):
        write_json(_lab_file(self.directory), dataclasses.asdict(self))

    @staticmethod
    def load(prefix):
        """The topology of the lab that is up under this name."""
        return Topology.load_from(directory_of(prefix))

    @staticmethod
    def load_from(directory):
        saved = read_json(_lab_file(directory))
        if saved is None:
            raise LabError(f"no lab is up in {directory}")
        return Topology(**saved)


def directory_of(prefix):
    """The folder of the lab `prefix`; refuses names that could reach outside of it."""
    if not re.fullmatch(rf"[a-z][a-z0-9-]{{0,{PREFIX_LENGTH - 1}}}", prefix):
        raise LabError(
            f"lab name {prefix!r}: lower case letters, digits and dashes, at most {PREFIX_LENGTH}"
        )
    base = os.environ.get(BASE_VARIABLE) or DEFAULT_BASE
    return os.path.join(os.path.abspath(base), prefix)


def _lab_file(directory):
    return os.path.join(directory, "lab.json")
