#include "clusterd/adapters/store/file_recording.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <utility>

namespace clusterd {
namespace {

// A signal's handler knows nothing but what stands here: whether everything is written.
std::atomic<const std::atomic<bool>*> written_at_crash{nullptr};

// Only what is safe in a signal's handler (signal-safety(7)).
extern "C" void wait_until_written(int signal) {
  const std::atomic<bool>* written = written_at_crash.load();
  const timespec millisecond{0, 1000000};
  for (int i = 0; i < 200 && written != nullptr && !written->load(); ++i) {
    ::nanosleep(&millisecond, nullptr);
  }
  ::raise(signal);  // when this returns, and by then with its default action
}

constexpr std::array kCrashes = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

std::string file_name(std::uint64_t number) {
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "%08" PRIu64 ".rec", number);
  return name.data();
}

std::optional<std::uint64_t> number_of(const std::string& name) {
  std::uint64_t number = 0;
  if (std::sscanf(name.c_str(), "%" SCNu64, &number) != 1) return std::nullopt;
  if (file_name(number) != name) return std::nullopt;
  return number;
}

Error system_error(const std::string& what, int number) {
  std::array<char, 128> buffer{};
  return Error{what + ": " + strerror_r(number, buffer.data(), buffer.size())};
}

}  // namespace

FileRecording::FileRecording(std::string folder, FileRecordingOptions options)
    : folder_(std::move(folder)), options_(std::move(options)) {
  worker_ = std::thread([this] { run(); });
}

FileRecording::~FileRecording() {
  const std::atomic<bool>* own = &idle_;
  written_at_crash.compare_exchange_strong(own, nullptr);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  worker_.join();
}

void FileRecording::survive_crash() {
  written_at_crash = &idle_;
  struct sigaction action {};
  action.sa_handler = wait_until_written;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (const int signal : kCrashes) ::sigaction(signal, &action, nullptr);
}

// ---- the main loop's side ----------------------------------------------------------------------

Recording::Wants FileRecording::wants() const {
  if (stopped_) return Wants::nothing;
  return in_segment_ >= options_.limit / kSegments ? Wants::segment : Wants::records;
}

void FileRecording::begin(std::string bytes) {
  in_segment_ = 0;
  add(Chunk{true, std::move(bytes)});
}

void FileRecording::append(std::string_view bytes) {
  in_segment_ += bytes.size();
  add(Chunk{false, std::string(bytes)});
}

void FileRecording::add(Chunk chunk) {
  bool fits = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    fits = pending_bytes_ + chunk.bytes.size() <= options_.limit / 2;
    if (fits) {
      pending_bytes_ += chunk.bytes.size();
      idle_ = false;
      if (pending_.empty()) changed_.notify_one();
      if (pending_.empty() || chunk.begins) {
        pending_.push_back(std::move(chunk));
      } else {
        pending_.back().bytes += chunk.bytes;
      }
    }
  }
  if (!fits) stop("the disk does not keep up, or recording_size is too small");
}

void FileRecording::stop(const std::string& why) {
  if (stopped_.exchange(true)) return;
  if (options_.log) {
    options_.log("nothing is recorded for replay any more, until this daemon's next start: " + why);
  }
}

// ---- the worker --------------------------------------------------------------------------------

void FileRecording::run() {
  bool failed = false;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !pending_.empty(); });
    if (pending_.empty()) return;
    std::deque<Chunk> batch = std::exchange(pending_, {});
    pending_bytes_ = 0;
    lock.unlock();
    for (const Chunk& chunk : batch) {
      if (failed) break;
      const Status status = write(chunk);
      failed = !status;
      if (failed) stop(status.error().message);
    }
    lock.lock();
    if (pending_.empty()) idle_ = true;
  }
}

Status FileRecording::look() {
  if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST) {
    return system_error(folder_ + " cannot be created", errno);
  }
  DIR* list = ::opendir(folder_.c_str());
  if (list == nullptr) return system_error(folder_, errno);
  while (const dirent* entry = ::readdir(list)) {
    const auto number = number_of(entry->d_name);
    struct stat info {};
    if (!number || ::stat(path(*number).c_str(), &info) != 0) continue;
    sizes_[*number] = static_cast<std::uint64_t>(info.st_size);
    total_ += sizes_[*number];
  }
  ::closedir(list);
  looked_ = true;
  return ok_status();
}

// Never the newest one: it is the one that is being written.
Status FileRecording::make_room(std::uint64_t bytes) {
  while (total_ + bytes > options_.limit && sizes_.size() > 1) {
    const auto oldest = sizes_.begin();
    if (::unlink(path(oldest->first).c_str()) != 0 && errno != ENOENT) {
      return system_error(path(oldest->first) + " cannot be removed", errno);
    }
    total_ -= oldest->second;
    sizes_.erase(oldest);
  }
  if (total_ + bytes <= options_.limit) return ok_status();
  return Error{"recording_size is too small for this cluster's state"};
}

Status FileRecording::write(const Chunk& chunk) {
  if (!looked_) {
    if (Status status = look(); !status) return status;
  }
  if (chunk.begins) {
    const std::uint64_t number = sizes_.empty() ? 1 : sizes_.rbegin()->first + 1;
    auto file = File::open(path(number), O_WRONLY | O_CREAT | O_EXCL);
    if (!file) return file.error();
    file_ = std::move(file).value();
    sizes_[number] = 0;
  }
  if (Status status = make_room(chunk.bytes.size()); !status) return status;
  std::uint64_t& size = sizes_.rbegin()->second;
  if (Status status = file_.write_at(size, chunk.bytes); !status) return status;
  size += chunk.bytes.size();
  total_ += chunk.bytes.size();
  return ok_status();
}

std::string FileRecording::path(std::uint64_t number) const {
  return folder_ + "/" + file_name(number);
}

}  // namespace clusterd
