// FileStore in ordinary use, and when the disk fails.
#include "clusterd/adapters/store/file_store.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include <atomic>
#include <thread>

#include "tests/unit/adapters/store/store_fixture.h"

using namespace clusterd;
using namespace clusterd::store_test;

TEST_CASE("store: a folder that never held a state is blank, private, and stays blank") {
  const TemporaryFolder parent;
  const std::string folder = parent.path + "/state";
  CHECK(loaded(folder).condition == StoreCondition::blank);
  struct stat info {};
  REQUIRE(::stat(folder.c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);
  CHECK(loaded(folder).condition == StoreCondition::blank);
}

TEST_CASE("store: a folder that cannot be is an error") {
  const TemporaryFolder parent;
  std::ofstream(parent.path + "/file") << "x";
  SyncSink sink;
  FileStore nowhere(parent.path + "/missing/state", sink);
  CHECK_FALSE(nowhere.load().ok());
  FileStore file(parent.path + "/file", sink);
  CHECK_FALSE(file.load().ok());
}

TEST_CASE("store: what was installed, appended and synced is there again, in order") {
  const TemporaryFolder folder;
  SyncSink sink;
  {
    FileStore store(folder.path, sink);
    REQUIRE(store.load().ok());
    REQUIRE_FALSE(store.append("too early").ok());
    REQUIRE(store.install("snapshot").ok());
    REQUIRE(store.append("a").ok());
    REQUIRE(store.append(std::string(100000, 'b')).ok());
    store.sync(LogIndex(2));
    REQUIRE(sink.wait(LogIndex(2)).ok);
  }
  {
    FileStore store(folder.path, sink);
    auto state = store.load();
    REQUIRE(state.ok());
    CHECK(state.value().condition == StoreCondition::intact);
    CHECK(state.value().snapshot == "snapshot");
    CHECK(state.value().records == std::vector<std::string>{"a", std::string(100000, 'b')});
    REQUIRE(store.append("c").ok());
    store.sync(LogIndex(3));
    REQUIRE(sink.wait(LogIndex(3)).ok);
  }
  CHECK(loaded(folder.path).records.size() == 3);
}

TEST_CASE("store: an install replaces snapshot and log, and leaves no other file") {
  const TemporaryFolder folder;
  SyncSink sink;
  FileStore store(folder.path, sink);
  REQUIRE(store.load().ok());
  for (int i = 0; i < 5; ++i) {
    REQUIRE(store.install("snapshot " + std::to_string(i)).ok());
    REQUIRE(store.append("record").ok());
    store.sync(LogIndex(static_cast<std::uint64_t>(i) + 1));
  }
  REQUIRE(sink.wait(LogIndex(5)).ok);
  CHECK(read_files(folder.path).size() == 3);
  const StoredState state = loaded(folder.path);
  CHECK(state.snapshot == "snapshot 4");
  CHECK(state.records == std::vector<std::string>{"record"});
}

TEST_CASE("store: a state that was set aside is kept, and the next daemon begins without one") {
  const TemporaryFolder folder;
  {
    SyncSink sink;
    FileStore store(folder.path, sink);
    REQUIRE(store.load().ok());
    REQUIRE(store.install("as it was written").ok());
    REQUIRE(store.append("record").ok());
    REQUIRE(store.set_aside("as it was in memory").ok());
    CHECK_FALSE(store.append("another").ok());
    CHECK_FALSE(store.install("another").ok());
  }
  auto files = read_files(folder.path);
  CHECK(files["state.diverged"] == "as it was in memory");
  CHECK(files["snapshot.diverged"].find("as it was written") != std::string::npos);
  CHECK(files.contains("log.diverged"));

  SyncSink sink;
  FileStore next(folder.path, sink);
  auto found = next.load();
  REQUIRE(found.ok());
  CHECK(found.value().condition == StoreCondition::amnesiac);
  REQUIRE(next.install("of the others").ok());
  CHECK(loaded(folder.path).snapshot == "of the others");
}

TEST_CASE("store: a sync without anything to sync is answered") {
  const TemporaryFolder folder;
  SyncSink sink;
  FileStore store(folder.path, sink);
  REQUIRE(store.load().ok());
  store.sync(LogIndex(1));
  CHECK(sink.wait(LogIndex(1)).ok);
  REQUIRE(store.install("").ok());
  store.sync(LogIndex(2));
  CHECK(sink.wait(LogIndex(2)).ok);
}

TEST_CASE("store: append never waits for a disk that hangs, and syncs that pile up are one") {
  const TemporaryFolder folder;
  SyncSink sink;
  std::atomic<bool> hang{false};
  std::atomic<int> syncs{0};
  FileStoreOptions options;
  options.sync_data = [&](int) {
    ++syncs;
    while (hang) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return 0;
  };
  options.position_delay = Duration(3600000);
  FileStore store(folder.path, sink, options);
  REQUIRE(store.load().ok());
  REQUIRE(store.install("s").ok());
  hang = true;
  syncs = 0;
  REQUIRE(store.append("r").ok());
  store.sync(LogIndex(1));
  while (syncs == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  for (std::uint64_t i = 2; i <= 100; ++i) {
    REQUIRE(store.append("r").ok());
    store.sync(LogIndex(i));
  }
  CHECK(sink.count() == 0);
  hang = false;
  REQUIRE(sink.wait(LogIndex(100)).ok);
  CHECK(syncs == 2);
  CHECK(sink.count() == 2);
}

TEST_CASE("store: the acknowledged position costs no sync that anybody waits for") {
  const TemporaryFolder folder;
  SyncSink sink;
  std::atomic<int> syncs{0};
  FileStoreOptions options;
  options.sync_data = [&](int fd) {
    ++syncs;
    return ::fdatasync(fd);
  };
  options.position_delay = Duration(3600000);
  {
    FileStore store(folder.path, sink, options);
    REQUIRE(store.load().ok());
    REQUIRE(store.install("s").ok());
    syncs = 0;
    for (std::uint64_t i = 1; i <= 20; ++i) {
      REQUIRE(store.append("r").ok());
      store.sync(LogIndex(i));
      REQUIRE(sink.wait(LogIndex(i)).ok);
    }
    CHECK(syncs == 20);
  }
  CHECK(syncs == 21);  // the last position, when nobody waits any more
  // And it is there: a log cut by its last record is not taken for a torn one.
  Files files = read_files(folder.path);
  std::string& log = files[log_name(StoreGeneration(1))];
  log.resize(log.size() - kFrameHeader - 1);
  write_files(folder.path, files);
  CHECK(loaded(folder.path).condition == StoreCondition::amnesiac);
}

TEST_CASE("store: quiet time makes the acknowledged position durable") {
  const TemporaryFolder folder;
  SyncSink sink;
  std::atomic<int> syncs{0};
  FileStoreOptions options;
  options.sync_data = [&](int fd) {
    ++syncs;
    return ::fdatasync(fd);
  };
  options.position_delay = Duration(1);
  FileStore store(folder.path, sink, options);
  REQUIRE(store.load().ok());
  REQUIRE(store.install("s").ok());
  syncs = 0;
  REQUIRE(store.append("r").ok());
  store.sync(LogIndex(1));
  REQUIRE(sink.wait(LogIndex(1)).ok);
  for (int i = 0; i < 5000 && syncs < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(syncs == 2);
}

TEST_CASE("store: a failed fsync is final for syncs, appends and installs") {
  const TemporaryFolder folder;
  SyncSink sink;
  std::atomic<bool> broken{false};
  FileStoreOptions options;
  options.sync_data = [&](int fd) {
    if (!broken) return ::fdatasync(fd);
    errno = EIO;
    return -1;
  };
  FileStore store(folder.path, sink, options);
  REQUIRE(store.load().ok());
  REQUIRE(store.install("s").ok());
  broken = true;
  REQUIRE(store.append("r").ok());
  store.sync(LogIndex(1));
  const StoreSynced answer = sink.wait(LogIndex(1));
  CHECK_FALSE(answer.ok);
  CHECK(answer.problem.find("durable") != std::string::npos);
  broken = false;  // the kernel forgets the error after telling it once: we do not
  store.sync(LogIndex(2));
  CHECK_FALSE(sink.wait(LogIndex(2)).ok);
  CHECK_FALSE(store.append("r").ok());
  CHECK_FALSE(store.install("s2").ok());
  CHECK(loaded(folder.path).snapshot == "s");
}

TEST_CASE("store: a failed install leaves the state before it, and is final") {
  const TemporaryFolder folder;
  SyncSink sink;
  std::atomic<int> good{1000};
  FileStoreOptions options;
  options.sync_data = [&](int fd) {
    if (good-- > 0) return ::fdatasync(fd);
    errno = EIO;
    return -1;
  };
  FileStore store(folder.path, sink, options);
  REQUIRE(store.load().ok());
  REQUIRE(store.install("s").ok());
  REQUIRE(store.append("r").ok());
  store.sync(LogIndex(1));
  REQUIRE(sink.wait(LogIndex(1)).ok);
  good = 1;  // the new log still works, the new snapshot does not
  CHECK_FALSE(store.install("s2").ok());
  CHECK_FALSE(store.append("r2").ok());
  const StoredState state = loaded(folder.path);
  CHECK(state.condition == StoreCondition::intact);
  CHECK(state.snapshot == "s");
  CHECK(state.records == std::vector<std::string>{"r"});
}

TEST_CASE("store: a trial write tells of a full or broken disk, and leaves nothing behind") {
  const TemporaryFolder folder;
  SyncSink sink;
  bool works = true;
  FileStoreOptions options;
  options.sync_data = [&](int fd) {
    if (works) return ::fdatasync(fd);
    errno = ENOSPC;
    return -1;
  };
  FileStore store(folder.path, sink, options);
  REQUIRE(store.load().ok());
  REQUIRE(store.install("s").ok());
  const auto files = read_files(folder.path);
  CHECK(store.try_write(100000).ok());
  works = false;
  CHECK(store.try_write(100000).error().message.find("No space left") != std::string::npos);
  CHECK(read_files(folder.path) == files);
  works = true;
  CHECK(store.append("r").ok());  // a trial that failed is no failure of the store
}

TEST_CASE("store: installs beside syncs lose nothing and answer everything before they return") {
  const TemporaryFolder folder;
  SyncSink sink;
  {
    FileStore store(folder.path, sink);
    REQUIRE(store.load().ok());
    std::uint64_t index = 0;
    for (int round = 0; round < 20; ++round) {
      REQUIRE(store.install("upto " + std::to_string(index)).ok());
      REQUIRE(sink.newest() == LogIndex(index));
      for (int i = 0; i < 20; ++i) {
        REQUIRE(store.append(std::to_string(++index)).ok());
        store.sync(LogIndex(index));
      }
    }
    REQUIRE(sink.wait(LogIndex(index)).ok);
  }
  const StoredState state = loaded(folder.path);
  CHECK(state.snapshot == "upto 380");
  REQUIRE(state.records.size() == 20);
  CHECK(state.records.front() == "381");
  CHECK(state.records.back() == "400");
}
