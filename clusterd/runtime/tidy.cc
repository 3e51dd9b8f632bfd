#include "clusterd/runtime/tidy.h"

#include <algorithm>

#include "clusterd/base/overloaded.h"
#include "clusterd/base/text.h"
#include "clusterd/codec/validate.h"

namespace clusterd {
namespace {

void tidy(std::string& text) { text = tidy_text(text, limits::kDetail); }

// Names that libvirt lists. So many that a list was cut would look like a host that lacks the
// rest: then nothing is known.
void tidy(std::set<std::string>& names) {
  constexpr std::size_t kMost = 4096;
  std::set<std::string> tidied;
  for (const std::string& name : names) {
    if (!name.empty()) tidied.insert(tidy_text(name, limits::kName));
  }
  if (tidied.size() > kMost) tidied.clear();
  names = std::move(tidied);
}

void tidy(HostFacts& facts) {
  tidy(facts.cpu_model);
  tidy(facts.problem);
  tidy(facts.cpu_vendor);
  tidy(facts.cpu_models);
  tidy(facts.machines);
  tidy(facts.virt_type);
  facts.total.memory = std::min(facts.total.memory, limits::kMemory);
  facts.total.vcpus = std::min(facts.total.vcpus, limits::kVcpus);
}

}  // namespace

void tidy(Event& event) {
  std::visit(overloaded{
                 [](StoreSynced& e) { tidy(e.problem); },
                 [](DomainsListed& e) { tidy(e.facts); },
                 [](VmOperationEnded& e) { tidy(e.detail); },
                 [](HypervisorConnection& e) { tidy(e.problem); },
                 [](PowerOperationEnded& e) { tidy(e.detail); },
                 [](ClientRequest& e) { tidy(e.who); },
                 [](GuestChecked& e) {
                   tidy(e.check);
                   tidy(e.detail);
                 },
                 [](GuestRepaired& e) { tidy(e.detail); },
                 [](GuestRebooted& e) { tidy(e.reason); },
                 [](auto&) {},
             },
             event);
}

}  // namespace clusterd
