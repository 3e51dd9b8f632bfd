#include "resource-agents/libvirt/domain_xml.h"

#include <catch2/catch.hpp>

using namespace clusterd;
using namespace clusterd::libvirt;

namespace {

const char kUuid[] = "11111111-2222-3333-4444-555555555555";

StartTag tag() {
  return {OpId{Epoch(7), LogIndex(42)}, VmId{*Uuid::parse(kUuid)}, "web", Generation(3)};
}

std::string domain(const std::string& inside) {
  return "<domain type='qemu'><name>web</name>" + inside + "</domain>";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("domain xml: the operation comes back from the prepared XML") {
  const auto xml = prepare_domain_xml(domain("<on_reboot>restart</on_reboot>"), tag());
  REQUIRE(xml.ok());
  CHECK(read_domain_facts(xml.value()).started_by == tag().op);
  CHECK(contains(xml.value(), std::string("<uuid>") + kUuid));
  CHECK(contains(xml.value(), "<on_poweroff>destroy</on_poweroff>"));
  CHECK(contains(xml.value(), "<on_crash>destroy</on_crash>"));
  CHECK(contains(xml.value(), "<on_reboot>restart</on_reboot>"));
}

TEST_CASE("domain xml: no crash action leaves a restart to libvirt") {
  const auto crash = [](const std::string& declared) {
    const auto xml = prepare_domain_xml(domain("<on_crash>" + declared + "</on_crash>"), tag());
    REQUIRE(xml.ok());
    const auto begin = xml.value().find("<on_crash>") + 10;
    return xml.value().substr(begin, xml.value().find('<', begin) - begin);
  };
  CHECK(crash("restart") == "destroy");
  CHECK(crash("rename-restart") == "destroy");
  CHECK(crash("preserve") == "preserve");
  CHECK(crash("coredump-destroy") == "coredump-destroy");
  CHECK(crash("coredump-restart") == "coredump-destroy");
}

TEST_CASE("domain xml: an old operation is replaced, foreign metadata stays") {
  const auto xml = prepare_domain_xml(
      domain("<metadata><c:operation xmlns:c='https://clusterd.dev/ns/1' epoch='1' index='1'/>"
             "<x:operation xmlns:x='urn:other' epoch='9' index='9'/></metadata>"),
      tag());
  REQUIRE(xml.ok());
  CHECK(contains(xml.value(), "urn:other"));
  CHECK_FALSE(contains(xml.value(), "c:operation"));
  CHECK(read_domain_facts(xml.value()).started_by == tag().op);
}

TEST_CASE("domain xml: another UUID, other XML and no XML are refused") {
  CHECK_FALSE(
      prepare_domain_xml(domain("<uuid>99999999-2222-3333-4444-555555555555</uuid>"), tag()).ok());
  CHECK_FALSE(prepare_domain_xml("<network/>", tag()).ok());
  CHECK_FALSE(prepare_domain_xml("<domain>", tag()).ok());
  CHECK_FALSE(prepare_domain_xml("", tag()).ok());
}

TEST_CASE("domain xml: line breaks around name and UUID, which the loader accepts, are no others") {
  const auto xml = prepare_domain_xml(
      "<domain><name>\n  web\n</name><uuid>\n  " + std::string(kUuid) + "\n</uuid></domain>",
      tag());
  REQUIRE(xml.ok());
  CHECK(contains(xml.value(), "<name>web</name>"));
  CHECK(contains(xml.value(), std::string("<uuid>") + kUuid + "</uuid>"));
}

TEST_CASE("domain xml: foreign domains have no operation, broken numbers neither") {
  CHECK_FALSE(read_domain_facts(domain("")).started_by);
  CHECK_FALSE(read_domain_facts("junk").started_by);
  const auto facts = read_domain_facts(
      domain("<metadata><o:operation xmlns:o='https://clusterd.dev/ns/1' epoch='x' index='-1'/>"
             "</metadata>"));
  CHECK_FALSE(facts.started_by);
}

TEST_CASE("domain xml: the agent's channel counts only when the guest has opened it") {
  const auto channel = [](const std::string& state) {
    return domain(
        "<devices><channel type='unix'><target type='virtio' name='other.0' "
        "state='connected'/></channel><channel type='unix'><target type='virtio' "
        "name='org.qemu.guest_agent.0' state='" +
        state + "'/></channel></devices>");
  };
  CHECK(read_domain_facts(channel("connected")).agent_connected);
  CHECK_FALSE(read_domain_facts(channel("disconnected")).agent_connected);
}
