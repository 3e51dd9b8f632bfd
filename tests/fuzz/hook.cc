// The QEMU hook and XML that wants to get past it: a protected VM without a grant never runs.
// runs: 15000
#include "clusterd/base/assert.h"
#include "resource-agents/libvirt/hook/decision.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;
using hook::Presence;

namespace {

const Uuid kProtected = Uuid::parse("7d0c6b1e-5a0f-4f4e-9d5e-000000000002").value();

// A host that has protected domains; this one among them.
hook::GuardFiles guards(Presence grant) {
  return {[](const Uuid& vm) { return vm == kProtected ? Presence::present : Presence::absent; },
          [grant](const Uuid&) { return grant; }, [] { return Presence::present; }};
}

hook::Verdict verdict(const std::string& xml, const char* operation, const char* suboperation,
                      const hook::GuardFiles& files) {
  hook::Verdict decided = hook::decide({"web1", operation, suboperation, xml}, files);
  CLUSTERD_ASSERT(decided.allowed == decided.reason.empty());
  if (!decided.allowed) fuzz::check_told(decided.reason);
  return decided;
}

}  // namespace

// As the domain's whole XML, and as what stands in a domain behind the UUID that libvirt wrote.
void fuzz_one(std::string_view input) {
  const std::string whole(input);
  const std::string inside = "<domain type='kvm'><name>web1</name><uuid>" + kProtected.str() +
                             "</uuid><metadata>" + whole + "</metadata></domain>";
  for (const char* operation : {"prepare", "start", "migrate", "restore"}) {
    CLUSTERD_ASSERT(!verdict(inside, operation, "begin", guards(Presence::absent)).allowed);
    CLUSTERD_ASSERT(!verdict(inside, operation, "begin", guards(Presence::unreadable)).allowed);
  }
  for (const std::string* xml : {&whole, &inside}) {
    CLUSTERD_ASSERT(verdict(*xml, "reconnect", "begin", guards(Presence::absent)).allowed);
    CLUSTERD_ASSERT(verdict(*xml, "release", "end", guards(Presence::absent)).allowed);
  }
  // It runs only when it is another VM, or a granted one.
  const auto uuid = hook::uuid_of_domain(whole);
  const bool foreign = uuid.has_value() && *uuid != kProtected;
  CLUSTERD_ASSERT(verdict(whole, "prepare", "begin", guards(Presence::absent)).allowed == foreign);
  CLUSTERD_ASSERT(verdict(whole, "prepare", "begin", guards(Presence::present)).allowed ==
                  uuid.has_value());
}
