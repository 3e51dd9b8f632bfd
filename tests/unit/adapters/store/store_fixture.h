// What the tests of FileStore share: a folder that goes away, a sink that can be waited on, and
// files as strings.
#pragma once

#include <stdlib.h>

#include <catch2/catch.hpp>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "clusterd/adapters/store/file_store.h"

namespace clusterd::store_test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    // In memory: these tests load thousands of times, and never depend on a real flush.
    const bool memory = std::filesystem::is_directory("/dev/shm");
    std::string name = std::string(memory ? "/dev/shm" : "/tmp") + "/clusterd-store-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path;
};

class SyncSink final : public EventSink {
 public:
  void post(Event event) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    answers_.push_back(std::get<StoreSynced>(event));
    changed_.notify_all();
  }
  // The answer that covers `upto`.
  StoreSynced wait(LogIndex upto) {
    std::unique_lock<std::mutex> lock(mutex_);
    const bool came = changed_.wait_for(lock, std::chrono::seconds(20), [&] {
      return !answers_.empty() && answers_.back().upto >= upto;
    });
    REQUIRE(came);
    return answers_.back();
  }
  // The newest answer so far.
  LogIndex newest() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return answers_.empty() ? LogIndex(0) : answers_.back().upto;
  }
  std::size_t count() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return answers_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<StoreSynced> answers_;
};

using Files = std::map<std::string, std::string>;

inline Files read_files(const std::string& folder) {
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().filename()] = std::string(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

inline void write_files(const std::string& folder, const Files& files) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::filesystem::remove(entry.path());
  }
  for (const auto& [name, bytes] : files) {
    std::ofstream(folder + "/" + name, std::ios::binary) << bytes;
  }
}

inline StoredState loaded(const std::string& folder) {
  SyncSink sink;
  FileStore store(folder, sink);
  auto state = store.load();
  REQUIRE(state.ok());
  return std::move(state).value();
}

// A store in use: a snapshot, acknowledged records, and records that were written by the system
// but never acknowledged.
struct Sample {
  std::vector<std::string> acknowledged = {"first", "", "the third record"};
  std::vector<std::string> torn = {"fourth", "fifth record"};
  std::string log;  // name
  Files files;
  std::size_t acknowledged_end = 0;  // offset in the log
};

inline Sample sample() {
  const TemporaryFolder folder;
  Sample made;
  {
    SyncSink sink;
    FileStore store(folder.path, sink);
    REQUIRE(store.load().ok());
    REQUIRE(store.install("older snapshot").ok());
    REQUIRE(store.append("of the older").ok());
    REQUIRE(store.install("snapshot text").ok());
    for (const auto& record : made.acknowledged) REQUIRE(store.append(record).ok());
    store.sync(LogIndex(3));
    REQUIRE(sink.wait(LogIndex(3)).ok);
  }
  made.files = read_files(folder.path);
  made.log = log_name(StoreGeneration(2));
  REQUIRE(made.files.contains(made.log));
  auto parsed = parse_log(made.files[made.log], StoreGeneration(2));
  auto end = std::get<LogFile>(parsed).end;
  REQUIRE(end.offset == made.files[made.log].size());
  made.acknowledged_end = made.files[made.log].size();
  for (const auto& record : made.torn) append_frame(made.files[made.log], end, record);
  return made;
}

}  // namespace clusterd::store_test
