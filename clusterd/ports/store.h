// Store: the replica's state on disk: one snapshot and the log entries after it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "clusterd/base/result.h"
#include "clusterd/model/message.h"

namespace clusterd {

struct StoredState {
  StoreCondition condition = StoreCondition::blank;
  std::string problem;               // why it is amnesiac, for the log
  std::string snapshot;              // empty unless intact
  std::vector<std::string> records;  // log entries after the snapshot, in order
};

class Store {
 public:
  virtual ~Store() = default;

  // Reads everything. A torn last record is cut off (it was never acknowledged); any other damage
  // of an initialised store makes it amnesiac (R11). An error: the folder cannot be used at all.
  [[nodiscard]] virtual Result<StoredState> load() = 0;
  // Writes that many bytes beside the state, durably, and takes them away again; an error says why
  // this folder cannot take them. Asked before the daemon joins the group, never afterwards.
  [[nodiscard]] virtual Status try_write(std::size_t bytes) = 0;
  // Not durable before a sync. An error is final: the store must not be used further.
  [[nodiscard]] virtual Status append(std::string_view record) = 0;
  // Makes what was appended durable without blocking; answers StoreSynced{upto}.
  virtual void sync(LogIndex upto) = 0;
  // Replaces snapshot and log atomically; durable when it returns. The first one marks the store
  // as initialised. Syncs asked before are answered before it returns: later answers are about the
  // new log.
  [[nodiscard]] virtual Status install(std::string_view snapshot) = 0;
  // Keeps snapshot and log as *.diverged and `state` as state.diverged, replacing earlier ones; the
  // next load() is amnesiac. This store must not be used further.
  [[nodiscard]] virtual Status set_aside(std::string_view state) = 0;
};

}  // namespace clusterd
