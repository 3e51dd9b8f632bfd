#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "clusterd/config/declarations_file.h"
#include "clusterd/model/merge.h"

using namespace clusterd;

namespace {

namespace fs = std::filesystem;

// A folder with declarations that is gone after the test.
class Folder {
 public:
  Folder() {
    std::string pattern = "/tmp/clusterd-declarations-XXXXXX";
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Folder() { fs::remove_all(path); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(path + "/" + name).parent_path());
    std::ofstream(path + "/" + name, std::ios::binary) << text;
  }
  std::string path;
};

std::string domain(const std::string& name, int number, const std::string& more = "") {
  const std::string digits = std::to_string(10 + number);
  return "<domain type='qemu'>\n  <name>" + name + "</name>\n" +
         "  <uuid>00000000-0000-4000-8000-0000000000" + digits + "</uuid>\n" +
         "  <memory unit='MiB'>512</memory>\n  <vcpu>2</vcpu>\n" +
         "  <os><type machine='q35'>hvm</type></os>\n  <devices>\n" + more + "  </devices>\n" +
         "</domain>\n";
}

Result<std::string> metadata(const std::string& agent) {
  if (agent == "fence_odd") {
    return std::string("<resource-agent><parameters><parameter name='\xff\x07' required='1'/>"
                       "</parameters></resource-agent>");
  }
  if (agent == "fence_absent") return Error{"agent fence_absent is not installed on this node"};
  return std::string(R"(a warning
<?xml version="1.0" ?>
<resource-agent name="fence_x"><parameters>
<parameter name="action" required="1"><content type="string"/></parameter>
<parameter name="ip" required="1" obsoletes="ipaddr"><content type="string"/></parameter>
<parameter name="ipaddr" required="1" deprecated="1"><content type="string"/></parameter>
<parameter name="ipport" required="0"><content type="integer"/></parameter>
<parameter name="lanplus" required="0"><content type="boolean"/></parameter>
<parameter name="password" required="0"><content type="string"/></parameter>
<parameter name="auth" required="0"><content type="select">
<option value="md5"/><option value="none"/></content></parameter>
</parameters></resource-agent>)");
}

// Every error of the files and of the configuration that they make, as "FILE:LINE:COLUMN".
struct Read {
  explicit Read(const Folder& folder, const std::string& what = "lab.yaml") {
    loaded = load_declarations(folder.path + "/" + what, metadata);
    ConfigErrors all = loaded.errors;
    for (const Finding& finding : check(merge(Configuration{}, loaded.declarations))) {
      if (finding.severity == Severity::warning) continue;
      const bool follows = finding.message == "its domain XML is missing";
      if (follows && !loaded.errors.empty()) continue;
      const auto place = find_place(loaded.places, finding.path);
      all.push_back({place.value_or(Place{"?", 0, 0}), finding.path + ": " + finding.message});
    }
    std::sort(all.begin(), all.end());
    for (const ConfigError& error : all) {
      const std::string text = error.str();
      lines.push_back(text.rfind(folder.path + "/", 0) == 0 ? text.substr(folder.path.size() + 1)
                                                            : text);
    }
  }
  // True if exactly these errors were found, each given as "FILE:LINE:COLUMN: a part of it".
  bool only(const std::vector<std::string>& expected) const {
    bool same = lines.size() == expected.size();
    for (std::size_t i = 0; same && i < lines.size(); ++i) {
      const auto blank = expected[i].find(": ");
      same = lines[i].rfind(expected[i].substr(0, blank + 2), 0) == 0 &&
             lines[i].find(expected[i].substr(blank + 2), blank) != std::string::npos;
    }
    return same;
  }
  std::string shown() const {
    std::string text;
    for (const auto& line : lines) text += line + "\n";
    return text;
  }
  LoadedDeclarations loaded;
  std::vector<std::string> lines;
};

const std::string kNodes = "nodes:\n  n1: {}\n  n2: {}\n";  // lines 1 to 3

void expect_errors(const std::string& yaml, const std::vector<std::string>& expected,
                   const std::string& xml = domain("web1", 1)) {
  Folder folder;
  folder.write("lab.yaml", yaml);
  folder.write("web1.xml", xml);
  folder.write("web2.xml", domain("web2", 2));
  const Read read(folder);
  INFO(read.shown());
  CHECK(read.only(expected));
}

}  // namespace

TEST_CASE("declarations: everything that the contract names is read") {
  Folder folder;
  folder.write(
      "domains/web1.xml",
      domain("web1", 1,
             "    <interface type='bridge'><mac address='52:54:00:AA:bb:01'/></interface>\n"
             "    <disk type='file' device='disk'><source file='/san//a.raw'/></disk>\n"
             "    <disk type='file' device='disk'><source file='/s'/><shareable/></disk>\n"
             "    <disk type='file' device='cdrom'><source file='/c'/><readonly/></disk>\n"));
  folder.write("lab.yaml", R"(cluster:
  name: prod
  reserve: { host_failures: 2 }
  admission: warn
  overcommit: { memory: 1.25, vcpus: 4 }
  limits: { parallel_starts_per_node: null, parallel_migrations_per_node: 3 }
  fencing: { min_healthy: 40%, startup_wait: 3m, after_fence: stay_off, per_hour: 6,
             priority_delay: 9s }
  timers: { ack_timeout: 1500ms, fence_retries: 5 }
fence_devices:
  bmc: { agent: fence_x, options: { ip: 192.0.2.1, lanplus: 1 }, secrets: { password: /p } }
nodes:
  n1: { role: backup, provides: [san-a], labels: { rack: r1 }, fencing: [[bmc]],
        host_reserved: { memory: 2GiB, vcpus: 1 }, capacity: { memory: 64GiB, vcpus: 32 } }
profiles:
  web: { priority: 600, requires: [san-a] }
vms:
  web1:
    profile: web
    domain: domains/web1.xml
    state: stopped
    placement: { prefer: [n1], allow: [n1] }
    restart: { attempts: 1, window: 2h, relocations: 0 }
    health:
      guest_agent: {}
      probes:
        - { name: http, http: { port: 80, path: /healthz }, interval: 10s, failures: 3 }
        - { name: db, exec: { command: [/usr/bin/true] } }
    rto: 60s
)");
  const Read read(folder);
  INFO(read.shown());
  REQUIRE(read.lines.empty());
  const Declarations& d = read.loaded.declarations;
  REQUIRE(d.cluster);
  CHECK(d.cluster->reserve_host_failures == 2);
  CHECK(d.cluster->overcommit.memory == 1250);
  CHECK(d.cluster->overcommit.vcpus == 4000);
  CHECK_FALSE(d.cluster->parallel_starts_per_node);
  CHECK(d.cluster->min_healthy_percent == 40);
  CHECK(d.cluster->fences_per_hour == 6);
  CHECK(d.cluster->priority_delay == Duration(9000));
  CHECK(d.cluster->timers.ack_timeout == Duration(1500));
  CHECK(d.fence_devices.at("bmc").secrets.at("password") == "/p");
  CHECK(d.nodes.at("n1").capacity == Resources{64ULL << 30, 32});
  const VmDeclaration& vm = d.vms.at("web1");
  CHECK(vm.domain.size == Resources{512ULL << 20, 2});
  CHECK(vm.domain.macs == std::set<std::string>{"52:54:00:aa:bb:01"});
  CHECK(vm.domain.disks == std::set<std::string>{"/san/a.raw"});
  CHECK(vm.policy.health->probes.at(1).command == std::vector<std::string>{"/usr/bin/true"});
  CHECK(vm.policy.health->guest_agent);
  CHECK(d.domain_xml.at(vm.domain.xml).find("<name>web1</name>") != std::string::npos);
}

TEST_CASE("declarations: how a guest is asked, with the pace of its preset") {
  const Folder folder;
  folder.write("domains/web1.xml", domain("web1", 1));
  folder.write("lab.yaml", kNodes + R"(
vms:
  web1:
    domain: domains/web1.xml
    health:
      guest_agent: { required: true }
      probes:
        - { name: queue, heartbeat: { port: 9000 }, interval: 20s }
        - { name: old, script: { command: [/opt/check, -v] }, required: true }
        - { name: web, http: { port: 80, body: ok } }
      preset: fast
      address: fd00::7
      repair: { command: [/bin/mend], timeout: 7s }
      on_unhealthy: relocate
)");
  const Read read(folder);
  INFO(read.shown());
  REQUIRE(read.lines.empty());
  const HealthPolicy& health = *read.loaded.declarations.vms.at("web1").policy.health;
  CHECK(health.guest_agent->interval == Duration(3000));
  CHECK(health.guest_agent->required);
  CHECK(health.probes.at(0).kind == ProbeKind::heartbeat);
  CHECK(health.probes.at(0).interval == Duration(20000));
  CHECK(health.probes.at(0).timeout == Duration(2000));
  CHECK(health.probes.at(1).kind == ProbeKind::script);
  CHECK(health.probes.at(1).required);
  CHECK(health.probes.at(2).body == "ok");
  CHECK(health.address == "fd00::7");
  CHECK(health.repair == std::vector<std::string>{"/bin/mend"});
  CHECK(health.repair_timeout == Duration(7000));
  CHECK(health.on_unhealthy == OnUnhealthy::relocate);
}

TEST_CASE("declarations: what cannot be asked, each at its place") {
  expect_errors(kNodes + R"(vms:
  web1:
    domain: web1.xml
    health:
      preset: slow
      address: web1.example
      repair: { command: [mend] }
      probes:
        - { name: a, exec: { command: [] } }
        - { name: b, script: { command: [check] } }
        - { name: c, heartbeat: {} }
        - { name: d, tcp: { port: 1 }, http: { port: 1 } }
        - { name: c, tcp: { port: 1 } }
)",
                {"lab.yaml:8:15: 'slow' is none of fast, normal, relaxed",
                 "lab.yaml:9:16: 'web1.example' is no IP address",
                 "lab.yaml:10:15: the command must begin with the full path of a program",
                 "lab.yaml:12:11: a command is needed",
                 "lab.yaml:13:11: the command must begin with the full path of a program",
                 "lab.yaml:14:11: a port is needed",
                 "lab.yaml:15:11: a probe has one of tcp, http, exec, script, heartbeat",
                 "lab.yaml:16:11: a second probe named c"});
}

TEST_CASE("declarations: five errors in one file are five errors") {
  expect_errors(kNodes +
                    "clutser: {}\nvms:\n  web1:\n    domain: web1.xml\n    priority: high\n"
                    "    placement: { prefer: n1, away: [web2] }\n    rto: 60\n",
                {"lab.yaml:4:1: unknown key 'clutser'; known are cluster, fence_devices",
                 "lab.yaml:8:15: 'high' is no whole number", "lab.yaml:9:26: must be a list",
                 "lab.yaml:9:30: unknown key 'away'", "lab.yaml:10:10: '60' is no time"});
}

TEST_CASE("declarations: wrong types and values, each at its place") {
  expect_errors("cluster: [a]\n" + kNodes, {"lab.yaml:1:10: must be a mapping"});
  expect_errors(kNodes + "cluster: { fencing: { min_healthy: 120% } }\n",
                {"lab.yaml:4:36: no share from 0% to 100%"});
  expect_errors(kNodes + "cluster: { overcommit: { memory: -1.0 } }\n",
                {"lab.yaml:4:34: no factor"});
  expect_errors("nodes:\n  n1: { capacity: { memory: -4GiB, vcpus: 1 } }\n",
                {"lab.yaml:2:29: '-4GiB' is no size"});
  expect_errors("nodes:\n  n1: { capacity: { memory: 99999999999GiB, vcpus: 1 } }\n",
                {"lab.yaml:2:29: is no size"});
  expect_errors("nodes:\n  n1: { host_reserved: { memory: 4Gi } }\n",
                {"lab.yaml:2:34: '4Gi' is no size"});
  expect_errors("nodes:\n  n 1: {}\n", {"lab.yaml:2:3: 'n 1' is no name"});
  expect_errors(kNodes + "vms:\n  web1:\n", {"lab.yaml:5:3: must be a mapping"});
  expect_errors(kNodes + "vms:\n  web1: { state: on, domain: web1.xml }\n",
                {"lab.yaml:5:18: 'on' is none of running, stopped, ignored"});
}

TEST_CASE("declarations: half a capacity is none") {
  expect_errors("nodes:\n  n1: { capacity: { memory: 4GiB } }\n",
                {"lab.yaml:2:19: needs both memory and vcpus"});
}

TEST_CASE("declarations: what stands twice is an error at the second place") {
  expect_errors("nodes:\n  n1: {}\n  n1: { role: backup }\n",
                {"lab.yaml:3:3: 'n1' stands here a second time"});
  expect_errors(kNodes + "cluster: { name: a, name: b }\n",
                {"lab.yaml:4:21: 'name' stands here a second time"});
  Folder folder;
  folder.write("a.yaml", kNodes);
  folder.write("b.yaml", "nodes:\n  n1: {}\n");
  const Read read(folder, "");
  INFO(read.shown());
  CHECK(read.lines.size() == 1);
  CHECK(read.lines.at(0).find("b.yaml:2:3: nodes.n1: is declared in another file too") !=
        std::string::npos);
}

TEST_CASE("declarations: text that is no acceptable YAML") {
  expect_errors("nodes: [\n", {"lab.yaml:2:1: "});
  expect_errors("nodes:\n\t- x\n", {"lab.yaml:2:2: "});
  expect_errors("a: &a [x]\nb: *a\n", {"lab.yaml:1:4: anchors", "lab.yaml:2:4: aliases"});
  expect_errors("nodes: !!python/object:x {}\n", {"lab.yaml:1:8: tags are not read"});
  expect_errors(kNodes + "---\nnodes: {}\n", {"lab.yaml:4:1: a second document"});
  // The parser would find empty documents for ever, all at this place.
  expect_errors(", a\n", {"lab.yaml:1:1: a second document or a stray ','"});
  expect_errors("nodes:\n  n1: { labels: { rack: \"r\xff\" } }\n",
                {"lab.yaml:2:27: this byte is no UTF-8"});
  expect_errors("nodes:\n  n1: { labels: { rack: \"a\\x07\" } }\n",
                {"lab.yaml:2:25: has a control character"});
  expect_errors(kNodes + "profiles: \"\n", {"lab.yaml:5:1: a quote above here is not closed"});
  expect_errors(kNodes + "profiles: \"", {"lab.yaml:4:12: a quote above here is not closed"});
  // What stood behind it was ignored without a word.
  expect_errors(kNodes + "# " + '\0' + "\nvms: 5\n", {"lab.yaml:4:3: this byte is a control"});
  expect_errors(std::string(200, '[') + "\n", {"lab.yaml:1:17: nested too deeply"});
  expect_errors(std::string(10'000'000, '#'), {"lab.yaml:1:1: has 10000000 bytes; at most"});
  expect_errors("", {"lab.yaml:1:1: must be a mapping"});
  Folder folder;
  CHECK(Read(folder, "absent.yaml").only({"absent.yaml:1:1: there is no such file"}));
  CHECK(Read(folder, "").lines.size() == 1);
}

TEST_CASE("declarations: many documents cannot hide behind one alias") {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    const std::string last(1, static_cast<char>(c - 1));
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 9; ++i) bomb += (i == 0 ? "*" : ",*") + last;
    bomb += "]\n";
  }
  Folder folder;
  folder.write("lab.yaml", bomb);
  CHECK(Read(folder).lines.size() == 9 + 8 * 9);
}

TEST_CASE("declarations: a domain that is not fit, with places inside the XML") {
  const std::string yaml = kNodes + "vms:\n  web1: { domain: web1.xml }\n";
  expect_errors(kNodes + "vms:\n  web1: { domain: gone.xml }\n",
                {"lab.yaml:5:19: there is no file "});
  expect_errors(kNodes + "vms:\n  web1: {}\n", {"lab.yaml:5:3: has no domain"});
  expect_errors(yaml, {"web1.xml:2:7: is no XML"}, "<domain>\n<name>\n");
  expect_errors(yaml, {"web1.xml:1:2: <network> is no libvirt domain"}, "<network/>\n");
  expect_errors(yaml, {"web1.xml:1:2: has no <uuid>"},
                "<domain type='qemu'><name>web1</name><memory>1024</memory>"
                "<os><type>hvm</type></os></domain>\n");
  expect_errors(
      yaml,
      {"web1.xml:2:4: the domain's name is 'other'", "web1.xml:3:4: is no UUID",
       "web1.xml:4:4: unknown unit 'furlong'", "web1.xml:5:4: is no number of processors",
       "web1.xml:8:8: no <mac address='...'/>", "web1.xml:9:23: is no MAC address"},
      "<domain type='kvm'>\n  <name>other</name>\n  <uuid>17</uuid>\n"
      "  <memory unit='furlong'>1</memory>\n  <vcpu>none</vcpu>\n"
      "  <os><type>hvm</type></os>\n  <devices>\n      <interface type='user'/>\n"
      "      <interface><x/><mac address='52:54'/></interface>\n  </devices>\n</domain>\n");
  expect_errors(yaml, {"web1.xml:1:1: has 300000 bytes"}, std::string(300'000, ' '));
  expect_errors(yaml, {"web1.xml:2:10: this byte is no UTF-8"},
                "<domain>\n  <name>a\xc3(</name>\n");
}

TEST_CASE("declarations: names that mean nothing, and circles") {
  expect_errors(kNodes +
                    "vms:\n  web1:\n    domain: web1.xml\n    profile: gone\n"
                    "    placement: { prefer: [n9], away_from: [web9, web1], avoid: [n1, n3] }\n"
                    "    start_after: [db]\n",
                {"lab.yaml:7:14: there is no profile gone", "lab.yaml:8:26: there is no node n9",
                 "lab.yaml:8:44: there is no VM web9", "lab.yaml:8:50: names the VM itself",
                 "lab.yaml:8:69: there is no node n3", "lab.yaml:9:19: there is no VM db"});
  expect_errors("nodes:\n  n1: { fencing: [[bmc], [pdu]] }\n",
                {"lab.yaml:2:20: there is no fence device bmc",
                 "lab.yaml:2:27: there is no fence device pdu"});
  expect_errors(kNodes +
                    "vms:\n  web1: { domain: web1.xml, start_after: [web2] }\n"
                    "  web2: { domain: web2.xml, start_after: [web1] }\n",
                {"lab.yaml:5:42: a cycle: web1 -> web2 -> web1"});
}

TEST_CASE("declarations: constraints that nothing can meet") {
  expect_errors(kNodes + "vms:\n  web1: { domain: web1.xml, requires: [san-a] }\n",
                {"lab.yaml:5:3: requires san-a: none of n1, n2 provides that"});
  expect_errors(kNodes + "vms:\n  web1: { domain: web1.xml, placement: { avoid: [n1, n2] } }\n",
                {"lab.yaml:5:40: allow and avoid leave no node"});
  expect_errors(
      "nodes:\n  n1: { capacity: { memory: 1GiB, vcpus: 1 } }\n"
      "vms:\n  web1: { domain: web1.xml, memory: 2GiB }\n",
      {"lab.yaml:4:3: is larger than each of n1, even if empty"});
  expect_errors(
      kNodes +
          "vms:\n"
          "  web1: { domain: web1.xml, placement: { together_with: [web2], allow: [n1] } }\n"
          "  web2: { domain: web2.xml, placement: { away_from: [web1], allow: [n2] } }\n",
      {"lab.yaml:5:57: allow and avoid leave no node to web1, web2 together",
       "lab.yaml:6:54: together_with binds web2 and web1 to one node"});
}

TEST_CASE("declarations: exclusive nodes leave no place to VMs that do not name them") {
  const std::string nodes = "nodes:\n  n1: { exclusive: true }\n  n2: {}\n";
  const std::string web1 = "  web1: { domain: web1.xml, placement: { avoid: [n2] } }\n";
  expect_errors(nodes + "vms:\n" + web1,
                {"lab.yaml:5:40: allow and avoid leave no node to web1 (exclusive: n1)"});
  expect_errors(
      nodes + "vms:\n  web1: { domain: web1.xml, placement: { allow: [n1], avoid: [n2] } }\n", {});
  expect_errors(nodes +
                    "vms:\n  web1: { domain: web1.xml, placement: { allow: [n1, n2] } }\n"
                    "  web2: { domain: web2.xml, placement: { together_with: [web1], "
                    "avoid: [n2] } }\n",
                {"lab.yaml:6:40: allow and avoid leave no node to web2 (exclusive: n1)"});
  expect_errors("nodes:\n  n1: { exclusive: maybe }\n", {"lab.yaml:2:20: "});
}

TEST_CASE("declarations: an exclusive node that no VM names is worth a warning") {
  Configuration config;
  config.nodes["n1"].exclusive = true;
  const auto warned = [&] {
    const auto findings = check(config);
    return std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
      return finding.path == "nodes.n1.exclusive" && finding.severity == Severity::warning;
    });
  };
  CHECK(warned());
  config.profiles["p"].placement.emplace().allow = {"n1"};
  CHECK(warned());
  config.vms["a"].profile = "p";
  CHECK_FALSE(warned());
}

TEST_CASE("declarations: two VMs with one identity") {
  Folder folder;
  const std::string disk =
      "    <disk type='block' device='disk'><source dev='/dev/vg/a'/></disk>\n"
      "    <interface type='user'><mac address='52:54:00:00:00:01'/></interface>\n";
  folder.write("web1.xml", domain("web1", 1, disk));
  folder.write("web2.xml", domain("web2", 1, disk));
  folder.write("lab.yaml", kNodes +
                               "vms:\n  web1: { domain: web1.xml }\n"
                               "  web2: { domain: web2.xml }\n");
  const Read read(folder);
  INFO(read.shown());
  CHECK(read.only({"lab.yaml:6:19: MAC address 52:54:00:00:00:01 is that of web1 too",
                   "lab.yaml:6:19: UUID 00000000-0000-4000-8000-000000000011 is that of web1 too",
                   "lab.yaml:6:19: disk /dev/vg/a is that of web1 too"}));
}

TEST_CASE("declarations: fence devices against what their agents say") {
  const std::string nodes = "nodes:\n  n1: {}\n";
  expect_errors(
      nodes +
          "fence_devices:\n  b:\n    agent: fence_x\n"
          "    options: { ipp: x, lanplus: maybe, ipport: ten, auth: sha, password: s3cret }\n",
      {"lab.yaml:6:14: fence_x needs the option ip", "lab.yaml:6:21: fence_x has no option ipp",
       "lab.yaml:6:33: lanplus of fence_x is a switch",
       "lab.yaml:6:48: ipport of fence_x is a whole number",
       "lab.yaml:6:59: auth of fence_x is one of md5, none",
       "lab.yaml:6:74: a secret does not stand here"});
  expect_errors(nodes + "fence_devices:\n  b: { agent: fence_odd }\n",
                {"lab.yaml:4:3: fence_devices.b.options: fence_odd needs the option ??"});
  expect_errors(nodes + "fence_devices:\n  b: { agent: fence_absent }\n  c: {}\n",
                {"lab.yaml:4:15: is not installed", "lab.yaml:5:3: has no agent"});
  expect_errors(nodes +
                    "fence_devices:\n  b: { agent: fence_x, options: { ipaddr: a }, "
                    "secrets: { password: relative } }\n",
                {"lab.yaml:4:69: must be an absolute path"});
  Folder folder;
  folder.write("lab.yaml", nodes +
                               "fence_devices: { b: { agent: fence_x, options: "
                               "{ ip: a, password: s3cret } } }\n");
  CHECK(Read(folder).shown().find("s3cret") == std::string::npos);
}

TEST_CASE("declarations: the example of etc/ has no error and no warning, and uses every key") {
  const std::string file = CLUSTERD_SOURCE_DIR "/etc/examples/cluster.yaml";
  const LoadedDeclarations loaded = load_declarations(file, {});
  REQUIRE(loaded.errors.empty());
  CHECK(check(merge(Configuration{}, loaded.declarations)).empty());
  // What the loader knows is what it tells about an unknown key; docs/configuration.md has all.
  std::ifstream in(CLUSTERD_SOURCE_DIR "/docs/configuration.md");
  const std::string manual{std::istreambuf_iterator<char>(in), {}};
  for (const auto& [path, place] : loaded.places) {
    const std::string key = path.substr(path.rfind('.') + 1);
    if (key.empty() || key.find('[') != key.npos || path.find(".labels.") != path.npos) continue;
    const bool own_name = loaded.declarations.vms.contains(key) ||
                          loaded.declarations.nodes.contains(key) ||
                          loaded.declarations.profiles.contains(key) ||
                          loaded.declarations.fence_devices.contains(key);
    const bool agents = path.find(".options.") != path.npos || path.find(".secrets.") != path.npos;
    if (own_name || agents) continue;
    INFO(path);
    CHECK(manual.find("`" + key + "`") != std::string::npos);
  }
}
