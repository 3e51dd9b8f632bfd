#include "clusterd/codec/json_status.h"

#include <nlohmann/json.hpp>
#include <set>

#include "clusterd/base/text.h"
#include "clusterd/model/limits.h"

namespace clusterd {
namespace {

using Json = nlohmann::json;

// An object of the text, and where it stands.
class Object {
 public:
  Object(const Json& json, std::string path, std::vector<StatusProblem>& problems)
      : json_(json), path_(std::move(path)), problems_(problems) {}

  void fail(const std::string& key, const std::string& message) const {
    problems_.push_back({0, path_ + (key.empty() ? "" : "." + key) + ": " + message});
  }

  // Null and absent are the same.
  const Json* find(const char* key) const {
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  // Empty when it is absent.
  std::string text(const char* key, std::size_t most = limits::kName) const {
    const Json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_string()) {
      fail(key, "must be a text");
      return {};
    }
    auto said = value->get<std::string>();
    if (said.size() <= most && is_utf8(said) && !has_control(said)) return said;
    fail(key, "is longer than " + std::to_string(most) + " bytes or has a control character");
    return {};
  }

  std::string needed_text(const char* key) const {
    std::string said = text(key);
    if (said.empty() && find(key) == nullptr) fail(key, "is missing");
    if (said.empty() && find(key) != nullptr && find(key)->is_string()) fail(key, "is empty");
    return said;
  }

  std::uint64_t number(const char* key, std::uint64_t most) const {
    const Json* value = find(key);
    if (value == nullptr) return 0;
    if (value->is_number_unsigned() && value->get<std::uint64_t>() <= most) {
      return value->get<std::uint64_t>();
    }
    fail(key, "must be a whole number up to " + std::to_string(most));
    return 0;
  }

  bool boolean(const char* key, bool otherwise) const {
    const Json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) fail(key, "must be true or false");
    return value->is_boolean() ? value->get<bool>() : otherwise;
  }

  std::optional<DesiredState> wanted(const char* key) const {
    const std::string said = text(key);
    if (said.empty()) return std::nullopt;
    if (said == "running") return DesiredState::running;
    if (said == "stopped") return DesiredState::stopped;
    if (said == "ignored") return DesiredState::ignored;
    fail(key, "must be running, stopped or ignored");
    return std::nullopt;
  }

  Resources resources() const {
    return {number("memory", limits::kMemory),
            static_cast<std::uint32_t>(number("vcpus", limits::kVcpus))};
  }

 private:
  const Json& json_;
  std::string path_;
  std::vector<StatusProblem>& problems_;
};

class StatusReader {
 public:
  void read(const Json& json) {
    each(json, "nodes", limits::kNodes, [&](const Object& object) { node(object); });
    each(json, "vms", limits::kElements, [&](const Object& object) { vm(object); });
  }

  StatusReport report;
  std::vector<StatusProblem> problems;

 private:
  template <class F>
  void each(const Json& json, const char* key, std::size_t most, F&& visit) {
    const auto list = json.is_object() ? json.find(key) : json.end();
    if (list == json.end() || !list->is_array()) {
      problems.push_back({0, std::string("has no list of ") + key +
                                 ": it must be what `clusterctl status --json` prints"});
      return;
    }
    if (list->size() > most) {
      problems.push_back({0, std::string(key) + " has more than " + std::to_string(most)});
      return;
    }
    for (std::size_t i = 0; i < list->size(); ++i) {
      const std::string path = std::string(key) + "[" + std::to_string(i) + "]";
      const Json& item = (*list)[i];
      if (!item.is_object()) {
        problems.push_back({0, path + ": must be an object"});
        continue;
      }
      visit(Object(item, path, problems));
    }
  }

  void node(const Object& object) {
    NodeReport node;
    node.id = NodeId(static_cast<std::uint32_t>(object.number("id", 0xffffffff)));
    node.name = object.needed_text("name");
    node.state = object.needed_text("state");
    node.reason = object.text("reason", limits::kText);
    const std::string role = object.text("role");
    if (!role.empty() && role != "worker" && role != "backup") {
      object.fail("role", "must be worker or backup");
    }
    node.role = role == "backup" ? NodeRole::backup : NodeRole::worker;
    node.declared = object.boolean("declared", true);
    if (const Json* capacity = object.find("capacity")) {
      if (capacity->is_object()) {
        node.capacity =
            Object(*capacity, "nodes[" + node.name + "].capacity", problems).resources();
      } else {
        object.fail("capacity", "must be an object");
      }
    }
    // These stand for room: a host's, times an overcommit of up to a hundred.
    node.memory_total = object.number("memory_total", limits::kMemory * 100);
    node.memory_used = object.number("memory_used", limits::kMemory * 100);
    node.vcpus_total = object.number("vcpus_total", limits::kVcpus * 100ULL);
    node.vcpus_used = object.number("vcpus_used", limits::kVcpus * 100ULL);
    if (!names_.insert(node.name).second) object.fail("name", node.name + " stands here twice");
    if (node.id.value != 0 && !ids_.insert(node.id).second) {
      object.fail("id", "stands here twice");
    }
    report.nodes.push_back(std::move(node));
  }

  void vm(const Object& object) {
    VmReport vm;
    vm.name = object.needed_text("name");
    vm.uuid = object.text("uuid");
    if (!vm.uuid.empty() && !Uuid::parse(vm.uuid)) object.fail("uuid", "is no UUID");
    const auto desired = object.wanted("desired");
    if (!desired && object.find("desired") == nullptr) object.fail("desired", "is missing");
    vm.desired = desired.value_or(DesiredState::running);
    vm.declared = object.wanted("declared");
    vm.state = object.needed_text("state");
    vm.node = object.text("node");
    vm.health = object.text("health");
    vm.priority = static_cast<std::uint32_t>(object.number("priority", 0xffffffff));
    vm.size = object.resources();
    vm.preemptible = object.boolean("preemptible", false);
    if (!vms_.insert(vm.name).second) object.fail("name", vm.name + " stands here twice");
    if (!vm.node.empty() && !names_.contains(vm.node)) {
      object.fail("node", vm.node + " is none of the nodes");
    }
    report.vms.push_back(std::move(vm));
  }

  std::set<std::string> names_;
  std::set<NodeId> ids_;
  std::set<std::string> vms_;
};

}  // namespace

std::variant<StatusReport, std::vector<StatusProblem>> read_status(std::string_view text) {
  Json json;
  try {
    json = Json::parse(text.begin(), text.end());
  } catch (const Json::parse_error& error) {
    return std::vector<StatusProblem>{
        {error.byte == 0 ? 0 : error.byte - 1, "is no JSON from here on"}};
  } catch (const Json::exception&) {
    return std::vector<StatusProblem>{{0, "has a number that is too large"}};
  }
  StatusReader reader;
  reader.read(json);
  if (!reader.problems.empty()) return std::move(reader.problems);
  return std::move(reader.report);
}

}  // namespace clusterd
