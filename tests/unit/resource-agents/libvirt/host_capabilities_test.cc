// The seeds of the fuzz target are what libvirt 9.0 with QEMU 7.2 said of one host, shortened.
#include "resource-agents/libvirt/host_capabilities.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>

#include "clusterd/base/archive.h"

using namespace clusterd;
using namespace clusterd::libvirt;

namespace {

using Names = std::set<std::string>;

std::string sample(const std::string& name) {
  std::ifstream in(CLUSTERD_SOURCE_DIR "/tests/fuzz/corpus/host_capabilities/" + name);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  REQUIRE_FALSE(text.empty());
  return text;
}

HostFacts facts_of(const std::string& virt_type) {
  HostFacts facts;
  facts.virt_type = virt_type;
  return facts;
}

HostFacts read(const std::string& virt_type, const std::string& host, const std::string& domain) {
  HostFacts facts = facts_of(virt_type);
  read_capabilities(host, facts);
  read_domain_capabilities(domain, facts);
  return facts;
}

std::string host_model(const std::string& inside) {
  return "<domainCapabilities><domain>kvm</domain><cpu><mode name='host-model' supported='yes'>"
         "<model>EPYC</model><vendor>AMD</vendor>" +
         inside + "</mode></cpu></domainCapabilities>";
}

Digest features(const std::string& inside) {
  HostFacts facts = facts_of("kvm");
  read_domain_capabilities(host_model(inside), facts);
  return facts.cpu_features;
}

}  // namespace

TEST_CASE("host capabilities: what KVM and emulation offer on a real host") {
  const HostFacts kvm = read("kvm", sample("host.xml"), sample("domain-kvm.xml"));
  CHECK(kvm.cpu_vendor == "AMD");
  CHECK(kvm.cpu_model == "EPYC-Milan");
  CHECK(kvm.cpu_features != Digest{});
  CHECK(kvm.cpu_models == Names{"486", "pentium", "pentium2", "pentium3"});
  CHECK(kvm.machines.size() == 60);
  CHECK(kvm.machines.contains("pc-i440fx-7.2"));
  CHECK(kvm.machines.contains("q35"));
  CHECK_FALSE(kvm.machines.contains("pc-i440fx-7.3"));
  const HostFacts qemu = read("qemu", sample("host.xml"), sample("domain-qemu.xml"));
  CHECK(qemu.cpu_model == "EPYC");
  CHECK(qemu.cpu_models.contains("qemu64"));
  CHECK_FALSE(qemu.cpu_models.contains("EPYC"));
  CHECK(qemu.machines == kvm.machines);
  CHECK(qemu.cpu_features != kvm.cpu_features);
}

TEST_CASE("host capabilities: what is replicated of a host is small") {
  StringSink sink;
  write(sink, read("qemu", sample("host.xml"), sample("domain-qemu.xml")));
  CHECK(std::move(sink).take().size() < 2048);  // 64 such hosts: 128 KiB at most
}

TEST_CASE("host capabilities: domains of another type tell nothing") {
  const HostFacts facts = read("qemu", sample("test-driver.xml"), sample("domain-kvm.xml"));
  CHECK(facts == facts_of("qemu"));
  CHECK(read("xen", sample("host.xml"), "").machines.empty());
}

TEST_CASE("host capabilities: without a host-model the CPU of the host is shown, in no pool") {
  const HostFacts facts = read("kvm", sample("host.xml"), "");
  CHECK(facts.cpu_model == "kvm64");
  CHECK(facts.cpu_vendor == "AMD");
  CHECK(facts.cpu_features == Digest{});
}

TEST_CASE("host capabilities: only models that are surely usable count") {
  const HostFacts facts = read("kvm", "", sample("maxphysaddr.xml"));
  CHECK(facts.cpu_model == "Skylake-Server");
  CHECK(facts.cpu_models == Names{"Skylake-Server"});
}

TEST_CASE("host capabilities: the digest tells features apart, and not their order") {
  const std::string ss = "<feature policy='require' name='ss'/>";
  const std::string no_vme = "<feature policy='disable' name='vme'/>";
  CHECK(features(ss + no_vme) == features(no_vme + ss));
  CHECK(features(ss) != features(ss + no_vme));
  CHECK(features(ss) != features("<feature policy='disable' name='ss'/>"));
  CHECK(features("") != Digest{});
  CHECK(features("<maxphysaddr mode='passthrough' limit='46'/>") !=
        features("<maxphysaddr mode='passthrough' limit='39'/>"));
}

TEST_CASE("host capabilities: machine types of one domain type only are not those of all") {
  HostFacts facts = facts_of("kvm");
  read_capabilities(
      "<capabilities><guest><arch name='x86_64'><machine>pc</machine><domain type='qemu'>"
      "<machine>old</machine></domain><domain type='kvm'><machine> new </machine></domain></arch>"
      "</guest><guest><arch name='arm'><machine>virt</machine><domain type='qemu'/></arch></guest>"
      "</capabilities>",
      facts);
  CHECK(facts.machines == Names{"new", "pc"});
}

TEST_CASE("host capabilities: no XML and other XML change nothing") {
  for (const char* xml : {"", "junk", "<domain/>", "<capabilities/>", "<domainCapabilities/>",
                          "<domainCapabilities><domain>kvm</domain><cpu><mode supported='yes' "
                          "name='host-model'/></cpu></domainCapabilities>"}) {
    CAPTURE(xml);
    CHECK(read("kvm", xml, xml) == facts_of("kvm"));
  }
}
