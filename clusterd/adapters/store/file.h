// File: a descriptor with the few operations that a store needs, each of them whole or an error.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "clusterd/base/result.h"

namespace clusterd {

// fdatasync, or what a test puts in its place.
using SyncFunction = std::function<int(int)>;

class File {
 public:
  File() = default;
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] static Result<File> open(const std::string& path, int flags);

  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] Result<std::string> read_all() const;
  [[nodiscard]] Status write_at(std::uint64_t offset, std::string_view bytes) const;
  [[nodiscard]] Status truncate(std::uint64_t size) const;
  [[nodiscard]] Status sync(const SyncFunction& sync_data) const;

 private:
  [[nodiscard]] Error error(const char* what, int number) const;

  int fd_ = -1;
  std::string path_;
};

// What stands in the file; nothing when there is no file of that name.
[[nodiscard]] Result<std::optional<std::string>> read_file(const std::string& path);
// Creates or replaces it, durably except for its name: sync the folder for that.
[[nodiscard]] Status write_file(const std::string& path, std::string_view bytes,
                                const SyncFunction& sync_data);
[[nodiscard]] Status sync_folder(const std::string& path);

}  // namespace clusterd
