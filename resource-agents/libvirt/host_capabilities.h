// Host capabilities: what libvirt's XML about a host says that placement needs to know.
//
// Two documents, since neither has all: `virsh capabilities` lists the machine types,
// `virsh domcapabilities` the CPU models that are usable. Both are asked about domains of one
// type, kvm or qemu: a host can run other CPUs under emulation than with KVM.
#pragma once

#include <string>

#include "clusterd/model/state.h"

namespace clusterd::libvirt {

// Takes the machine types that domains of `facts.virt_type` may have, of every architecture that
// can be run, with their aliases; the host's CPU vendor, and its CPU model until
// read_domain_capabilities knows better. Whatever is missing or is no such XML leaves the facts
// as they are.
void read_capabilities(const std::string& xml, HostFacts& facts);

// Takes what host-model stands for here, a digest of its features (their order does not count),
// and the models that are usable in custom mode. If the XML is about domains of another type than
// `facts.virt_type`, or lacks these, it leaves the facts as they are.
void read_domain_capabilities(const std::string& xml, HostFacts& facts);

}  // namespace clusterd::libvirt
