// FileStore: the Store port on a directory of its own.
//
//   snapshot     the state, with the number of the log that follows it
//   log.N        records appended since snapshot N; older logs are deleted
//   durable      how much of log.N an fsync has covered: what lies before it was acknowledged
//   initialised  exists once a snapshot was written; its absence with nothing else means blank
//
// Everything carries a length and a checksum. A record that is cut off or damaged *behind* the
// durable position is a torn tail: nobody was told of it, and it is cut away. Anything else that
// does not fit together makes the store amnesiac (protocol R11, trace 2.4).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "clusterd/ports/sink.h"
#include "clusterd/ports/store.h"

namespace clusterd {

class FileStore final : public Store {
 public:
  // Makes `directory` (0700) if needed. StoreSynced goes to `sink`, which must outlive this.
  FileStore(std::string directory, EventSink& sink);
  ~FileStore() override;
  FileStore(const FileStore&) = delete;
  FileStore& operator=(const FileStore&) = delete;

  [[nodiscard]] Result<StoredState> load() override;
  [[nodiscard]] Status append(std::string_view record) override;
  void sync(LogIndex upto) override;
  [[nodiscard]] Status install(std::string_view snapshot) override;

 private:
  struct Log {
    int fd = -1;
    std::uint64_t number = 0;
    std::uint64_t size = 0;  // bytes written
  };
  struct Wanted {
    LogIndex upto;
    std::uint64_t size = 0;
  };

  [[nodiscard]] std::string path(const std::string& name) const { return directory_ + "/" + name; }
  [[nodiscard]] std::string log_path(std::uint64_t number) const;
  [[nodiscard]] Status open_log(std::uint64_t number, std::uint64_t size);
  [[nodiscard]] Status write_durable(std::uint64_t number, std::uint64_t size);
  void work();
  void finish_syncs(std::unique_lock<std::mutex>& lock);

  const std::string directory_;
  EventSink& sink_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Log log_;                      // guarded by mutex_
  std::optional<Wanted> wanted_; // guarded by mutex_: the newest sync asked for
  std::string failure_;          // guarded by mutex_: final
  bool syncing_ = false;         // guarded by mutex_
  bool stopping_ = false;        // guarded by mutex_
  std::thread worker_;
};

}  // namespace clusterd
