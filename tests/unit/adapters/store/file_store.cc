// What survives a crash, and what is never taken for intact.
#include <catch2/catch.hpp>

#include "clusterd/adapters/store/file_store.h"

#include <stdlib.h>

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>

using namespace clusterd;
namespace fs = std::filesystem;

namespace {

class Sink final : public EventSink {
 public:
  void post(Event event) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    last_ = std::get<StoreSynced>(event);
    changed_.notify_all();
  }
  // Blocks until a sync up to this position was answered, at most ten seconds.
  StoreSynced wait(LogIndex upto) {
    std::unique_lock<std::mutex> lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(10), [&] { return last_.upto == upto; }));
    return last_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  StoreSynced last_;
};

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/clusterd-store-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path = name;
  }
  ~Folder() { fs::remove_all(path); }
  [[nodiscard]] std::string state() const { return path + "/state"; }
};

std::string slurp(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void spill(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

StoredState load(const std::string& directory) {
  Sink sink;
  FileStore store(directory, sink);
  auto loaded = store.load();
  REQUIRE(loaded.ok());
  return std::move(loaded).value();
}

// A store with a snapshot, two acknowledged records and one that nobody was told of.
void fill(const std::string& directory) {
  Sink sink;
  FileStore store(directory, sink);
  REQUIRE(store.load().ok());
  REQUIRE(store.install("the state").ok());
  REQUIRE(store.append("first").ok());
  REQUIRE(store.append("second").ok());
  store.sync(LogIndex(2));
  REQUIRE(sink.wait(LogIndex(2)).ok);
  REQUIRE(store.append("third").ok());
}

}  // namespace

TEST_CASE("store: an empty folder is blank, and nothing can be appended to it") {
  const Folder folder;
  CHECK(load(folder.state()).condition == StoreCondition::blank);
  Sink sink;
  FileStore store(folder.state(), sink);
  REQUIRE(store.load().ok());
  CHECK_FALSE(store.append("x").ok());
}

TEST_CASE("store: what was appended comes back in order") {
  const Folder folder;
  fill(folder.state());
  const StoredState stored = load(folder.state());
  CHECK(stored.condition == StoreCondition::intact);
  CHECK(stored.snapshot == "the state");
  CHECK(stored.records == std::vector<std::string>{"first", "second", "third"});
}

TEST_CASE("store: a new snapshot replaces the log") {
  const Folder folder;
  fill(folder.state());
  {
    Sink sink;
    FileStore store(folder.state(), sink);
    REQUIRE(store.load().ok());
    REQUIRE(store.install("later").ok());
    REQUIRE(store.append("fourth").ok());
  }
  const StoredState stored = load(folder.state());
  CHECK(stored.snapshot == "later");
  CHECK(stored.records == std::vector<std::string>{"fourth"});
}

TEST_CASE("store: a log cut anywhere keeps what was acknowledged, or is amnesiac") {
  const Folder folder;
  fill(folder.state());
  const fs::path log = folder.state() + "/log.1";
  const std::string whole = slurp(log);
  const std::size_t acknowledged = whole.size() - 12 - 5;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    spill(log, whole.substr(0, size));
    const StoredState stored = load(folder.state());
    INFO("cut to " << size << " bytes");
    if (size < acknowledged) {
      CHECK(stored.condition == StoreCondition::amnesiac);
    } else {
      CHECK(stored.condition == StoreCondition::intact);
      CHECK(stored.records == std::vector<std::string>{"first", "second"});
    }
  }
}

TEST_CASE("store: a flipped bit is never read as another state") {
  const Folder folder;
  fill(folder.state());
  const std::string name = GENERATE(std::string("log.1"), std::string("snapshot"),
                                    std::string("durable"));
  const fs::path file = folder.state() + "/" + name;
  const std::string whole = slurp(file);
  const std::size_t acknowledged = whole.size() - 12 - 5;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string bad = whole;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    spill(file, bad);
    const StoredState stored = load(folder.state());
    INFO(name << ", byte " << at);
    if (name == "log.1" && at >= acknowledged) {
      CHECK(stored.records == std::vector<std::string>{"first", "second"});
    } else {
      CHECK(stored.condition == StoreCondition::amnesiac);
    }
    spill(file, whole);
    // Loading cuts a torn tail away: put it back for the next round.
    spill(folder.state() + "/log.1", name == "log.1" ? whole : slurp(folder.state() + "/log.1"));
  }
}

TEST_CASE("store: a missing file beside the marker is amnesia, not a blank node") {
  const Folder folder;
  fill(folder.state());
  const std::string name = GENERATE(std::string("log.1"), std::string("snapshot"),
                                    std::string("durable"));
  fs::remove(folder.state() + "/" + name);
  CHECK(load(folder.state()).condition == StoreCondition::amnesiac);
}

TEST_CASE("store: its folder is closed to others") {
  const Folder folder;
  fill(folder.state());
  CHECK(fs::status(folder.state()).permissions() == fs::perms::owner_all);
}
