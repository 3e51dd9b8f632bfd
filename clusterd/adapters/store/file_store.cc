#include "clusterd/adapters/store/file_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "clusterd/adapters/store/files.h"
#include "clusterd/base/archive.h"
#include "clusterd/base/digest.h"

namespace clusterd {
namespace {

constexpr std::uint32_t kSnapshotMagic = 0x31534c43;  // "CLS1"
constexpr std::uint32_t kDurableMagic = 0x31444c43;   // "CLD1"
constexpr std::size_t kRecordHeader = 12;             // length, checksum
constexpr std::uint32_t kMaxRecord = 128U * 1024 * 1024;

struct SnapshotFile {
  std::uint32_t magic = kSnapshotMagic;
  std::uint64_t number = 0;
  Digest checksum;
  std::string state;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.magic, s.number, s.checksum, s.state);
  }
};

// Of one fixed size, so that it is overwritten in place.
struct DurableFile {
  std::uint32_t magic = kDurableMagic;
  std::uint64_t number = 0;
  std::uint64_t size = 0;
  Digest checksum;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.magic, s.number, s.size, s.checksum);
  }
};

// Covers the number too: a snapshot must not be paired with another one's log.
Digest checksum(std::uint64_t number, std::string_view bytes) {
  Hasher hasher;
  write(hasher, number);
  hasher.bytes(bytes.data(), bytes.size());
  return hasher.digest();
}

Digest checksum(const DurableFile& durable) {
  Hasher hasher;
  write(hasher, durable.number);
  write(hasher, durable.size);
  return hasher.digest();
}

template <class T>
std::string encoded(const T& value) {
  StringSink sink;
  write(sink, value);
  return std::move(sink).take();
}

template <class T>
bool decoded(std::string_view bytes, T& value) {
  Reader reader(bytes);
  reader.read(value);
  return reader.complete();
}

struct Records {
  std::vector<std::string> records;
  std::uint64_t good = 0;  // bytes up to the end of the last whole record
};

Records split(std::string_view log) {
  Records found;
  while (log.size() - found.good >= kRecordHeader) {
    const std::string_view rest = log.substr(found.good);
    std::uint32_t length = 0;
    Digest sum;
    Reader header(rest.substr(0, kRecordHeader));
    header.read(length);
    header.read(sum);
    if (length > kMaxRecord || rest.size() - kRecordHeader < length) break;
    const std::string_view record = rest.substr(kRecordHeader, length);
    // The position is part of the checksum: a stale record in its place is noticed.
    if (checksum(found.good, record) != sum) break;
    found.records.emplace_back(record);
    found.good += kRecordHeader + length;
  }
  return found;
}

StoredState amnesiac(const std::string& why) {
  return {StoreCondition::amnesiac, why, {}, {}};
}

}  // namespace

FileStore::FileStore(std::string directory, EventSink& sink)
    : directory_(std::move(directory)), sink_(sink), worker_([this] { work(); }) {}

FileStore::~FileStore() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  worker_.join();
  if (log_.fd >= 0) close(log_.fd);
}

std::string FileStore::log_path(std::uint64_t number) const {
  return path("log." + std::to_string(number));
}

Result<StoredState> FileStore::load() {
  if (mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) {
    return files::failed("make", directory_);
  }
  if (!files::exists(path("initialised"))) {
    if (!files::exists(path("snapshot"))) return StoredState{};
    // The marker is written after the first snapshot: that install never returned.
    return StoredState{};
  }
  const auto snapshot_bytes = files::read(path("snapshot"));
  if (!snapshot_bytes) return amnesiac(snapshot_bytes.error().message);
  SnapshotFile snapshot;
  const bool whole = decoded(snapshot_bytes.value(), snapshot) &&
                     snapshot.magic == kSnapshotMagic &&
                     snapshot.checksum == checksum(snapshot.number, snapshot.state);
  if (!whole) return amnesiac(path("snapshot") + " is damaged");

  const auto log_bytes = files::read(log_path(snapshot.number));
  if (!log_bytes) return amnesiac(log_bytes.error().message);
  const auto durable_bytes = files::read(path("durable"));
  if (!durable_bytes) return amnesiac(durable_bytes.error().message);
  DurableFile durable;
  const bool told = decoded(durable_bytes.value(), durable) && durable.magic == kDurableMagic &&
                    durable.checksum == checksum(durable);
  if (!told) return amnesiac(path("durable") + " is damaged");
  // The file of an earlier log says nothing of this one: the crash came right after install.
  const std::uint64_t acknowledged = durable.number == snapshot.number ? durable.size : 0;
  Records found = split(log_bytes.value());
  if (found.good < acknowledged) {
    return amnesiac(log_path(snapshot.number) + " is damaged at byte " +
                    std::to_string(found.good) + ", which was acknowledged");
  }
  if (const Status opened = open_log(snapshot.number, found.good); !opened) return opened.error();
  return StoredState{StoreCondition::intact, {}, std::move(snapshot.state),
                     std::move(found.records)};
}

// Opens or makes the log and cuts it to `size`.
Status FileStore::open_log(std::uint64_t number, std::uint64_t size) {
  const std::string file = log_path(number);
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return files::failed("open", file);
  if (ftruncate(fd, static_cast<off_t>(size)) != 0 || fsync(fd) != 0) {
    const Error error = files::failed("cut", file);
    close(fd);
    return error;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (log_.fd >= 0) close(log_.fd);
  log_ = Log{fd, number, size};
  return ok_status();
}

Status FileStore::append(std::string_view record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!failure_.empty()) return Error{failure_};
  if (log_.fd < 0) return Error{"the store holds no state yet: nothing can follow it"};
  if (record.size() > kMaxRecord) return Error{"a record is too large for the log"};
  StringSink sink;
  write(sink, static_cast<std::uint32_t>(record.size()));
  write(sink, checksum(log_.size, record));
  sink.bytes(record.data(), record.size());
  const std::string bytes = std::move(sink).take();
  if (const Status written = files::write_at(log_.fd, bytes, log_.size, log_path(log_.number));
      !written) {
    failure_ = written.error().message;
    return written;
  }
  log_.size += bytes.size();
  return ok_status();
}

void FileStore::sync(LogIndex upto) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    wanted_ = Wanted{upto, log_.size};  // a later sync covers the earlier ones
  }
  changed_.notify_all();
}

Status FileStore::install(std::string_view state) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return !syncing_; });
  const std::uint64_t number = log_.number + 1;
  const std::uint64_t before = log_.number;
  // A sync not yet begun speaks of the old log; the snapshot covers what it asked for.
  const std::optional<Wanted> covered = std::exchange(wanted_, std::nullopt);
  lock.unlock();
  if (const Status made = open_log(number, 0); !made) return made;
  SnapshotFile snapshot;
  snapshot.number = number;
  snapshot.state = std::string(state);
  snapshot.checksum = checksum(number, state);
  if (const Status written = files::replace(directory_, "snapshot", encoded(snapshot)); !written) {
    return written;
  }
  if (const Status written = write_durable(number, 0); !written) return written;
  if (!files::exists(path("initialised"))) {
    if (const Status marked = files::replace(directory_, "initialised", ""); !marked) {
      return marked;
    }
  }
  if (number > 1 && unlink(log_path(before).c_str()) != 0 && errno != ENOENT) {
    return files::failed("delete", log_path(before));
  }
  if (covered) sink_.post(StoreSynced{covered->upto, true, {}});
  return ok_status();
}

// In place and then fsynced: eight times cheaper than a rename, and a torn one is noticed by its
// checksum. It then reads as damaged, so that the safe side (amnesia) is taken.
Status FileStore::write_durable(std::uint64_t number, std::uint64_t size) {
  DurableFile durable;
  durable.number = number;
  durable.size = size;
  durable.checksum = checksum(durable);
  const std::string file = path("durable");
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return files::failed("open", file);
  Status written = files::write_at(fd, encoded(durable), 0, file);
  if (written && fdatasync(fd) != 0) written = files::failed("sync", file);
  close(fd);
  return written;
}

void FileStore::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || wanted_; });
    if (stopping_) return;
    finish_syncs(lock);
  }
}

void FileStore::finish_syncs(std::unique_lock<std::mutex>& lock) {
  const Wanted wanted = *wanted_;
  wanted_.reset();
  const int fd = log_.fd;
  const std::uint64_t number = log_.number;
  std::string failure = failure_;
  syncing_ = true;
  lock.unlock();
  if (failure.empty() && fd < 0) failure = "the store holds no state yet";
  if (failure.empty() && fdatasync(fd) != 0) {
    failure = files::failed("sync", log_path(number)).message;
  }
  if (failure.empty()) {
    // Told to nobody before this stands: what lies before it must never be missed again.
    const Status told = write_durable(number, wanted.size);
    if (!told) failure = told.error().message;
  }
  sink_.post(StoreSynced{wanted.upto, failure.empty(), failure});
  lock.lock();
  failure_ = failure;
  syncing_ = false;
  changed_.notify_all();
}

}  // namespace clusterd
