// FileStore after damage: at every byte, the answer is either everything that was acknowledged, or
// amnesia; never bytes that nobody wrote.
#include <catch2/catch.hpp>

#include "tests/unit/adapters/store/store_fixture.h"

using namespace clusterd;
using namespace clusterd::store_test;

namespace {

// Nothing acknowledged is missing, and nothing is there that was not written.
bool sound(const StoredState& state, const Sample& sample) {
  if (state.condition == StoreCondition::amnesiac) {
    return state.snapshot.empty() && state.records.empty() && !state.problem.empty();
  }
  if (state.condition != StoreCondition::intact || state.snapshot != "snapshot text") return false;
  std::vector<std::string> all = sample.acknowledged;
  all.insert(all.end(), sample.torn.begin(), sample.torn.end());
  return state.records.size() >= sample.acknowledged.size() && state.records.size() <= all.size() &&
         std::equal(state.records.begin(), state.records.end(), all.begin());
}

}  // namespace

TEST_CASE("store damage: the undamaged sample is intact, with its unacknowledged tail") {
  const Sample made = sample();
  const TemporaryFolder folder;
  write_files(folder.path, made.files);
  const StoredState state = loaded(folder.path);
  CHECK(state.condition == StoreCondition::intact);
  CHECK(state.records.size() == 5);
}

TEST_CASE(
    "store damage: a log cut at any byte is a torn tail or amnesia, by what was acknowledged") {
  const Sample made = sample();
  const TemporaryFolder folder;
  const std::string& log = made.files.at(made.log);
  std::size_t torn = 0;
  std::size_t lost = 0;
  for (std::size_t size = 0; size <= log.size(); ++size) {
    Files files = made.files;
    files[made.log].resize(size);
    write_files(folder.path, files);
    const StoredState state = loaded(folder.path);
    INFO("cut at " << size << ": " << state.problem);
    REQUIRE(sound(state, made));
    const bool intact = state.condition == StoreCondition::intact;
    REQUIRE(intact == (size >= made.acknowledged_end));
    ++(intact ? torn : lost);
    // What was decided once is decided the same way again: loading did not change the verdict.
    if (size % 97 == 0) REQUIRE(loaded(folder.path).condition == state.condition);
  }
  CHECK(lost == made.acknowledged_end);
  CHECK(torn == log.size() - made.acknowledged_end + 1);
}

TEST_CASE("store damage: any one byte of any file may flip") {
  const Sample made = sample();
  const TemporaryFolder folder;
  std::size_t amnesiac = 0;
  for (const auto& [name, bytes] : made.files) {
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      // The padding of the log's header blocks carries nothing; a sample of it is enough.
      const bool padding = name == made.log && at < kLogStart && at % kLogBlock >= 64;
      if (padding && at % 61 != 0) continue;
      for (const int flip : {0x01, 0x80, 0xff}) {
        Files files = made.files;
        files[name][at] = static_cast<char>(files[name][at] ^ flip);
        write_files(folder.path, files);
        const StoredState state = loaded(folder.path);
        INFO(name << " byte " << at << " ^ " << flip << ": " << state.problem);
        REQUIRE(sound(state, made));
        if (state.condition == StoreCondition::amnesiac) ++amnesiac;
        const bool must_notice =
            name == "snapshot" || (name == made.log && (at < 24 || (at >= kLogStart &&
                                                                    at < made.acknowledged_end)));
        if (must_notice) REQUIRE(state.condition == StoreCondition::amnesiac);
      }
    }
  }
  CHECK(amnesiac > 0);
}

TEST_CASE("store damage: a snapshot cut at any byte, or longer than it was, is amnesia") {
  const Sample made = sample();
  const TemporaryFolder folder;
  const std::string& snapshot = made.files.at("snapshot");
  for (std::size_t size = 0; size < snapshot.size(); ++size) {
    Files files = made.files;
    files["snapshot"].resize(size);
    write_files(folder.path, files);
    REQUIRE(loaded(folder.path).condition == StoreCondition::amnesiac);
  }
  Files files = made.files;
  files["snapshot"] += 'x';
  write_files(folder.path, files);
  CHECK(loaded(folder.path).condition == StoreCondition::amnesiac);
}

TEST_CASE("store damage: a missing file of an initialised store is amnesia, until an install") {
  const Sample made = sample();
  const TemporaryFolder folder;
  for (const auto& [name, bytes] : made.files) {
    Files files = made.files;
    files.erase(name);
    write_files(folder.path, files);
    INFO("without " << name);
    REQUIRE(loaded(folder.path).condition == StoreCondition::amnesiac);
    REQUIRE(loaded(folder.path).condition == StoreCondition::amnesiac);
    SyncSink sink;
    {
      FileStore store(folder.path, sink);
      REQUIRE(store.load().ok());
      CHECK_FALSE(store.append("r").ok());
      REQUIRE(store.install("new").ok());
      REQUIRE(store.append("r").ok());
    }
    const StoredState state = loaded(folder.path);
    CHECK(state.condition == StoreCondition::intact);
    CHECK(state.snapshot == "new");
    CHECK(state.records.empty());  // was not synced
    CHECK(read_files(folder.path).size() == 3);
  }
}

TEST_CASE("store damage: what was cut off never comes back behind new records") {
  const Sample made = sample();
  const TemporaryFolder folder;
  Files files = made.files;
  files[made.log][made.acknowledged_end + kFrameHeader] ^= 1;  // the fourth; the fifth is whole
  write_files(folder.path, files);
  {
    SyncSink sink;
    FileStore store(folder.path, sink);
    REQUIRE(store.load().value().records.size() == 3);
    REQUIRE(store.append("FOURTH").ok());  // as long as the damaged one
    store.sync(LogIndex(4));
    REQUIRE(sink.wait(LogIndex(4)).ok);
  }
  const StoredState state = loaded(folder.path);
  REQUIRE(state.records.size() == 4);
  CHECK(state.records.back() == "FOURTH");
}

TEST_CASE("store damage: a log of another generation is never taken for this one's") {
  const Sample made = sample();
  const TemporaryFolder folder;
  Files files = made.files;
  LogEnd end = empty_log_end(StoreGeneration(1));
  files[made.log] = encode_empty_log(StoreGeneration(1));
  append_frame(files[made.log], end, "of the older");
  write_files(folder.path, files);
  CHECK(loaded(folder.path).condition == StoreCondition::amnesiac);
}

TEST_CASE("store damage: a crash at any step of an install leaves the old state or the new one") {
  const Sample before = sample();
  const TemporaryFolder folder;
  write_files(folder.path, before.files);
  {
    SyncSink sink;
    FileStore store(folder.path, sink);
    REQUIRE(store.load().ok());
    REQUIRE(store.install("next").ok());
  }
  const Files after = read_files(folder.path);
  const std::string new_log = log_name(StoreGeneration(3));
  REQUIRE(after.contains(new_log));

  const auto check = [&](const Files& files, const std::string& expected) {
    write_files(folder.path, files);
    const StoredState state = loaded(folder.path);
    REQUIRE(state.condition == StoreCondition::intact);
    REQUIRE(state.snapshot == expected);
    REQUIRE(state.records.size() == (expected == "next" ? 0 : 5));
    REQUIRE(read_files(folder.path).size() == 3);  // strays are gone
  };
  for (const std::size_t part : {std::size_t{0}, std::size_t{100}, after.at(new_log).size()}) {
    Files files = before.files;
    files[new_log] = after.at(new_log).substr(0, part);
    check(files, "snapshot text");
    for (std::size_t cut = 0; cut <= after.at("snapshot").size(); ++cut) {
      files["snapshot.new"] = after.at("snapshot").substr(0, cut);
      check(files, "snapshot text");
    }
  }
  Files renamed = before.files;  // the old log not yet removed
  renamed[new_log] = after.at(new_log);
  renamed["snapshot"] = after.at("snapshot");
  check(renamed, "next");
  check(after, "next");
}

TEST_CASE("store damage: a crash within the first install leaves a blank node") {
  const TemporaryFolder folder;
  {
    SyncSink sink;
    FileStore store(folder.path, sink);
    REQUIRE(store.load().ok());
    REQUIRE(store.install("first").ok());
  }
  const Files after = read_files(folder.path);
  const std::string log = log_name(StoreGeneration(1));
  for (const Files& files : std::vector<Files>{
           {{log, after.at(log).substr(0, 10)}},
           {{log, after.at(log)}},
           {{log, after.at(log)}, {"snapshot.new", after.at("snapshot").substr(0, 7)}},
           {{log, after.at(log)}, {"snapshot", after.at("snapshot")}}}) {
    write_files(folder.path, files);
    CHECK(loaded(folder.path).condition == StoreCondition::blank);
    CHECK(read_files(folder.path).empty());
  }
  // With an acknowledged record it was in use: then it is the marker that was lost.
  Files used = after;
  used.erase("initialised");
  LogEnd end = empty_log_end(StoreGeneration(1));
  append_frame(used[log], end, "r");
  write_files(folder.path, used);
  CHECK(loaded(folder.path).condition == StoreCondition::amnesiac);
}
