// Identity: who this daemon is: machine, boot, incarnation, and that it is alone on its host.
#pragma once

#include <memory>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/engine/controller.h"

namespace clusterd {

// Reads both files, and draws the incarnation from the kernel. An error names the file.
[[nodiscard]] Result<NodeIdentity> read_identity(NodeId node, const std::string& machine_id_file,
                                                 const std::string& boot_id_file);

// Held until destruction, by the kernel: a crash releases it.
class HostLock {
 public:
  // Makes `run_dir` (0755) if needed. An error: another daemon holds it, or it cannot be made.
  [[nodiscard]] static Result<std::unique_ptr<HostLock>> take(const std::string& run_dir);
  ~HostLock();
  HostLock(const HostLock&) = delete;
  HostLock& operator=(const HostLock&) = delete;

 private:
  explicit HostLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace clusterd
