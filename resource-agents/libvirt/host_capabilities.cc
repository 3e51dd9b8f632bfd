#include "resource-agents/libvirt/host_capabilities.h"

#include <algorithm>
#include <pugixml.hpp>
#include <string_view>
#include <vector>

#include "clusterd/base/text.h"

namespace clusterd::libvirt {
namespace {

std::string text_of(const pugi::xml_node& node) {
  return trimmed(node.text().get());
}

void add_texts(const pugi::xml_node& parent, const char* name, std::set<std::string>& into) {
  for (const auto& node : parent.children(name)) {
    if (std::string text = text_of(node); !text.empty()) into.insert(std::move(text));
  }
}

// Equal for CPUs that differ in nothing a guest could miss after a migration. The features are
// sorted: libvirt prints them in the order of its tables, which grow. `maxphysaddr` (libvirt 8.7)
// is how much memory a guest may address.
Digest features_of(const pugi::xml_node& mode) {
  std::vector<std::string> lines;
  for (const auto& feature : mode.children("feature")) {
    lines.push_back(std::string(feature.attribute("policy").value()) + " " +
                    feature.attribute("name").value());
  }
  const auto address = mode.child("maxphysaddr");
  if (address) {
    lines.push_back(std::string("maxphysaddr ") + address.attribute("mode").value() + " " +
                    address.attribute("bits").value() + " " + address.attribute("limit").value());
  }
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return digest_of(text);
}

void read_host_model(const pugi::xml_node& mode, HostFacts& facts) {
  const std::string model = text_of(mode.child("model"));
  if (model.empty()) return;
  facts.cpu_model = model;
  const std::string vendor = text_of(mode.child("vendor"));
  if (!vendor.empty()) facts.cpu_vendor = vendor;
  facts.cpu_features = features_of(mode);
}

}  // namespace

void read_capabilities(const std::string& xml, HostFacts& facts) {
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size())) return;
  const auto capabilities = document.child("capabilities");
  const auto cpu = capabilities.child("host").child("cpu");
  if (const std::string model = text_of(cpu.child("model")); !model.empty()) {
    facts.cpu_model = model;
  }
  if (const std::string vendor = text_of(cpu.child("vendor")); !vendor.empty()) {
    facts.cpu_vendor = vendor;
  }
  for (const auto& guest : capabilities.children("guest")) {
    for (const auto& arch : guest.children("arch")) {
      const auto domain = arch.find_child_by_attribute("domain", "type", facts.virt_type.c_str());
      if (!domain) continue;
      add_texts(arch, "machine", facts.machines);
      add_texts(domain, "machine", facts.machines);  // those of this type only
    }
  }
}

void read_domain_capabilities(const std::string& xml, HostFacts& facts) {
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size())) return;
  const auto capabilities = document.child("domainCapabilities");
  if (text_of(capabilities.child("domain")) != facts.virt_type) return;
  for (const auto& mode : capabilities.child("cpu").children("mode")) {
    if (std::string_view(mode.attribute("supported").value()) != "yes") continue;
    const std::string_view name = mode.attribute("name").value();
    if (name == "host-model") read_host_model(mode, facts);
    if (name != "custom") continue;
    for (const auto& model : mode.children("model")) {
      if (std::string_view(model.attribute("usable").value()) != "yes") continue;
      if (std::string text = text_of(model); !text.empty()) {
        facts.cpu_models.insert(std::move(text));
      }
    }
  }
}

}  // namespace clusterd::libvirt
