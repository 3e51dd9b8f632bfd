#include "clusterd/adapters/store/replay_guard.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "clusterd/adapters/store/file.h"

namespace clusterd {

// One byte a replay: appending is atomic, and a file of any other content counts as well.
Result<std::size_t> ReplayGuard::begin() const {
  auto before = read_file(file_);
  if (!before) return before.error();
  const std::size_t crashed = before.value() ? before.value()->size() : 0;
  auto file = File::open(file_, O_WRONLY | O_CREAT);
  if (!file) return file.error();
  if (auto status = file.value().write_at(crashed, "r"); !status) return status.error();
  return crashed;
}

Status ReplayGuard::end() const {
  if (::unlink(file_.c_str()) == 0 || errno == ENOENT) return ok_status();
  return Error{file_ + " cannot be removed: " + std::generic_category().message(errno)};
}

}  // namespace clusterd
