// Files: the few operations on files that durability needs, with errors that name the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "clusterd/base/result.h"

namespace clusterd::files {

[[nodiscard]] bool exists(const std::string& path);
// Whole content. An error: it cannot be read.
[[nodiscard]] Result<std::string> read(const std::string& path);
// All bytes at `offset`, retried after short writes.
[[nodiscard]] Status write_at(int fd, std::string_view bytes, std::uint64_t offset,
                              const std::string& path);
// Replaces `directory/name` at once: temporary file, fsync, rename, fsync of the directory.
[[nodiscard]] Status replace(const std::string& directory, const std::string& name,
                             std::string_view bytes);
[[nodiscard]] Status sync_directory(const std::string& directory);
// "cannot read /x/y: No such file or directory", from errno.
[[nodiscard]] Error failed(const std::string& what, const std::string& path);

}  // namespace clusterd::files
