// MemoryFile: a file without a disk, for loaders that take a path.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "clusterd/base/assert.h"

namespace clusterd::fuzz {

class MemoryFile {
 public:
  // `number` becomes its file descriptor, so that its path is the same in every run.
  explicit MemoryFile(int number) : fd_(number) {
    const int made = ::memfd_create("fuzz", MFD_CLOEXEC);
    CLUSTERD_ASSERT(made >= 0);
    CLUSTERD_ASSERT(::dup2(made, fd_) == fd_);
    ::close(made);
  }
  ~MemoryFile() { ::close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

  void write(std::string_view text) {
    CLUSTERD_ASSERT(::ftruncate(fd_, 0) == 0);
    const ::ssize_t written = ::pwrite(fd_, text.data(), text.size(), 0);
    CLUSTERD_ASSERT(written == static_cast<::ssize_t>(text.size()));
  }

 private:
  int fd_;
};

}  // namespace clusterd::fuzz
