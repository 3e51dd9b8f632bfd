#include "clusterd/codec/validate.h"

#include "clusterd/base/archive.h"
#include "clusterd/base/text.h"

namespace clusterd {
namespace {

// Walks over every field of a value, the way the archive does, and keeps the first problem.
class Validator {
 public:
  template <class T>
  void check(const T& value);

  [[nodiscard]] std::string take() && { return std::move(problem_); }

 private:
  void fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }
  void require(bool condition, const char* problem) {
    if (!condition) fail(problem);
  }

  void text(const std::string& value, std::size_t limit) {
    if (value.size() > limit) fail("a text of " + std::to_string(value.size()) + " bytes");
    require(is_utf8(value), "a text that is not UTF-8");
    require(!has_control(value), "a control character in a text");
  }
  void name(const std::string& value) {
    require(!value.empty(), "an empty name");
    text(value, limits::kName);
  }
  // Keys and elements of sets: names, UUID-like labels, paths of disks.
  void label(const std::string& value) {
    require(!value.empty(), "an empty name");
    text(value, limits::kDetail);
  }
  void node(NodeId id) { require(id.value != 0, "node id 0"); }
  void duration(Duration value) {
    require(value >= Duration(0) && value <= limits::kDuration, "a duration out of range");
  }

  // What single types demand beyond their fields.
  template <class T>
  void rules(const T&) {}
  void rules(const Message& m) {
    require(m.incarnation.value != 0, "incarnation 0");
  }
  void rules(const Resources& r) {
    require(r.memory <= limits::kMemory, "a memory size out of range");
    require(r.vcpus <= limits::kVcpus, "a number of processors out of range");
  }
  void rules(const Overcommit& o) {
    require(o.memory <= limits::kFactor && o.vcpus <= limits::kFactor &&
                o.degraded_memory <= limits::kFactor,
            "an overcommit factor out of range");
  }
  void rules(const Timers& t) {
    require(t.fence_retries <= limits::kTries, "too many fence retries");
  }
  void rules(const ClusterSettings& s) {
    text(s.name, limits::kName);
    require(s.min_healthy_percent <= 100, "min_healthy above 100 %");
    require(s.reserve_host_failures <= limits::kNodes, "a reserve out of range");
  }
  void rules(const FenceDevice& d) { name(d.agent); }
  void rules(const NodeDeclaration& d) {
    require(d.fencing.size() <= 16, "more than 16 fencing levels");
    for (const auto& level : d.fencing) {
      require(level.size() <= 16, "more than 16 devices in one fencing level");
      for (const auto& device : level) name(device);
    }
  }
  void rules(const RestartPolicy& p) {
    require(p.attempts <= limits::kTries && p.relocations <= limits::kTries,
            "too many restart attempts");
  }
  void rules(const GuestAgentCheck& c) {
    require(c.failures <= limits::kTries, "too many failures of the guest agent");
  }
  void rules(const Probe& p) {
    name(p.name);
    require(p.failures <= limits::kTries, "too many failures of a probe");
    require(p.command.size() <= 256, "a probe's command with more than 256 words");
  }
  void rules(const HealthPolicy& p) {
    require(p.probes.size() <= 64, "more than 64 probes");
    require(p.repair.size() <= 256, "a repair command with more than 256 words");
  }
  void rules(const VmPolicy& p) {
    if (p.memory) require(*p.memory <= limits::kMemory, "a memory size out of range");
    if (p.vcpus) require(*p.vcpus <= limits::kVcpus, "a number of processors out of range");
  }
  void rules(const Hello& h) { text(h.name, limits::kName); }
  void rules(const Founding& f) {
    name(f.name);
    require(!f.cluster.uuid.is_nil(), "a nil cluster id");
  }
  void rules(const Activate& a) {
    require(!a.members.empty(), "an Activate without members");
    require(a.members.size() <= limits::kNodes && a.votes.size() <= limits::kNodes &&
                a.names.size() <= limits::kNodes && a.ring_only.size() <= limits::kNodes,
            "an Activate with too many nodes");
    require(a.device_votes <= limits::kVotes * limits::kNodes, "device votes out of range");
    for (const auto& [id, votes] : a.votes) require(votes <= limits::kVotes, "too many votes");
    // A member that said no Hello stands here without boot and incarnation.
    for (const auto& [id, member] : a.members) node(id);
    for (const auto& [id, node_name] : a.names) text(node_name, limits::kName);
  }
  void rules(const Demote& d) {
    node(d.node);
    text(d.reason, limits::kDetail);
  }
  void rules(const StartVm& s) { node(s.on.node); }
  void rules(const StopVm& s) { node(s.on.node); }
  void rules(const OperatePower& o) {
    node(o.target.node);
    node(o.executor);
  }
  void rules(const VmClosed& c) { text(c.detail, limits::kDetail); }
  void rules(const PowerClosed& c) {
    node(c.target);
    text(c.detail, limits::kDetail);
    require(c.readings.size() <= 16 && c.level.size() <= 16, "more than 16 devices in one level");
  }
  void rules(const Condemn& c) { node(c.host.node); }
  void rules(const FoundOff& f) {
    node(f.target.node);
    require(f.level.size() <= 16, "more than 16 devices in one level");
  }
  void rules(const OrderNode& o) { node(o.host.node); }
  void rules(const AcceptState& a) { node(a.node); }
  void rules(const OrderCluster& o) { text(o.reason, limits::kDetail); }

  std::string problem_;
};

template <class T>
void Validator::check(const T& value) {
  using namespace archive_detail;
  if (!problem_.empty()) return;
  if constexpr (std::is_integral_v<T> || std::is_enum_v<T> || is_strong_id<T>::value ||
                std::is_same_v<T, Uuid> || std::is_same_v<T, std::monostate>) {
    // every value is valid by itself
  } else if constexpr (std::is_same_v<T, Duration>) {
    duration(value);
  } else if constexpr (std::is_same_v<T, ClusterTime>) {
    require(value >= ClusterTime{} && value <= limits::kLatest, "a time out of range");
  } else if constexpr (std::is_same_v<T, std::string>) {
    text(value, limits::kText);
  } else if constexpr (std::is_same_v<T, Snapshot>) {
    require(value.state.size() <= limits::kSnapshot, "a snapshot that is too large");
  } else if constexpr (std::is_same_v<T, std::map<Digest, std::string>>) {
    require(value.size() <= limits::kElements, "too many domain XMLs");
    for (const auto& [digest, xml] : value) text(xml, limits::kDomainXml);
  } else if constexpr (is_optional<T>::value) {
    if (value) check(*value);
  } else if constexpr (is_list<T>::value || is_set<T>::value) {
    require(value.size() <= limits::kElements, "a list with too many elements");
    for (const auto& element : value) {
      if constexpr (is_set<T>::value && std::is_same_v<typename T::value_type, std::string>) {
        label(element);
      }
      check(element);
    }
  } else if constexpr (is_map<T>::value) {
    require(value.size() <= limits::kElements, "a map with too many elements");
    for (const auto& [key, element] : value) {
      if constexpr (std::is_same_v<typename T::key_type, std::string>) {
        name(key);
      } else {
        check(key);
      }
      check(element);
    }
  } else if constexpr (is_variant<T>::value) {
    std::visit([this](const auto& alternative) { check(alternative); }, value);
  } else {
    rules(value);
    T::fields(value, [this](const auto&... members) { (check(members), ...); });
  }
}

template <class T>
std::string problem_of(const T& value) {
  Validator validator;
  validator.check(value);
  return std::move(validator).take();
}

}  // namespace

std::string validate(const Message& message) { return problem_of(message); }
std::string validate(const ControlRequest& request) { return problem_of(request); }
std::string validate(const ClusterState& state) { return problem_of(state); }

}  // namespace clusterd
