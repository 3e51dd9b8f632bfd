#include "clusterd/daemon/identity.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>

namespace clusterd {
namespace {

Result<Uuid> read_uuid(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  if (!in || !std::getline(in, line)) return Error{"cannot read " + file};
  const auto uuid = Uuid::parse(line);
  if (!uuid) return Error{file + " does not hold 32 hexadecimal digits"};
  if (uuid->is_nil()) return Error{file + " holds nothing but zeros"};
  return *uuid;
}

std::string reason() { return std::strerror(errno); }

// The boot that stands for this one since a purge, if there was one.
Result<Uuid> renewed(const Uuid& boot, const std::string& file) {
  std::ifstream in(file);
  if (!in) return boot;
  std::string before;
  std::string since;
  const auto old_boot = in >> before >> since ? Uuid::parse(before) : std::nullopt;
  const auto new_boot = Uuid::parse(since);
  if (!old_boot || !new_boot) {
    return Error{file + " does not hold two UUIDs: remove it after a reboot of this host"};
  }
  return *old_boot == boot ? *new_boot : boot;
}

}  // namespace

Result<NodeIdentity> read_identity(NodeId node, const IdentityFiles& files) {
  const auto machine = read_uuid(files.machine_id);
  if (!machine) return machine.error().in("machine id");
  const auto kernel = read_uuid(files.boot_id);
  if (!kernel) return kernel.error().in("boot id");
  const auto boot = renewed(kernel.value(), files.renewed_boot);
  if (!boot) return boot.error().in("boot id");
  std::uint64_t drawn = 0;
  if (getrandom(&drawn, sizeof drawn, 0) != static_cast<ssize_t>(sizeof drawn)) {
    return Error{"cannot draw a random number: " + reason()};
  }
  // The low bits count commands and marks of this incarnation; never 0.
  const Incarnation incarnation((drawn << 16) | 1);
  return NodeIdentity{node, MachineId{machine.value()}, BootId{boot.value()}, incarnation};
}

Status renew_boot(const IdentityFiles& files) {
  const auto kernel = read_uuid(files.boot_id);
  if (!kernel) return kernel.error().in("boot id");
  Uuid fresh;
  if (getrandom(fresh.bytes.data(), fresh.bytes.size(), 0) !=
      static_cast<ssize_t>(fresh.bytes.size())) {
    return Error{"cannot draw a random number: " + reason()};
  }
  const std::string half = files.renewed_boot + ".new";
  std::ofstream out(half, std::ios::trunc);
  out << kernel.value().str() << " " << fresh.str() << "\n";
  out.close();
  if (!out || std::rename(half.c_str(), files.renewed_boot.c_str()) != 0) {
    return Error{"cannot write " + files.renewed_boot + ": " + reason()};
  }
  return ok_status();
}

Result<std::unique_ptr<HostLock>> HostLock::take(const std::string& run_dir) {
  if (mkdir(run_dir.c_str(), 0755) != 0 && errno != EEXIST) {
    return Error{"cannot make " + run_dir + ": " + reason()};
  }
  const std::string file = run_dir + "/clusterd.lock";
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Error{"cannot open " + file + ": " + reason()};
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const std::string why = errno == EWOULDBLOCK ? "another clusterd runs on this host" : reason();
    close(fd);
    return Error{file + ": " + why};
  }
  return std::unique_ptr<HostLock>(new HostLock(fd));
}

HostLock::~HostLock() { close(fd_); }

}  // namespace clusterd
