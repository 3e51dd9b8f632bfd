#include "clusterd/runtime/tidy.h"

#include <algorithm>

#include "clusterd/base/overloaded.h"
#include "clusterd/base/text.h"
#include "clusterd/codec/validate.h"

namespace clusterd {
namespace {

void tidy(std::string& text) { text = tidy_text(text, limits::kDetail); }

void tidy(HostFacts& facts) {
  tidy(facts.cpu_model);
  tidy(facts.problem);
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
                 [](auto&) {},
             },
             event);
}

}  // namespace clusterd
