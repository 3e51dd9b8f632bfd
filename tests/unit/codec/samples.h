// One valid message of every kind, with every container filled, for tests of the codec.
#pragma once

#include <vector>

#include "clusterd/model/message.h"
#include "tests/support/cluster_builder.h"

namespace clusterd::test {

inline Message sample_of(Body body) {
  return Message{Epoch(7), Incarnation(0xfeedULL), ClusterTime{1767225600123}, std::move(body)};
}

inline Declarations sample_declarations() {
  Declarations all;
  all.cluster = ClusterSettings{};
  all.cluster->name = "prod";
  FenceDevice bmc;
  bmc.agent = "fence_ipmilan";
  bmc.options = {{"ip", "192.0.2.11"}, {"lanplus", "1"}};
  bmc.secrets = {{"password", "/etc/clusterd/secrets/bmc"}};
  all.fence_devices["bmc-n1"] = bmc;
  NodeDeclaration node;
  node.provides = {"san-a", "vlan-12"};
  node.labels = {{"rack", "r1"}};
  node.capacity = Resources{64ULL << 30, 32};
  node.fencing = {{"bmc-n1"}, {"pdu-a", "pdu-b"}};
  node.exclusive = true;
  all.nodes["n1"] = node;
  VmPolicy policy;
  policy.priority = 600;
  policy.requires_ = {"san-a"};
  policy.placement = PlacementRules{{"n1"}, {"n2"}, {"web2"}, {}, {{"n1", "n3"}, {}, {"db"}}};
  policy.restart = RestartPolicy{};
  policy.health = HealthPolicy{};
  policy.health->guest_agent = GuestAgentCheck{};
  Probe probe;
  probe.name = "db";
  probe.kind = ProbeKind::exec;
  probe.command = {"/usr/bin/pg_isready"};
  policy.health->probes = {probe};
  all.profiles["web"] = policy;
  VmDeclaration vm;
  vm.profile = "web";
  vm.domain.uuid = VmId{numbered_uuid(3, 1)};
  vm.domain.xml = digest_of("<domain/>");
  vm.domain.size = {4ULL << 30, 2};
  vm.domain.macs = {"52:54:00:00:00:01"};
  vm.domain.disks = {"/srv/web1.qcow2"};
  vm.domain.virt_type = "kvm";
  vm.domain.cpu = {CpuMode::custom, "EPYC-Milan", "AMD", true};
  all.vms["web1"] = vm;
  all.domain_xml[vm.domain.xml] = "<domain/>";
  return all;
}

inline std::vector<Message> sample_messages() {
  const VmId vm{numbered_uuid(3, 1)};
  const Host host{NodeId(2), BootId{numbered_uuid(2, 2)}};
  const OpId op{Epoch(7), LogIndex(120)};
  Hello hello;
  hello.name = "n2";
  hello.cluster = ClusterId{numbered_uuid(1, 1)};
  hello.boot = host.boot;
  Activate activate;
  activate.epoch = Epoch(7);
  activate.members[NodeId(2)] = Member{host.boot, Incarnation(5), {}, MemberPhase::synced, true};
  activate.members[NodeId(3)] = Member{};  // silent so far
  activate.names = {{NodeId(2), "n2"}, {NodeId(3), "n3"}};
  activate.ring_only = {NodeId(4)};
  activate.votes = {{NodeId(2), 1}, {NodeId(3), 1}, {NodeId(4), 1}};
  activate.founding = Founding{hello.cluster, "prod"};
  HostFacts facts{{64ULL << 30, 32}, "EPYC", ""};
  facts.cpu_vendor = "AMD";
  facts.cpu_features = digest_of("features");
  facts.cpu_models = {"EPYC", "qemu64"};
  facts.machines = {"pc-i440fx-7.2", "pc-q35-7.2"};
  facts.virt_type = "kvm";
  ChangeConfiguration change;
  change.upsert = sample_declarations();
  change.delete_vms = {"old"};
  change.command = 3;
  return {sample_of(hello),
          sample_of(Ack{LogIndex(9), LogIndex(8), LogIndex(0), Digest(1)}),
          sample_of(Snapshot{11, std::string("\x00\xff state", 8)}),
          sample_of(activate),
          sample_of(Leave{host.boot, true}),
          sample_of(Mark{11}),
          sample_of(Synced{LogIndex(9), Digest(4)}),
          sample_of(Demote{NodeId(2), Incarnation(5), "silent"}),
          sample_of(Advance{}),
          sample_of(Report{vm, Generation(4), DomainState::running, StopCause::none, true}),
          sample_of(InventoryDone{facts}),
          sample_of(StartVm{vm, Generation(4), host, Cause::host_lost}),
          sample_of(StopVm{vm, Generation(5), host, Cause::undeclared}),
          sample_of(OperatePower{PowerOpKind::fence, host, NodeId(3)}),
          sample_of(VmClosed{op, vm, Outcome::unknown, DomainState::absent, "libvirt is silent"}),
          sample_of(PowerClosed{op, NodeId(2), Outcome::done, {{"bmc-n2", Power::off}}, {"bmc-n2"},
                                ""}),
          sample_of(change),
          sample_of(OrderVm{vm, VmOrderKind::restart, 4}),
          sample_of(OrderNode{host, NodeOrderKind::confirm_dead, true, 5}),
          sample_of(AcceptState{NodeId(2), 6}),
          sample_of(Establish{}),
          sample_of(OrderCluster{ClusterOrderKind::disarm, "the switch is replaced", 7}),
          sample_of(FoundOff{host, {"bmc-n2", "pdu-a"}}), sample_of(Condemn{host})};
}

}  // namespace clusterd::test
