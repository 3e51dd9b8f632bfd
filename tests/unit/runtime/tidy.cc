#include "clusterd/runtime/tidy.h"

#include <catch2/catch.hpp>

#include "clusterd/codec/validate.h"

using namespace clusterd;

namespace {

using Names = std::set<std::string>;

HostFacts tidied(const HostFacts& facts) {
  DomainsListed listed;
  listed.facts = facts;
  Event event = listed;
  tidy(event);
  return std::get<DomainsListed>(event).facts;
}

}  // namespace

TEST_CASE("tidy: whatever libvirt calls its machines and CPUs can be sent") {
  HostFacts facts;
  facts.cpu_vendor = "A\x01M\xff";
  facts.machines = {"", "pc", "q\xff", std::string(1000, 'x')};
  facts.cpu_models = {"EPYC\x07"};
  const HostFacts fit = tidied(facts);
  CHECK(fit.cpu_vendor == "A?M?");
  CHECK(fit.machines == Names{"pc", "q?", std::string(255, 'x')});
  CHECK(fit.cpu_models == Names{"EPYC?"});
  const Message message{Epoch(1), Incarnation(1), ClusterTime{1}, InventoryDone{fit}};
  CHECK(validate(message).empty());
}

TEST_CASE("tidy: a list that is too long is not known, rather than cut") {
  HostFacts facts;
  for (int i = 0; i < 4096; ++i) facts.machines.insert("m" + std::to_string(i));
  CHECK(tidied(facts).machines.size() == 4096);
  facts.machines.insert("one more");
  CHECK(tidied(facts).machines.empty());
}
