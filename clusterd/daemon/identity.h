// Identity: who this daemon is: machine, boot, incarnation, and that it is alone on its host.
#pragma once

#include <memory>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/engine/controller.h"

namespace clusterd {

// Where a host says who it is.
struct IdentityFiles {
  std::string machine_id;
  std::string boot_id;
  // What renew_boot() wrote: the kernel's boot and the one that stands for it since. It counts for
  // that boot only; usually there is none.
  std::string renewed_boot;
};

// Reads them, and draws the incarnation from the kernel. An error names the file.
[[nodiscard]] Result<NodeIdentity> read_identity(NodeId node, const IdentityFiles& files);

// From the next read_identity() on this host is another boot: of the present one nothing runs any
// more (protocol R21). Precondition: that has been seen.
[[nodiscard]] Status renew_boot(const IdentityFiles& files);

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
