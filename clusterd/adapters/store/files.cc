#include "clusterd/adapters/store/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace clusterd::files {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

Error failed(const std::string& what, const std::string& path) {
  return Error{"cannot " + what + " " + path + ": " + std::strerror(errno)};
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Result<std::string> read(const std::string& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return failed("open", path);
  std::string content;
  std::array<char, 65536> buffer{};
  while (true) {
    const ssize_t size = ::read(file.get(), buffer.data(), buffer.size());
    if (size == 0) return content;
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed("read", path);
    content.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

Status write_at(int fd, std::string_view bytes, std::uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t size = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return failed("write", path);
    bytes.remove_prefix(static_cast<std::size_t>(size));
    offset += static_cast<std::uint64_t>(size);
  }
  return ok_status();
}

Status sync_directory(const std::string& directory) {
  const Descriptor opened(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.get() < 0) return failed("open", directory);
  if (fsync(opened.get()) != 0) return failed("sync", directory);
  return ok_status();
}

Status replace(const std::string& directory, const std::string& name, std::string_view bytes) {
  const std::string target = directory + "/" + name;
  const std::string temporary = target + ".new";
  {
    const Descriptor file(
        open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (file.get() < 0) return failed("make", temporary);
    if (const Status written = write_at(file.get(), bytes, 0, temporary); !written) {
      return written;
    }
    if (fsync(file.get()) != 0) return failed("sync", temporary);
  }
  if (rename(temporary.c_str(), target.c_str()) != 0) return failed("rename", temporary);
  return sync_directory(directory);
}

}  // namespace clusterd::files
