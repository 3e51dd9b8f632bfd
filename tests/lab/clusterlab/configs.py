"""The configuration files of a node, as text. Values come from the topology, nothing is read."""

from .topology import ARBITER_ADDRESS

BOOT_ID_FILE = "/run/clusterd-lab-boot-id"
SECRET_FILE = "/etc/clusterd/secrets/bmc"
METRICS_ADDRESS = "127.0.0.1:9465"
BMC_USER = "admin"


def corosync_conf(topology):
    # Corosync's parser wants every brace to end its line.
    nodes = "".join(_nodelist_entry(node) for node in topology.nodes)
    # Without real-time scheduling: on few processors the rings of a whole lab, each spinning for
    # its slice of 100 ms while they form a membership, keep each other from ever forming it.
    return f"""system {{
    sched_rr: no
    priority: max
}}
totem {{
    version: 2
    cluster_name: {topology.prefix}
    transport: knet
    crypto_cipher: none
    crypto_hash: none
    token: {topology.token_ms}
    token_coefficient: 0
}}
nodelist {{
{nodes}}}
quorum {{
    provider: corosync_votequorum
{_arbiter_device(topology) if topology.arbiter else ''}}}
logging {{
    to_stderr: no
    to_syslog: no
    to_logfile: yes
    logfile: /var/log/corosync.log
    timestamp: hires
}}
"""


def _nodelist_entry(node):
    return f"""    node {{
        nodeid: {node.index}
        name: {node.name}
        ring0_addr: {node.address('a')}
        ring1_addr: {node.address('b')}
    }}
"""


def _arbiter_device(topology):
    # The arbiter answers only when it has heard of every member's fate, and it believes a silent
    # node alive for 1.2 x timeout. With the default of 10 s a ring would wait 12 s for quorum.
    return f"""    device {{
        model: net
        timeout: {2 * topology.token_ms}
        votes: 1
        net {{
            tls: off
            host: {ARBITER_ADDRESS}
            algorithm: ffsplit
            tie_breaker: lowest
        }}
    }}
"""


def libvirtd_conf(host_uuid):
    # The short keepalive lets a migration to a silent host fail after 4 s instead of 29.
    return f"""auth_unix_rw = "none"
unix_sock_group = "root"
listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
host_uuid = "{host_uuid}"
keepalive_interval = 1
keepalive_count = 3
"""


QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
stdio_handler = "file"
keepalive_interval = 1
keepalive_count = 3
"""


CLUSTERD_YAML = f"""libvirt_uri: qemu:///system
virt_type: qemu
boot_id_file: {BOOT_ID_FILE}
metrics_listen: {METRICS_ADDRESS}
"""


def hosts(topology):
    lines = ["127.0.0.1 localhost"]
    lines += [f"{node.address('c')} {node.name}" for node in topology.nodes]
    return "\n".join(lines) + "\n"


def ipmi_lan(topology, node, power_command):
    """lan.conf of ipmi_sim: one BMC with one user; the power state is `power_command`'s."""
    return f"""name "{node.name}"
set_working_mc 0x20
startlan 1
  addr {node.bmc_address} 623
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid {node.index:032x}
endlan
chassis_control "{power_command}"
user 1 false "" "test" user 10 none md2 md5 straight
user 2 true "{BMC_USER}" "{topology.bmc_password}" admin 10 none md2 md5 straight
"""


IPMI_COMMANDS = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
mc_enable 0x20
"""
