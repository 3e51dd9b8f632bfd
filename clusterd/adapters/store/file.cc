#include "clusterd/adapters/store/file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace clusterd {
namespace {

// Far above what a state may be (10 MB of it is much); keeps a damaged folder from eating memory.
constexpr off_t kMaxFile = off_t{1} << 30;

}  // namespace

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) ::close(fd_);
  fd_ = std::exchange(other.fd_, -1);
  path_ = std::move(other.path_);
  return *this;
}

Error File::error(const char* what, int number) const {
  std::array<char, 128> buffer{};
  return Error{path_ + ": " + what + ": " + strerror_r(number, buffer.data(), buffer.size())};
}

Result<File> File::open(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, 0600);
  const int number = errno;
  File file(fd, path);
  if (fd < 0) return file.error("cannot be opened", number);
  return file;
}

Result<std::string> File::read_all() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) return error("fstat", errno);
  if (!S_ISREG(info.st_mode)) return Error{path_ + " is not a regular file"};
  if (info.st_size > kMaxFile) return Error{path_ + " is larger than 1 GiB"};
  std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got =
        ::pread(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error("cannot be read", errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

Status File::write_at(std::uint64_t offset, std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return error("cannot be written", put < 0 ? errno : ENOSPC);
    bytes.remove_prefix(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return ok_status();
}

Status File::truncate(std::uint64_t size) const {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return error("cannot be cut", errno);
  return ok_status();
}

Status File::sync(const SyncFunction& sync_data) const {
  // Never tried again, not even after EINTR: the kernel tells of lost pages once only.
  if (sync_data(fd_) != 0) return error("cannot be made durable", errno);
  return ok_status();
}

Result<std::optional<std::string>> read_file(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 && errno == ENOENT) return std::optional<std::string>();
  auto file = File::open(path, O_RDONLY | O_NONBLOCK);
  if (!file) return file.error();
  auto bytes = file.value().read_all();
  if (!bytes) return bytes.error();
  return std::optional<std::string>(std::move(bytes).value());
}

Status write_file(const std::string& path, std::string_view bytes, const SyncFunction& sync_data) {
  auto file = File::open(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file) return file.error();
  if (auto status = file.value().write_at(0, bytes); !status) return status;
  return file.value().sync(sync_data);
}

Status sync_folder(const std::string& path) {
  auto folder = File::open(path, O_RDONLY | O_DIRECTORY);
  if (!folder) return folder.error();
  return folder.value().sync(::fsync);
}

}  // namespace clusterd
