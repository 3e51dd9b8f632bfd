#include "clusterd/engine/offline.h"

#include <algorithm>

#include "clusterd/base/digest.h"
#include "clusterd/model/resolve.h"

namespace clusterd {
namespace {

// The same text and kind always give the same id; version and variant are those of RFC 9562,
// version 8: made by rules of our own.
Uuid uuid_of(const std::string& kind, const std::string& text) {
  Uuid uuid;
  for (std::size_t half = 0; half < 2; ++half) {
    const Digest digest = digest_of(kind + std::to_string(half) + text);
    for (std::size_t i = 0; i < 8; ++i) {
      uuid.bytes[half * 8 + i] = static_cast<std::uint8_t>(digest.value >> (8 * i));
    }
  }
  uuid.bytes[6] = static_cast<std::uint8_t>((uuid.bytes[6] & 0x0f) | 0x80);
  uuid.bytes[8] = static_cast<std::uint8_t>((uuid.bytes[8] & 0x3f) | 0x80);
  return uuid;
}

std::string joined(const std::vector<std::string>& names) {
  static constexpr std::size_t kShown = 10;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) {
    text += (text.empty() ? "" : ", ") + names[i];
  }
  return names.size() <= kShown ? text
                                : text + " and " + std::to_string(names.size() - kShown) + " more";
}

// What a host must have so that it offers this to VMs; the least, as offered() rounds down.
std::uint64_t whole_of(std::uint64_t offered, std::uint64_t reserved, std::uint32_t thousandths) {
  if (offered == 0 || thousandths == 0) return 0;
  return (offered * 1000 + thousandths - 1) / thousandths + reserved;
}

class Offline {
 public:
  Offline(Configuration declared, const StatusReport* saved) : saved_(saved) {
    out_.state.config = std::move(declared);
  }

  OfflineState build() && {
    complete_nodes();
    complete_vms();
    settings();
    nodes();
    for (const auto& [name, vm] : out_.state.config.vms) add_vm(name, vm);
    for (Finding& finding : check(out_.state.config, Purpose::plan)) {
      out_.findings.push_back(std::move(finding));
    }
    return std::move(out_);
  }

 private:
  void tell(Severity severity, const std::string& path, const std::string& message) {
    out_.findings.push_back({path, message, severity});
  }

  const NodeReport* saved_node(const std::string& name) const {
    if (saved_ == nullptr) return nullptr;
    const auto found = std::find_if(saved_->nodes.begin(), saved_->nodes.end(),
                                    [&](const NodeReport& node) { return node.name == name; });
    return found == saved_->nodes.end() ? nullptr : &*found;
  }

  void complete_nodes() {
    if (saved_ == nullptr) return;
    std::vector<std::string> only_saved;
    for (const NodeReport& node : saved_->nodes) {
      if (!node.declared || out_.state.config.nodes.contains(node.name)) continue;
      out_.state.config.nodes[node.name].role = node.role;
      only_saved.push_back(node.name);
    }
    if (only_saved.empty()) return;
    tell(Severity::warning, "nodes",
         "no file declares " + joined(only_saved) +
             " of the saved status: as if they provided nothing and kept nothing for themselves");
  }

  void complete_vms() {
    auto& vms = out_.state.config.vms;
    std::vector<std::string> only_saved;
    if (saved_ != nullptr) {
      for (const VmReport& vm : saved_->vms) {
        saved_vms_.emplace(vm.name, &vm);
        if (vms.contains(vm.name)) continue;
        only_saved.push_back(vm.name);
        VmDeclaration& declaration = vms[vm.name];
        declaration.policy.state = vm.declared.value_or(vm.desired);
        declaration.policy.priority = vm.priority;
        declaration.policy.preemptible = vm.preemptible;
        declaration.domain.size = vm.size;
      }
    }
    for (auto& [name, vm] : vms) {
      if (vm.domain.uuid != VmId{}) continue;
      const auto known = saved_vms_.find(name);
      const auto uuid = known == saved_vms_.end() ? std::nullopt : Uuid::parse(known->second->uuid);
      vm.domain.uuid = VmId{uuid.value_or(uuid_of("vm", name))};
      if (vm.domain.size.vcpus == 0) vm.domain.size.vcpus = 1;  // as libvirt without a word
    }
    if (only_saved.empty()) return;
    tell(Severity::warning, "vms",
         "no file declares " + joined(only_saved) +
             " of the saved status: as if there were no rules where they may run");
  }

  void settings() {
    ClusterState& state = out_.state;
    state.cluster.uuid = uuid_of("cluster", state.config.cluster.name);
    state.name = state.config.cluster.name;
    state.config.version = ConfigVersion(1);  // 0 would mean that nothing is declared yet
    state.position.epoch = Epoch(1);
    state.view.trusted = true;
    state.view.authority = Authority::established;
  }

  void nodes() {
    std::set<std::uint32_t> taken;
    if (saved_ != nullptr) {
      for (const NodeReport& node : saved_->nodes) {
        if (node.id.value != 0) taken.insert(node.id.value);
      }
    }
    std::set<std::string> names;
    for (const auto& [name, declaration] : out_.state.config.nodes) names.insert(name);
    if (saved_ != nullptr) {
      for (const NodeReport& node : saved_->nodes) names.insert(node.name);
    }
    std::uint32_t next = 1;
    for (const std::string& name : names) {
      const NodeReport* saved = saved_node(name);
      NodeId id = saved == nullptr ? NodeId() : saved->id;
      if (id.value == 0) {
        while (taken.contains(next)) ++next;
        id = NodeId(next++);
      }
      ids_[name] = id;
      add_node(id, name, saved);
    }
  }

  void add_node(NodeId id, const std::string& name, const NodeReport* saved) {
    ClusterState& state = out_.state;
    NodeState& node = state.nodes[id];
    node.name = name;
    node.machine = MachineId{uuid_of("machine", name)};
    node.boot = BootId{uuid_of("boot", name)};
    node.facts.total = saved == nullptr ? Resources{} : capacity_of(name, *saved);
    state.view.votes[id] = 1;
    place_node(id, node, saved);
    if (saved_ != nullptr && saved == nullptr) {
      tell(Severity::warning, "nodes." + name,
           "the saved status does not know it: as if it were online and empty");
    }
    const auto declared = state.config.nodes.find(name);
    if (declared == state.config.nodes.end()) return;
    const bool takes_vms = state.view.members.contains(id);
    if (takes_vms && !declared->second.capacity && node.facts.total.memory == 0) {
      tell(Severity::error, "nodes." + name,
           "its capacity is not known: declare `capacity:`, or give --state a file with what "
           "`clusterctl status --json` prints");
    }
  }

  // Of the host itself. Where only what VMs may have was saved, the files' factors lead back.
  Resources capacity_of(const std::string& name, const NodeReport& saved) const {
    if (saved.capacity.memory != 0) return saved.capacity;
    const Overcommit& factor = out_.state.config.cluster.overcommit;
    const auto declared = out_.state.config.nodes.find(name);
    const Resources reserved =
        declared == out_.state.config.nodes.end() ? Resources{} : declared->second.host_reserved;
    return {whole_of(saved.memory_total, reserved.memory, factor.memory),
            static_cast<std::uint32_t>(whole_of(saved.vcpus_total, reserved.vcpus, factor.vcpus))};
  }

  // In the view or out of it, by the word that `status` has for it.
  void place_node(NodeId id, NodeState& node, const NodeReport* saved) {
    ActiveView& view = out_.state.view;
    const std::string state = saved == nullptr ? "online" : saved->state;
    if (state == "unmanaged") {
      view.ring_only.insert(id);
    } else if (state == "lost" || state == "fencing") {
      node.loss.emplace();
      node.loss->boot = node.boot;
    } else if (state == "left") {
      node.departure = Departure{node.boot, true, {}, {}};
    } else if (state == "dead") {
      node.dead[node.boot] = Death{};
    } else {
      const MemberPhase phase = state == "joining" ? MemberPhase::joining : MemberPhase::synced;
      view.members[id] = {node.boot, Incarnation(1), node.machine, phase, state != "joining"};
      node.maintenance = state == "maintenance";
      if (state == "condemned") node.dead[node.boot] = Death{};
      if (state == "online" && saved != nullptr) node.facts.problem = saved->reason;
    }
  }

  void add_vm(const std::string& name, const VmDeclaration& declaration) {
    const ResolvedVm policy = resolve(out_.state.config, declaration);
    VmState& vm = out_.state.vms[declaration.domain.uuid];
    vm.name = name;
    vm.size = policy.size;
    vm.declared = policy.state;
    const auto found = saved_vms_.find(name);
    if (found == saved_vms_.end()) return;
    const VmReport& saved = *found->second;
    // Three-way, as in a cluster: an order stands until the file's own word changes.
    const bool new_word = saved.declared && *saved.declared != policy.state;
    if (!new_word && saved.desired != policy.state) vm.ordered = saved.desired;
    vm.guest_off = saved.state == "stopped" && saved.desired == DesiredState::running;
    if (saved.node.empty()) return;
    const auto node = ids_.find(saved.node);
    if (node == ids_.end()) {
      tell(Severity::error, "vms." + name,
           "the saved status has it on " + saved.node + ", but does not know that node");
      return;
    }
    const Host host{node->second, out_.state.nodes.at(node->second).boot};
    const DomainState seen = saved.state == "paused" ? DomainState::paused : DomainState::running;
    vm.holders[host] = Sighting{seen, saved.health == "healthy", {}};
    vm.last_host = host;
  }

  const StatusReport* saved_;
  OfflineState out_;
  std::map<std::string, const VmReport*> saved_vms_;
  std::map<std::string, NodeId> ids_;
};

}  // namespace

OfflineState offline_state(Configuration declared, const StatusReport* saved) {
  return Offline(std::move(declared), saved).build();
}

}  // namespace clusterd
