// What the loader takes from a domain's <cpu> and type.
#include <catch2/catch.hpp>

#include "clusterd/config/domain_file.h"

using namespace clusterd;

namespace {

std::optional<DomainFacts> read(const std::string& cpu, const std::string& type = "kvm") {
  ConfigErrors errors;
  return read_domain("a.xml",
                     "<domain type='" + type +
                         "'><name>a</name>"
                         "<uuid>00000000-0000-4000-8000-000000000001</uuid><memory>1024</memory>"
                         "<os><type machine='pc-q35-7.2'>hvm</type></os>" +
                         cpu + "</domain>",
                     "a", errors);
}

DomainCpu cpu(const std::string& xml, const std::string& type = "kvm") {
  const auto facts = read(xml, type);
  REQUIRE(facts);
  return facts->cpu;
}

}  // namespace

TEST_CASE("domain cpu: the type and the machine are kept") {
  const auto facts = read("");
  REQUIRE(facts);
  CHECK(facts->virt_type == "kvm");
  CHECK(facts->machine == "pc-q35-7.2");
  CHECK(facts->cpu == DomainCpu{});
}

TEST_CASE("domain cpu: every mode of libvirt has its word") {
  CHECK(cpu("<cpu mode='host-model'/>").mode == CpuMode::host_model);
  CHECK(cpu("<cpu mode='host-passthrough' check='none'/>").mode == CpuMode::host_passthrough);
  CHECK(cpu("<cpu mode='maximum'/>").mode == CpuMode::maximum);
  CHECK(cpu("<cpu><topology sockets='1' cores='2' threads='1'/></cpu>").mode == CpuMode::none);
  // Only a custom CPU names a model of its own.
  CHECK(cpu("<cpu mode='host-model'><model>EPYC</model></cpu>").model.empty());
  CHECK_FALSE(read("<cpu mode='host-modle'/>"));
}

TEST_CASE("domain cpu: a custom one is checked by libvirt, unless it says otherwise") {
  const DomainCpu plain{CpuMode::custom, "EPYC", "", true};
  const DomainCpu free{CpuMode::custom, "EPYC", "", false};
  CHECK(cpu("<cpu><model> EPYC\n</model></cpu>") == plain);
  CHECK(cpu("<cpu match='exact'><model fallback='forbid'>EPYC</model></cpu>") == plain);
  CHECK(cpu("<cpu mode='custom' check='partial'><model>EPYC</model></cpu>") == plain);
  CHECK(cpu("<cpu mode='custom' check='none'><model>EPYC</model></cpu>") == free);
  CHECK(cpu("<cpu mode='custom'><model>EPYC</model><vendor>AMD</vendor></cpu>").vendor == "AMD");
  // Emulation checks nothing by default.
  CHECK(cpu("<cpu mode='custom'><model>EPYC</model></cpu>", "qemu") == free);
  CHECK(cpu("<cpu mode='custom' check='full'><model>EPYC</model></cpu>", "qemu") == plain);
}

TEST_CASE("domain cpu: with features switched off a model may do where it is not usable") {
  const auto with = [](const std::string& policy) {
    return cpu("<cpu mode='custom'><model>EPYC</model><feature policy='" + policy +
               "' name='svm'/></cpu>");
  };
  CHECK(with("require").checked);
  CHECK_FALSE(with("disable").checked);
  CHECK_FALSE(with("optional").checked);
}
