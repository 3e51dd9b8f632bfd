#include "clusterd/daemon/identity.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

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

}  // namespace

Result<NodeIdentity> read_identity(NodeId node, const std::string& machine_id_file,
                                   const std::string& boot_id_file) {
  const auto machine = read_uuid(machine_id_file);
  if (!machine) return machine.error().in("machine id");
  const auto boot = read_uuid(boot_id_file);
  if (!boot) return boot.error().in("boot id");
  std::uint64_t drawn = 0;
  if (getrandom(&drawn, sizeof drawn, 0) != static_cast<ssize_t>(sizeof drawn)) {
    return Error{"cannot draw a random number: " + reason()};
  }
  // The low bits count commands and marks of this incarnation; never 0.
  const Incarnation incarnation((drawn << 16) | 1);
  return NodeIdentity{node, MachineId{machine.value()}, BootId{boot.value()}, incarnation};
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
