#include "resource-agents/libvirt/process_scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

namespace clusterd::libvirt {
namespace {

// QEMU's command lines have some kilobytes; Linux allows 2 MiB by default.
constexpr std::size_t kLongestCommandLine = 4U << 20;

std::string read_command_line(const std::string& path) {
  std::string content;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return content;  // the process has ended
  std::array<char, 16384> buffer;
  while (content.size() < kLongestCommandLine) {
    const auto got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    content.append(buffer.data(), static_cast<std::size_t>(got));
  }
  ::close(fd);
  return content;
}

std::optional<Uuid> uuid_argument(std::string_view command_line) {
  bool next_is_uuid = false;
  while (!command_line.empty()) {
    const auto end = command_line.find('\0');
    const auto argument = command_line.substr(0, end);
    if (next_is_uuid) return Uuid::parse(argument);
    next_is_uuid = argument == "-uuid";
    if (end == std::string_view::npos) break;
    command_line.remove_prefix(end + 1);
  }
  return std::nullopt;
}

}  // namespace

Result<std::map<VmId, pid_t>> processes_by_uuid(const std::string& proc_directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(proc_directory.c_str()),
                                                      ::closedir);
  if (!directory) return Error{"read " + proc_directory + ": " + std::strerror(errno)};
  std::map<VmId, pid_t> found;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    char* end = nullptr;
    const long pid = std::strtol(entry->d_name, &end, 10);
    if (pid > 0 && *end == '\0') {
      const auto line = read_command_line(proc_directory + "/" + entry->d_name + "/cmdline");
      const auto uuid = uuid_argument(line);
      if (uuid) found.emplace(VmId{*uuid}, static_cast<pid_t>(pid));
    }
    errno = 0;
  }
  if (errno != 0) return Error{"read " + proc_directory + ": " + std::strerror(errno)};
  return found;
}

}  // namespace clusterd::libvirt
