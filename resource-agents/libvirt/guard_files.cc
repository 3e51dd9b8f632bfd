#include "resource-agents/libvirt/guard_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

namespace clusterd::libvirt {
namespace {

Error system_error(const std::string& doing) {
  return {doing + ": " + std::strerror(errno)};
}

class File {
 public:
  File(const std::string& path, int flags, mode_t mode = 0)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] bool ok() const { return fd_ >= 0; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

Status sync_directory(const std::string& path) {
  const File directory(path, O_RDONLY | O_DIRECTORY);
  if (!directory.ok()) return system_error("open " + path);
  if (::fsync(directory.fd()) != 0) return system_error("fsync " + path);
  return ok_status();
}

// Creates the directory and its parent if they are missing, durably.
Status make_directory(const std::string& path) {
  const std::string parent = path.substr(0, path.rfind('/'));
  struct stat found {};
  if (::stat(path.c_str(), &found) == 0) return ok_status();
  if (::mkdir(parent.c_str(), 0700) == 0) {
    Status synced = sync_directory(parent + "/..");
    if (!synced) return synced;
  } else if (errno != EEXIST) {
    return system_error("mkdir " + parent);
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error("mkdir " + path);
  return sync_directory(parent);
}

Status write_whole(const std::string& path, const std::string& content, bool durable) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  if (!file.ok()) return system_error("create " + path);
  const auto written = ::write(file.fd(), content.data(), content.size());
  if (written != static_cast<ssize_t>(content.size())) return system_error("write " + path);
  if (durable && ::fsync(file.fd()) != 0) return system_error("fsync " + path);
  return ok_status();
}

// The entries of a directory; none if it does not exist.
Result<std::vector<std::string>> names_in(const std::string& path) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory && errno == ENOENT) return names;
  if (!directory) return system_error("read " + path);
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    names.emplace_back(entry->d_name);
    errno = 0;
  }
  if (errno != 0) return system_error("read " + path);
  return names;
}

}  // namespace

Status Grants::clear() {
  const auto names = names_in(directory_);
  if (!names) return names.error();
  const std::lock_guard lock(mutex_);
  for (const auto& name : names.value()) {
    const std::string path = directory_ + "/" + name;
    if (name == "." || name == "..") continue;
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("remove " + path);
  }
  return ok_status();
}

Status Grants::issue(VmId vm, OpId op) {
  const std::lock_guard lock(mutex_);
  Record& record = records_[vm];
  if (op <= record.revoked) return Error{"operation " + op.str() + " was revoked"};
  Status made = make_directory(directory_);
  if (!made) return made;
  // A rename, so that the hook never sees half a grant.
  const std::string draft = path_of(vm) + ".new";
  Status written = write_whole(draft, op.str() + "\n", false);
  if (!written) return written;
  if (::rename(draft.c_str(), path_of(vm).c_str()) != 0) return system_error("rename " + draft);
  record.issued = op;
  return ok_status();
}

Status Grants::revoke(VmId vm, OpId op) {
  const std::lock_guard lock(mutex_);
  Record& record = records_[vm];
  record.revoked = std::max(record.revoked, op);
  if (record.issued > op) return ok_status();
  // A file of an earlier process is taken away as well: its operations are older than ours.
  if (::unlink(path_of(vm).c_str()) != 0 && errno != ENOENT && errno != ENOTDIR) {
    return system_error("remove " + path_of(vm));
  }
  return ok_status();
}

Status Protection::load() {
  const auto names = names_in(directory_);
  if (!names) return names.error();
  const std::lock_guard lock(mutex_);
  for (const auto& name : names.value()) {
    const auto uuid = Uuid::parse(name);
    if (uuid) vms_.insert(VmId{*uuid});
  }
  return ok_status();
}

Status Protection::add(VmId vm) {
  const std::lock_guard lock(mutex_);
  if (vms_.count(vm) != 0) return ok_status();
  Status made = make_directory(directory_);
  if (!made) return made;
  Status written = write_whole(directory_ + "/" + vm.str(), "", true);
  if (!written) return written;
  Status synced = sync_directory(directory_);
  if (!synced) return synced;
  vms_.insert(vm);
  return ok_status();
}

std::set<VmId> Protection::all() const {
  const std::lock_guard lock(mutex_);
  return vms_;
}

}  // namespace clusterd::libvirt
