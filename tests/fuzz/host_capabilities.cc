// What libvirt tells of its host, on its way into the replicated state.
// runs: 25000
#include "resource-agents/libvirt/host_capabilities.h"

#include "clusterd/base/assert.h"
#include "clusterd/codec/validate.h"
#include "clusterd/runtime/tidy.h"
#include "tests/fuzz/support/fuzz.h"

using namespace clusterd;

namespace {

HostFacts read(const std::string& xml, const std::string& virt_type) {
  HostFacts facts;
  facts.virt_type = virt_type;
  libvirt::read_capabilities(xml, facts);
  libvirt::read_domain_capabilities(xml, facts);
  return facts;
}

// What the daemon makes of it can be sent and kept, whatever bytes the names have.
void check_travels(const HostFacts& facts) {
  DomainsListed listed;
  listed.ok = true;
  listed.facts = facts;
  Event event = listed;
  tidy(event);
  Message message;
  message.incarnation = Incarnation(1);
  message.body = InventoryDone{std::get<DomainsListed>(event).facts};
  CLUSTERD_ASSERT(validate(message).empty());
}

}  // namespace

void fuzz_one(std::string_view input) {
  const std::string xml(input);
  for (const char* virt_type : {"kvm", "qemu"}) {
    const HostFacts facts = read(xml, virt_type);
    CLUSTERD_ASSERT(facts.problem.empty() && facts.virt_type == virt_type);
    CLUSTERD_ASSERT(!facts.cpu_models.contains("") && !facts.machines.contains(""));
    // A digest without a model would be a pool without a name.
    CLUSTERD_ASSERT(facts.cpu_features == Digest{} || !facts.cpu_model.empty());
    HostFacts again = facts;
    libvirt::read_capabilities(xml, again);
    libvirt::read_domain_capabilities(xml, again);
    CLUSTERD_ASSERT(again == facts);
    check_travels(facts);
  }
}
