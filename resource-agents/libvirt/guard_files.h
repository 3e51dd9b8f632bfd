// The files that libvirt's hook reads: which VMs are protected, and which may start now (R23).
//
// `<state_dir>/protected/UUID` is durable and for ever; `<run_dir>/grants/UUID` holds the id of
// the operation that may create the domain and goes away with it. run_dir is on tmpfs, so that
// no grant survives a reboot and none of these calls blocks.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/model/ids.h"

namespace clusterd::libvirt {

// Start grants. Operations of one VM are ordered by their id: once revoke(vm, op) returned, no
// operation up to `op` can get a grant any more, however late its thread wakes up, and a late
// clean-up of an old operation cannot take the grant of a newer one. Thread-safe.
class Grants {
 public:
  explicit Grants(std::string run_dir) : directory_(std::move(run_dir) + "/grants") {}

  // Takes back everything that an earlier daemon left. Called once, before anything is issued.
  [[nodiscard]] Status clear();
  [[nodiscard]] Status issue(VmId vm, OpId op);
  [[nodiscard]] Status revoke(VmId vm, OpId op);

 private:
  struct Record {
    OpId issued;   // 0.0: none by this process
    OpId revoked;  // this one and all before it
  };
  [[nodiscard]] std::string path_of(VmId vm) const { return directory_ + "/" + vm.str(); }

  std::string directory_;
  std::mutex mutex_;
  std::map<VmId, Record> records_;
};

// The protected VMs of this host, read once. Thread-safe.
class Protection {
 public:
  explicit Protection(std::string state_dir) : directory_(std::move(state_dir) + "/protected") {}

  // Reads what is on disk; names that are no UUID are left alone.
  [[nodiscard]] Status load();
  // Durable when it returns ok.
  [[nodiscard]] Status add(VmId vm);
  [[nodiscard]] std::set<VmId> all() const;

 private:
  std::string directory_;
  mutable std::mutex mutex_;
  std::set<VmId> vms_;
};

}  // namespace clusterd::libvirt
