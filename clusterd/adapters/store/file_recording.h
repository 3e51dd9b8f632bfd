// FileRecording: a Recording as files 00000001.rec, 00000002.rec, ... in a folder of its own, a
// ring of about eight segments within a bound of bytes.
//
// A worker writes; a disk that hangs costs memory, up to half the bound, and then the recording,
// never the main loop's time. Nothing is synced: a power cut costs what the kernel had not written
// yet, which the other hosts' recordings mostly have. Whatever goes wrong ends the recording until
// the daemon's next start.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "clusterd/adapters/store/file.h"
#include "clusterd/ports/recording.h"

namespace clusterd {

struct FileRecordingOptions {
  std::uint64_t limit = 64 * 1024 * 1024;            // bytes of all segments together
  std::function<void(const std::string& line)> log;  // any thread; at most one line
};

class FileRecording final : public Recording {
 public:
  static constexpr std::uint64_t kSegments = 8;

  // Makes the folder (0700) if needed, later, on the worker. Its parent must be there.
  FileRecording(std::string folder, FileRecordingOptions options);
  // Writes what is pending; blocks for as long as the disk needs.
  ~FileRecording() override;
  FileRecording(const FileRecording&) = delete;
  FileRecording& operator=(const FileRecording&) = delete;

  [[nodiscard]] Wants wants() const override;
  void begin(std::string bytes) override;
  void append(std::string_view bytes) override;
  void stop(const std::string& why) override;

  // From now on, a crash of this process waits up to a fifth of a second for the worker to write
  // what is pending: the event that crashed it. For one object of a process, until it is destroyed.
  void survive_crash();

 private:
  struct Chunk {
    bool begins = false;
    std::string bytes;
  };

  void add(Chunk chunk);
  void run();
  [[nodiscard]] Status write(const Chunk& chunk);
  [[nodiscard]] Status look();
  [[nodiscard]] Status make_room(std::uint64_t bytes);
  [[nodiscard]] std::string path(std::uint64_t number) const;

  const std::string folder_;
  const FileRecordingOptions options_;
  std::uint64_t in_segment_ = 0;  // appended to the present one; the main loop's

  // The worker's.
  bool looked_ = false;
  std::map<std::uint64_t, std::uint64_t> sizes_;  // of the segments there are, by number
  std::uint64_t total_ = 0;
  File file_;

  std::atomic<bool> stopped_{false};
  std::atomic<bool> idle_{true};  // nothing waits to be written
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Chunk> pending_;      // guarded by mutex_
  std::size_t pending_bytes_ = 0;  // guarded by mutex_
  bool stopping_ = false;          // guarded by mutex_
  std::thread worker_;
};

}  // namespace clusterd
