// Domain XML: what clusterd adds to a declared domain, and what it reads from a live one.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/model/ids.h"

namespace clusterd::libvirt {

inline constexpr const char* kMetadataNamespace = "https://clusterd.dev/ns/1";

struct StartTag {
  OpId op;
  VmId vm;
  std::string name;
  Generation generation;
};

// The declared XML made fit for a transient HA domain: name and UUID as the cluster knows them
// (white space around them is an operator's line break), on_poweroff destroy (a guest that shut
// itself down must not stay as a shell), on_crash without any restart by libvirt (it would be
// invisible to restart limits), and the operation in the metadata. An error if it is no domain
// or names another UUID.
[[nodiscard]] Result<std::string> prepare_domain_xml(const std::string& declared,
                                                     const StartTag& tag);

// What a live domain's XML tells beyond its state.
struct DomainFacts {
  std::optional<OpId> started_by;
  bool agent_connected = false;  // the guest has opened the agent's channel
  std::set<std::string> macs;    // of its interfaces, lower case
};
[[nodiscard]] DomainFacts read_domain_facts(const std::string& xml);

}  // namespace clusterd::libvirt
