// What libvirt's errors say of a guest's agent, and which addresses are worth asking.
#include "resource-agents/libvirt/agent_calls.h"

#include <catch2/catch.hpp>

#include "resource-agents/libvirt/domain_xml.h"

using namespace clusterd;
using namespace clusterd::libvirt;

using Kind = AgentFailure::Kind;

// The messages are those of libvirt 9.0.
TEST_CASE("agent calls: only what speaks against the guest is silent") {
  CHECK(agent_failure_kind(VIR_ERR_AGENT_UNRESPONSIVE,
                           "Guest agent is not responding: QEMU guest agent is not connected") ==
        Kind::silent);
  CHECK(agent_failure_kind(VIR_ERR_AGENT_UNSYNCED, "guest agent replied with wrong id") ==
        Kind::silent);
  CHECK(agent_failure_kind(VIR_ERR_ARGUMENT_UNSUPPORTED,
                           "argument unsupported: QEMU guest agent is not configured") ==
        Kind::silent);
  CHECK(agent_failure_kind(VIR_ERR_INTERNAL_ERROR,
                           "internal error: Missing agent reply object") == Kind::silent);
  CHECK(agent_failure_kind(VIR_ERR_INTERNAL_ERROR,
                           "internal error: unable to execute QEMU agent command 'guest-exec': "
                           "Command guest-exec has been disabled: the agent is in frozen state") ==
        Kind::frozen);
  CHECK(agent_failure_kind(VIR_ERR_INTERNAL_ERROR,
                           "internal error: unable to execute QEMU agent command "
                           "'guest-exec-status': PID 12 does not exist") == Kind::refused);
  CHECK(agent_failure_kind(VIR_ERR_INTERNAL_ERROR,
                           "The command has been disabled for this instance") == Kind::refused);
  CHECK(agent_failure_kind(VIR_ERR_OPERATION_INVALID,
                           "Requested operation is not valid: domain is not running") ==
        Kind::not_asked);
  CHECK(agent_failure_kind(VIR_ERR_OPERATION_TIMEOUT,
                           "Timed out during operation: cannot acquire state change lock") ==
        Kind::not_asked);
  CHECK(agent_failure_kind(VIR_ERR_NO_DOMAIN, "Domain not found") == Kind::not_asked);
  CHECK(agent_failure_kind(VIR_ERR_RPC, "connection closed due to keepalive timeout") ==
        Kind::not_asked);
}

TEST_CASE("agent calls: addresses that lead to no guest are left out") {
  for (const char* good : {"192.168.1.5", "10.0.0.1", "fd00::5", "2001:db8::1"}) {
    CHECK(reachable_address(good));
  }
  for (const char* bad : {"", "web", "127.0.0.1", "169.254.3.4", "0.0.0.0", "224.0.0.1",
                          "255.255.255.255", "::", "::1", "fe80::1", "ff02::1",
                          "::ffff:127.0.0.1", "10.0.0.1@evil", "10.0.0.1/24"}) {
    INFO(bad);
    CHECK_FALSE(reachable_address(bad));
  }
}

TEST_CASE("agent calls: libvirt's timeouts are whole seconds") {
  CHECK(whole_seconds(Duration(0)) == 1);
  CHECK(whole_seconds(Duration(1000)) == 1);
  CHECK(whole_seconds(Duration(1001)) == 2);
}

TEST_CASE("domain xml: the MACs of its interfaces are read in lower case") {
  const auto facts = read_domain_facts(
      "<domain><devices><interface type='bridge'><mac address='52:54:00:AB:CD:EF'/></interface>"
      "<interface type='user'/></devices></domain>");
  CHECK(facts.macs == std::set<std::string>{"52:54:00:ab:cd:ef"});
}
