#include "clusterd/model/check.h"

#include <algorithm>
#include <tuple>

#include "clusterd/model/check_placement.h"
#include "clusterd/model/resolve.h"

namespace clusterd {
namespace {

using Names = std::set<std::string>;

class Checker {
 public:
  Checker(const Configuration& config, Purpose purpose) : config_(config), purpose_(purpose) {
    for (const auto& [name, vm] : config.vms) resolved_.emplace(name, resolve(config, vm));
  }

  std::vector<Finding> run() {
    settings();
    nodes();
    for (const auto& [name, profile] : config_.profiles) policy("profiles." + name, name, profile);
    for (const auto& [name, vm] : config_.vms) {
      policy("vms." + name, name, vm.policy);
      domain(name, vm);
    }
    unique_identities();
    start_order();
    for (Finding& finding : check_placement(config_, resolved_)) {
      findings_.push_back(std::move(finding));
    }
    std::stable_sort(findings_.begin(), findings_.end(), [](const Finding& a, const Finding& b) {
      return std::tie(a.path, a.message) < std::tie(b.path, b.message);
    });
    return std::move(findings_);
  }

 private:
  void error(const std::string& path, const std::string& message) {
    findings_.push_back({path, message, Severity::error});
  }
  void warn(const std::string& path, const std::string& message) {
    findings_.push_back({path, message, Severity::warning});
  }

  void settings() {
    if (config_.cluster.on_quorum_loss == OnQuorumLoss::self_fence) {
      error("cluster.on_quorum_loss",
            "self_fence needs an armed watchdog, which this version does not have: freeze");
    }
    if (config_.cluster.on_daemon_death == OnDaemonDeath::fence) {
      error("cluster.on_daemon_death", "this version never fences for a dead daemon: alarm");
    }
    const std::size_t failures = config_.cluster.reserve_host_failures;
    const std::size_t nodes = config_.nodes.size();
    if (nodes > 0 && failures >= nodes) {
      warn("cluster.reserve.host_failures",
           "is " + std::to_string(failures) + ", and there " + (nodes == 1 ? "is" : "are") +
               " only " + std::to_string(nodes) + (nodes == 1 ? " node" : " nodes") +
               ": that reserve can never hold, and admission does not ask for it");
    }
    const Timers& t = config_.cluster.timers;
    if (t.restart_backoff > t.restart_backoff_max) {
      error("cluster.timers.restart_backoff", "is longer than restart_backoff_max");
    }
    if (t.fence_backoff > t.fence_backoff_max) {
      error("cluster.timers.fence_backoff", "is longer than fence_backoff_max");
    }
  }

  void nodes() {
    for (const auto& [name, node] : config_.nodes) {
      const std::string path = "nodes." + name;
      Names used;
      for (std::size_t level = 0; level < node.fencing.size(); ++level) {
        for (const auto& device : node.fencing[level]) {
          const std::string where =
              path + ".fencing[" + std::to_string(level) + "][" + device + "]";
          if (!config_.fence_devices.contains(device)) {
            error(where, "there is no fence device " + device);
          } else if (!used.insert(device).second) {
            error(where, device + " stands in two levels");
          }
        }
      }
      const bool unfenced = node.fencing.empty() && config_.nodes.size() > 1;
      if (unfenced && purpose_ == Purpose::apply) {
        warn(path, "has no fence device: when it is lost, its VMs wait for an operator");
      }
      if (node.capacity && (node.host_reserved.memory >= node.capacity->memory ||
                            node.host_reserved.vcpus >= node.capacity->vcpus)) {
        error(path + ".host_reserved", "leaves nothing of the node's capacity to VMs");
      }
      if (node.exclusive && !is_allowed_by_any(name)) {
        warn(path + ".exclusive", "takes no VM: none names it in placement.allow");
      }
    }
    for (const auto& [name, device] : config_.fence_devices) {
      for (const auto& [option, file] : device.secrets) {
        if (device.options.contains(option)) {
          error("fence_devices." + name + ".secrets." + option, "is given as an option too");
        }
      }
    }
  }

  [[nodiscard]] bool is_allowed_by_any(const std::string& node) const {
    return std::any_of(resolved_.begin(), resolved_.end(),
                       [&](const auto& vm) { return vm.second.placement.allow.contains(node); });
  }

  template <class Known>
  void known(const std::string& path, const Names& names, const Known& table, const char* what) {
    for (const auto& name : names) {
      if (!table.contains(name)) {
        error(path + "[" + name + "]", std::string("there is no ") + what + " " + name);
      }
    }
  }

  // Other VMs that a VM, or a profile, refers to.
  void others(const std::string& path, const std::string& self, const Names& names) {
    known(path, names, config_.vms, "VM");
    if (path.rfind("vms.", 0) == 0 && names.contains(self)) {
      error(path + "[" + self + "]", "names the VM itself");
    }
  }

  void policy(const std::string& path, const std::string& name, const VmPolicy& said) {
    if (said.start_after) others(path + ".start_after", name, *said.start_after);
    if (!said.placement) return;
    const PlacementRules& rules = *said.placement;
    const std::string placement = path + ".placement";
    known(placement + ".allow", rules.allow, config_.nodes, "node");
    known(placement + ".avoid", rules.avoid, config_.nodes, "node");
    const Names preferred(rules.prefer.nodes.begin(), rules.prefer.nodes.end());
    known(placement + ".prefer.nodes", preferred, config_.nodes, "node");
    others(placement + ".away_from", name, rules.away_from);
    others(placement + ".together_with", name, rules.together_with);
    others(placement + ".prefer.away_from", name, rules.prefer.away_from);
    others(placement + ".prefer.together_with", name, rules.prefer.together_with);
  }

  void domain(const std::string& name, const VmDeclaration& vm) {
    const std::string path = "vms." + name;
    if (!vm.profile.empty() && !config_.profiles.contains(vm.profile)) {
      error(path + ".profile", "there is no profile " + vm.profile);
    }
    if (vm.domain.uuid != VmId{} && config_.domain_xml.contains(vm.domain.xml)) return;
    if (purpose_ == Purpose::apply) {
      error(path + ".domain", "its domain XML is missing");
    } else if (resolved_.at(name).size.memory == 0) {
      error(path, "has neither a domain nor memory: its size is not known");
    }
  }

  // Two VMs with one UUID are one VM to libvirt; with one disk they destroy it.
  void unique_identities() {
    std::map<VmId, std::string> uuids;
    std::map<std::string, std::string> macs;
    std::map<std::string, std::string> disks;
    for (const auto& [name, vm] : config_.vms) {
      const std::string path = "vms." + name + ".domain";
      const auto claim = [&, &name = name](auto& owners, const auto& key, const std::string& what) {
        const auto [owner, fresh] = owners.emplace(key, name);
        if (!fresh) error(path, what + " is that of " + owner->second + " too");
      };
      if (vm.domain.uuid != VmId{}) claim(uuids, vm.domain.uuid, "UUID " + vm.domain.uuid.str());
      for (const auto& mac : vm.domain.macs) claim(macs, mac, "MAC address " + mac);
      for (const auto& disk : vm.domain.disks) claim(disks, disk, "disk " + disk);
    }
  }

  // Every cycle of start_after is told once, at its first VM in the order of names.
  void start_order() {
    std::set<std::string> done;
    for (const auto& [name, vm] : resolved_) {
      std::vector<std::string> trail;
      follow(name, trail, done);
    }
  }

  // Depth first without recursion: thousands of VMs may stand in one line.
  void follow(const std::string& first, std::vector<std::string>& trail, Names& done) {
    struct Step {
      std::string name;
      Names left;
    };
    std::vector<Step> steps;
    const auto enter = [&](const std::string& name) {
      const auto vm = resolved_.find(name);
      if (vm == resolved_.end() || done.contains(name)) return;
      const auto seen = std::find(trail.begin(), trail.end(), name);
      if (seen != trail.end()) {
        tell_cycle({seen, trail.end()});
        return;
      }
      trail.push_back(name);
      Names next = vm->second.start_after;
      next.erase(name);  // told already
      steps.push_back({name, std::move(next)});
    };
    enter(first);
    while (!steps.empty()) {
      Step& step = steps.back();
      if (step.left.empty()) {
        done.insert(step.name);
        trail.pop_back();
        steps.pop_back();
        continue;
      }
      const std::string next = *step.left.begin();
      step.left.erase(step.left.begin());
      enter(next);
    }
  }

  void tell_cycle(std::vector<std::string> cycle) {
    std::rotate(cycle.begin(), std::min_element(cycle.begin(), cycle.end()), cycle.end());
    std::string text;
    for (const auto& name : cycle) text += name + " -> ";
    error("vms." + cycle.front() + ".start_after", "a cycle: " + text + cycle.front());
  }

  const Configuration& config_;
  const Purpose purpose_;
  std::map<std::string, ResolvedVm> resolved_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> check(const Configuration& config, Purpose purpose) {
  return Checker(config, purpose).run();
}

}  // namespace clusterd
