#include "clusterd/adapters/qb/peer_rights.h"

#include <grp.h>
#include <pwd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

namespace clusterd {

namespace {

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

// A line of /etc/group with thousands of members still fits.
constexpr std::size_t kLine = 1024 * 1024;

std::optional<std::string> user_name(uid_t uid) {
  const File file(std::fopen("/etc/passwd", "re"));
  if (!file) return std::nullopt;
  std::vector<char> buffer(kLine);
  passwd entry{};
  passwd* found = nullptr;
  while (fgetpwent_r(file.get(), &entry, buffer.data(), buffer.size(), &found) == 0) {
    if (entry.pw_uid == uid) return entry.pw_name;
  }
  return std::nullopt;
}

bool has_member(const ::group& entry, const std::string& name) {
  for (char** member = entry.gr_mem; *member != nullptr; ++member) {
    if (name == *member) return true;
  }
  return false;
}

}  // namespace

bool may_change(uid_t uid, gid_t gid, const std::string& group) {
  if (uid == 0) return true;
  const File file(std::fopen("/etc/group", "re"));
  if (!file) return false;
  std::vector<char> buffer(kLine);
  ::group entry{};
  ::group* found = nullptr;
  while (fgetgrent_r(file.get(), &entry, buffer.data(), buffer.size(), &found) == 0) {
    if (group != entry.gr_name) continue;
    if (entry.gr_gid == gid) return true;
    const auto name = user_name(uid);
    return name && has_member(entry, *name);
  }
  return false;
}

}  // namespace clusterd
