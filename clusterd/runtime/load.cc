#include "clusterd/runtime/load.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "clusterd/codec/record.h"
#include "clusterd/codec/snapshot.h"
#include "clusterd/engine/apply.h"

namespace clusterd {
namespace {

constexpr std::size_t kLeastRoom = 1 << 20;  // bytes

// Empty: replayed. Otherwise what is damaged.
std::string replay(const StoredState& stored, ClusterState& state) {
  auto snapshot = decode_state(stored.snapshot);
  if (const auto* error = std::get_if<WireError>(&snapshot)) {
    return "the snapshot is damaged: " + error->sentence();
  }
  state = std::move(std::get<ClusterState>(snapshot));
  std::size_t number = 0;
  for (const std::string& bytes : stored.records) {
    ++number;
    auto record = decode_record(bytes);
    if (const auto* error = std::get_if<WireError>(&record)) {
      return "log record " + std::to_string(number) + " is damaged: " + error->sentence();
    }
    auto& entry = std::get<Record>(record);
    apply(state, LogEntry{entry.sender, std::move(entry.message), entry.digest});
  }
  return "";
}

}  // namespace

Result<Loaded> load(Store& store, const Hypervisor& hypervisor, ClusterTime wall) {
  auto answer = store.load();
  if (!answer) return answer.error().in("loading the state");
  const StoredState stored = std::move(answer).value();
  // A daemon that cannot write would join, fail at its first entry and come again, for ever.
  const std::size_t room = std::max(kLeastRoom, stored.snapshot.size() * 2);
  if (const Status written = store.try_write(room); !written) {
    return written.error().in("the state could not be written");
  }
  Loaded loaded;
  loaded.start.condition = stored.condition;
  loaded.start.guarded = hypervisor.protected_vms();
  loaded.start.wall = wall;
  loaded.problem = stored.problem;
  if (stored.condition != StoreCondition::intact) return loaded;
  loaded.problem = replay(stored, loaded.start.state);
  if (loaded.problem.empty()) {
    loaded.records = stored.records.size();
  } else {
    loaded.start.condition = StoreCondition::amnesiac;
    loaded.start.state = ClusterState{};
  }
  return loaded;
}

}  // namespace clusterd
