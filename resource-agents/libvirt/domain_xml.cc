#include "resource-agents/libvirt/domain_xml.h"

#include <charconv>
#include <cstring>
#include <pugixml.hpp>
#include <sstream>
#include <string_view>

#include "clusterd/base/text.h"

namespace clusterd::libvirt {
namespace {

constexpr const char* kAgentChannel = "org.qemu.guest_agent.0";

pugi::xml_node child_or_new(pugi::xml_node parent, const char* name) {
  const auto child = parent.child(name);
  return child ? child : parent.append_child(name);
}

void set_text(pugi::xml_node parent, const char* name, const std::string& text) {
  child_or_new(parent, name).text().set(text.c_str());
}

// preserve and coredump keep evidence for the operator; restarts are ours alone.
std::string crash_action(const std::string& declared) {
  if (declared == "preserve" || declared == "coredump-destroy") return declared;
  if (declared == "coredump-restart") return "coredump-destroy";
  return "destroy";
}

// True for <PREFIX:operation> whose prefix stands for our namespace (declared on the element
// itself, as libvirt prints it).
bool is_operation(const pugi::xml_node& node) {
  const std::string_view name = node.name();
  const auto colon = name.find(':');
  const std::string_view local = colon == std::string_view::npos ? name : name.substr(colon + 1);
  if (local != "operation") return false;
  std::string attribute = "xmlns";
  if (colon != std::string_view::npos) attribute += ":" + std::string(name.substr(0, colon));
  return std::strcmp(node.attribute(attribute.c_str()).value(), kMetadataNamespace) == 0;
}

std::optional<std::uint64_t> number(const pugi::xml_attribute& attribute) {
  const std::string_view text = attribute.value();
  std::uint64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

void write_operation(pugi::xml_node domain, const StartTag& tag) {
  auto metadata = child_or_new(domain, "metadata");
  for (auto node = metadata.first_child(); node;) {
    const auto next = node.next_sibling();
    if (is_operation(node)) metadata.remove_child(node);
    node = next;
  }
  auto operation = metadata.append_child("clusterd:operation");
  operation.append_attribute("xmlns:clusterd") = kMetadataNamespace;
  operation.append_attribute("epoch") = std::to_string(tag.op.epoch.value).c_str();
  operation.append_attribute("index") = std::to_string(tag.op.index.value).c_str();
  operation.append_attribute("generation") = std::to_string(tag.generation.value).c_str();
}

}  // namespace

Result<std::string> prepare_domain_xml(const std::string& declared, const StartTag& tag) {
  pugi::xml_document document;
  const auto parsed = document.load_buffer(declared.data(), declared.size());
  if (!parsed) {
    return Error{"domain XML, byte " + std::to_string(parsed.offset) + ": " + parsed.description()};
  }
  auto domain = document.child("domain");
  if (!domain) return Error{"the XML has no <domain> element at its root"};
  const auto uuid = domain.child("uuid");
  if (uuid && Uuid::parse(trimmed(uuid.text().get())) != tag.vm.uuid) {
    return Error{std::string("the XML names UUID ") + uuid.text().get() + ", not " + tag.vm.str()};
  }
  set_text(domain, "uuid", tag.vm.str());
  set_text(domain, "name", tag.name);
  const std::string declared_crash = domain.child("on_crash").text().get();
  set_text(domain, "on_poweroff", "destroy");
  set_text(domain, "on_crash", crash_action(declared_crash));
  write_operation(domain, tag);
  std::ostringstream out;
  document.save(out, "", pugi::format_raw);
  return out.str();
}

DomainFacts read_domain_facts(const std::string& xml) {
  DomainFacts facts;
  pugi::xml_document document;
  if (!document.load_buffer(xml.data(), xml.size())) return facts;
  const auto domain = document.child("domain");
  for (const auto& node : domain.child("metadata").children()) {
    if (!is_operation(node)) continue;
    const auto epoch = number(node.attribute("epoch"));
    const auto index = number(node.attribute("index"));
    if (epoch && index) facts.started_by = OpId{Epoch(*epoch), LogIndex(*index)};
  }
  for (const auto& channel : domain.child("devices").children("channel")) {
    const auto target = channel.child("target");
    if (std::strcmp(target.attribute("name").value(), kAgentChannel) != 0) continue;
    facts.agent_connected = std::strcmp(target.attribute("state").value(), "connected") == 0;
  }
  for (const auto& interface : domain.child("devices").children("interface")) {
    const std::string mac = interface.child("mac").attribute("address").value();
    if (!mac.empty()) facts.macs.insert(lower_ascii(mac));
  }
  return facts;
}

}  // namespace clusterd::libvirt
