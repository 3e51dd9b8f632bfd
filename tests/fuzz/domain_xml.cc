// A domain's XML on its way from an operator's file to libvirt and back: the loader, what clusterd
// makes of it for a start, and what is read from a live domain.
// runs: 25000
#include "clusterd/config/domain_file.h"

#include "clusterd/base/assert.h"
#include "clusterd/base/text.h"
#include "clusterd/codec/validate.h"
#include "resource-agents/libvirt/domain_xml.h"
#include "resource-agents/libvirt/hook/decision.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

namespace {

constexpr const char* kFile = "web1.xml";
const OpId kFirst{Epoch(3), LogIndex(40)};
const OpId kSecond{Epoch(4), LogIndex(50)};

libvirt::StartTag tag_of(VmId vm, OpId op) {
  return {op, vm, "web1", Generation(2)};
}

// What libvirt would be given names its operation, whatever stood there before.
std::optional<std::string> check_prepared(const std::string& xml, VmId vm, OpId op) {
  const auto prepared = libvirt::prepare_domain_xml(xml, tag_of(vm, op));
  if (!prepared) {
    CLUSTERD_ASSERT(!prepared.error().message.empty());
    return std::nullopt;
  }
  CLUSTERD_ASSERT(libvirt::read_domain_facts(prepared.value()).started_by == op);
  CLUSTERD_ASSERT(hook::uuid_of_domain(prepared.value()) == vm.uuid);
  pugi::xml_document document;
  CLUSTERD_ASSERT(document.load_string(prepared.value().c_str()));
  CLUSTERD_ASSERT(document.child("domain").child_value("name") == std::string_view("web1"));
  return prepared.value();
}

// What the loader accepts passes the daemon and can be started, and stays the same VM.
void check_accepted(const std::string& xml, const DomainFacts& facts) {
  ApplyConfiguration request;
  VmDeclaration& vm = request.upsert.vms["web1"];
  vm.domain = facts;
  request.upsert.domain_xml[facts.xml] = xml;
  CLUSTERD_ASSERT(validate(ControlRequest(request)).empty());

  const auto first = check_prepared(xml, facts.uuid, kFirst);
  CLUSTERD_ASSERT(first.has_value());
  const auto second = check_prepared(*first, facts.uuid, kSecond);
  CLUSTERD_ASSERT(second.has_value());
  CLUSTERD_ASSERT(check_prepared(xml, facts.uuid, kSecond) == second);

  ConfigErrors errors;
  auto again = read_domain(kFile, *first, "web1", errors);
  CLUSTERD_ASSERT(again.has_value());
  again->xml = facts.xml;
  CLUSTERD_ASSERT(*again == facts);
}

}  // namespace

void fuzz_one(std::string_view input) {
  const std::string xml(input);
  static_cast<void>(libvirt::read_domain_facts(xml));
  const VmId any{Uuid::parse("7d0c6b1e-5a0f-4f4e-9d5e-000000000002").value()};
  static_cast<void>(check_prepared(xml, any, kFirst));
  // What read_text_file lets through.
  if (!is_utf8(xml) || has_control(xml)) return;
  ConfigErrors errors;
  const auto facts = read_domain(kFile, xml, "web1", errors);
  CLUSTERD_ASSERT(facts.has_value() == errors.empty());
  fuzz::check_errors(errors, kFile, xml);
  if (facts) check_accepted(xml, *facts);
}
