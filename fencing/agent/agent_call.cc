#include "fencing/agent/agent_call.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace clusterd {
namespace {

constexpr std::size_t kMaxSecret = 4096;
// A pipe takes this much without a reader (its smallest capacity is one page, its usual 64 KiB).
constexpr std::size_t kMaxInput = 48 * 1024;

std::string system_error(int number) {
  std::array<char, 128> buffer{};
  return strerror_r(number, buffer.data(), buffer.size());
}

bool plain_word(std::string_view word) {
  return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '_' || c == '-' || c == '.';
  });
}

// Empty: the agent reads the value as it is. ClusterLabs' library strips white space at the end
// of a line and one pair of quotes around a value, so a password of that kind would be altered.
std::string unfit_value(std::string_view value) {
  if (value.find('\n') != value.npos || value.find('\0') != value.npos) {
    return "has more than one line";
  }
  if (!value.empty() &&
      std::string_view(" \t\r\v\f").find(value.back()) != std::string_view::npos) {
    return "ends with white space, which the agent would cut off";
  }
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    return "is in quotes, which the agent would strip";
  }
  return {};
}

// What decides about the call itself is not an operator's option.
bool reserved(std::string key) {
  std::replace(key.begin(), key.end(), '-', '_');
  return key == "action" || key == "option" || key == "nodename";
}

void add_line(WipedText& input, std::string_view key, std::string_view value) {
  input.append(key);
  input.append("=");
  input.append(value);
  input.append("\n");
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

std::string unfit_file(const struct stat& info) {
  if (!S_ISREG(info.st_mode)) return "is not a regular file";
  if (info.st_uid != 0) return "must be owned by root";
  if ((info.st_mode & 077) != 0) return "must not be accessible to group or others (chmod 600)";
  if (info.st_size > static_cast<off_t>(kMaxSecret)) return "is larger than 4 KiB";
  return {};
}

}  // namespace

Result<WipedText> read_secret(const std::string& path) {
  const std::string what = "secret file " + path;
  // Without O_NONBLOCK a FIFO of that name would block for ever.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  if (file.fd < 0) return Error{what + ": " + system_error(errno)};
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) return Error{what + ": " + system_error(errno)};
  if (const std::string problem = unfit_file(info); !problem.empty()) {
    return Error{what + " " + problem};
  }
  std::array<char, kMaxSecret> buffer{};
  const ssize_t got = ::read(file.fd, buffer.data(), buffer.size());
  const int error = errno;
  std::string_view value(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  if (value.ends_with('\n')) value.remove_suffix(1);
  if (value.ends_with('\r')) value.remove_suffix(1);
  WipedText secret;
  secret.append(value);
  std::string problem = unfit_value(value);
  if (got < 0) problem = "cannot be read: " + system_error(error);
  if (problem.empty() && value.empty()) problem = "is empty";
  explicit_bzero(buffer.data(), buffer.size());
  if (!problem.empty()) return Error{what + " " + problem};
  return secret;
}

std::string agent_search_path(const std::string& given) {
  std::string path = given;
  if (path.empty()) {
    if (const char* own = ::getenv("PATH")) path = own;
  }
  return path + (path.empty() ? "" : ":") + "/usr/sbin:/usr/bin:/sbin:/bin";
}

Result<std::string> find_agent(const std::string& name, const std::string& search_path) {
  if (!name.starts_with("fence_") || !plain_word(name)) {
    return Error{"agent " + name + ": only agents named fence_... are run"};
  }
  std::string_view rest = search_path;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string_view folder = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!folder.starts_with('/')) continue;  // never relative to where the daemon happens to be
    const std::string program = std::string(folder) + "/" + name;
    struct stat info {};
    if (::stat(program.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
        ::access(program.c_str(), X_OK) == 0) {
      return program;
    }
  }
  return Error{"agent " + name + " is not installed on this node"};
}

Result<AgentCall> prepare_call(const FenceDevice& device, std::string_view action,
                               const std::string& node, const std::string& search_path) {
  AgentCall call;
  auto program = find_agent(device.agent, search_path);
  if (!program) return program.error();
  call.program = std::move(program).value();
  for (const auto& [key, value] : device.options) {
    if (!plain_word(key)) return Error{"option " + key + " is not an option's name"};
    if (reserved(key)) return Error{"option " + key + " is clusterd's to set"};
    if (device.secrets.contains(key)) return Error{"option " + key + " is also given as a secret"};
    if (const std::string problem = unfit_value(value); !problem.empty()) {
      return Error{"option " + key + " " + problem};
    }
    add_line(call.input, key, value);
  }
  for (const auto& [key, path] : device.secrets) {
    if (!plain_word(key) || reserved(key)) return Error{"secret " + key + " is not allowed"};
    auto secret = read_secret(path);
    if (!secret) return secret.error().in(key);
    call.secrets.push_back(std::move(secret).value());
    add_line(call.input, key, call.secrets.back().view());
  }
  if (const std::string problem = unfit_value(node); !problem.empty()) {
    return Error{"the node's name " + problem};
  }
  add_line(call.input, "nodename", node);
  add_line(call.input, "action", action);
  if (call.input.view().size() > kMaxInput) return Error{"the options are larger than 48 KiB"};
  return call;
}

}  // namespace clusterd
