// What the qemu hook decides: may libvirt begin to run this domain? A pure function of the call
// and of which guard files exist; main.cc gathers those.
//
// It fails closed for protected VMs and open for all others: a fault of ours must not keep a
// foreign domain from starting. `reconnect` must always pass, because libvirt kills the running
// QEMU of a domain whose reconnect hook fails.
#pragma once

#include <functional>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "clusterd/base/uuid.h"

namespace clusterd::hook {

enum class Presence { present, absent, unreadable };

// The state of the guard files, asked lazily: most calls need none of it.
struct GuardFiles {
  std::function<Presence(const Uuid&)> protection;
  std::function<Presence(const Uuid&)> grant;
  std::function<Presence()> any_protection;
};

struct Call {
  std::string_view guest;
  std::string_view operation;
  std::string_view suboperation;
  std::string_view xml;
};

struct Verdict {
  bool allowed = true;
  std::string reason;  // for the refused; libvirt puts it into its error message
};

// `prepare` stands before every start of QEMU, incoming migration and restore included, after
// the domain object is on libvirt's list (that makes revoke-then-look exact). The others refuse
// earlier or once more, at no cost.
[[nodiscard]] inline bool begins_to_run(const Call& call) {
  if (call.suboperation != "begin") return false;
  return call.operation == "prepare" || call.operation == "start" || call.operation == "migrate" ||
         call.operation == "restore";
}

[[nodiscard]] inline std::optional<Uuid> uuid_of_domain(std::string_view xml) {
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size())) return std::nullopt;
  return Uuid::parse(document.child("domain").child("uuid").text().get());
}

[[nodiscard]] inline Verdict decide(const Call& call, const GuardFiles& files) {
  if (!begins_to_run(call)) return {};
  const std::string guest(call.guest);
  const auto uuid = uuid_of_domain(call.xml);
  if (!uuid) {
    // It may be one of ours; where nothing is protected it cannot be.
    if (files.any_protection() == Presence::absent) return {};
    return {false, "clusterd: refused to run domain " + guest +
                       ": its XML has no readable UUID and this host has protected domains"};
  }
  const Presence protection = files.protection(*uuid);
  if (protection == Presence::absent) return {};
  if (files.grant(*uuid) == Presence::present) return {};
  const std::string why = protection == Presence::present
                              ? "it belongs to the cluster and clusterd has not granted this start"
                              : "its protection file cannot be read and there is no grant";
  return {false, "clusterd: refused to run domain " + guest + " (" + uuid->str() + "): " + why +
                     "; use clusterctl"};
}

}  // namespace clusterd::hook
