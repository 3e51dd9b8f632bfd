"""A real cluster on one machine: namespaces as hosts, real Corosync, libvirt, QEMU and IPMI.

`Cluster` (cluster.py) is the front door for scenarios and for the command line; README.md explains
the picture. Nothing in here knows what clusterd decides: the lab only builds hosts, hurts them, and
looks at them from outside.
"""
