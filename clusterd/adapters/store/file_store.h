// FileStore: the Store in a folder of its own: `snapshot`, the `log-GENERATION` that continues it,
// and the marker `initialised` (formats: format.h). It decides nothing; it never accepts bytes
// that it did not write in that place.
//
// What is an unharmed tail, and what amnesia? A log remembers how far it was acknowledged. Behind
// that, whatever does not fit is cut off: nobody was told that it is there, and a power cut may
// leave pages of it in any order. Before that, anything that does not fit is amnesia (R11).
//
// The acknowledged position must not double the cost of a sync. It is written into the log's own
// header *after* a sync, so that the next sync of the log makes it durable for nothing; when none
// comes soon it gets one of its own, which nobody waits for. It can therefore be late, never
// early: an early one would turn a harmless torn tail into amnesia. Late means: a disk that loses
// what it had acknowledged within that short time is not found out. (Rejected: a marker record in
// the log, which is lost with the very tail it stands for; a second file, which costs a second
// flush before every answer.)
#pragma once

#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "clusterd/adapters/store/file.h"
#include "clusterd/adapters/store/format.h"
#include "clusterd/ports/sink.h"
#include "clusterd/ports/store.h"

namespace clusterd {

struct FileStoreOptions {
  SyncFunction sync_data = [](int fd) { return ::fdatasync(fd); };
  Duration position_delay{50};  // quiet time after which the acknowledged position is synced
};

class FileStore final : public Store {
 public:
  // What append() holds in memory until the next sync. More means that the disk does not keep up.
  static constexpr std::size_t kMaxPending = 128 * 1024 * 1024;

  // `sink` outlives this. Nothing is touched before load(), which comes first and once.
  FileStore(std::string folder, EventSink& sink, FileStoreOptions options = {});
  // Carries out the syncs that were ordered.
  ~FileStore() override;
  FileStore(const FileStore&) = delete;
  FileStore& operator=(const FileStore&) = delete;

  [[nodiscard]] Result<StoredState> load() override;
  // Only remembers the record: a disk that hangs must not hang the main loop. Written at the next
  // sync.
  [[nodiscard]] Status append(std::string_view record) override;
  // Orders that pile up while the disk works are carried out together and answered by one
  // StoreSynced with the highest index. After one failure every answer is a failure.
  void sync(LogIndex upto) override;
  // Blocks for as long as the disk needs.
  [[nodiscard]] Status try_write(std::size_t bytes) override;
  [[nodiscard]] Status install(std::string_view snapshot) override;
  [[nodiscard]] Status set_aside(std::string_view state) override;

 private:
  struct Folder {
    bool marker = false;
    StoreGeneration newest;  // of the logs' names and the snapshot
    std::vector<std::string> logs;
  };
  struct Batch {
    LogIndex upto;
    std::string bytes;
    LogEnd end;  // of the log with these bytes
    StoreGeneration generation;
  };

  [[nodiscard]] Status make_folder() const;
  [[nodiscard]] Result<Folder> look() const;
  [[nodiscard]] Result<StoredState> load_initialised(Folder& folder);
  [[nodiscard]] Result<StoredState> load_unmarked(Folder& folder);
  [[nodiscard]] Status open_log(StoreGeneration generation, const LogFile& log);
  [[nodiscard]] Status install_files(std::string_view snapshot, StoreGeneration generation);
  void remove_strays(const Folder& folder, const std::string& keep) const;
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

  void run();
  void carry_out(Batch batch);
  [[nodiscard]] Status write_and_sync(const Batch& batch);
  void sync_position();
  void fail(const std::string& problem);

  const std::string folder_;
  EventSink& sink_;
  const FileStoreOptions options_;

  // Held while files are written; taken before mutex_. The worker holds it while it syncs.
  std::mutex io_;
  File log_;                        // guarded by io_
  std::uint64_t written_ = 0;       // guarded by io_: the log's size
  std::uint64_t durable_ = 0;       // guarded by io_: of that, what is durable
  std::uint64_t turn_ = 0;          // guarded by io_: of the position written last

  std::mutex mutex_;
  std::condition_variable changed_;
  StoreGeneration generation_;      // guarded by mutex_; 0: there is no log to append to
  StoreGeneration newest_;          // guarded by mutex_: no file here has a higher one
  LogEnd end_;                      // guarded by mutex_: with what is pending
  std::string pending_;             // guarded by mutex_
  std::optional<LogIndex> ordered_; // guarded by mutex_
  std::optional<LogIndex> unanswered_;  // guarded by mutex_; the newest sync that was asked
  std::string failure_;             // guarded by mutex_; empty: none
  bool position_late_ = false;      // guarded by mutex_: written, not synced
  bool stopping_ = false;           // guarded by mutex_
  std::thread worker_;
};

}  // namespace clusterd
