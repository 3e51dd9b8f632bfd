#include "clusterd/adapters/store/file_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>
#include <variant>

namespace clusterd {
namespace {

constexpr const char* kSnapshot = "snapshot";
constexpr const char* kNewSnapshot = "snapshot.new";
constexpr const char* kTrial = "trial";
constexpr const char* kMarker = "initialised";
constexpr StoreGeneration kFirst{1};

Error system_error(const std::string& what, int number) {
  std::array<char, 128> buffer{};
  return Error{what + ": " + strerror_r(number, buffer.data(), buffer.size())};
}

std::optional<StoreGeneration> generation_of(const std::string& name) {
  unsigned long long number = 0;
  if (std::sscanf(name.c_str(), "log-%16llx", &number) != 1) return std::nullopt;
  const StoreGeneration generation(number);
  if (log_name(generation) != name) return std::nullopt;
  return generation;
}

StoredState amnesiac(const std::string& problem) {
  StoredState state;
  state.condition = StoreCondition::amnesiac;
  state.problem = problem;
  return state;
}

}  // namespace

FileStore::FileStore(std::string folder, EventSink& sink, FileStoreOptions options)
    : folder_(std::move(folder)), sink_(sink), options_(std::move(options)) {
  worker_ = std::thread([this] { run(); });
}

FileStore::~FileStore() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  worker_.join();
}

// ---- loading -----------------------------------------------------------------------------------

Result<StoredState> FileStore::load() {
  if (auto status = make_folder(); !status) return status.error();
  auto folder = look();
  if (!folder) return folder.error();
  Folder found = std::move(folder).value();
  auto state = found.marker ? load_initialised(found) : load_unmarked(found);
  const std::lock_guard<std::mutex> lock(mutex_);
  newest_ = found.newest;
  return state;
}

Status FileStore::make_folder() const {
  if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) {
    return system_error(folder_ + " cannot be created", errno);
  }
  const std::size_t slash = folder_.find_last_of('/');
  const std::string parent = slash == folder_.npos ? "." : folder_.substr(0, slash) + "/";
  return sync_folder(parent);
}

Result<FileStore::Folder> FileStore::look() const {
  DIR* list = ::opendir(folder_.c_str());
  if (list == nullptr) return system_error(folder_, errno);
  Folder folder;
  while (const dirent* entry = ::readdir(list)) {
    const std::string name = entry->d_name;
    if (name == kMarker) folder.marker = true;
    if (const auto generation = generation_of(name)) {
      folder.logs.push_back(name);
      folder.newest = std::max(folder.newest, *generation);
    }
  }
  ::closedir(list);
  return folder;
}

// What cannot be read is as lost as what is not there: the other members have it.
Result<StoredState> FileStore::load_initialised(Folder& folder) {
  auto bytes = read_file(path(kSnapshot));
  if (!bytes) return amnesiac(bytes.error().message);
  if (!bytes.value()) return amnesiac("the snapshot is missing");
  auto parsed = parse_snapshot(*bytes.value());
  if (const auto* damage = std::get_if<Damage>(&parsed)) return amnesiac(damage->what);
  auto& snapshot = std::get<SnapshotFile>(parsed);
  folder.newest = std::max(folder.newest, snapshot.generation);

  const std::string name = log_name(snapshot.generation);
  auto log_bytes = read_file(path(name));
  if (!log_bytes) return amnesiac(log_bytes.error().message);
  if (!log_bytes.value()) return amnesiac("the log " + name + " is missing");
  auto parsed_log = parse_log(*log_bytes.value(), snapshot.generation);
  if (const auto* damage = std::get_if<Damage>(&parsed_log)) return amnesiac(damage->what);
  auto& log = std::get<LogFile>(parsed_log);

  if (auto status = open_log(snapshot.generation, log); !status) return status.error();
  remove_strays(folder, name);
  StoredState state;
  state.condition = StoreCondition::intact;
  state.snapshot = std::move(snapshot.payload);
  state.records = std::move(log.records);
  return state;
}

// Without the marker there is either nothing, or a first install that a crash interrupted before
// anybody was told of it. Anything more says that the marker itself was lost.
Result<StoredState> FileStore::load_unmarked(Folder& folder) {
  auto bytes = read_file(path(kSnapshot));
  if (!bytes) return amnesiac(bytes.error().message);
  if (bytes.value()) {
    auto parsed = parse_snapshot(*bytes.value());
    const auto* snapshot = std::get_if<SnapshotFile>(&parsed);
    if (snapshot != nullptr) folder.newest = std::max(folder.newest, snapshot->generation);
    auto log = read_file(path(log_name(kFirst)));
    const bool first = snapshot != nullptr && folder.newest == kFirst && log && log.value() &&
                       *log.value() == encode_empty_log(kFirst);
    if (!first) return amnesiac("the marker 'initialised' is missing beside a snapshot in use");
  } else if (folder.newest > kFirst) {
    return amnesiac("the marker 'initialised' and the snapshot are missing beside a log");
  }
  remove_strays(folder, "");
  ::unlink(path(kSnapshot).c_str());
  if (auto status = sync_folder(folder_); !status) return status.error();
  folder.newest = StoreGeneration();
  return StoredState{};
}

// Cuts off the torn tail durably, so that no byte of it can ever follow what is written next.
Status FileStore::open_log(StoreGeneration generation, const LogFile& log) {
  auto opened = File::open(path(log_name(generation)), O_RDWR);
  if (!opened) return opened.error();
  const std::lock_guard<std::mutex> io(io_);
  log_ = std::move(opened).value();
  if (auto status = log_.truncate(log.end.offset); !status) return status;
  // All that was found is durable from here on, so it may be acknowledged as well.
  turn_ = log.turn + 1;
  const std::string position = encode_position(generation, turn_, log.end);
  if (auto status = log_.sync(options_.sync_data); !status) return status;
  if (auto status = log_.write_at(position_offset(turn_), position); !status) return status;
  if (auto status = log_.sync(options_.sync_data); !status) return status;
  written_ = durable_ = log.end.offset;
  const std::lock_guard<std::mutex> lock(mutex_);
  generation_ = generation;
  end_ = log.end;
  return ok_status();
}

void FileStore::remove_strays(const Folder& folder, const std::string& keep) const {
  for (const std::string& log : folder.logs) {
    if (log != keep) ::unlink(path(log).c_str());
  }
  ::unlink(path(kNewSnapshot).c_str());
}

Status FileStore::try_write(std::size_t bytes) {
  const std::string trial = path(kTrial);
  const Status written = write_file(trial, std::string(bytes, '\0'), options_.sync_data);
  if (::unlink(trial.c_str()) != 0 && errno != ENOENT && written.ok()) {
    return system_error(trial + " cannot be removed", errno);
  }
  return written;
}

// ---- changing ----------------------------------------------------------------------------------

Status FileStore::append(std::string_view record) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!failure_.empty()) return Error{failure_};
  if (generation_ == StoreGeneration()) return Error{"there is no snapshot to append to"};
  if (record.size() > kMaxRecord) return Error{"the record is larger than 64 MiB"};
  if (pending_.size() + record.size() > kMaxPending) {
    failure_ = "the disk does not keep up: 128 MiB wait to be written";
    return Error{failure_};
  }
  append_frame(pending_, end_, record);
  return ok_status();
}

void FileStore::sync(LogIndex upto) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    unanswered_ = ordered_ = ordered_ ? std::max(*ordered_, upto) : upto;
  }
  changed_.notify_one();
}

Status FileStore::install(std::string_view snapshot) {
  const std::lock_guard<std::mutex> io(io_);
  StoreGeneration old;
  StoreGeneration generation;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_.empty()) return Error{failure_};
    old = generation_;
    generation = newest_.next();
  }
  if (auto status = install_files(snapshot, generation); !status) {
    fail(status.error().message);
    return status;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  if (old != StoreGeneration()) ::unlink(path(log_name(old)).c_str());
  generation_ = newest_ = generation;
  end_ = empty_log_end(generation);
  pending_.clear();  // the snapshot has it, or replaces it
  position_late_ = false;
  ordered_.reset();
  if (const auto asked = std::exchange(unanswered_, {})) sink_.post(StoreSynced{*asked, true, ""});
  return ok_status();
}

Status FileStore::set_aside(std::string_view state) {
  const std::lock_guard<std::mutex> io(io_);
  StoreGeneration generation;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    failure_ = "the state was set aside";
    generation = std::exchange(generation_, StoreGeneration());
  }
  if (auto s = write_file(path("state.diverged"), state, options_.sync_data); !s) return s;
  const std::array<std::pair<std::string, const char*>, 2> moves{
      {{log_name(generation), "log.diverged"}, {kSnapshot, "snapshot.diverged"}}};
  for (const auto& [from, to] : moves) {
    if (::rename(path(from).c_str(), path(to).c_str()) != 0 && errno != ENOENT) {
      return system_error(path(from) + " cannot be moved aside", errno);
    }
  }
  return sync_folder(folder_);
}

// The rename is the one step that counts: before it the old snapshot and its log are whole, after
// it the new ones. The marker comes last, so that a first install that was interrupted leaves a
// blank node, which may still take part in a founding.
Status FileStore::install_files(std::string_view snapshot, StoreGeneration generation) {
  const std::string log = path(log_name(generation));
  const SyncFunction& sync_data = options_.sync_data;
  if (auto s = write_file(log, encode_empty_log(generation), sync_data); !s) return s;
  if (auto s = write_file(path(kNewSnapshot), encode_snapshot(generation, snapshot), sync_data);
      !s) {
    return s;
  }
  // The log's name must not be lost by a crash that keeps the rename.
  if (auto s = sync_folder(folder_); !s) return s;
  if (::rename(path(kNewSnapshot).c_str(), path(kSnapshot).c_str()) != 0) {
    return system_error(path(kSnapshot) + " cannot be replaced", errno);
  }
  if (auto s = sync_folder(folder_); !s) return s;
  if (::access(path(kMarker).c_str(), F_OK) != 0) {
    if (auto s = write_file(path(kMarker), "clusterd\n", sync_data); !s) return s;
    if (auto s = sync_folder(folder_); !s) return s;
  }
  auto opened = File::open(log, O_RDWR);
  if (!opened) return opened.error();
  log_ = std::move(opened).value();
  written_ = durable_ = kLogStart;
  turn_ = 1;
  return ok_status();
}

// ---- the worker --------------------------------------------------------------------------------

void FileStore::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto due = [this] { return ordered_ || stopping_; };
  for (;;) {
    if (position_late_) {
      changed_.wait_for(lock, options_.position_delay, due);
    } else {
      changed_.wait(lock, due);
    }
    if (ordered_) {
      Batch batch{*ordered_, std::exchange(pending_, {}), end_, generation_};
      ordered_.reset();
      lock.unlock();
      carry_out(std::move(batch));
      lock.lock();
      continue;
    }
    if (position_late_) {
      lock.unlock();
      sync_position();
      lock.lock();
      continue;
    }
    if (stopping_) return;
  }
}

void FileStore::carry_out(Batch batch) {
  const std::lock_guard<std::mutex> io(io_);
  std::string problem;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (batch.generation != generation_ && failure_.empty()) return;  // an install has answered it
    problem = failure_;
  }
  if (problem.empty()) {
    if (auto status = write_and_sync(batch); !status) {
      problem = status.error().message;
      fail(problem);
    }
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (unanswered_ == batch.upto) unanswered_.reset();
  }
  sink_.post(StoreSynced{batch.upto, problem.empty(), problem});
}

Status FileStore::write_and_sync(const Batch& batch) {
  if (!log_.is_open()) return ok_status();
  if (auto status = log_.write_at(written_, batch.bytes); !status) return status;
  written_ += batch.bytes.size();
  if (written_ == durable_) return ok_status();
  if (auto status = log_.sync(options_.sync_data); !status) return status;
  durable_ = written_;
  const std::string position = encode_position(batch.generation, ++turn_, batch.end);
  if (auto status = log_.write_at(position_offset(turn_), position); !status) return status;
  const std::lock_guard<std::mutex> lock(mutex_);
  position_late_ = true;
  return ok_status();
}

void FileStore::sync_position() {
  const std::lock_guard<std::mutex> io(io_);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!position_late_ || !failure_.empty()) {
      position_late_ = false;
      return;
    }
    position_late_ = false;
  }
  if (auto status = log_.sync(options_.sync_data); !status) fail(status.error().message);
}

void FileStore::fail(const std::string& problem) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (failure_.empty()) failure_ = problem;
}

}  // namespace clusterd
